#include "torture/torture_model.h"

#include <algorithm>
#include <limits>
#include <unordered_map>

namespace larder::tools {
namespace {

constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();

struct Step {
  std::uint64_t state;
  std::uint64_t result;
};

// What the call makes of `state` and answers. Counters are states, too.
Step Next(const TortureRecord& call, std::uint64_t state) {
  switch (call.op) {
    case TortureOp::kSet:
    case TortureOp::kPair:
      return {call.stamp, 0};
    case TortureOp::kDelete:
      return {kTortureAbsent, state != kTortureAbsent ? 1U : 0U};
    case TortureOp::kAdd:
      return state == kTortureAbsent ? Step{call.stamp, 1} : Step{state, 0};
    case TortureOp::kPop:
      return {kTortureAbsent, state};
    case TortureOp::kIncr:
      return {state + 1, state + 1};
    default:
      return {state, state};
  }
}

void AddOnce(std::vector<std::uint64_t>& states, std::uint64_t state) {
  if (std::find(states.begin(), states.end(), state) == states.end()) {
    states.push_back(state);
  }
}

// The end of a call in doubt may be any time after its begin.
std::int64_t EndOf(const TortureRecord& call) {
  return call.outcome == TortureOutcome::kAcknowledged ? call.end_ns : kForever;
}

// Of writes in the order of their begin: the earliest end of those from i on.
std::vector<std::int64_t> EarliestEnds(
    const std::vector<TortureRecord>& writes) {
  std::vector<std::int64_t> ends(writes.size() + 1, kForever);
  for (std::size_t i = writes.size(); i-- > 0;) {
    ends[i] = std::min(ends[i + 1], EndOf(writes[i]));
  }
  return ends;
}

}  // namespace

void TortureFaults::Merge(const TortureFaults& other) noexcept {
  lost += other.lost;
  repeated += other.repeated;
  stale += other.stale;
  torn += other.torn;
  split += other.split;
}

OwnKeysModel::Name OwnKeysModel::NameOf(TortureOp op,
                                        std::uint32_t index) noexcept {
  const bool other = op == TortureOp::kIncr || op == TortureOp::kPair;
  return {other ? op : TortureOp::kSet, index};
}

const OwnKeysModel::Key* OwnKeysModel::Find(TortureOp op,
                                            std::uint32_t index) const {
  const auto it = keys_.find(NameOf(op, index));
  return it == keys_.end() ? nullptr : &it->second;
}

void OwnKeysModel::Apply(const TortureRecord& call, TortureFaults& faults) {
  if (call.outcome == TortureOutcome::kNotApplied) return;
  Key& key = keys_[NameOf(call.op, call.index)];
  if (key.broken) return;
  if (call.outcome == TortureOutcome::kUnknown) {
    for (const std::uint64_t state : std::vector(key.states)) {
      AddOnce(key.states, Next(call, state).state);
    }
    return;
  }
  const bool answers =
      call.op != TortureOp::kSet && call.op != TortureOp::kPair;
  std::vector<std::uint64_t> states;
  for (const std::uint64_t state : key.states) {
    const Step step = Next(call, state);
    if (!answers || step.result == call.result) AddOnce(states, step.state);
  }
  if (states.empty()) {
    const bool is_more =
        call.op == TortureOp::kIncr && call.result > Largest(call.index) + 1;
    const bool is_torn = call.result == kTortureTorn;
    ++(is_torn ? faults.torn : is_more ? faults.repeated : faults.lost);
    key.broken = true;
    return;
  }
  key.states = std::move(states);
}

bool OwnKeysModel::Allows(TortureOp op, std::uint32_t index,
                          std::uint64_t state) const {
  const Key* const key = Find(op, index);
  if (key == nullptr) return state == kTortureAbsent;
  return std::find(key->states.begin(), key->states.end(), state) !=
         key->states.end();
}

std::uint64_t OwnKeysModel::Largest(std::uint32_t counter) const {
  const Key* const key = Find(TortureOp::kIncr, counter);
  return key == nullptr
             ? 0
             : *std::max_element(key->states.begin(), key->states.end());
}

bool OwnKeysModel::IsBroken(TortureOp op, std::uint32_t index) const {
  const Key* const key = Find(op, index);
  return key != nullptr && key->broken;
}

TortureFaults CheckSharedKey(std::vector<TortureRecord> calls) {
  std::vector<TortureRecord> writes;
  for (const TortureRecord& call : calls) {
    if (call.op == TortureOp::kSharedSet &&
        call.outcome != TortureOutcome::kNotApplied) {
      writes.push_back(call);
    }
  }
  std::sort(writes.begin(), writes.end(), [](const auto& a, const auto& b) {
    return a.begin_ns < b.begin_ns;
  });
  const std::vector<std::int64_t> earliest = EarliestEnds(writes);
  // The end of the first write that began after `time`.
  const auto overwritten_at = [&](std::int64_t time) {
    const auto after = std::upper_bound(
        writes.begin(), writes.end(), time,
        [](std::int64_t t, const auto& write) { return t < write.begin_ns; });
    return earliest[static_cast<std::size_t>(after - writes.begin())];
  };
  std::unordered_map<std::uint64_t, const TortureRecord*> by_stamp;
  for (const TortureRecord& write : writes) by_stamp[write.stamp] = &write;
  TortureFaults faults;
  for (const TortureRecord& read : calls) {
    if (read.op != TortureOp::kSharedGet ||
        read.outcome != TortureOutcome::kAcknowledged) {
      continue;
    }
    const bool is_final = &read == &calls.back();
    std::int64_t written_ns = std::numeric_limits<std::int64_t>::min();
    if (read.result != kTortureAbsent) {
      const auto write = by_stamp.find(read.result);
      if (write == by_stamp.end() || write->second->begin_ns > read.end_ns) {
        ++faults.torn;
        continue;
      }
      written_ns = EndOf(*write->second);
    }
    if (overwritten_at(written_ns) < read.begin_ns) {
      ++(is_final ? faults.lost : faults.stale);
    }
  }
  return faults;
}

TortureFaults CheckSharedCounter(std::vector<TortureRecord> calls,
                                 std::uint64_t final_value) {
  std::uint64_t in_doubt = 0;
  std::erase_if(calls, [&in_doubt](const TortureRecord& call) {
    if (call.outcome == TortureOutcome::kUnknown) ++in_doubt;
    return call.outcome != TortureOutcome::kAcknowledged;
  });
  std::sort(calls.begin(), calls.end(),
            [](const auto& a, const auto& b) { return a.result < b.result; });
  TortureFaults faults;
  const std::uint64_t sum = calls.size();
  const std::uint64_t seen =
      std::max(final_value, calls.empty() ? 0 : calls.back().result);
  if (final_value < seen) faults.lost += seen - final_value;
  if (final_value < sum) faults.lost += sum - final_value;
  if (final_value > sum + in_doubt) {
    faults.repeated += final_value - sum - in_doubt;
  }
  std::int64_t earliest_end = kForever;  // Of the larger sums.
  for (std::size_t i = calls.size(); i-- > 0;) {
    if (i > 0 && calls[i - 1].result == calls[i].result) ++faults.lost;
    if (earliest_end < calls[i].begin_ns) ++faults.stale;
    earliest_end = std::min(earliest_end, calls[i].end_ns);
  }
  return faults;
}

}  // namespace larder::tools
