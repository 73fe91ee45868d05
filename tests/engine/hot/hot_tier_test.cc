#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include "forked_process.h"
#include "hot/hot_reader.h"
#include "hot/hot_writer.h"
#include "temporary_directory.h"

namespace larder {
namespace {

using testing::ForkedProcess;
using testing::TemporaryDirectory;

constexpr TimePoint kStart{Duration(1'000'000'000)};
constexpr Rank kRank = Rank{kClassMain} << 62 | 100;

class HotTierTest : public ::testing::Test {
 protected:
  HotWriter::Options Options(std::uint64_t size = kHotTierSizeMin) const {
    HotWriter::Options options;
    options.hot = {.directory = directory_.path(),
                   .id = {.high = 1, .low = 2},
                   .epoch = 1,
                   .kind = RegionKind::kHot,
                   .number = 1};
    options.touch = options.hot;
    options.touch.kind = RegionKind::kTouch;
    options.size_bytes = size;
    options.admit_on_write_max = kHotValueSizeMax;
    return options;
  }
  std::unique_ptr<HotWriter> Write(std::uint64_t size = kHotTierSizeMin) const {
    auto writer = HotWriter::TakeOver(Options(size));
    if (!writer) writer = HotWriter::Create(Options(size));
    EXPECT_TRUE(writer.has_value()) << writer.error().ToString();
    return writer ? std::move(*writer) : nullptr;
  }
  std::unique_ptr<HotReader> Read() const {
    auto reader = HotReader::Open(Options().hot, Options().touch);
    EXPECT_TRUE(reader.has_value()) << reader.error().ToString();
    return reader ? std::move(*reader) : nullptr;
  }
  static HotItem Item(std::string_view value) {
    HotItem item;
    item.value = value;
    item.version = 1;
    item.stored_at = kStart;
    item.rank = kRank;
    return item;
  }
  static void Set(HotWriter& writer, std::string_view key,
                  const HotItem& item) {
    const HotKey hot_key(key);
    writer.Publish(writer.Begin(hot_key), hot_key, item);
  }
  static void Set(HotWriter& writer, std::string_view key,
                  std::string_view value) {
    Set(writer, key, Item(value));
  }
  // The value, "(absent)", "(changing)" or "(unknown)".
  std::string Get(const HotReader& reader, std::string_view key) const {
    Reply reply;
    switch (reader.Get(HotKey(key), true, clock_, nullptr, reply)) {
      case HotOutcome::kHit:
        return reply.value.ToString();
      case HotOutcome::kAbsent:
        return "(absent)";
      case HotOutcome::kChanging:
        return "(changing)";
      case HotOutcome::kUnknown:
        break;
    }
    return "(unknown)";
  }

  TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  mutable ManualClock clock_{kStart};
};

TEST_F(HotTierTest, AHitAnswersAllThatGetAnswers) {
  const auto writer = Write();
  const auto reader = Read();
  HotItem item = Item("value");
  item.tag = "a tag";
  item.version = 77;
  item.expires_at = kStart + Duration(5);
  item.frequency = 3;
  item.codec = 9;
  item.pinned = true;
  Set(*writer, "key", item);
  Reply reply;
  ASSERT_EQ(reader->Get(HotKey("key"), true, clock_, nullptr, reply),
            HotOutcome::kHit);
  EXPECT_TRUE(reply.status.ok());
  EXPECT_TRUE(reply.applied);
  EXPECT_EQ(reply.value.bytes(), "value");
  EXPECT_EQ(reply.info.size_bytes, 5U);
  EXPECT_EQ(reply.info.version, 77U);
  EXPECT_EQ(reply.info.stored_at, kStart);
  EXPECT_EQ(reply.info.expires_at, kStart + Duration(5));
  EXPECT_EQ(reply.info.tag, "a tag");
  EXPECT_EQ(reply.info.frequency, 3U);
  EXPECT_EQ(reply.info.codec, 9);
  EXPECT_TRUE(reply.info.pinned);
}

TEST_F(HotTierTest, AllSizesOfKeysAndValuesComeBack) {
  const auto writer = Write(16U << 20);
  const auto reader = Read();
  for (const std::size_t key_size : {0, 1, 7, 8, 9, 1023, 1024}) {
    for (const std::size_t size : {0, 1, 7, 8, 9, 255, 4096, 65536}) {
      const std::string key(key_size, 'k');
      std::string value(size, '\0');
      std::mt19937 random(static_cast<unsigned>(size));
      for (char& byte : value) byte = static_cast<char>(random());
      Set(*writer, key, value);
      EXPECT_EQ(Get(*reader, key), value) << key_size << " " << size;
    }
  }
}

TEST_F(HotTierTest, WhatDoesNotFitIsUnknown) {
  const auto writer = Write();
  const auto reader = Read();
  Set(*writer, "large", "small");
  Set(*writer, "large", std::string(kHotValueSizeMax + 1, 'x'));
  EXPECT_EQ(Get(*reader, "large"), "(unknown)");
  const std::string long_key(kHotKeySizeMax + 1, 'k');
  Set(*writer, long_key, "v");
  EXPECT_EQ(Get(*reader, long_key), "(unknown)");
  HotItem item = Item("v");
  const std::string tag(kHotTagSizeMax + 1, 't');
  item.tag = tag;
  Set(*writer, "long tag", item);
  EXPECT_EQ(Get(*reader, "long tag"), "(unknown)");
}

TEST_F(HotTierTest, LargeValuesGetInByReadingOnly) {
  HotWriter::Options options = Options();
  options.admit_on_write_max = 100;
  const auto writer = std::move(*HotWriter::Create(options));
  const auto reader = Read();
  const std::string value(101, 'v');
  Set(*writer, "k", value);
  EXPECT_EQ(Get(*reader, "k"), "(unknown)");
  const HotKey key("k");
  writer->Fill(writer->BeginFill(key), key, Item(value));
  EXPECT_EQ(Get(*reader, "k"), value);
  Set(*writer, "k", std::string(200, 'w'));  // It is known to be read.
  EXPECT_EQ(Get(*reader, "k"), std::string(200, 'w'));
}

// Has one value; says how often it was asked for.
class OneValue final : public PlacedReader {
 public:
  explicit OneValue(std::string value) : value_(std::move(value)) {}
  [[nodiscard]] Result<ValueHandle> ReadPlaced(
      std::string_view key, std::uint64_t version,
      const SegmentPlace& place) noexcept override {
    ++asked;
    if (gone) return Fail(Status::NotFound("it has moved"));
    EXPECT_EQ(key, "key");
    EXPECT_EQ(version, 7U);
    EXPECT_EQ(place, kPlace);
    return ValueHandle::FromString(value_);
  }
  std::size_t ReadAheadPlaced(std::span<WantedRecord>) noexcept override {
    return 0;
  }

  static constexpr SegmentPlace kPlace{
      .segment = 5, .offset = 640, .payload_size = 1U << 20};
  int asked = 0;
  bool gone = false;

 private:
  const std::string value_;
};

class HotTierPlacesTest : public HotTierTest {
 protected:
  // A read of "key" lets its place in.
  void Fill() {
    HotItem item = Item({});
    item.place = OneValue::kPlace;
    item.version = 7;
    item.tag = "a tag";
    const HotKey key("key");
    writer_->Fill(writer_->BeginFill(key), key, item);
  }
  HotOutcome Look(PlacedReader* places, bool with_value = true) {
    return reader_->Get(HotKey("key"), with_value, clock_, places, reply_);
  }

  std::unique_ptr<HotWriter> writer_ = Write();
  std::unique_ptr<HotReader> reader_ = Read();
  OneValue places_{"a large value"};
  Reply reply_;
};

TEST_F(HotTierPlacesTest, TheReaderGetsALargeValueWhereItLies) {
  Fill();
  ASSERT_EQ(Look(&places_), HotOutcome::kHit);
  EXPECT_EQ(reply_.value.bytes(), "a large value");
  EXPECT_EQ(reply_.info.size_bytes, 1U << 20);
  EXPECT_EQ(reply_.info.version, 7U);
  EXPECT_EQ(reply_.info.tag, "a tag");
  EXPECT_EQ(writer_->Figures().hits, 1U);
  const auto touched = writer_->TakeTouched(16);
  ASSERT_EQ(touched.size(), 1U);
  EXPECT_EQ(touched[0].key, "key");
  EXPECT_EQ(touched[0].version, 7U);
}

TEST_F(HotTierPlacesTest, InformationNeedsNoWayToTheValue) {
  Fill();
  ASSERT_EQ(Look(nullptr, /*with_value=*/false), HotOutcome::kHit);
  EXPECT_EQ(reply_.info.size_bytes, 1U << 20);
  EXPECT_EQ(writer_->Figures().hits, 0U);
}

TEST_F(HotTierPlacesTest, AValueThatHasMovedIsUnknownAndNotCounted) {
  Fill();
  places_.gone = true;
  EXPECT_EQ(Look(&places_), HotOutcome::kUnknown);
  EXPECT_EQ(places_.asked, 1);
  EXPECT_EQ(Look(nullptr), HotOutcome::kUnknown);
  EXPECT_EQ(writer_->Figures().hits, 0U);
}

TEST_F(HotTierPlacesTest, AWriteDoesNotLetAPlaceInButRenewsIt) {
  HotItem item = Item({});
  item.place = OneValue::kPlace;
  item.version = 7;
  Set(*writer_, "key", item);
  EXPECT_EQ(Look(&places_), HotOutcome::kUnknown);
  Set(*writer_, "key", "small");
  EXPECT_EQ(Get(*reader_, "key"), "small");
  Set(*writer_, "key", item);
  EXPECT_EQ(Look(&places_), HotOutcome::kHit);
  EXPECT_EQ(places_.asked, 1);
  Set(*writer_, "key", "small again");
  EXPECT_EQ(Get(*reader_, "key"), "small again");
  EXPECT_EQ(places_.asked, 1);
}

TEST_F(HotTierPlacesTest, ACleanHandoffKeepsPlaces) {
  Fill();
  writer_->CloseCleanly();
  writer_.reset();
  writer_ = Write();
  EXPECT_EQ(writer_->Figures().items, 1U);
  EXPECT_EQ(Look(&places_), HotOutcome::kHit);
}

TEST_F(HotTierTest, AbsenceIsKnownUntilTheKeyIsSet) {
  const auto writer = Write();
  const auto reader = Read();
  const HotKey key("k");
  EXPECT_EQ(Get(*reader, "k"), "(unknown)");
  writer->FillAbsent(writer->BeginFill(key), key);
  EXPECT_EQ(Get(*reader, "k"), "(absent)");
  Set(*writer, "k", "v");
  EXPECT_EQ(Get(*reader, "k"), "v");
  writer->PublishAbsent(writer->Begin(key), key);
  EXPECT_EQ(Get(*reader, "k"), "(absent)");
}

TEST_F(HotTierTest, AKeyBeingChangedIsHidden) {
  const auto writer = Write();
  const auto reader = Read();
  const HotKey key("k");
  Set(*writer, "k", "old");
  const HotWriter::Ticket ticket = writer->Begin(key);
  EXPECT_EQ(Get(*reader, "k"), "(changing)");
  writer->Publish(ticket, key, Item("new"));
  EXPECT_EQ(Get(*reader, "k"), "new");
  writer->Drop(writer->Begin(key), key);
  EXPECT_EQ(Get(*reader, "k"), "(unknown)");
}

TEST_F(HotTierTest, AnExpiredItemIsAbsent) {
  const auto writer = Write();
  const auto reader = Read();
  HotItem item = Item("v");
  item.expires_at = kStart + Duration(10);
  Set(*writer, "k", item);
  clock_.Advance(Duration(9));
  EXPECT_EQ(Get(*reader, "k"), "v");
  clock_.Advance(Duration(1));
  EXPECT_EQ(Get(*reader, "k"), "(absent)");
}

TEST_F(HotTierTest, AStaleFillIsRefused) {
  const auto writer = Write();
  const auto reader = Read();
  const HotKey key("k");
  const auto before = writer->BeginFill(key);
  const HotWriter::Ticket ticket = writer->Begin(key);
  const auto within = writer->BeginFill(key);
  writer->Fill(within, key, Item("old"));
  EXPECT_EQ(Get(*reader, "k"), "(unknown)");
  writer->Publish(ticket, key, Item("new"));
  writer->Fill(before, key, Item("old"));
  writer->FillAbsent(within, key);
  EXPECT_EQ(Get(*reader, "k"), "new");
}

TEST_F(HotTierTest, ClearHidesEverythingAndRefusesWhatWasReadBefore) {
  const auto writer = Write();
  const auto reader = Read();
  const HotKey key("k");
  Set(*writer, "k", "v");
  const auto before = writer->BeginFill(key);
  writer->BeginClear();
  EXPECT_EQ(Get(*reader, "k"), "(unknown)");
  const auto within = writer->BeginFill(key);
  writer->Fill(within, key, Item("v"));
  writer->EndInvalidation();
  writer->Fill(within, key, Item("v"));
  writer->Fill(before, key, Item("v"));
  EXPECT_EQ(Get(*reader, "k"), "(unknown)");
  Set(*writer, "k", "after");
  EXPECT_EQ(Get(*reader, "k"), "after");
}

TEST_F(HotTierTest, AWriteThatSpansAClearIsDropped) {
  const auto writer = Write();
  const auto reader = Read();
  const HotKey key("k");
  Set(*writer, "k", "v");
  const HotWriter::Ticket ticket = writer->Begin(key);
  writer->BeginClear();
  writer->EndInvalidation();
  writer->Publish(ticket, key, Item("w"));
  EXPECT_EQ(Get(*reader, "k"), "(unknown)");
}

TEST_F(HotTierTest, EvictTagHidesTheItemsOfTheTag) {
  const auto writer = Write();
  const auto reader = Read();
  HotItem item = Item("v");
  item.tag = "red";
  Set(*writer, "red", item);
  item.tag = "blue";
  Set(*writer, "blue", item);
  writer->BeginEvictTag("red");
  writer->EndInvalidation();
  EXPECT_EQ(Get(*reader, "red"), "(unknown)");
  EXPECT_EQ(Get(*reader, "blue"), "v");
}

TEST_F(HotTierTest, TheCutoffHidesLowerRanksOfItsClass) {
  const auto writer = Write();
  const auto reader = Read();
  HotItem item = Item("v");
  Set(*writer, "low", item);
  item.rank = kRank + 10;
  Set(*writer, "high", item);
  item.rank = Rank{kClassProbation} << 62 | 1;
  Set(*writer, "other class", item);
  writer->SetCutoff(kClassMain, kRank + 1);
  EXPECT_EQ(Get(*reader, "low"), "(unknown)");
  EXPECT_EQ(Get(*reader, "high"), "v");
  EXPECT_EQ(Get(*reader, "other class"), "v");
}

TEST_F(HotTierTest, TouchedItemsAreReportedOnce) {
  const auto writer = Write();
  const auto reader = Read();
  Set(*writer, "a", "1");
  Set(*writer, "b", "22");
  for (int i = 0; i < 5; ++i) Get(*reader, "b");
  const auto touched = writer->TakeTouched(100);
  ASSERT_EQ(touched.size(), 1U);
  EXPECT_EQ(touched[0].key, "b");
  EXPECT_EQ(touched[0].hits, 5U);
  EXPECT_EQ(touched[0].rank, kRank);
  EXPECT_TRUE(writer->TakeTouched(100).empty());
  EXPECT_EQ(writer->Figures().hits, 5U);
}

TEST_F(HotTierTest, LookingWithoutTheValueTouchesNothing) {
  const auto writer = Write();
  const auto reader = Read();
  Set(*writer, "a", "value");
  Reply reply;
  ASSERT_EQ(reader->Get(HotKey("a"), false, clock_, nullptr, reply),
            HotOutcome::kHit);
  EXPECT_EQ(reply.info.size_bytes, 5U);
  EXPECT_EQ(reply.value.size(), 0U);
  EXPECT_TRUE(writer->TakeTouched(100).empty());
  EXPECT_EQ(writer->Figures().hits, 0U);
}

TEST_F(HotTierTest, ANewRankKeepsTheItemAboveTheCutoff) {
  const auto writer = Write();
  const auto reader = Read();
  Set(*writer, "a", "v");
  Get(*reader, "a");
  auto touched = writer->TakeTouched(100);
  ASSERT_EQ(touched.size(), 1U);
  writer->SetRank(touched[0], kRank + 50);
  writer->SetCutoff(kClassMain, kRank + 50);
  EXPECT_EQ(Get(*reader, "a"), "v");
  touched[0].version = 99;  // As if it had changed since.
  writer->SetRank(touched[0], kRank + 90);
  writer->SetCutoff(kClassMain, kRank + 90);
  EXPECT_EQ(Get(*reader, "a"), "(unknown)");
}

TEST_F(HotTierTest, BatchesAreMarkedWhileTheyLast) {
  const auto writer = Write();
  const auto reader = Read();
  const std::uint64_t before = reader->batch_sequence();
  EXPECT_EQ(before % 2, 0U);
  writer->BeginBatch();
  writer->BeginBatch();
  EXPECT_EQ(reader->batch_sequence() % 2, 1U);
  writer->EndBatch();
  EXPECT_EQ(reader->batch_sequence() % 2, 1U);
  writer->EndBatch();
  EXPECT_EQ(reader->batch_sequence(), before + 2);
}

// Far more than fits, of mixed sizes: whatever is there is right, what is read
// again and again stays, and the tier stays useful.
TEST_F(HotTierTest, AFullTierKeepsWhatIsRead) {
  const auto writer = Write(4U << 20);
  const auto reader = Read();
  std::mt19937_64 random(7);
  std::map<std::string, std::string> model;
  for (int i = 0; i < 40; ++i) {
    const std::string key = "favourite" + std::to_string(i);
    Set(*writer, key, model[key] = std::string(500, static_cast<char>(i)));
  }
  int wrong = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string key = "k" + std::to_string(random() % 20'000);
    std::string value(random() % 2000, static_cast<char>(random()));
    if (random() % 50 == 0) value.resize(60'000, 'L');
    Set(*writer, key, model[key] = value);
    const std::string favourite = "favourite" + std::to_string(i % 40);
    Get(*reader, favourite);
    if (i % 500 == 0) static_cast<void>(writer->TakeTouched(10'000));
    const std::string other = "k" + std::to_string(random() % 20'000);
    const std::string seen = Get(*reader, other);
    if (seen != "(unknown)" && (!model.contains(other) || seen != model[other]))
      ++wrong;
  }
  EXPECT_EQ(wrong, 0);
  int kept = 0;
  for (int i = 0; i < 40; ++i) {
    const std::string key = "favourite" + std::to_string(i);
    if (Get(*reader, key) == model[key]) ++kept;
  }
  EXPECT_GE(kept, 36);
  const HotTierFigures figures = writer->Figures();
  EXPECT_GT(figures.live_bytes, 2U << 20);
  EXPECT_GT(figures.evictions, 1000U);
}

TEST_F(HotTierTest, OverwritingOneKeyEvictsNothingElse) {
  const auto writer = Write();
  const auto reader = Read();
  for (int i = 0; i < 50; ++i) {
    Set(*writer, "k" + std::to_string(i), std::string(1000, 'x'));
  }
  for (int i = 0; i < 10'000; ++i) {
    Set(*writer, "hot", std::string(1000, static_cast<char>(i)));
  }
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(Get(*reader, "k" + std::to_string(i)), std::string(1000, 'x'));
  }
  EXPECT_EQ(writer->Figures().evictions, 0U);
}

TEST_F(HotTierTest, ACleanHandoffKeepsTheContent) {
  std::unique_ptr<HotReader> reader;
  {
    const auto writer = Write();
    reader = Read();
    for (int i = 0; i < 500; ++i) {
      Set(*writer, "k" + std::to_string(i), std::string(300, 'v'));
    }
    const HotKey gone("gone");
    writer->PublishAbsent(writer->Begin(gone), gone);
    writer->CloseCleanly();
  }
  EXPECT_EQ(Get(*reader, "k7"), std::string(300, 'v'));
  const auto heir = Write();
  const HotTierFigures figures = heir->Figures();
  EXPECT_GT(figures.items, 450U);
  EXPECT_EQ(Get(*reader, "k499"), std::string(300, 'v'));
  EXPECT_EQ(Get(*reader, "gone"), "(absent)");
  // What was taken over is given up and used again like the rest.
  for (int i = 0; i < 20'000; ++i) {
    Set(*heir, "n" + std::to_string(i), std::string(300, 'n'));
  }
  EXPECT_EQ(Get(*reader, "n19999"), std::string(300, 'n'));
  EXPECT_GT(heir->Figures().evictions, 1000U);
}

TEST_F(HotTierTest, AfterACrashNothingOfItIsSeen) {
  std::unique_ptr<HotReader> reader;
  {
    const auto writer = Write();
    reader = Read();
    Set(*writer, "k", "v");
    static_cast<void>(writer->Begin(HotKey("k")));  // And then it dies.
    Set(*writer, "j", "v");
  }
  const auto heir = Write();
  EXPECT_EQ(Get(*reader, "k"), "(changing)");
  EXPECT_EQ(Get(*reader, "j"), "(unknown)");
  Set(*heir, "k", "new");
  EXPECT_EQ(Get(*reader, "k"), "new");
}

TEST_F(HotTierTest, AnotherSizeMakesANewTierAndEmptiesTheOldOne) {
  auto writer = Write(2U << 20);
  const auto reader = Read();
  Set(*writer, "k", "v");
  writer->CloseCleanly();
  writer.reset();
  const auto heir = Write(4U << 20);
  EXPECT_EQ(Get(*reader, "k"), "(unknown)");
  EXPECT_EQ(Get(*Read(), "k"), "(unknown)");
}

TEST_F(HotTierTest, AFullTmpfsMakesTheTierSmallerButNotWrong) {
  if (::geteuid() != 0 || ::mount("tmpfs", directory_.path().c_str(), "tmpfs",
                                  MS_NOSUID, "size=4m,mode=0700") != 0) {
    GTEST_SKIP() << "needs the right to mount a tmpfs";
  }
  const auto writer = Write(8U << 20);
  const auto reader = Read();
  ASSERT_NE(writer, nullptr);
  for (int i = 0; i < 20'000; ++i) {
    Set(*writer, "k" + std::to_string(i), std::string(900, 'v'));
  }
  EXPECT_EQ(Get(*reader, "k19999"), std::string(900, 'v'));
  const HotTierFigures figures = writer->Figures();
  EXPECT_GT(figures.live_bytes, 1U << 20);
  EXPECT_LT(figures.live_bytes, 4U << 20);
  ::umount2(directory_.path().c_str(), MNT_DETACH);
}

TEST_F(HotTierTest, AnUnusableSizeIsRefused) {
  EXPECT_EQ(HotWriter::Create(Options(1000)).error().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(HotWriter::FittingSize("/nonexistent", 64U << 20), 0U);
  EXPECT_EQ(HotWriter::FittingSize(directory_.path(), 1000), 0U);
}

// A value that says who wrote it and can be checked: 8 bytes of the number,
// then bytes that follow from it.
std::string CheckedValue(std::uint64_t number, std::size_t size) {
  std::string value(size, static_cast<char>('a' + number % 26));
  std::memcpy(value.data(), &number, sizeof(number));
  return value;
}

std::optional<std::uint64_t> NumberOf(std::string_view value) {
  if (value.size() < 8) return std::nullopt;
  std::uint64_t number = 0;
  std::memcpy(&number, value.data(), 8);
  return CheckedValue(number, value.size()) == value ? std::optional(number)
                                                     : std::nullopt;
}

// The tier turns into zeros under them. What they get is right, or nothing.
TEST_F(HotTierTest, ReadersOutliveATierThatIsLetGo) {
  const auto writer = Write();
  for (std::uint64_t i = 0; i < 100; ++i) {
    Set(*writer, "k" + std::to_string(i), CheckedValue(i, 2000));
  }
  for (int round = 0; round < 20; ++round) {
    const auto reader = Read();
    std::atomic<std::uint64_t> hits{0};
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        for (std::uint64_t i = t; !stop; i = (i + 1) % 100) {
          const std::string value = Get(*reader, "k" + std::to_string(i));
          if (value == "(unknown)" || value == "(changing)") continue;
          ASSERT_EQ(NumberOf(value), i);
          ++hits;
        }
      });
    }
    while (hits < 200) std::this_thread::yield();
    EXPECT_TRUE(reader->LetGo());
    EXPECT_EQ(Get(*reader, "k0"), "(unknown)");
    const std::uint64_t before = hits;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    stop = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_LE(hits, before + 2);  // Those that were just being read.
  }
}

// Run under ThreadSanitizer: readers on the writer's own mapping, so that every
// access is seen. No value is torn, and none is older than one whose
// publication had ended before the read began.
TEST_F(HotTierTest, ReadersNeverSeeTornOrOldValues) {
  const auto writer = Write();
  constexpr int kKeys = 16;
  constexpr std::uint64_t kWrites = 60'000;
  std::vector<std::atomic<std::uint64_t>> acknowledged(kKeys);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> hits{0};
  std::vector<std::thread> readers;
  for (unsigned r = 0; r < 2; ++r) {
    readers.emplace_back([&, r] {
      const HotReader reader(writer->regions());
      std::mt19937 random(r);
      while (!stop) {
        const std::size_t i = random() % kKeys;
        const std::string key = "key" + std::to_string(i);
        const std::uint64_t floor = acknowledged[i].load();
        Reply reply;
        if (reader.Get(HotKey(key), true, clock_, nullptr, reply) !=
            HotOutcome::kHit) {
          continue;
        }
        const auto number = NumberOf(reply.value.bytes());
        ASSERT_TRUE(number.has_value()) << "torn";
        ASSERT_GE(*number, floor) << "old";
        ASSERT_EQ(reply.info.version, *number) << "torn";
        hits.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  std::mt19937 random(99);
  for (std::uint64_t n = 1; n <= kWrites; ++n) {
    const std::size_t i = random() % kKeys;
    HotItem item = Item("");
    const std::string value = CheckedValue(n, 8 + random() % 3000);
    item.value = value;
    item.version = n;
    Set(*writer, "key" + std::to_string(i), item);
    acknowledged[i].store(n);
  }
  while (hits < 1000) std::this_thread::yield();
  stop = true;
  for (std::thread& reader : readers) reader.join();
}

using HotTierCrashTest = HotTierTest;

// The writer is killed in the middle of what it does, again and again, while
// this process reads. After a kill the readers go on with what there is; the
// next writer starts from nothing.
TEST_F(HotTierCrashTest, KillingTheWriterNeverTearsAValue) {
  struct Shared {
    std::atomic<std::uint64_t> acknowledged[8];
    std::atomic<std::uint64_t> number;
  };
  const auto region = SharedRegion::Create({.directory = directory_.path(),
                                            .id = {.high = 9, .low = 9},
                                            .epoch = 1,
                                            .kind = RegionKind::kMain,
                                            .number = 1},
                                           4096, 4096);
  ASSERT_TRUE(region.has_value());
  auto* shared = (*region)->At<Shared>(64);
  { ASSERT_NE(Write(), nullptr); }
  const auto reader = Read();
  std::uint64_t hits = 0;
  std::mt19937 random(4);
  for (int kill = 0; kill < 150; ++kill) {
    ForkedProcess writer_process([&](const ForkedProcess::Pipe& pipe) -> int {
      const auto writer = Write();
      std::mt19937 choice(static_cast<unsigned>(kill));
      for (int count = 0;; ++count) {
        if (count == 16) pipe.Send(1);  // There is something to read.
        const std::uint64_t n = shared->number.fetch_add(1) + 1;
        const std::size_t i = choice() % 8;
        const std::string value = CheckedValue(n, 8 + choice() % 20'000);
        HotItem item = Item(value);
        item.version = n;
        Set(*writer, "key" + std::to_string(i), item);
        shared->acknowledged[i].store(n);
      }
    });
    ASSERT_EQ(writer_process.Receive(), 1U);
    const auto rounds = 500 + random() % 3000;
    for (unsigned round = 0; round < rounds; ++round) {
      // Half of the reads happen after the kill.
      if (round == rounds / 2) writer_process.Kill(SIGKILL);
      const std::size_t i = random() % 8;
      const std::uint64_t floor = shared->acknowledged[i].load();
      Reply reply;
      if (reader->Get(HotKey("key" + std::to_string(i)), true, clock_, nullptr,
                      reply) != HotOutcome::kHit) {
        continue;
      }
      const auto number = NumberOf(reply.value.bytes());
      ASSERT_TRUE(number.has_value()) << "torn";
      ASSERT_GE(*number, floor) << "old";
      ++hits;
    }
  }
  EXPECT_GT(hits, 10'000U);
}

}  // namespace
}  // namespace larder
