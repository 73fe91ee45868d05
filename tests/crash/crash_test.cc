#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "larder/engine/policy.h"

#include "crash/acknowledgement.h"
#include "crash/operation_stream.h"
#include "model_engine.h"
#include "spawned_process.h"
#include "temporary_directory.h"

// A process writes through a real cache and is killed at a random moment, again
// and again on the same directory. Its operations follow from a seed, so the
// test knows the state after the acknowledged ones: that is what must be there,
// or that and the one operation per thread that was under way, as a whole.
//   LARDER_SEED=N          the first seed (printed)
//   LARDER_CRASH_CYCLES=N  how many kills

namespace larder::testing {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

int CycleCount() {
  const char* text = std::getenv("LARDER_CRASH_CYCLES");
  return text != nullptr ? std::atoi(text) : 60;
}

struct Item {
  std::string value;
  std::string tag;
  CodecId codec = 0;
  bool expires = false;
  friend bool operator==(const Item&, const Item&) = default;
};
using Items = std::map<std::string, Item>;

Items ItemsOf(Cache& cache, const std::string& prefix) {
  Items items;
  const auto scan = cache.OpenScan({.prefix = prefix, .with_values = true});
  if (!scan) {
    ADD_FAILURE() << scan.error().ToString();
    return items;
  }
  while (true) {
    const auto page = (*scan)->Next(1000);
    if (!page) {
      ADD_FAILURE() << page.error().ToString();
      return items;
    }
    if (page->empty()) return items;
    for (const ScanItem& item : *page) {
      items[item.key] = {item.value.ToString(), item.info.tag, item.info.codec,
                         item.info.expires_at != kNeverExpires};
    }
  }
}

std::string Describe(const Item* item) {
  if (item == nullptr) return "absent";
  std::ostringstream out;
  out << item->value.size() << " bytes, hash "
      << std::hash<std::string>()(item->value) << ", tag '" << item->tag
      << "', codec " << int{item->codec} << (item->expires ? ", expires" : "");
  return out.str();
}

/// The first few keys whose items differ; empty if none do. With
/// `some_evicted` an item may be absent from `found`.
std::string Difference(const Items& expected, const Items& found,
                       bool some_evicted) {
  std::ostringstream out;
  int count = 0;
  const auto report = [&](const std::string& key, const Item* a,
                          const Item* b) {
    if (++count <= 5) {
      out << "  " << key << ": expected " << Describe(a) << ", found "
          << Describe(b) << "\n";
    }
  };
  for (const auto& [key, item] : expected) {
    const auto it = found.find(key);
    if (it == found.end()) {
      if (!some_evicted) report(key, &item, nullptr);
    } else if (it->second != item) {
      report(key, &item, &it->second);
    }
  }
  for (const auto& [key, item] : found) {
    if (!expected.contains(key)) report(key, nullptr, &item);
  }
  return count == 0 ? std::string()
                    : out.str() + "  (" + std::to_string(count) + " keys)";
}

class CrashTest : public ::testing::Test {
 protected:
  /// Runs a writer, kills it, and checks what it left against the model.
  void Cycle(const WriterPlan& plan, const std::string& size_limit,
             Random& random) {
    std::vector<std::uint32_t> done_count;
    ASSERT_NO_FATAL_FAILURE(
        WriteUntilKilled(plan, size_limit, random, done_count));
    CacheOptions options;
    options.mode = OpenMode::kCreate;  // It may not have come that far.
    Result<std::unique_ptr<Cache>> cache = Cache::Open(path_, options);
    ASSERT_TRUE(cache.has_value()) << cache.error().ToString();
    ASSERT_NO_FATAL_FAILURE(CheckCounters(**cache));
    ASSERT_NO_FATAL_FAILURE(CheckItems(plan, done_count, **cache));
    ASSERT_EQ((*cache)->Close().ToString(), "kOk");
  }

