#include "index/counting_file_system.h"

#include <cstdarg>
#include <filesystem>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>

#include "temporary_directory.h"
#include "test_values.h"

namespace larder {
namespace {

namespace fs = std::filesystem;
using testing::MakeValue;
using testing::Random;

/// The files of `directory`, in blocks; of those that end with `suffix` only.
std::uint64_t Walk(const fs::path& directory, const std::string& suffix = {}) {
  constexpr std::uint64_t kBlock = 4096;
  std::uint64_t bytes = 0;
  for (const fs::directory_entry& file : fs::directory_iterator(directory)) {
    if (!file.path().string().ends_with(suffix)) continue;
    bytes += (file.file_size() + kBlock - 1) / kBlock * kBlock;
  }
  return bytes;
}

/// Without it RocksDB writes a LOG of its own, past any file system.
class SilentLogger final : public rocksdb::Logger {
 public:
  using Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
};

class CountingFileSystemTest : public ::testing::Test {
 protected:
  CountingFileSystemTest() { Open(); }
  ~CountingFileSystemTest() override { Close(); }

  void Open() {
    files_ =
        std::make_shared<CountingFileSystem>(rocksdb::FileSystem::Default());
    files_->Recount(path_.string());
    env_ = rocksdb::NewCompositeEnv(files_);
    rocksdb::Options options;
    options.env = env_.get();
    options.create_if_missing = true;
    options.write_buffer_size = 128 << 10;
    options.target_file_size_base = 64 << 10;
    options.max_bytes_for_level_base = 256 << 10;
    options.max_manifest_file_size = 1000;  // Many manifests come and go.
    options.level0_file_num_compaction_trigger = 2;
    options.allow_fallocate = false;
    options.info_log = std::make_shared<SilentLogger>();
    rocksdb::DB* db = nullptr;
    const rocksdb::Status status =
        rocksdb::DB::Open(options, path_.string(), &db);
    ASSERT_TRUE(status.ok()) << status.ToString();
    db_.reset(db);
  }
  void Close() {
    if (db_) db_->Close().PermitUncheckedError();
    db_.reset();
  }

  /// Waits until RocksDB has written and deleted all that it means to.
  void Quiesce() {
    ASSERT_TRUE(db_->Flush(rocksdb::FlushOptions()).ok());
    ASSERT_TRUE(
        db_->CompactRange(rocksdb::CompactRangeOptions(), nullptr, nullptr)
            .ok());
    ASSERT_TRUE(db_->PauseBackgroundWork().ok());
  }
  void ExpectEqualsWalk() {
    EXPECT_EQ(files_->disk_bytes(), Walk(path_));
    EXPECT_EQ(files_->wal_bytes(), Walk(path_, ".log"));
  }
  void Put(std::uint64_t key, std::size_t size) {
    ASSERT_TRUE(db_->Put(rocksdb::WriteOptions(), std::to_string(key),
                         MakeValue(key, size))
                    .ok());
  }

