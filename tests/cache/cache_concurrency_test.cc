#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "larder/cache/cache.h"

#include "temporary_directory.h"
#include "test_values.h"

// Threads on the same keys of one cache. Each key always exists and is written
// by one thread, with growing numbers; so a reader must never miss, never see
// a torn value, and never see an older one than before. Run under TSan too.

namespace larder::testing {
namespace {

constexpr int kKeyCount = 12;
constexpr int kWriterCount = 2;
// A sanitizer's run takes as long with fewer rounds.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint32_t kRoundCount = 100;
#else
constexpr std::uint32_t kRoundCount = 400;
#endif

std::string KeyOf(int key) { return "key" + std::to_string(key); }

/// A value that says which one it is in every byte.
std::string Numbered(std::uint32_t number, std::size_t size) {
  std::string bytes(size, static_cast<char>(number % 251));
  std::memcpy(bytes.data(), &number, sizeof number);
  const auto size32 = static_cast<std::uint32_t>(size);
  std::memcpy(bytes.data() + sizeof number, &size32, sizeof size32);
  return bytes;
}

/// Its number, or nullopt if it is torn.
std::optional<std::uint32_t> NumberOf(std::string_view bytes) {
  std::uint32_t number = 0;
  std::uint32_t size = 0;
  if (bytes.size() < sizeof number + sizeof size) return std::nullopt;
  std::memcpy(&number, bytes.data(), sizeof number);
  std::memcpy(&size, bytes.data() + sizeof number, sizeof size);
  const std::string_view rest = bytes.substr(sizeof number + sizeof size);
  const char fill = static_cast<char>(number % 251);
  if (size != bytes.size() ||
      rest.find_first_not_of(fill) != std::string_view::npos) {
    return std::nullopt;
  }
  return number;
}

class CacheConcurrency : public ::testing::Test {
 protected:
  void SetUp() override {
    auto cache = Cache::Open(directory_.path() / "cache",
                             {.settings = {{"size_limit", "64MiB"}}});
    ASSERT_TRUE(cache.has_value()) << cache.error().ToString();
    cache_ = *std::move(cache);
    for (int key = 0; key < kKeyCount; ++key) {
      ASSERT_TRUE(cache_->Set(KeyOf(key), Numbered(1, 100)).ok());
    }
  }

  /// A size of any class: in the index entry, the database, a file, several.
  static std::size_t SizeFor(Random& random) {
    const std::uint64_t draw = random.Below(100);
    if (draw < 40) return 8 + random.Below(110);
    if (draw < 70) return 8 + random.Below(4000);
    if (draw < 99) return 17'000 + random.Below(40'000);
    return 1'100'000;
  }

  /// Writes the keys of `writer`, each round a larger number to each of them,
  /// in all the ways there are.
  void WriteRounds(int writer) {
    Random random(static_cast<std::uint64_t>(writer) + 1);
    for (std::uint32_t round = 2; round < kRoundCount; ++round) {
      std::vector<std::string> keys;
      std::vector<std::string> values;
      std::vector<SetItem> items;
      for (int key = writer; key < kKeyCount; key += kWriterCount) {
        keys.push_back(KeyOf(key));
        values.push_back(Numbered(round, SizeFor(random)));
      }
      for (std::size_t i = 0; i < keys.size(); ++i) {
        items.push_back({keys[i], values[i]});
      }
      if (round % 3 == 0) {
        EXPECT_TRUE(cache_->SetMany(items).ok());
        continue;
      }
      for (const SetItem& item : items) WriteOne(item, random);
    }
    --writing_;
  }
  void WriteOne(const SetItem& item, Random& random) {
    switch (random.Below(4)) {
      case 0: {
        const auto info = cache_->Inspect(item.key);
        ASSERT_TRUE(info.has_value() && info->has_value());
        const auto version =
            cache_->CompareAndSet(item.key, (*info)->version, item.value);
        EXPECT_TRUE(version.has_value() && version->has_value());
        break;
      }
      case 1: {
        auto writer = cache_->OpenWriter(item.key);
        ASSERT_TRUE(writer.has_value());
        EXPECT_TRUE((*writer)->Append(item.value).ok());
        EXPECT_TRUE((*writer)->Commit().applied);
        break;
      }
      default:
        EXPECT_TRUE(cache_->Set(item.key, item.value).ok());
        EXPECT_TRUE(*cache_->Touch(item.key, std::nullopt));
    }
  }

  /// Runs `read` (which returns the bytes found for a key) until all writers
  /// are done.
  void ReadWhileWriting(
      const std::function<std::optional<std::string>(int key)>& read) {
    std::array<std::uint32_t, kKeyCount> last{};
    for (std::uint64_t i = 0; writing_ > 0; ++i) {
      const int key = static_cast<int>(i % kKeyCount);
      const std::optional<std::string> bytes = read(key);
      ASSERT_TRUE(bytes.has_value()) << "a miss on " << KeyOf(key);
      const std::optional<std::uint32_t> number = NumberOf(*bytes);
      ASSERT_TRUE(number.has_value()) << "a torn value of " << KeyOf(key);
      std::uint32_t& before = last[static_cast<std::size_t>(key)];
      ASSERT_GE(*number, before) << "an older value of " << KeyOf(key);
      before = *number;
    }
  }

