#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/coding.h"
#include "fault/power_cut_disk.h"
#include "fault/sync_hook.h"
#include "forked_process.h"
#include "store/store.h"
#include "temporary_directory.h"
#include "test_values.h"

// Random writes of all durabilities by processes that are killed, then a power
// cut, then the question whether what was promised is there. A process may have
// been killed before, so that another one went on; syncs may have failed.
// Values lie in entries, in runs and in segments, and come in streams, which
// stay open while others write, and in batches; there are counters and tags.
//
// The promise of a key is that of its last acknowledged write, or what Sync
// made of it. Until then nothing older comes back; what came after it may be
// there or not, and if one of these promised less, neither.

namespace larder::testing {
namespace {

std::uint64_t SeedCount() {
  const char* text = std::getenv("LARDER_POWER_CUTS");
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 30;
#else
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 150;
#endif
}

constexpr std::size_t kKeys = 320;
constexpr std::size_t kCounters = 8;  // The keys after these.
constexpr std::size_t kAllKeys = kKeys + kCounters;
constexpr std::size_t kTags = 5;
constexpr std::size_t kBatchMax = 6;
constexpr std::size_t kCallsMax = 6'000;
constexpr std::size_t kSafeCalls = 450;

enum class Kind : std::uint8_t {
  kSet,
  kDelete,
  kTouch,
  kSync,
  kIncr,
  kStream,
  kBatch,
  kEvictTag,
  kClear
};
enum class End : std::uint8_t { kPending, kAcknowledged, kUnknown, kRefused };

struct Call {
  Kind kind = Kind::kSet;
  End end = End::kPending;
  Durability durability = Durability::kNone;
  std::uint16_t key = 0;
  std::uint32_t life = 0;  // Of what is not logged: another one cannot know it.
  std::uint32_t value = 0;  // What the key holds afterwards; 0: nothing.
  std::uint32_t batch = 0;  // Those of one are made at once; 0: none.
};

/// What the processes did, in memory that they share.
struct Journal {
  std::atomic<std::uint32_t> count{0};
  std::uint32_t life = 0;
  std::uint32_t values = 0;  // No two are the same.
  std::uint32_t batches = 0;
  std::array<Call, kCallsMax> calls;
};

/// What a key may hold after all; 0: nothing.
std::set<std::uint32_t> Allowed(const Journal& journal, std::size_t key,
                                Durability survived) {
  std::set<std::uint32_t> allowed = {0};
  std::set<std::uint32_t> since = {0};  // From the last acknowledged one on.
  std::uint32_t life = 0;
  std::optional<Durability> promise;  // Of that one.
  for (std::size_t i = 0; i < journal.count; ++i) {
    const Call& call = journal.calls[i];
    const bool acknowledged = call.end == End::kAcknowledged;
    if (call.kind == Kind::kSync) {
      const bool has_it =
          promise && (*promise != Durability::kNone || life == call.life);
      if (!acknowledged || !has_it) continue;
      promise = Durability::kPower;
      allowed = since;
      continue;
    }
    if (call.key != key || call.end == End::kRefused) continue;
    if (acknowledged) {
      life = call.life;
      promise = call.durability;
      since.clear();
      if (call.durability >= survived) allowed.clear();
    }
    since.insert(call.value);
    allowed.insert(call.value);
    // The old one may be gone, and the new one not there.
    if (call.durability < survived) allowed.insert(0);
  }
  return allowed;
}

bool Failed() { return ::testing::Test::HasFailure(); }

/// One directory, and what becomes of it.
class Life {
 public:
  Life() : journal_(new (Shared()) Journal) {}
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;
  ~Life() { ::munmap(journal_, sizeof(Journal)); }

