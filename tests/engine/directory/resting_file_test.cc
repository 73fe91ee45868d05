// Files that give their descriptors back while nobody reads them.

#include "directory/resting_file.h"

#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <rocksdb/file_system.h>

#include "index/counting_file_system.h"
#include "temporary_directory.h"

namespace larder {
namespace {

using namespace std::chrono_literals;
using Moment = RestingFile::Moment;

class RestingFileTest : public ::testing::Test {
 protected:
  RestingFileTest() {
    std::string bytes;
    for (int i = 0; i < 4096; ++i) bytes += static_cast<char>('a' + i % 26);
    std::ofstream(path_) << bytes;
  }
  rocksdb::IOStatus OpenTarget(RestingFile::File* file) const {
    return rocksdb::FileSystem::Default()->NewRandomAccessFile(
        path_, rocksdb::FileOptions(), file, nullptr);
  }
  /// A file that can be opened while openable_ is true.
  std::unique_ptr<RestingFile> Open() {
    RestingFile::File file;
    EXPECT_TRUE(OpenTarget(&file).ok());
    return std::make_unique<RestingFile>(
        std::move(file),
        [this](RestingFile::File* opened) {
          ++opened_;
          return openable_ ? OpenTarget(opened)
                           : rocksdb::IOStatus::IOError("EMFILE");
        },
        [] {});
  }
  // The byte at `offset`, '?' if it cannot be read.
  static char ReadAt(const rocksdb::FSRandomAccessFile& file,
                     std::uint64_t offset) {
    char byte = 0;
    rocksdb::Slice result;
    const auto status =
        file.Read(offset, 1, rocksdb::IOOptions(), &result, &byte, nullptr);
    return status.ok() && result.size() == 1 ? result[0] : '?';
  }

  const testing::TemporaryDirectory directory_;
  const std::string path_ = directory_.path() / "table";
  std::atomic<bool> openable_{true};
  std::atomic<int> opened_{0};
};

TEST_F(RestingFileTest, ItIsClosedOnceItWasNotUsedForLongEnough) {
  const auto file = Open();
  const Moment start{};
  file->RestIfUnused(start + 10s, start + 8s);  // Used since it was opened.
  file->RestIfUnused(start + 11s, start + 9s);
  EXPECT_TRUE(file->is_open());
  EXPECT_EQ(ReadAt(*file, 1), 'b');
  file->RestIfUnused(start + 12s, start + 10s);
  file->RestIfUnused(start + 13s, start + 11s);
  EXPECT_TRUE(file->is_open());
  file->RestIfUnused(start + 14s, start + 12s);
  EXPECT_FALSE(file->is_open());
  EXPECT_EQ(ReadAt(*file, 2), 'c');
  EXPECT_TRUE(file->is_open());
  EXPECT_EQ(opened_, 1);
}

TEST_F(RestingFileTest, WhatCannotBeOpenedIsTheReadsError) {
  const auto file = Open();
  file->RestIfUnused(Moment{} + 1s, Moment{} + 2s);
  ASSERT_FALSE(file->is_open());
  openable_ = false;
  EXPECT_EQ(ReadAt(*file, 0), '?');
  file->RestIfUnused(Moment{} + 1s, Moment{} + 2s);
  openable_ = true;
  EXPECT_EQ(ReadAt(*file, 0), 'a');
}

// Under ThreadSanitizer, too: nobody reads from a file that is just closed.
TEST_F(RestingFileTest, ItIsNotClosedUnderWhoReads) {
  const auto file = Open();
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (unsigned i = t; !stop; i = (i + 7) % 4096) {
        ASSERT_EQ(ReadAt(*file, i), static_cast<char>('a' + i % 26));
        // Else there is always one of them who reads.
        if (i % 16 == 0) std::this_thread::sleep_for(20us);
      }
    });
  }
  while (opened_ < 100) {
    file->RestIfUnused(Moment{} + 1s, Moment{} + 2s);
    std::this_thread::yield();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

// The file system forgets files that RocksDB has closed, also resting ones.
TEST_F(RestingFileTest, TheFileSystemKnowsThoseThereAre) {
  CountingFileSystem files(rocksdb::FileSystem::Default());
  std::vector<RestingFile::File> opened(3);
  for (auto& file : opened) {
    ASSERT_TRUE(
        files.NewRandomAccessFile(path_, rocksdb::FileOptions(), &file, nullptr)
            .ok());
  }
  files.CloseIdleFiles();
  opened.erase(opened.begin());
  files.CloseIdleFiles();
  for (const auto& file : opened) EXPECT_EQ(ReadAt(*file, 3), 'd');
}

}  // namespace
}  // namespace larder