  /// Runs the writers and what `reads` does beside them.
  void Run(const std::vector<std::function<void()>>& reads) {
    writing_ = kWriterCount;
    std::vector<std::thread> threads;
    for (int writer = 0; writer < kWriterCount; ++writer) {
      threads.emplace_back([this, writer] { WriteRounds(writer); });
    }
    for (const auto& read : reads) threads.emplace_back(read);
    for (std::thread& thread : threads) thread.join();
    const auto report = cache_->Check();
    ASSERT_TRUE(report.has_value());
    EXPECT_TRUE(report->ok())
        << (report->problems.empty() ? "" : report->problems.front());
    EXPECT_EQ(*cache_->Count(), static_cast<std::uint64_t>(kKeyCount));
  }

  std::optional<std::string> GetOne(int key) {
    const auto value = cache_->Get(KeyOf(key));
    EXPECT_TRUE(value.has_value()) << value.error().ToString();
    if (!value || !*value) return std::nullopt;
    return std::string((*value)->bytes());
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  std::unique_ptr<Cache> cache_;
  std::atomic<int> writing_ = 0;
};

TEST_F(CacheConcurrency, GetNeverMissesAKeyThatAlwaysExists) {
  const auto read = [this] {
    ReadWhileWriting([this](int key) { return GetOne(key); });
  };
  Run({read, read});
}

TEST_F(CacheConcurrency, MultiGetNeverMissesAKeyThatAlwaysExists) {
  Run({[this] {
    ReadWhileWriting([this](int key) -> std::optional<std::string> {
      const std::string first = KeyOf(key);
      const std::string second = KeyOf((key + 5) % kKeyCount);
      const std::vector<std::string_view> keys = {first, second};
      const auto values = cache_->MultiGet(keys);
      EXPECT_TRUE(values.has_value());
      if (!values || !(*values)[0] || !(*values)[1]) return std::nullopt;
      return std::string((*values)[0]->bytes());
    });
  }});
}

TEST_F(CacheConcurrency, ReaderNeverMixesTwoValues) {
  Run({[this] {
    ReadWhileWriting([this](int key) -> std::optional<std::string> {
      while (true) {
        const auto reader = cache_->OpenReader(KeyOf(key));
        EXPECT_TRUE(reader.has_value());
        if (!reader || *reader == nullptr) return std::nullopt;
        std::string bytes((*reader)->info().size_bytes, '\0');
        std::size_t size = 0;
        bool gone = false;
        while (size < bytes.size() && !gone) {
          const auto piece = (*reader)->Read(std::span(bytes).subspan(
              size, std::min<std::size_t>(bytes.size() - size, 10'000)));
          gone = !piece.has_value();
          EXPECT_TRUE(!gone || piece.error().code() == StatusCode::kGone);
          if (!gone) size += *piece;
        }
        if (!gone) return bytes;  // Else it was overwritten: read the new one.
      }
    });
  }});
}

TEST_F(CacheConcurrency, ScanSeesEachKeyOnce) {
  Run({[this] {
    while (writing_ > 0) {
      const auto scan = cache_->OpenScan({.with_values = true});
      ASSERT_TRUE(scan.has_value());
      int count = 0;
      for (auto page = (*scan)->Next(5); page.has_value() && !page->empty();
           page = (*scan)->Next(5)) {
        for (const ScanItem& item : *page) {
          ++count;
          ASSERT_TRUE(NumberOf(item.value.bytes()).has_value()) << item.key;
        }
      }
      ASSERT_EQ(count, kKeyCount);
    }
  }});
}

TEST_F(CacheConcurrency, HousekeepingDisturbsNobody) {
  Run({[this] { ReadWhileWriting([this](int key) { return GetOne(key); }); },
       [this] {
         for (int i = 0; writing_ > 0; ++i) {
           EXPECT_TRUE(cache_->Cull().has_value());
           EXPECT_TRUE(cache_->Expire().has_value());
           EXPECT_TRUE(cache_->Stats().has_value());
           EXPECT_TRUE(
               cache_->Reset("inline_value_max", i % 2 == 0 ? "0" : "128")
                   .ok());
           if (i % 4 == 0) {
             const auto report = cache_->Check(true);
             ASSERT_TRUE(report.has_value()) << report.error().ToString();
             EXPECT_EQ(report->values_damaged, 0U);
             EXPECT_EQ(report->values_missing, 0U);
             EXPECT_EQ(report->repaired, 0U);
           }
         }
       }});
}

}  // namespace
}  // namespace larder::testing