  /// A process that opens the cache, sees to it that nothing is missing, goes
  /// on writing, and is killed.
  void RunAndKill(std::uint64_t seed, PowerCutDisk::Faults faults) {
    ForkedProcess child([&](const ForkedProcess::Pipe&) {
      Random random(seed);
      PowerCutDisk disk(directory_.path() / "notes");
      disk.Start(faults);
      const auto store = Open(cache());
      if (!store) return 1;
      ExpectKept(*store, Durability::kProcess);
      ++journal_->life;
      // A short life has its log and that of the last one still.
      MakeCalls(*store, random,
                random.OneIn(3) ? random.Below(50) : 400 + random.Below(1'000));
      if (!Failed()) ::raise(SIGKILL);
      return 1;
    });
    ASSERT_EQ(child.Wait(), -SIGKILL);
  }

  void CutAndLook(std::uint64_t seed) {
    ForkedProcess child([&](const ForkedProcess::Pipe&) {
      Random random(seed);
      SkipSyncs();  // Of what is left nothing more is to be cut.
      const PowerCutDisk disk(directory_.path() / "notes");
      const auto left = directory_.path() / "left";
      disk.Cut(cache(), left, random);
      const auto store = Open(left);
      if (store) ExpectKept(*store, Durability::kPower);
      return Failed() ? 1 : 0;
    });
    ASSERT_EQ(child.Wait(), 0);
  }

 private:
  static void* Shared() {
    return ::mmap(nullptr, sizeof(Journal), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  }

  static std::unique_ptr<Store> Open(const std::filesystem::path& path) {
    EngineOptions options;
    options.settings = {{"size_limit", "16MiB"}, {"policy", "none"}};
    auto store = Store::Open(path, options);
    EXPECT_TRUE(store.has_value()) << store.error().ToString();
    return store ? std::move(*store) : nullptr;
  }

  static std::string KeyOf(std::size_t key) {
    return "key" + std::to_string(key);
  }
  static constexpr std::array<std::size_t, 8> kSizes = {
      30, 300, 300, 3'000, 9'000, 20'000, 40'000, 90'000};
  static bool IsSmall(std::uint32_t value) {
    return kSizes[value % kSizes.size()] <= 300;
  }
  static std::string ValueOf(std::uint32_t value) {
    std::string bytes = MakeValue(value, kSizes[value % kSizes.size()]);
    bytes.replace(0, 8, std::to_string(10'000'000 + value));
    return bytes;
  }
  /// Every third value has one.
  static std::string TagOf(std::uint32_t value) {
    if (value % 3 != 0) return {};
    return "tag" + std::to_string(value / 3 % kTags);
  }

  /// What the key holds; a value that nobody wrote is a failure of the test.
  static std::uint32_t ValueAt(Store& store, std::size_t key) {
    const std::string name = KeyOf(key);
    const Command get = GetCommand{.key = name};
    Reply reply;
    EXPECT_TRUE(store.Execute({&get, 1}, {&reply, 1}, {}).ok());
    EXPECT_EQ(reply.status.ToString(), "kOk") << name;
    if (!reply.applied) return 0;
    const std::string bytes = reply.value.ToString();
    if (key >= kKeys) {
      EXPECT_EQ(bytes.size(), sizeof(std::int64_t));
      return static_cast<std::uint32_t>(LoadFixed<std::int64_t>(bytes.data()));
    }
    const std::uint32_t value =
        static_cast<std::uint32_t>(std::stoul(bytes.substr(0, 8))) - 10'000'000;
    EXPECT_TRUE(bytes == ValueOf(value)) << name << " holds a torn value";
    EXPECT_EQ(reply.info.tag, TagOf(value));
    return value;
  }

  std::string History(std::size_t key) const {
    std::string text;
    for (std::size_t i = 0; i < journal_->count; ++i) {
      const Call& call = journal_->calls[i];
      if (call.kind != Kind::kSync && call.key != key) continue;
      text += "\n  " + std::to_string(i + 1) + ": kind " +
              std::to_string(static_cast<int>(call.kind)) + " end " +
              std::to_string(static_cast<int>(call.end)) + " durability " +
              std::to_string(static_cast<int>(call.durability)) + " life " +
              std::to_string(call.life) + " value " +
              std::to_string(call.value);
    }
    return text;
  }

  void ExpectKept(Store& store, Durability survived) {
    std::vector<std::uint32_t> held;
    for (std::size_t key = 0; key < kAllKeys; ++key) {
      const std::set<std::uint32_t> allowed = Allowed(*journal_, key, survived);
      const std::uint32_t value = held.emplace_back(ValueAt(store, key));
      EXPECT_TRUE(allowed.contains(value))
          << KeyOf(key) << " holds " << value << ", not " << *allowed.begin()
          << " (or one of " << allowed.size() << ")" << History(key);
    }
    ExpectWholeBatches(held, survived);
    const auto report = store.Check(false);
    ASSERT_TRUE(report.has_value()) << report.error().ToString();
    EXPECT_TRUE(report->counters_match);
  }

  /// If one key holds what a batch has set, no other one holds what was there
  /// before it.
  void ExpectWholeBatches(const std::vector<std::uint32_t>& held,
                          Durability survived) {
    std::map<std::uint32_t, std::size_t> order;  // By value.
    std::vector<std::size_t> last(kAllKeys);     // By key.
    std::set<std::uint32_t> there;               // Batches.
    for (std::size_t i = 0; i < journal_->count; ++i) {
      const Call& call = journal_->calls[i];
      if (call.end == End::kRefused || call.kind == Kind::kSync) continue;
      last[call.key] = i;
      if (call.key >= kKeys || call.value == 0) continue;
      order.emplace(call.value, i);  // Not that of a touch.
      if (call.batch != 0 && held[call.key] == call.value &&
          call.durability != Durability::kNone) {
        there.insert(call.batch);
      }
    }
    for (std::size_t i = 0; i < journal_->count; ++i) {
      const Call& call = journal_->calls[i];
      if (!there.contains(call.batch)) continue;
      const std::uint32_t value = held[call.key];
      // Bytes that were not synced may be lost without their batch.
      const bool may_be_lost =
          last[call.key] != i || call.value == 0 ||
          (call.durability < survived && !IsSmall(call.value));
      EXPECT_TRUE(value == 0 ? may_be_lost : order[value] >= i)
          << KeyOf(call.key) << " holds " << value << ", but not batch "
          << call.batch << History(call.key);
      EXPECT_TRUE(call.value != 0 || value == 0 || order[value] > i);
    }
  }

  /// The next call, noted before it is made.
  Call& Begin(Random& random, unsigned power, bool is_moving) {
    Call& call = journal_->calls[journal_->count];
    call = Call();
    call.life = journal_->life;
    call.key = static_cast<std::uint16_t>(random.Below(kKeys));
    const std::uint64_t choice = random.Below(1'000);
    call.kind = choice < 1     ? Kind::kClear
                : choice < 5   ? Kind::kEvictTag
                : choice < 15  ? Kind::kSync
                : choice < 45  ? Kind::kTouch
                : choice < 85  ? Kind::kIncr
                : choice < 110 ? Kind::kStream
                : choice < 150 ? Kind::kBatch
                : choice < 210 ? Kind::kDelete
                               : Kind::kSet;
    call.durability = random.Below(10) < power ? Durability::kPower
                      : random.OneIn(4)        ? Durability::kNone
                                               : Durability::kProcess;
    if (call.kind == Kind::kIncr) call.key = kKeys + call.key % kCounters;
    if (call.kind == Kind::kSet) call.value = ++journal_->values;
    // Much is safe and stays, and is moved; what syncs the log later is small.
    if (is_moving && call.kind <= Kind::kSync) {
      const bool is_first = journal_->count < kSafeCalls;
      const bool is_safe = is_first || IsSmall(call.value);
      call.durability = is_safe ? Durability::kPower : Durability::kProcess;
      if (!is_first) call.key %= kKeys / 4;
      if (call.kind == Kind::kSync) call.kind = Kind::kDelete;
    }
    ++journal_->count;
    return call;
  }

  /// Another one that is made with it.
  Call& BeginAlso(const Call& first, std::size_t key, std::uint32_t value) {
    Call& call = journal_->calls[journal_->count];
    call = first;
    call.key = static_cast<std::uint16_t>(key);
    call.value = value;
    ++journal_->count;
    return call;
  }

  static Status Execute(Store& store, std::span<const Command> commands,
                        Durability durability) {
    std::vector<Reply> replies(commands.size());
    Status status = store.Execute(
        commands, replies, {.durability = durability, .all_or_nothing = true});
    for (const Reply& reply : replies) {
      if (status.ok()) status = reply.status;
    }
    return status;
  }

  Status Make(Store& store, Call& call, Random& random) {
    const std::string key = KeyOf(call.key);
    const std::string value = ValueOf(call.value);
    const std::string tag = TagOf(call.value);
    Command command = SetCommand{.key = key, .value = value, .tag = tag};
    switch (call.kind) {
      case Kind::kSync:
        return store.Sync();
      case Kind::kStream:
        return MakeStream(store, call);
      case Kind::kBatch:
        return MakeBatch(store, call, random);
      case Kind::kEvictTag:
      case Kind::kClear:
        return MakeWhole(store, call, random);
      case Kind::kIncr:
        call.value = ValueAt(store, call.key) + 1;
        command = IncrCommand{.key = key};
        break;
      case Kind::kDelete:
        command = DeleteCommand{.key = key};
        break;
      case Kind::kTouch:
        command = TouchCommand{.key = key};
        break;
      case Kind::kSet:
        break;
    }
    return Execute(store, {&command, 1}, call.durability);
  }

  /// Begins one, or commits the one that was begun before. Of a longer stream
  /// a part is written meanwhile.
  Status MakeStream(Store& store, Call& call) {
    if (stream_ == nullptr) {
      streamed_ = ++journal_->values;
      stream_key_ = call.key;
      call.key = kKeys;  // It is no change yet.
      call.kind = Kind::kSync;
      call.end = End::kRefused;
      const std::string value = ValueOf(streamed_);
      auto writer = store.OpenWriter(
          SetCommand{.key = KeyOf(stream_key_), .tag = TagOf(streamed_)}, 0,
          {.durability = call.durability});
      stream_durability_ = call.durability;
      if (writer) stream_ = *std::move(writer);
      return writer ? stream_->Append(value) : writer.error();
    }
    call.key = static_cast<std::uint16_t>(stream_key_);
    call.durability = stream_durability_;
    call.value = streamed_;
    const auto writer = std::move(stream_);
    return writer->Commit().status;
  }

  Status MakeBatch(Store& store, Call& call, Random& random) {
    call.batch = ++journal_->batches;
    const std::size_t first = journal_->count - 1;
    const std::size_t count = 2 + random.Below(kBatchMax - 1);
    // Keys in a row: no two are the same.
    for (std::size_t i = 0; i < count; ++i) {
      const bool deletes = i != 0 && random.OneIn(4);
      const std::uint32_t value = deletes ? 0 : ++journal_->values;
      if (i == 0) {
        call.value = value;
      } else {
        BeginAlso(call, (call.key + i) % kKeys, value);
      }
    }
    std::vector<std::array<std::string, 3>> texts;
    for (std::size_t i = first; i < first + count; ++i) {
      const Call& one = journal_->calls[i];
      texts.push_back({KeyOf(one.key), ValueOf(one.value), TagOf(one.value)});
    }
    std::vector<Command> commands;
    for (std::size_t i = 0; i < count; ++i) {
      const auto& [key, value, tag] = texts[i];
      if (journal_->calls[first + i].value == 0) {
        commands.emplace_back(DeleteCommand{.key = key});
      } else {
        commands.emplace_back(
            SetCommand{.key = key, .value = value, .tag = tag});
      }
    }
    return Execute(store, commands, call.durability);
  }

  /// A deletion of each key that it concerns.
  Status MakeWhole(Store& store, Call& call, Random& random) {
    const bool all = call.kind == Kind::kClear;
    const std::string tag = "tag" + std::to_string(random.Below(kTags));
    call.durability = Durability::kProcess;
    const Call model = call;
    --journal_->count;  // It may concern none.
    for (std::size_t key = 0; key < kAllKeys; ++key) {
      const std::uint32_t value = ValueAt(store, key);
      if (value == 0 || (!all && (key >= kKeys || TagOf(value) != tag))) {
        continue;
      }
      BeginAlso(model, key, 0);
    }
    Command command = EvictTagCommand{.tag = tag};
    if (all) command = ClearCommand{};
    Reply reply;
    const Status status = store.Execute({&command, 1}, {&reply, 1}, {});
    return status.ok() ? reply.status : status;
  }

  /// A touch keeps the value, and its promise if that was less.
  void LookAtTouched(Call& call) const {
    for (std::size_t i = journal_->count - 1; i-- > 0;) {
      const Call& before = journal_->calls[i];
      if (before.kind == Kind::kSync || before.key != call.key ||
          before.end == End::kRefused) {
        continue;
      }
      call.value = before.value;
      call.durability = std::min(call.durability, before.durability);
      if (before.end != End::kAcknowledged || before.life != call.life) {
        call.kind = Kind::kDelete;  // What is it that is touched?
        call.value = 0;
      }
      return;
    }
  }

  void MakeCalls(Store& store, Random& random, std::size_t count) {
    const auto power = static_cast<unsigned>(random.Below(8));
    const bool is_moving = random.OneIn(2);
    while (count-- > 0 && journal_->count + kAllKeys < kCallsMax) {
      const std::size_t first = journal_->count;
      Call& call = Begin(random, power, is_moving);
      if (call.kind == Kind::kTouch) LookAtTouched(call);
      const Status status = Make(store, call, random);
      const End end = status.ok() ? End::kAcknowledged
                      : status.code() == StatusCode::kOutcomeUnknown
                          ? End::kUnknown
                          : End::kRefused;
      for (std::size_t i = first; i < journal_->count; ++i) {
        Call& one = journal_->calls[i];
        if (one.end == End::kPending) one.end = end;
      }
      // The store has been opened anew, or will be.
      if (!status.ok()) ++journal_->life;
    }
    stream_.reset();
  }

  [[nodiscard]] std::filesystem::path cache() const {
    return directory_.path() / "cache";
  }

  const TemporaryDirectory directory_;
  Journal* const journal_;
  std::unique_ptr<ValueWriter> stream_;  // That is open now, and of what.
  std::size_t stream_key_ = 0;
  std::uint32_t streamed_ = 0;
  Durability stream_durability_ = Durability::kNone;
};

void RunSeed(std::uint64_t seed) {
  Life life;
  Random random(seed);
  PowerCutDisk::Faults faults;
  const std::uint64_t kind = random.Below(4);
  if (kind == 0) {
    faults.fail_at = 1 + random.Below(100);
    // The second one finds what the first one has left.
    if (random.OneIn(2)) faults.fail_again_after = 1 + random.Below(20);
  }
  if (kind == 1) {
    faults.kill_at = 1 + random.Below(200);
    faults.kill_before = random.OneIn(2);
  }
  ASSERT_NO_FATAL_FAILURE(life.RunAndKill(random.Next(), faults));
  // After a failed sync only its own process knows what it may rely on.
  if (faults.fail_at == 0 && random.OneIn(2)) {
    ASSERT_NO_FATAL_FAILURE(life.RunAndKill(random.Next(), {}));
  }
  ASSERT_NO_FATAL_FAILURE(life.CutAndLook(random.Next()));
}

// In parts, which may run side by side.
class PowerCutTest : public ::testing::TestWithParam<std::uint64_t> {};
constexpr std::uint64_t kParts = 10;

TEST_P(PowerCutTest, WhatWasPromisedIsThere) {
  const std::uint64_t count = SeedCount() / kParts;
  const std::uint64_t first = SeedFromEnvironment(1) + GetParam() * count;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    ASSERT_NO_FATAL_FAILURE(RunSeed(seed)) << "LARDER_SEED=" << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Parts, PowerCutTest,
                         ::testing::Range<std::uint64_t>(0, kParts));

}  // namespace
}  // namespace larder::testing
