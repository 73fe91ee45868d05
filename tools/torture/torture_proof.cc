#include "torture/torture_proof.h"

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

#include "torture/torture_journal.h"

namespace larder::tools {
namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

// Codes that a call may end with while processes are killed and stopped.
bool IsExpected(StatusCode code) {
  return code == StatusCode::kTimedOut || code == StatusCode::kOutcomeUnknown ||
         code == StatusCode::kHolderNotResponding ||
         code == StatusCode::kSeatUnavailable;
}

class Prover {
 public:
  Prover(const TortureOptions& options, const TortureEvents& events,
         Cache& cache)
      : options_(options),
        events_(events),
        cache_(cache),
        written_ns_(events.holder_kills.size() + 1, kNever) {}

  Result<TortureProof> Prove() {
    for (unsigned writer = 0; writer < events_.lives.size(); ++writer) {
      for (unsigned life = 0; life < events_.lives[writer]; ++life) {
        LARDER_FAIL_IF_ERROR(
            ProveLife({.run = options_.run, .writer = writer, .life = life}));
      }
    }
    LARDER_FAIL_IF_ERROR(ProveShared());
    LARDER_FAIL_IF_ERROR(CheckCache());
    FindTakeovers();
    return std::move(proof_);
  }

 private:
  void AddProblem(std::string problem) {
    if (proof_.problems.size() < kTortureProblemsMax) {
      proof_.problems.push_back(std::move(problem));
    }
  }

  // What `before` did not have yet is about `what`.
  void Explain(const TortureFaults& before, const std::string& what) {
    const TortureFaults& now = proof_.faults;
    const auto add = [&](std::uint64_t TortureFaults::*kind, const char* name) {
      if (now.*kind != before.*kind) {
        AddProblem(
            fmt::format("{}: {} {}", what, now.*kind - before.*kind, name));
      }
    };
    add(&TortureFaults::lost, "lost");
    add(&TortureFaults::repeated, "repeated");
    add(&TortureFaults::stale, "stale");
    add(&TortureFaults::torn, "torn");
    add(&TortureFaults::split, "split");
  }

  Status ProveLife(const TortureLife& life) {
    const auto calls =
        ReadTortureJournal(TortureJournalPath(options_.work, life));
    if (!calls) return calls.error();
    OwnKeysModel model;
    for (const TortureRecord& call : *calls) {
      Count(call);
      if (IsTortureShared(call.op)) {
        shared_[{call.op == TortureOp::kSharedIncr, call.index}].push_back(
            call);
        continue;
      }
      const TortureFaults before = proof_.faults;
      model.Apply(call, proof_.faults);
      Explain(before, fmt::format("call {} on {}", call.number,
                                  TortureKey(life, call.op, call.index)));
    }
    return ProveOwnKeys(life, model);
  }

  void Count(const TortureRecord& call) {
    const auto code = static_cast<StatusCode>(call.code);
    if (code != StatusCode::kOk) {
      ++proof_.failed[std::string(StatusCodeName(code))];
      if (!IsExpected(code)) ++proof_.failed_unexpectedly;
    }
    if (!IsTortureWrite(call.op)) {
      ++proof_.reads;
    } else if (call.outcome == TortureOutcome::kAcknowledged) {
      ++proof_.acknowledged;
      NoteWrite(call);
    } else if (call.outcome == TortureOutcome::kUnknown) {
      ++proof_.in_doubt;
    }
  }

  // For the last kill before the write began.
  void NoteWrite(const TortureRecord& call) {
    const auto& kills = events_.holder_kills;
    const auto after =
        std::upper_bound(kills.begin(), kills.end(), call.begin_ns,
                         [](std::int64_t t, const TortureKill& kill) {
                           return t < kill.dead_ns;
                         });
    if (after == kills.begin()) return;
    std::int64_t& first =
        written_ns_[static_cast<std::size_t>(after - kills.begin()) - 1];
    first = std::min(first, call.end_ns);
  }

  void FindTakeovers() {
    for (std::size_t i = events_.holder_kills.size(); i-- > 0;) {
      written_ns_[i] = std::min(written_ns_[i], written_ns_[i + 1]);
      const TortureKill& kill = events_.holder_kills[i];
      if (written_ns_[i] == kNever || kill.stopped_ns < written_ns_[i])
        continue;
      proof_.takeover_ms.push_back(
          static_cast<double>(written_ns_[i] - kill.sent_ns) / 1e6);
    }
    std::sort(proof_.takeover_ms.begin(), proof_.takeover_ms.end());
  }