  const testing::TemporaryDirectory directory_;
  const fs::path path_ = directory_.path() / "db";
  std::shared_ptr<CountingFileSystem> files_;
  std::unique_ptr<rocksdb::Env> env_;
  std::unique_ptr<rocksdb::DB> db_;
};

TEST_F(CountingFileSystemTest, EqualsAWalkAfterOpening) { ExpectEqualsWalk(); }

TEST_F(CountingFileSystemTest, EqualsAWalkAfterEveryWriteToTheLog) {
  for (std::uint64_t i = 0; i < 60; ++i) {
    ASSERT_NO_FATAL_FAILURE(Put(i, 1500));
    ASSERT_NO_FATAL_FAILURE(ExpectEqualsWalk());
  }
  EXPECT_GT(files_->wal_bytes(), 80'000U);
}

TEST_F(CountingFileSystemTest, EqualsAWalkAfterFlushesAndCompactions) {
  Random random(testing::SeedFromEnvironment(31));
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 1000; ++i) {
      ASSERT_NO_FATAL_FAILURE(Put(random.Below(2000), 700));
    }
    ASSERT_NO_FATAL_FAILURE(Quiesce());
    ASSERT_NO_FATAL_FAILURE(ExpectEqualsWalk()) << round;
    ASSERT_TRUE(db_->ContinueBackgroundWork().ok());
  }
  EXPECT_GT(files_->bytes_written(), 5U * 1000 * 700);
}

TEST_F(CountingFileSystemTest, EqualsAWalkAfterFilesAreDeleted) {
  for (std::uint64_t i = 0; i < 3000; ++i) {
    ASSERT_NO_FATAL_FAILURE(Put(i, 500));
  }
  ASSERT_NO_FATAL_FAILURE(Quiesce());
  const std::uint64_t before = files_->disk_bytes();
  ASSERT_TRUE(db_->ContinueBackgroundWork().ok());
  ASSERT_TRUE(rocksdb::DeleteFilesInRange(db_.get(), db_->DefaultColumnFamily(),
                                          nullptr, nullptr)
                  .ok());
  EXPECT_LT(files_->disk_bytes() + 500'000, before);
  ExpectEqualsWalk();
}

TEST_F(CountingFileSystemTest, EqualsAWalkAfterReopening) {
  for (std::uint64_t i = 0; i < 500; ++i) {
    ASSERT_NO_FATAL_FAILURE(Put(i, 900));
  }
  Close();
  ExpectEqualsWalk();
  Open();
  Quiesce();  // Opening may have begun a compaction.
  ExpectEqualsWalk();
}

TEST_F(CountingFileSystemTest, RenamedAndReplacedFilesCountOnce) {
  ASSERT_TRUE(rocksdb::WriteStringToFile(env_.get(), MakeValue(1, 20'000),
                                         (path_ / "one").string())
                  .ok());
  ExpectEqualsWalk();
  ASSERT_TRUE(rocksdb::WriteStringToFile(env_.get(), MakeValue(2, 5000),
                                         (path_ / "two").string())
                  .ok());
  ASSERT_TRUE(
      env_->RenameFile((path_ / "two").string(), (path_ / "one").string())
          .ok());
  ExpectEqualsWalk();
  ASSERT_TRUE(rocksdb::WriteStringToFile(env_.get(), MakeValue(3, 100),
                                         (path_ / "one").string())
                  .ok());
  ExpectEqualsWalk();
  ASSERT_TRUE(env_->DeleteFile((path_ / "one").string()).ok());
  ExpectEqualsWalk();
}

TEST_F(CountingFileSystemTest, MergingIsTheOutputAndThenTheInput) {
  const std::string input = (path_ / "in.sst").string();
  const std::string output = (path_ / "out.sst").string();
  const auto write = [this](const std::string& path, std::size_t size) {
    return rocksdb::WriteStringToFile(env_.get(), MakeValue(1, size), path)
        .ok();
  };
  ASSERT_TRUE(write(input, 9000));
  EXPECT_EQ(files_->merging_bytes(), 0U);
  files_->BeginMerge();
  files_->NoteMerging(output);
  EXPECT_EQ(files_->merging_bytes(), 0U);
  ASSERT_TRUE(write(output, 5000));
  EXPECT_EQ(files_->merging_bytes(), 8192U);
  files_->EndMerge({input}, {output});
  EXPECT_EQ(files_->merging_bytes(), 12'288U);
  ASSERT_TRUE(env_->DeleteFile(input).ok());
  EXPECT_EQ(files_->merging_bytes(), 0U);
  ExpectEqualsWalk();
}

TEST_F(CountingFileSystemTest, MergingForgetsWhatSomebodyKeeps) {
  const std::string kept = (path_ / "kept.sst").string();
  const std::string moved = (path_ / "moved.sst").string();
  for (const std::string& path : {kept, moved}) {
    ASSERT_TRUE(
        rocksdb::WriteStringToFile(env_.get(), MakeValue(1, 5000), path).ok());
  }
  files_->BeginMerge();
  files_->EndMerge({kept, moved, (path_ / "gone.sst").string()}, {moved});
  EXPECT_EQ(files_->merging_bytes(), 8192U);
  files_->BeginMerge();
  EXPECT_EQ(files_->merging_bytes(), 0U);
}

TEST_F(CountingFileSystemTest, FailedDeletesChangeNothing) {
  const std::uint64_t before = files_->disk_bytes();
  EXPECT_FALSE(env_->DeleteFile((path_ / "none").string()).ok());
  EXPECT_FALSE(
      env_->RenameFile((path_ / "none").string(), (path_ / "other").string())
          .ok());
  EXPECT_EQ(files_->disk_bytes(), before);
}

TEST(CountingFileSystem, RecountOfNothingIsZero) {
  CountingFileSystem files(rocksdb::FileSystem::Default());
  files.Recount("/nonexistent/larder");
  EXPECT_EQ(files.disk_bytes(), 0U);
  EXPECT_EQ(files.wal_bytes(), 0U);
}

}  // namespace
}  // namespace larder