  void WriteUntilKilled(const WriterPlan& plan, const std::string& size_limit,
                        Random& random,
                        std::vector<std::uint32_t>& done_count) {
    SpawnedProcess writer(
        LARDER_CRASH_WRITER,
        {path_.string(), std::to_string(plan.seed),
         std::to_string(plan.thread_count), plan.whole_cache ? "1" : "0",
         plan.with_eviction ? "1" : "0", size_limit, policy_});
    std::vector<char> bytes;
    // One time in five while it opens, else somewhere after its first write.
    if (!random.OneIn(5)) {
      const auto give_up = SpawnedProcess::Clock::now() + seconds(60);
      while (bytes.empty() && SpawnedProcess::Clock::now() < give_up) {
        ASSERT_TRUE(writer.ReadUntil(
            SpawnedProcess::Clock::now() + milliseconds(1), bytes))
            << "the writer ended by itself";
      }
    }
    const microseconds more(random.Below(60'000));
    ASSERT_TRUE(writer.ReadUntil(SpawnedProcess::Clock::now() + more, bytes))
        << "the writer ended by itself";
    writer.Kill();
    while (writer.ReadUntil(SpawnedProcess::Clock::now() + seconds(1), bytes)) {
    }
    const int status = writer.Wait();
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    CountDone(plan, bytes, done_count);
  }

  static void CountDone(const WriterPlan& plan, const std::vector<char>& bytes,
                        std::vector<std::uint32_t>& done_count) {
    done_count.assign(static_cast<std::size_t>(plan.thread_count), 0);
    for (std::size_t i = 0; i + sizeof(Acknowledgement) <= bytes.size();
         i += sizeof(Acknowledgement)) {
      Acknowledgement done{};
      std::memcpy(&done, bytes.data() + i, sizeof done);
      ASSERT_LT(done.thread, done_count.size());
      ASSERT_EQ(done.index, done_count[done.thread]);
      ++done_count[done.thread];
    }
  }

  static void CheckCounters(Cache& cache) {
    const Result<CheckReport> report = cache.Check();
    ASSERT_TRUE(report.has_value()) << report.error().ToString();
    EXPECT_TRUE(report->ok())
        << (report->problems.empty() ? "" : report->problems.front());
    EXPECT_EQ(report->count_ledger, report->count_recount);
    EXPECT_EQ(report->bytes_ledger, report->bytes_recount);
  }

  void CheckItems(const WriterPlan& plan,
                  const std::vector<std::uint32_t>& done_count, Cache& cache) {
    std::vector<OperationStream> streams;
    for (int t = 0; t < plan.thread_count; ++t) {
      OperationStream& stream = streams.emplace_back(plan, t);
      const std::uint32_t count = done_count[static_cast<std::size_t>(t)];
      for (std::uint32_t i = 0; i < count; ++i) {
        ASSERT_EQ(stream.ApplyNext(*model_).ToString(), "kOk");
      }
      acknowledged_ += count;
    }
    // Threads have keys of their own, so each is looked at by itself. A single
    // thread may also have cleared those of others.
    const bool all_as_one = plan.thread_count == 1;
    for (int t = 0; t < plan.thread_count; ++t) {
      const std::string prefix =
          all_as_one ? std::string() : OperationStream::PrefixOf(t);
      const Items found = ItemsOf(cache, prefix);
      const std::string without =
          Difference(ItemsOf(*model_, prefix), found, plan.with_eviction);
      if (without.empty()) continue;
      ASSERT_EQ(
          streams[static_cast<std::size_t>(t)].ApplyNext(*model_).ToString(),
          "kOk");
      ++under_way_;
      const std::string with =
          Difference(ItemsOf(*model_, prefix), found, plan.with_eviction);
      ASSERT_TRUE(with.empty())
          << "after " << done_count[static_cast<std::size_t>(t)]
          << " acknowledged operations of thread " << t
          << " the cache is neither as they left it:\n"
          << without << "\nnor as the next one leaves it:\n"
          << with;
    }
    if (plan.with_eviction) ForgetEvicted(cache);
  }

  /// What was evicted is no longer expected in later cycles either.
  void ForgetEvicted(Cache& cache) {
    const Items found = ItemsOf(cache, "");
    for (const auto& [key, item] : ItemsOf(*model_, "")) {
      if (!found.contains(key)) {
        ASSERT_TRUE(model_->Delete(key).has_value());
        ++evicted_;
      }
    }
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const std::filesystem::path path_ = directory_.path() / "cache";
  const std::unique_ptr<Cache> model_ = Cache::OnEngine(ModelEngine::Make());
  std::string policy_ = "least-recently-stored";  ///< Of the next writer.
  std::uint64_t acknowledged_ = 0;
  int under_way_ = 0;  ///< Operations that had happened unacknowledged.
  std::uint64_t evicted_ = 0;
};

TEST_F(CrashTest, NothingAcknowledgedIsLostAndNothingHappensByHalf) {
  const std::uint64_t seed = SeedFromEnvironment(1);
  std::printf("LARDER_SEED=%llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  for (int cycle = 0; cycle < CycleCount(); ++cycle) {
    SCOPED_TRACE("cycle " + std::to_string(cycle));
    WriterPlan plan;
    plan.seed = seed * 1000 + static_cast<std::uint64_t>(cycle);
    plan.whole_cache = cycle % 2 == 0;
    plan.thread_count = plan.whole_cache ? 1 : 3;
    Cycle(plan, "512MiB", random);
    if (HasFailure()) return;
  }
  std::printf("%llu operations acknowledged, %d more had happened\n",
              static_cast<unsigned long long>(acknowledged_), under_way_);
  EXPECT_GT(acknowledged_, static_cast<std::uint64_t>(CycleCount()));
}

std::vector<std::string> EvictingPolicies() {
  std::vector<std::string> names = PolicyNames();
  std::erase(names, "none");
  return names;
}

// Each writer has another policy than the one before it, which also has to do
// with what that one ranked.
TEST_F(CrashTest, FullCacheKeepsItsCountersAndServesNoOldValue) {
  const std::uint64_t seed = SeedFromEnvironment(1);
  std::printf("LARDER_SEED=%llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  const std::vector<std::string> policies = EvictingPolicies();
  const int policy_count = static_cast<int>(policies.size());
  const int cycle_count = std::max(CycleCount() / 3, policy_count);
  for (int cycle = 0; cycle < cycle_count; ++cycle) {
    policy_ = policies[static_cast<std::size_t>(cycle % policy_count)];
    SCOPED_TRACE("cycle " + std::to_string(cycle) + ", " + policy_);
    const WriterPlan plan = {
        .seed = seed * 1000 + static_cast<std::uint64_t>(cycle),
        .thread_count = 2,
        .with_eviction = true};
    Cycle(plan, "16MiB", random);
    if (HasFailure()) return;
  }
  EXPECT_GT(evicted_, 0U) << "the cache was never full";
}

// What killed writers leave behind (torn tails, values without an entry) goes
// away by itself.
TEST_F(CrashTest, SpaceOfKilledWritersComesBack) {
  Random random(SeedFromEnvironment(1));
  for (int cycle = 0; cycle < 5; ++cycle) {
    const WriterPlan plan = {.seed = static_cast<std::uint64_t>(cycle + 1),
                             .thread_count = 2};
    std::vector<std::uint32_t> done_count;
    ASSERT_NO_FATAL_FAILURE(
        WriteUntilKilled(plan, "512MiB", random, done_count));
  }
  Result<std::unique_ptr<Cache>> cache = Cache::Open(path_);
  ASSERT_TRUE(cache.has_value()) << cache.error().ToString();
  ASSERT_TRUE((*cache)->Clear().has_value());
  ASSERT_TRUE((*cache)->Cull(0).has_value());
  ASSERT_EQ((*cache)->Close().ToString(), "kOk");
  std::uintmax_t bytes = 0;
  for (const auto& file :
       std::filesystem::recursive_directory_iterator(path_ / "log")) {
    bytes += file.file_size();
  }
  EXPECT_LE(bytes, 1U << 20) << "segment files of an empty cache";
}

}  // namespace
}  // namespace larder::testing
