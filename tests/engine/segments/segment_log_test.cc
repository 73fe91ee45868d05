#include "segments/segment_log.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/limits.h"

#include "engine/segments/segment_log_fixture.h"
#include "open_descriptors.h"
#include "segments/segment_format.h"

namespace larder {
namespace {

using testing::IsOpenHere;

using SegmentLogTest = SegmentLogFixture;

TEST_F(SegmentLogTest, ReadsWhatWasWritten) {
  const StoredRecord record = Put(1, 20'000);
  ExpectReadable(record);
}

TEST_F(SegmentLogTest, KeepsEmptyAndLongestKeysAndOddSizes) {
  for (const std::size_t key_size :
       {std::size_t{0}, std::size_t{1}, std::size_t{63}, kKeySizeBytesMax}) {
    for (const std::size_t size : {0, 1, 63, 64, 65, 4096}) {
      StoredRecord record{testing::MakeValue(key_size, key_size),
                          testing::MakeValue(size, size),
                          9,
                          {}};
      auto grant = log_->Reserve(key_size, size);
      ASSERT_TRUE(grant.has_value());
      const auto place = WriteTo(*log_, *grant, record);
      ASSERT_TRUE(place.has_value()) << place.error().ToString();
      record.place = *place;
      ExpectReadable(record);
    }
  }
}

TEST_F(SegmentLogTest, PayloadIsAlignedForReadingInPlace) {
  for (std::uint64_t seed = 1; seed < 12; ++seed) {
    StoredRecord record{std::string(seed, 'k'), "12345678", seed, {}};
    auto grant = log_->Reserve(record.key.size(), 8);
    record.place = *WriteTo(*log_, *grant, record);
    const auto value = Get(record);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(value->bytes().data()) %
                  kPayloadAlignment,
              0U);
  }
}

TEST_F(SegmentLogTest, AnIdleFileIsClosedAndGoesOn) {
  const StoredRecord first = Put(1, 20'000);
  log_->CloseIdleFiles();
  EXPECT_TRUE(IsOpenHere(FilePath(1)));  // Used since the last call.
  log_->CloseIdleFiles();
  EXPECT_FALSE(IsOpenHere(FilePath(1)));
  ExpectReadable(first);
  EXPECT_TRUE(log_->Sync().ok());
  const StoredRecord second = Put(2, 20'000);
  EXPECT_EQ(second.place.segment, 1U);
  log_->CloseIdleFiles();
  log_->CloseIdleFiles();
  ASSERT_TRUE(log_->SealOpen().ok());
  ExpectReadable(first);
  Reopen();
  ExpectReadable(first);
  ExpectReadable(second);
}

TEST_F(SegmentLogTest, AGrantKeepsItsFileOpen) {
  auto grant = log_->Reserve(3, 1000);
  ASSERT_TRUE(grant.has_value());
  for (int i = 0; i < 3; ++i) log_->CloseIdleFiles();
  StoredRecord record{"key", testing::MakeValue(1, 1000), 1, {}};
  record.place = WriteTo(*log_, *grant, record).value();
  ExpectReadable(record);
}

// Another file in its place is not written to, whatever is in it.
TEST_F(SegmentLogTest, AFileThatWasReplacedWhileItRestedIsLeftAlone) {
  Put(1, 20'000);
  log_->CloseIdleFiles();
  log_->CloseIdleFiles();
  const auto copy = FilePath(1).string() + ".copy";
  std::filesystem::copy_file(FilePath(1), copy);
  std::filesystem::rename(copy, FilePath(1));
  const auto size = std::filesystem::file_size(FilePath(1));
  const StoredRecord next = Put(2, 1000);
  EXPECT_EQ(next.place.segment, 2U);
  ExpectReadable(next);
  EXPECT_EQ(std::filesystem::file_size(FilePath(1)), size);
}

TEST_F(SegmentLogTest, FilesAreNotClosedUnderWhoWrites) {
  std::atomic<bool> stop{false};
  std::thread closer([&] {
    while (!stop) log_->CloseIdleFiles();
  });
  for (std::uint64_t seed = 1; seed < 2000; ++seed) {
    ExpectReadable(Put(seed, 5000));
  }
  stop = true;
  closer.join();
}

TEST_F(SegmentLogTest, WrongKeyVersionOrSizeIsCorruption) {
  const StoredRecord record = Put(1, 5000);
  StoredRecord other = record;
  other.key = "key-2";
  ExpectFails(other, StatusCode::kCorruption);
  other = record;
  other.version = 2;
  ExpectFails(other, StatusCode::kCorruption);
  other = record;
  other.place.payload_size = 4999;
  ExpectFails(other, StatusCode::kCorruption);
  other = record;
  other.place.offset = 64;
  ExpectFails(other, StatusCode::kCorruption);
  other.place.offset = 1;
  ExpectFails(other, StatusCode::kCorruption);
}

TEST_F(SegmentLogTest, PlaceBeyondTheFileIsCorruption) {
  StoredRecord record = Put(1, 5000);
  record.place.offset = 64 * 1024 * 1024;
  ExpectFails(record, StatusCode::kCorruption);
  record.place.offset = 0xFFFFFFC0;
  record.place.payload_size = 0xFFFFFFFF;
  ExpectFails(record, StatusCode::kCorruption);
}

TEST_F(SegmentLogTest, UnknownSegmentIsNotFound) {
  StoredRecord record = Put(1, 5000);
  record.place.segment = 99;
  ExpectFails(record, StatusCode::kNotFound);
  record.place.segment = 0;
  ExpectFails(record, StatusCode::kNotFound);
}

TEST_F(SegmentLogTest, RecordThatDoesNotMatchItsGrantIsRefused) {
  auto grant = log_->Reserve(3, 100);
  ASSERT_TRUE(grant.has_value());
  const std::string value(100, 'v');
  EXPECT_EQ(log_->Write(*grant, {"four", value}).error().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(log_->Write(*grant, {"key", "short"}).error().code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(log_->Write(*grant, {"key", value}).has_value());
  EXPECT_EQ(log_->Write(*grant, {"key", value}).error().code(),
            StatusCode::kInvalidArgument);
}

TEST_F(SegmentLogTest, KeyOverTheLimitIsRefused) {
  EXPECT_EQ(log_->Reserve(kKeySizeBytesMax + 1, 10).error().code(),
            StatusCode::kKeyTooLarge);
  EXPECT_TRUE(log_->Segments().empty());
}

TEST_F(SegmentLogTest, FullSegmentIsSealedAndTheNextOpened) {
  std::vector<StoredRecord> records;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    records.push_back(Put(seed, 60'000));
  }
  const auto segments = log_->Segments();
  ASSERT_EQ(segments.size(), 4U);  // Three of them in 192 KiB.
  for (std::size_t i = 0; i < segments.size(); ++i) {
    EXPECT_EQ(segments[i].id, i + 1);
    EXPECT_EQ(segments[i].sealed, i + 1 < segments.size());
    EXPECT_EQ(segments[i].size_bytes,
              std::filesystem::file_size(FilePath(segments[i].id)));
  }
  EXPECT_EQ(log_->open_id(), 4U);
  for (const StoredRecord& record : records) {
    ExpectReadable(record);
  }
}

TEST_F(SegmentLogTest, LargeGrantIsCutToFillTheSegmentToItsEnd) {
  Put(1, 50'000);
  StoredRecord record{"big", "", 2, {}};
  auto grant = log_->Reserve(3, 1U << 20);
  ASSERT_TRUE(grant.has_value());
  EXPECT_EQ(grant->offset + SegmentLog::RecordSize(3, grant->payload_size) +
                kSegmentFooterSize,
            kSegmentSizeBytesMin);
  record.value = testing::MakeValue(2, grant->payload_size);
  record.place = *WriteTo(*log_, *grant, record);
  *grant = SegmentGrant();
  ASSERT_TRUE(log_->SealOpen().ok());
  EXPECT_EQ(std::filesystem::file_size(FilePath(1)), kSegmentSizeBytesMin);
  ExpectReadable(record);
}

TEST_F(SegmentLogTest, SmallRestOfASegmentIsNotUsedForAPiece) {
  Put(1, 140'000);
  const auto grant = log_->Reserve(3, 1U << 20);
  ASSERT_TRUE(grant.has_value());
  EXPECT_EQ(grant->offset, 0U);
  EXPECT_GE(grant->payload_size, kSegmentPieceBytesMin);
  EXPECT_EQ(log_->open_id(), 2U);
}

TEST_F(SegmentLogTest, SegmentSizeIsClampedAndChangesForLaterOnes) {
  log_->SetSegmentSize(1);
  Put(1, 1000);
  log_->SetSegmentSize(1U << 20);
  ASSERT_TRUE(log_->SealOpen().ok());
  const auto grant = log_->Reserve(0, 2U << 20);
  EXPECT_EQ(grant->payload_size,
            (1U << 20) - kSegmentFooterSize - kRecordHeaderSize);
}

TEST_F(SegmentLogTest, SegmentIsSealedOnlyWithItsLastGrant) {
  StoredRecord record{"late", testing::MakeValue(3, 9000), 3, {}};
  auto grant = log_->Reserve(record.key.size(), record.value.size());
  ASSERT_TRUE(log_->SealOpen().ok());
  EXPECT_FALSE(log_->Segments().at(0).sealed);
  EXPECT_EQ(log_->Remove(1, SegmentBlocks::kFree).code(), StatusCode::kAborted);
  record.place = *WriteTo(*log_, *grant, record);
  *grant = SegmentGrant();
  EXPECT_TRUE(log_->Segments().at(0).sealed);
  ExpectReadable(record);
}

TEST_F(SegmentLogTest, OpenSegmentIsNotRemoved) {
  const StoredRecord record = Put(1, 1000);
  EXPECT_EQ(log_->Remove(1, SegmentBlocks::kFree).code(), StatusCode::kAborted);
  ExpectReadable(record);
}

TEST_F(SegmentLogTest, EmptyOpenSegmentLeavesNoFile) {
  { const auto grant = log_->Reserve(1, 1000); }
  ASSERT_TRUE(log_->SealOpen().ok());
  EXPECT_TRUE(log_->Segments().empty());
  EXPECT_TRUE(std::filesystem::is_empty(path()));
  EXPECT_EQ(log_->disk_bytes(), 0U);
}

TEST_F(SegmentLogTest, ReopenedLogHasTheSameRecords) {
  std::vector<StoredRecord> records;
  for (std::uint64_t seed = 1; seed <= 7; ++seed) {
    records.push_back(Put(seed, 50'000));
  }
  const auto before = log_->next_id();
  Reopen();
  for (const StoredRecord& record : records) {
    ExpectReadable(record);
  }
  EXPECT_EQ(log_->next_id(), before);
  EXPECT_EQ(log_->open_id(), 0U);
  for (const SegmentInfo& segment : log_->Segments()) {
    EXPECT_TRUE(segment.sealed);
  }
}

TEST_F(SegmentLogTest, IdsAreNeverUsedTwice) {
  Put(1, 1000);
  ASSERT_TRUE(log_->SealOpen().ok());
  ASSERT_TRUE(log_->Remove(1, SegmentBlocks::kFree).ok());
  EXPECT_EQ(Put(2, 1000).place.segment, 2U);
  Reopen(10);
  EXPECT_EQ(Put(3, 1000).place.segment, 10U);
  Reopen(4);
  EXPECT_EQ(Put(4, 1000).place.segment, 11U);
}

TEST_F(SegmentLogTest, DeadSegmentsAreUnlinkedAtOpen) {
  const StoredRecord dead = Put(1, 1000);
  ASSERT_TRUE(log_->SealOpen().ok());
  const StoredRecord alive = Put(2, 1000);
  log_.reset();
  auto log = SegmentLog::Open(path(), options_, 1,
                              [](std::uint32_t id) { return id == 2; });
  ASSERT_TRUE(log.has_value());
  log_ = std::move(*log);
  ExpectFails(dead, StatusCode::kNotFound);
  ExpectReadable(alive);
  EXPECT_FALSE(std::filesystem::exists(FilePath(1)));
}

TEST_F(SegmentLogTest, ForeignFilesAreLeftAlone) {
  for (const char* name : {"0.seg", "007.seg", "7.segment", "x.seg", ".seg",
                           "99999999999.seg", "notes"}) {
    std::ofstream(path() / name) << name;
  }
  Reopen();
  EXPECT_TRUE(log_->Segments().empty());
  EXPECT_EQ(log_->next_id(), 1U);
  EXPECT_TRUE(std::filesystem::exists(path() / "007.seg"));
}

TEST_F(SegmentLogTest, RemovedSegmentIsNotFound) {
  const StoredRecord record = Put(1, 1000);
  ASSERT_TRUE(log_->SealOpen().ok());
  ASSERT_TRUE(log_->Remove(1, SegmentBlocks::kFree).ok());
  ExpectFails(record, StatusCode::kNotFound);
  EXPECT_EQ(log_->Remove(1, SegmentBlocks::kFree).code(),
            StatusCode::kNotFound);
  EXPECT_EQ(log_->disk_bytes(), 0U);
  EXPECT_EQ(log_->unlinked_bytes(), 0U);
}

TEST_F(SegmentLogTest, HandleOutlivesRemovalAndTheLog) {
  const StoredRecord record = Put(1, 70'000);
  ASSERT_TRUE(log_->SealOpen().ok());
  auto value = Get(record);
  const std::uint64_t size = log_->disk_bytes();
  ASSERT_TRUE(log_->Remove(1, SegmentBlocks::kFree).ok());
  EXPECT_EQ(log_->disk_bytes(), 0U);
  EXPECT_EQ(log_->unlinked_bytes(), size);
  EXPECT_TRUE(value->bytes() == record.value);
  *value = ValueHandle();
  EXPECT_EQ(log_->unlinked_bytes(), 0U);

  const StoredRecord second = Put(2, 70'000);
  value = Get(second);
  log_.reset();
  EXPECT_TRUE(value->bytes() == second.value);
}

TEST_F(SegmentLogTest, SnapshotKeepsRemovedSegmentsReadable) {
  const StoredRecord record = Put(1, 70'000);
  ASSERT_TRUE(log_->SealOpen().ok());
  auto first = log_->Snapshot();
  auto second = log_->Snapshot();
  ASSERT_TRUE(log_->Remove(1, SegmentBlocks::kFree).ok());
  EXPECT_TRUE(log_->Segments().empty());
  EXPECT_FALSE(std::filesystem::exists(FilePath(1)));
  ExpectReadable(record);
  first.reset();
  ExpectReadable(record);
  EXPECT_GT(log_->unlinked_bytes(), 70'000U);
  second.reset();
  ExpectFails(record, StatusCode::kNotFound);
  EXPECT_EQ(log_->unlinked_bytes(), 0U);
}

TEST_F(SegmentLogTest, SnapshotDoesNotHoldWhatWasRemovedBeforeIt) {
  const StoredRecord old = Put(1, 1000);
  ASSERT_TRUE(log_->SealOpen().ok());
  auto first = log_->Snapshot();
  ASSERT_TRUE(log_->Remove(1, SegmentBlocks::kFree).ok());
  const auto second = log_->Snapshot();
  first.reset();
  ExpectFails(old, StatusCode::kNotFound);
}

TEST_F(SegmentLogTest, SnapshotDoesNotHoldWhatCameAfterIt) {
  const StoredRecord seen = Put(1, 70'000);
  ASSERT_TRUE(log_->SealOpen().ok());
  auto first = log_->Snapshot();
  first->End();
  std::uint64_t held = 0;
  for (std::uint64_t i = 0; i < 50; ++i) {
    const StoredRecord later = Put(2 + i, 70'000);
    ASSERT_TRUE(log_->SealOpen().ok());
    ASSERT_TRUE(log_->Remove(later.place.segment, SegmentBlocks::kFree).ok());
    ExpectFails(later, StatusCode::kNotFound);
    held = std::max(held, log_->unlinked_bytes());
  }
  EXPECT_EQ(held, 0U);
  // Of two the later one sees more, and what it does not see goes with the
  // first.
  const StoredRecord both = Put(60, 70'000);
  ASSERT_TRUE(log_->SealOpen().ok());
  auto second = log_->Snapshot();
  // Until it ends it sees what comes, too.
  const StoredRecord between = Put(61, 70'000);
  ASSERT_TRUE(log_->SealOpen().ok());
  second->End();
  ASSERT_TRUE(log_->Remove(between.place.segment, SegmentBlocks::kFree).ok());
  ExpectReadable(between);
  ASSERT_TRUE(log_->Remove(seen.place.segment, SegmentBlocks::kFree).ok());
  ASSERT_TRUE(log_->Remove(both.place.segment, SegmentBlocks::kFree).ok());
  ExpectReadable(seen);
  ExpectReadable(both);
  second.reset();
  ExpectReadable(seen);
  ExpectFails(both, StatusCode::kNotFound);
  ExpectFails(between, StatusCode::kNotFound);
  first.reset();
  ExpectFails(seen, StatusCode::kNotFound);
  EXPECT_EQ(log_->unlinked_bytes(), 0U);
}

TEST_F(SegmentLogTest, HeldSegmentsStayMappedBeyondTheMappingLimit) {
  options_.mapping_count_max = 2;
  Reopen();
  std::vector<StoredRecord> records;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    records.push_back(Put(seed, 1000));
    ASSERT_TRUE(log_->SealOpen().ok());
  }
  const auto snapshot = log_->Snapshot();
  for (std::uint32_t id = 1; id <= 4; ++id) {
    ASSERT_TRUE(log_->Remove(id, SegmentBlocks::kFree).ok());
  }
  for (int round = 0; round < 3; ++round) {
    for (const StoredRecord& record : records) {
      ExpectReadable(record);
    }
  }
}

std::size_t MappedSegments(const std::filesystem::path& directory) {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    count += line.find(directory.string()) != std::string::npos ? 1U : 0U;
  }
  return count;
}

TEST_F(SegmentLogTest, MappingsAreBoundedAndHandlesKeepTheirs) {
  options_.mapping_count_max = 3;
  Reopen();
  std::vector<StoredRecord> records;
  for (std::uint64_t seed = 1; seed <= 9; ++seed) {
    records.push_back(Put(seed, 3000));
    ASSERT_TRUE(log_->SealOpen().ok());
  }
  const auto handle = Get(records[0]);
  for (int round = 0; round < 2; ++round) {
    for (const StoredRecord& record : records) {
      ExpectReadable(record);
      EXPECT_LE(MappedSegments(path()), 4U);
    }
  }
  EXPECT_TRUE(handle->bytes() == records[0].value);
}

TEST_F(SegmentLogTest, DiskBytesAreWhatDuCounts) {
  std::uint64_t seed = 0;
  for (const std::size_t size :
       {1, 4000, 20'000, 4096 - 64 - 8, 110'000, 90'000}) {
    Put(++seed, size);
    EXPECT_EQ(log_->disk_bytes(), DuBytes()) << size;
  }
  ASSERT_TRUE(log_->SealOpen().ok());
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  ASSERT_TRUE(log_->Remove(1, SegmentBlocks::kFree).ok());
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  Reopen();
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  EXPECT_GT(log_->disk_bytes(), 0U);
}

TEST_F(SegmentLogTest, DiskBytesOfAGapAreExactOnceSealed) {
  Put(1, 4096);
  { const auto gap = log_->Reserve(4, 100'000); }
  Put(2, 4096);
  EXPECT_GE(log_->disk_bytes(), DuBytes());
  ASSERT_TRUE(log_->SealOpen().ok());
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  EXPECT_LT(log_->disk_bytes(), 30'000U);
}

TEST_F(SegmentLogTest, BytesWrittenCountsRecordsAndFooters) {
  const StoredRecord record = Put(1, 1000);
  const std::uint64_t size = SegmentLog::RecordSize(record.key.size(), 1000);
  EXPECT_EQ(log_->bytes_written(), size);
  ASSERT_TRUE(log_->SealOpen().ok());
  EXPECT_EQ(log_->bytes_written(), size + kSegmentFooterSize);
}

TEST_F(SegmentLogTest, EachRecordIsVisitedInOrderAndGapsAreNoDamage) {
  const StoredRecord first = Put(1, 3000);
  { const auto gap = log_->Reserve(4, 10'000); }
  const StoredRecord second = Put(2, 5000);
  for (const bool sealed : {false, true}) {
    if (sealed) {
      ASSERT_TRUE(log_->SealOpen().ok());
    }
    std::vector<SegmentPlace> places;
    std::uint64_t damaged = 1;
    const Status status = log_->ForEachRecord(
        1,
        [&](const SegmentPlace& place, const SegmentRecord& record) {
          const StoredRecord& expected = places.empty() ? first : second;
          EXPECT_EQ(record.key, expected.key);
          EXPECT_TRUE(record.payload == expected.value);
          EXPECT_EQ(record.version, expected.version);
          EXPECT_EQ(record.value_size, expected.value.size());
          EXPECT_EQ(record.codec, 7);
          places.push_back(place);
          return true;
        },
        &damaged);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(places, (std::vector<SegmentPlace>{first.place, second.place}));
    EXPECT_EQ(damaged, 0U);
  }
}

TEST_F(SegmentLogTest, VisitStopsWhenToldTo) {
  Put(1, 3000);
  Put(2, 3000);
  int visited = 0;
  const auto visit = [&](const SegmentPlace&, const SegmentRecord&) {
    ++visited;
    return false;
  };
  std::uint64_t damaged = 0;
  ASSERT_TRUE(log_->ForEachRecord(1, visit, &damaged).ok());
  EXPECT_EQ(visited, 1);
  EXPECT_EQ(damaged, 0U);
  EXPECT_EQ(log_->ForEachRecord(5, visit, nullptr).code(),
            StatusCode::kNotFound);
}

TEST_F(SegmentLogTest, GroupsAreBoundedAndLieInMemoryTogether) {
  // More than is read at once.
  options_.segment_size_bytes = 4U << 20;
  Reopen();
  std::vector<StoredRecord> records;
  for (std::uint64_t i = 1; i <= 20; ++i) records.push_back(Put(i, 150'000));
  std::size_t seen = 0;
  std::size_t largest = 0;
  const auto visit = [&](std::span<const PlacedRecord> group) {
    largest = std::max(largest, group.size());
    for (const PlacedRecord& found : group) {
      const StoredRecord& expected = records[seen++];
      EXPECT_EQ(found.place, expected.place);
      EXPECT_EQ(found.record.key, expected.key);
      EXPECT_TRUE(found.record.payload == expected.value) << expected.key;
      EXPECT_EQ(found.record.payload_checksum, PayloadChecksum(expected.value));
    }
    return true;
  };
  std::uint64_t damaged = 1;
  ASSERT_TRUE(log_->ForEachGroup(1, 4, visit, &damaged).ok());
  EXPECT_EQ(seen, records.size());
  EXPECT_EQ(largest, 4U);
  EXPECT_EQ(damaged, 0U);
}

TEST_F(SegmentLogTest, NoGroupFollowsTheOneThatStops) {
  for (std::uint64_t i = 1; i <= 5; ++i) Put(i, 3000);
  std::vector<std::size_t> groups;
  const auto visit = [&](std::span<const PlacedRecord> group) {
    groups.push_back(group.size());
    return groups.size() < 2;
  };
  std::uint64_t damaged = 1;
  ASSERT_TRUE(log_->ForEachGroup(1, 2, visit, &damaged).ok());
  EXPECT_EQ(groups, (std::vector<std::size_t>{2, 2}));
  EXPECT_EQ(damaged, 0U);
  EXPECT_EQ(log_->ForEachGroup(5, 2, visit, nullptr).code(),
            StatusCode::kNotFound);
}

TEST_F(SegmentLogTest, NoGroupFollowsOneThatStopsAsTheMemoryIsFull) {
  options_.segment_size_bytes = 4U << 20;
  Reopen();
  for (std::uint64_t i = 1; i <= 20; ++i) Put(i, 150'000);
  int groups = 0;
  const auto visit = [&](std::span<const PlacedRecord> group) {
    EXPECT_LT(group.size(), 20U);
    ++groups;
    return false;
  };
  ASSERT_TRUE(log_->ForEachGroup(1, 100, visit, nullptr).ok());
  EXPECT_EQ(groups, 1);
}

TEST_F(SegmentLogTest, AGroupLeavesItToTheVisitorToCheckPayloads) {
  const StoredRecord record = Put(1, 3000);
  FlipBit(1, record.place.offset + 2000);
  const auto visit = [&](std::span<const PlacedRecord> group) {
    EXPECT_EQ(group.size(), 1U);
    EXPECT_EQ(group[0].record.payload_checksum, PayloadChecksum(record.value));
    EXPECT_FALSE(group[0].record.payload == record.value);
    return true;
  };
  std::uint64_t damaged = 1;
  ASSERT_TRUE(log_->ForEachGroup(1, 2, visit, &damaged).ok());
  EXPECT_EQ(damaged, 0U);
}

TEST_F(SegmentLogTest, ValueThatIsASegmentFileIsNotTakenForOne) {
  Put(1, 3000);
  ASSERT_TRUE(log_->SealOpen().ok());
  std::ifstream file(FilePath(1), std::ios::binary);
  const std::string image{std::istreambuf_iterator<char>(file), {}};
  auto grant = log_->Reserve(3, image.size());
  const auto place = log_->Write(*grant, {"img", image, 5, image.size()});
  ASSERT_TRUE(place.has_value());
  FlipBit(2, 60);  // The header of the record that holds the image.
  std::uint64_t damaged = 0;
  ASSERT_TRUE(log_->ForEachRecord(
                      2,
                      [](const SegmentPlace&, const SegmentRecord& record) {
                        ADD_FAILURE() << record.key;
                        return true;
                      },
                      &damaged)
                  .ok());
  EXPECT_GT(damaged, 0U);
}

TEST_F(SegmentLogTest, ReadOnlyLogFollowsItsWriter) {
  const StoredRecord first = Put(1, 3000);
  SegmentLogOptions options = options_;
  options.read_only = true;
  const auto view = SegmentLog::Open(path(), options, 1, {});
  ASSERT_TRUE(view.has_value());
  const auto expect_same = [&](const StoredRecord& record) {
    const auto value = (*view)->Read(record.place, record.key, record.version);
    ASSERT_TRUE(value.has_value()) << value.error().ToString();
    EXPECT_TRUE(value->bytes() == record.value);
  };
  expect_same(first);
  const StoredRecord grown = Put(2, 100'000);
  expect_same(grown);
  ASSERT_TRUE(log_->SealOpen().ok());
  const StoredRecord created = Put(3, 100'000);
  expect_same(created);
  EXPECT_EQ((*view)->Reserve(1, 1).error().code(), StatusCode::kReadOnly);
  EXPECT_EQ((*view)->Remove(1, SegmentBlocks::kFree).code(),
            StatusCode::kReadOnly);
  EXPECT_EQ((*view)->SealOpen().code(), StatusCode::kReadOnly);
}

TEST_F(SegmentLogTest, ReadOnlyLogNoticesARemovedSegment) {
  const StoredRecord record = Put(1, 3000);
  ASSERT_TRUE(log_->SealOpen().ok());
  SegmentLogOptions options = options_;
  options.read_only = true;
  const auto view = SegmentLog::Open(path(), options, 1, {});
  ASSERT_TRUE(log_->Remove(1, SegmentBlocks::kFree).ok());
  const auto value = (*view)->Read(record.place, record.key, record.version);
  EXPECT_EQ(value.error().code(), StatusCode::kNotFound);
}

TEST_F(SegmentLogTest, ReadOnlyOpenOfAMissingDirectoryIsNotFound) {
  SegmentLogOptions options = options_;
  options.read_only = true;
  const auto view = SegmentLog::Open(path() / "absent", options, 1, {});
  EXPECT_EQ(view.error().code(), StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(path() / "absent"));
}

// Writers, readers and a cleaner at once: a read gives the right bytes or,
// once its segment was removed, kNotFound; nothing else ever.
TEST_F(SegmentLogTest, ReadersWritersAndRemovalsRunTogether) {
  constexpr std::uint64_t kRecords = 400;
  std::mutex mutex;  // Guards records.
  std::vector<StoredRecord> records;
  std::atomic<int> writers{2};
  std::atomic<std::uint64_t> reads{0};
  const auto write = [&](std::uint64_t seed) {
    for (std::uint64_t i = 0; i < kRecords; ++i, seed += 2) {
      StoredRecord record = Put(seed, 1000 + seed * 37 % 60'000);
      const std::lock_guard lock(mutex);
      records.push_back(std::move(record));
    }
    --writers;
  };
  const auto read = [&](std::uint64_t seed) {
    testing::Random random(seed);
    while (writers > 0) {
      StoredRecord record;
      {
        const std::lock_guard lock(mutex);
        if (records.empty()) {
          continue;
        }
        record = records[random.Below(records.size())];
      }
      const auto value = Get(record);
      if (value) {
        ASSERT_TRUE(value->bytes() == record.value);
        ++reads;
      } else {
        ASSERT_EQ(value.error().code(), StatusCode::kNotFound)
            << value.error().ToString();
      }
    }
  };
  const auto clean = [&] {
    while (writers > 0) {
      const auto snapshot = log_->Snapshot();
      for (const SegmentInfo& segment : log_->Segments()) {
        if (segment.sealed && segment.id % 2 == 0) {
          ASSERT_TRUE(log_->Remove(segment.id, SegmentBlocks::kFree).ok());
        }
      }
    }
  };
  std::vector<std::thread> threads;
  threads.emplace_back(write, 1);
  threads.emplace_back(write, 2);
  threads.emplace_back(read, 3);
  threads.emplace_back(read, 4);
  threads.emplace_back(clean);
  for (std::thread& thread : threads) {
    thread.join();
  }
  ASSERT_TRUE(log_->SealOpen().ok());
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  EXPECT_GT(reads, 0U);
  for (const StoredRecord& record : records) {
    if (record.place.segment % 2 == 1) {
      ExpectReadable(record);
    }
  }
}

}  // namespace
}  // namespace larder
