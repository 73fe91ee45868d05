// Events (begins and ends) are in one list in the order of time. A call may go
// first if its begin comes before the first end that is left. It is taken out
// and the search goes on from the start; at an end that is left nothing can go
// first any more, and the last choice is taken back.

#include "linearizability.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace larder::testing {
namespace {

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

// The state after `call`, or nullopt if its answer is wrong in `state`.
std::optional<std::uint64_t> Step(const KeyCall& call, std::uint64_t state) {
  const bool open = call.end_ns == kNoEnd;  // Its answer was never heard.
  const auto answered =
      [&](std::uint64_t answer,
          std::uint64_t next) -> std::optional<std::uint64_t> {
    if (!open && answer != call.answer) return std::nullopt;
    return next;
  };
  switch (call.op) {
    case KeyOp::kSet:
      return call.argument;
    case KeyOp::kGet:
      return answered(state, state);
    case KeyOp::kDelete:
      return answered(state != 0 ? 1 : 0, 0);
    case KeyOp::kAdd:
      return state == 0 ? answered(1, call.argument) : answered(0, state);
    case KeyOp::kPop:
      return answered(state, 0);
    case KeyOp::kIncr:
      return answered(state + call.argument, state + call.argument);
  }
  return std::nullopt;
}

struct Event {
  std::int64_t time = 0;
  std::size_t call = 0;
  bool is_end = false;
  std::size_t next = kNone;
  std::size_t previous = kNone;
  std::size_t end = kNone;  // Of a begin: the event of its end.
};

class Search {
 public:
  explicit Search(const std::vector<KeyCall>& calls) : calls_(calls) {
    std::vector<std::pair<std::int64_t, std::size_t>> order;
    events_.emplace_back();  // The head of the list.
    for (std::size_t i = 0; i < calls.size(); ++i) {
      Event begin;
      begin.time = calls[i].begin_ns;
      begin.call = i;
      Event end = begin;
      end.time = calls[i].end_ns;
      end.is_end = true;
      events_.push_back(begin);
      events_.push_back(end);
      if (calls[i].end_ns != kNoEnd) ++left_;
    }
    // Of equal times begins come first: such calls overlap.
    std::stable_sort(
        events_.begin() + 1, events_.end(), [](const Event& a, const Event& b) {
          return std::pair(a.time, a.is_end) < std::pair(b.time, b.is_end);
        });
    std::vector<std::size_t> begins(calls.size());
    for (std::size_t i = 1; i < events_.size(); ++i) {
      events_[i].previous = i - 1;
      events_[i - 1].next = i;
      if (events_[i].is_end) {
        events_[begins[events_[i].call]].end = i;
      } else {
        begins[events_[i].call] = i;
      }
    }
    taken_.assign(calls.size(), '0');
  }

  bool Run() {
    std::size_t at = events_[0].next;
    while (left_ > 0) {
      if (!events_[at].is_end) {
        at = TryToTake(at) ? events_[0].next : events_[at].next;
        continue;
      }
      if (choices_.empty()) return false;
      at = events_[TakeBack()].next;
    }
    return true;
  }

 private:
  struct Choice {
    std::size_t event;
    std::uint64_t state;  // Before it.
  };

  bool TryToTake(std::size_t at) {
    const KeyCall& call = calls_[events_[at].call];
    const auto next = Step(call, state_);
    if (!next) return false;
    taken_[events_[at].call] = '1';
    if (!seen_.insert(taken_ + std::to_string(*next)).second) {
      taken_[events_[at].call] = '0';
      return false;
    }
    choices_.push_back({at, state_});
    state_ = *next;
    if (call.end_ns != kNoEnd) --left_;
    Unlink(at);
    Unlink(events_[at].end);
    return true;
  }

  std::size_t TakeBack() {
    const Choice choice = choices_.back();
    choices_.pop_back();
    state_ = choice.state;
    const Event& event = events_[choice.event];
    taken_[event.call] = '0';
    if (calls_[event.call].end_ns != kNoEnd) ++left_;
    Link(event.end);
    Link(choice.event);
    return choice.event;
  }

  void Unlink(std::size_t at) {
    events_[events_[at].previous].next = events_[at].next;
    if (events_[at].next != kNone) {
      events_[events_[at].next].previous = events_[at].previous;
    }
  }
  void Link(std::size_t at) {
    events_[events_[at].previous].next = at;
    if (events_[at].next != kNone) events_[events_[at].next].previous = at;
  }

  const std::vector<KeyCall>& calls_;
  std::vector<Event> events_;
  std::string taken_;  // By call.
  std::uint64_t state_ = 0;
  std::size_t left_ = 0;  // Calls with an end that are not taken.
  std::vector<Choice> choices_;
  std::unordered_set<std::string> seen_;
};

std::string Describe(const KeyCall& call, std::int64_t zero) {
  static constexpr const char* kNames[] = {"set", "get", "delete",
                                           "add", "pop", "incr"};
  const auto time = [zero](std::int64_t ns) {
    return ns == kNoEnd ? std::string("...") : std::to_string(ns - zero);
  };
  return "[" + time(call.begin_ns) + ", " + time(call.end_ns) + "] caller " +
         std::to_string(call.caller) + ": " +
         kNames[static_cast<std::size_t>(call.op)] + " " +
         std::to_string(call.argument) +
         (call.end_ns == kNoEnd ? "" : " -> " + std::to_string(call.answer)) +
         "\n";
}

}  // namespace

bool IsLinearizable(const std::vector<KeyCall>& calls) {
  return Search(calls).Run();
}

std::string DescribeConflict(std::vector<KeyCall> calls) {
  std::sort(calls.begin(), calls.end(), [](const KeyCall& a, const KeyCall& b) {
    return a.end_ns < b.end_ns;
  });
  // A beginning: what had ended by some time; what had only begun is open.
  std::size_t good = 0;
  std::size_t bad = calls.size();
  const auto beginning = [&calls](std::size_t count) {
    std::vector<KeyCall> some = calls;
    const std::int64_t last = count == 0 ? 0 : calls[count - 1].end_ns;
    for (std::size_t i = count; i < some.size(); ++i) some[i].end_ns = kNoEnd;
    std::erase_if(some, [last](const KeyCall& c) { return c.begin_ns > last; });
    return some;
  };
  while (bad - good > 1) {
    const std::size_t middle = (good + bad) / 2;
    (IsLinearizable(beginning(middle)) ? good : bad) = middle;
  }
  std::vector<KeyCall> shown = beginning(bad);
  std::sort(shown.begin(), shown.end(), [](const KeyCall& a, const KeyCall& b) {
    return a.begin_ns < b.begin_ns;
  });
  std::string text;
  for (const KeyCall& call : shown) {
    text += Describe(call, shown[0].begin_ns);
  }
  return text;
}

}  // namespace larder::testing