  // The stamp that a key holds, or its number.
  Result<std::uint64_t> Read(const std::string& key, bool is_number) {
    if (is_number) {
      const auto number = cache_.Get<std::int64_t>(key);
      if (!number) return Fail(number.error());
      return static_cast<std::uint64_t>(number->value_or(0));
    }
    const auto value = cache_.Get(key);
    if (!value) return Fail(value.error());
    return *value ? ReadTortureValue((*value)->bytes()) : kTortureAbsent;
  }

  Status ProveOwnKeys(const TortureLife& life, const OwnKeysModel& model) {
    const std::array<std::pair<TortureOp, std::uint32_t>, 3> spaces = {
        {{TortureOp::kSet, kTortureOwnKeys},
         {TortureOp::kPair, kTorturePairs},
         {TortureOp::kIncr, kTortureOwnCounters}}};
    for (const auto& [op, count] : spaces) {
      for (std::uint32_t i = 0; i < count; ++i) {
        if (model.IsBroken(op, i)) continue;
        const TortureFaults before = proof_.faults;
        LARDER_RETURN_IF_ERROR(ProveOwnKey(life, model, op, i));
        Explain(before, "at the end, " + TortureKey(life, op, i));
      }
    }
    return Status::Ok();
  }

  Status ProveOwnKey(const TortureLife& life, const OwnKeysModel& model,
                     TortureOp op, std::uint32_t index) {
    const bool is_number = op == TortureOp::kIncr;
    const auto state = Read(TortureKey(life, op, index), is_number);
    if (!state) return state.error();
    if (!model.Allows(op, index, *state)) {
      TortureFaults& faults = proof_.faults;
      const bool is_more = is_number && *state > model.Largest(index);
      ++(*state == kTortureTorn ? faults.torn
         : is_more              ? faults.repeated
                                : faults.lost);
    }
    if (op != TortureOp::kPair) return Status::Ok();
    const auto other = Read(TortureKey(life, op, index, 1), false);
    if (!other) return other.error();
    if (*other != *state) ++proof_.faults.split;
    return Status::Ok();
  }

  Status ProveShared() {
    const TortureLife any{.run = options_.run};
    for (std::uint32_t i = 0; i < kTortureSharedKeys; ++i) {
      std::vector<TortureRecord>& calls = shared_[{false, i}];
      const std::string key = TortureKey(any, TortureOp::kSharedGet, i);
      TortureRecord last;
      last.op = TortureOp::kSharedGet;
      last.outcome = TortureOutcome::kAcknowledged;
      last.begin_ns = last.end_ns = MonotonicNanoseconds();
      const auto state = Read(key, false);
      if (!state) return state.error();
      last.result = *state;
      calls.push_back(last);
      const TortureFaults before = proof_.faults;
      proof_.faults.Merge(CheckSharedKey(std::move(calls)));
      Explain(before, key);
    }
    for (std::uint32_t i = 0; i < kTortureSharedCounters; ++i) {
      const std::string key = TortureKey(any, TortureOp::kSharedIncr, i);
      const auto sum = Read(key, true);
      if (!sum) return sum.error();
      const TortureFaults before = proof_.faults;
      proof_.faults.Merge(
          CheckSharedCounter(std::move(shared_[{true, i}]), *sum));
      Explain(before, key);
    }
    return Status::Ok();
  }

  Status CheckCache() {
    const auto stats = cache_.Stats();
    if (!stats) return stats.error();
    proof_.evictions = stats->evictions;
    auto report = cache_.Check();
    if (!report) return report.error();
    proof_.check = std::move(*report);
    for (const std::string& problem : proof_.check.problems) {
      AddProblem(problem);
    }
    if (proof_.failed_unexpectedly != 0) {
      AddProblem(fmt::format("{} calls failed with codes that no kill explains",
                             proof_.failed_unexpectedly));
    }
    if (proof_.evictions != 0) {
      AddProblem(
          "items were evicted, so nothing is proved: give a larger "
          "--size-limit");
    }
    return Status::Ok();
  }

  const TortureOptions& options_;
  const TortureEvents& events_;
  Cache& cache_;
  // Of each kill of a holder: the end of the first write begun after it.
  std::vector<std::int64_t> written_ns_;
  std::map<std::pair<bool, std::uint32_t>, std::vector<TortureRecord>> shared_;
  TortureProof proof_;
};

}  // namespace

bool TortureProof::ok() const noexcept {
  return faults.none() && check.ok() && evictions == 0 &&
         failed_unexpectedly == 0;
}

Result<TortureProof> ProveTorture(const TortureOptions& options,
                                  const TortureEvents& events, Cache& cache) {
  return Prover(options, events, cache).Prove();
}

}  // namespace larder::tools
