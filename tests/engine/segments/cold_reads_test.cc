// What is read of the storage when a value is not in memory: the pages of its
// record and no others.

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "engine/cold_pages.h"
#include "engine/segments/segment_log_fixture.h"
#include "segments/segment_mapping.h"

namespace larder {
namespace {

using testing::BytesRead;
using testing::DropPages;
using testing::kPage;
using testing::ReadsAreCounted;

constexpr std::size_t kPageSized = 4096;
constexpr std::size_t kCopied = 64U << 10;
constexpr std::size_t kMapped = 300U << 10;

class ColdReads : public SegmentLogFixture {
 protected:
  void SetUp() override {
    options_.segment_size_bytes = 8U << 20;
    Reopen();
    if (!ReadsAreCounted(directory_.path())) {
      GTEST_SKIP() << "this file system does not count what is read";
    }
  }

  // Records of one size that fill a segment or so, none of them in memory.
  std::vector<StoredRecord> PutCold(std::size_t size) {
    std::vector<StoredRecord> records;
    for (std::uint64_t i = 0; i < (6U << 20) / size; ++i) {
      records.push_back(Put(i, size));
    }
    log_.reset();
    for (const auto& file : std::filesystem::directory_iterator(path())) {
      DropPages(file.path());
    }
    Reopen();
    return records;
  }
  static std::uint64_t PagesOf(const StoredRecord& record) {
    const std::uint64_t begin = record.place.offset / kPage;
    const std::uint64_t end = record.place.offset +
                              PayloadStart(record.key.size()) +
                              record.value.size();
    return (end + kPage - 1) / kPage - begin;
  }
  // Reads every `step`th and compares what it costs with their pages.
  void ExpectExactReads(const std::vector<StoredRecord>& records,
                        std::size_t step) {
    const std::uint64_t before = BytesRead();
    std::uint64_t pages = 0;
    for (std::size_t i = step / 2; i < records.size(); i += step) {
      ASSERT_NO_FATAL_FAILURE(ExpectReadable(records[i]));
      pages += PagesOf(records[i]);
    }
    const std::uint64_t read = BytesRead() - before;
    EXPECT_GE(read, pages * kPage * 9 / 10);  // Open has read the footers.
    EXPECT_LE(read, pages * kPage * 13 / 10);
  }
};

TEST_F(ColdReads, ARecordOfAPage) { ExpectExactReads(PutCold(kPageSized), 50); }

TEST_F(ColdReads, ARecordThatIsCopied) {
  ExpectExactReads(PutCold(kCopied), 4);
}

TEST_F(ColdReads, ARecordThatIsMapped) {
  ExpectExactReads(PutCold(kMapped), 3);
}

TEST_F(ColdReads, OfAnotherProcessesLog) {
  const auto records = PutCold(kPageSized);
  options_.read_only = true;
  Reopen();
  ExpectExactReads(records, 50);
}

TEST_F(ColdReads, WithPread) {
  const auto records = PutCold(kPageSized);
  log_->SetReadMode(ReadMode::kPread);
  ExpectExactReads(records, 50);
}

TEST_F(ColdReads, OfWhatASnapshotHolds) {
  const auto records = PutCold(kCopied);
  const auto snapshot = log_->Snapshot();
  ASSERT_TRUE(
      log_->Remove(records[0].place.segment, SegmentBlocks::kFree).ok());
  ExpectExactReads(records, 4);
}

TEST_F(ColdReads, WithoutADescriptorToBeHad) {
  const auto records = PutCold(kCopied);
  WantedRecord first[] = {{records[0].place, records[0].key.size()}};
  ASSERT_EQ(log_->ReadAhead(first), 1U);  // Maps the file.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto value = Get(records[9]);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(value.has_value()) << value.error().ToString();
  EXPECT_TRUE(value->bytes() == records[9].value);
}

TEST_F(ColdReads, OfAFileThatWasCutAreDamage) {
  const auto records = PutCold(kCopied);
  WantedRecord first[] = {{records[0].place, records[0].key.size()}};
  ASSERT_EQ(log_->ReadAhead(first), 1U);
  ASSERT_EQ(::truncate(FilePath(records[0].place.segment).c_str(), 2 * kCopied),
            0);
  ExpectFails(records[9], StatusCode::kCorruption);
}

TEST_F(ColdReads, DamageIsFoundOnTheWay) {
  const auto records = PutCold(kCopied);
  const StoredRecord& record = records[3];
  log_.reset();
  FlipBit(record.place.segment, record.place.offset + kCopied / 2);
  DropPages(FilePath(record.place.segment));
  Reopen();
  ExpectFails(record, StatusCode::kCorruption);
  ExpectReadable(records[4]);
}

TEST_F(ColdReads, AreCountedOnceAndForTheirThread) {
  const auto records = PutCold(kCopied);
  const std::uint64_t before = SegmentLog::ThreadColdReads();
  ExpectReadable(records[7]);
  EXPECT_EQ(SegmentLog::ThreadColdReads(), before + 1);
  ExpectReadable(records[7]);
  EXPECT_EQ(SegmentLog::ThreadColdReads(), before + 1);
}

TEST_F(ColdReads, AreAskedForTogether) {
  const auto records = PutCold(kCopied);
  std::vector<WantedRecord> wanted;
  std::uint64_t pages = 0;
  for (std::size_t i : {9U, 3U, 6U}) {
    wanted.push_back({records[i].place, records[i].key.size()});
    pages += PagesOf(records[i]);
  }
  const std::uint64_t before = BytesRead();
  EXPECT_EQ(log_->ReadAhead(wanted), 3U);
  const std::uint64_t read = BytesRead() - before;
  EXPECT_GE(read, pages * kPage);
  EXPECT_LE(read, pages * kPage * 13 / 10);
  for (std::size_t i : {9U, 3U, 6U}) ExpectReadable(records[i]);
  EXPECT_EQ(BytesRead() - before, read);
  EXPECT_EQ(log_->ReadAhead(wanted), 0U);
}

TEST_F(ColdReads, NothingIsAskedForWhereNothingIs) {
  const auto records = PutCold(kCopied);
  std::array<WantedRecord, 3> wanted{
      WantedRecord{{records[0].place.segment, 64U << 20, 100}, 4},
      WantedRecord{{records[0].place.segment, 0, UINT32_MAX}, 4},
      WantedRecord{{77, 0, 100}, 4}};
  EXPECT_EQ(log_->ReadAhead(wanted), 0U);
}

// The pages leave memory under a mapping that has seen them there.
TEST_F(ColdReads, WhatHasLeftMemoryIsNoticed) {
  std::vector<StoredRecord> records = PutCold(kCopied);
  const UniqueFd fd(::open(FilePath(1).c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(fd);
  constexpr std::size_t kSize = 1U << 20;
  const auto mapping =
      SegmentMapping::Map(fd.get(), kSize, std::make_shared<SegmentCounters>());
  ASSERT_TRUE(mapping.has_value());
  const SegmentMapping& file = **mapping;
  EXPECT_FALSE(file.IsLikelyResident(0, kSize));
  file.ReadAhead(0, kSize);
  std::string copy(file.base(), kSize);  // Waits for it.
  EXPECT_TRUE(file.IsLikelyResident(0, kSize));
  EXPECT_TRUE(file.IsLikelyResident(kPage, 10 * kPage));
  ASSERT_EQ(::madvise(const_cast<char*>(file.base()), kSize, MADV_DONTNEED), 0);
  DropPages(FilePath(1));
  ASSERT_FALSE(file.IsResident(kPage, kPage));
  int looks = 0;
  while (looks < 1000 && file.IsLikelyResident(kPage, kPage)) ++looks;
  EXPECT_LT(looks, 1000);
  // What was known of others is not relied upon any more, either.
  EXPECT_FALSE(file.IsLikelyResident(100 * kPage, kPage));
}

}  // namespace
}  // namespace larder
