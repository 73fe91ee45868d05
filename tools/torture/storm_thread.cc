#include "torture/storm_thread.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

// What a thread of the storm knows and judges; its calls are in
// storm_calls.cc.

namespace larder::tools {
namespace {

constexpr std::size_t kHeldMax = 24;
constexpr std::size_t kHeldReadersMax = 4;
constexpr std::uint64_t kHoldMicrosecondsMax = 3'000'000;
// Past a stop of more than 10 s.
constexpr std::uint64_t kHoldLongMicroseconds = 14'000'000;
// Whole lines.
constexpr std::size_t kReadPieceBytes = 1024 * kStormLineBytes;

}  // namespace

StormThread::StormThread(const StormWorkerOptions& options,
                         const StormBoard& board, Cache& cache, unsigned thread,
                         std::uint64_t seed)
    : options_(options),
      board_(board),
      page_(board.page()),
      cache_(cache),
      index_(options.process * kStormThreads + thread),
      random_(seed),
      seen_(kStormKeysMax) {}

std::string StormKeyName(std::uint32_t row, std::uint32_t era,
                         std::uint32_t member) {
  return fmt::format("storm/{}/{}/{}{}", row, era, member,
                     row % 7 == 0 ? "/with a longer tail than the others" : "");
}

std::uint32_t StormThread::OwnKey() {
  const std::uint32_t threads = options_.processes * kStormThreads;
  const std::uint32_t count = (options_.keys - index_ + threads - 1) / threads;
  return index_ + threads * static_cast<std::uint32_t>(random_.Below(count));
}

std::uint64_t StormThread::ChooseSize() {
  const std::uint64_t kind = random_.Below(100);
  if (kind < 30) return kStormLineBytes + random_.Below(200);
  if (kind < 55) return 4096 - 32 + random_.Below(64);
  if (kind < 65) return 16'000 + random_.Below(1000);
  if (kind < 80) return 65'536 - 2000 + random_.Below(4096);
  if (kind < 88) return 300'000 + random_.Below(1000);
  return (1U << 20) - 5 + random_.Below(11);
}

StormStamp StormThread::StampOf(const Call& call, std::uint64_t size) const {
  return {.key = call.row,
          .era = page_.keys[call.row].era,
          .number = call.number,
          .size = size};
}

StormThread::Call StormThread::Begin(std::uint32_t row, StormKind kind) {
  StormKey& key = page_.keys[row];
  Call call{.row = row, .number = key.begun + 1};
  if (kind == StormKind::kSet && row < options_.keys) {
    if (OneIn(3)) call.tag = 1 + static_cast<std::uint32_t>(random_.Below(4));
    if (OneIn(5)) {
      call.ttl_us = static_cast<std::int64_t>(1000 + random_.Below(2'000'000));
    }
  }
  key.is_open = 1;
  StormCall& slot = key.ring[call.number % kStormRing];
  slot.number = 0;
  slot.state = StormState::kBegun;
  slot.kind = kind;
  slot.tag = call.tag;
  slot.number = call.number;
  key.begun = call.number;
  return call;
}

void StormThread::End(const Call& call, const Status& status, bool is_stream) {
  StormKey& key = page_.keys[call.row];
  StormCall& slot = key.ring[call.number % kStormRing];
  if (status.ok()) {
    // Time to live counts from some moment before this one.
    constexpr std::int64_t kClockStepUs = 1000;
    slot.dead_at_us =
        call.ttl_us == 0 ? 0 : WallMicroseconds() + call.ttl_us + kClockStepUs;
    slot.clears = page_.clears_begun.load();
    slot.tag_clears =
        call.tag == 0 ? 0 : page_.tag_clears_begun[call.tag - 1].load();
    slot.state = StormState::kDone;
    key.done = call.number;
    key.is_open = 0;
    ++page_.figures.acknowledged;
  } else if (Note(status, "a change", is_stream)) {
    LeaveEra(call.row);
  } else {
    slot.state = StormState::kNotApplied;
    key.is_open = 0;
  }
}

void StormThread::LeaveEra(std::uint32_t row) {
  StormKey& key = page_.keys[row];
  const std::uint32_t era = key.era;
  key.done = 0;
  key.era = era + 1;
  key.is_open = 0;
  ++page_.figures.in_doubt;
  for (std::uint32_t member = 0; member < kStormGroup; ++member) {
    // Whether it is there or not: it is nobody's any more.
    static_cast<void>(cache_.Delete(StormKeyName(row, era, member)));
    if (row < options_.keys) break;
  }
}

void StormThread::LeaveOpenKeys() {
  const std::uint32_t threads = options_.processes * kStormThreads;
  for (std::uint32_t row = index_; row < options_.keys; row += threads) {
    if (page_.keys[row].is_open != 0) LeaveEra(row);
  }
  if (page_.keys[OwnGroup()].is_open != 0) LeaveEra(OwnGroup());
  StormCounter& counter = page_.counters[index_];
  if (counter.is_open != 0) {
    counter.sum = 0;
    ++counter.era;
    counter.is_open = 0;
  }
}

bool StormThread::Note(const Status& status, const char* what, bool is_stream) {
  ++page_.figures.failed;
  const StatusCode code = status.code();
  if (code == StatusCode::kNoSpace) ++page_.figures.refused;
  const bool is_unknown =
      status.message().find("outcome unknown") != std::string::npos ||
      StatusCodeName(code) == "kOutcomeUnknown" ||
      // It may have been committed by a holder that died then.
      (is_stream && code == StatusCode::kGone);
  const bool is_expected = is_unknown || code == StatusCode::kTimedOut ||
                           code == StatusCode::kHolderNotResponding ||
                           code == StatusCode::kSeatUnavailable ||
                           code == StatusCode::kNoSpace ||
                           (is_stream && code == StatusCode::kAborted) ||
                           (options_.faulty && code == StatusCode::kIoError);
  if (!is_expected) {
    board_.Report(StormFault::kUnexpected,
                  fmt::format("{}: {}", what, status.ToString()));
  }
  return is_unknown;
}

void StormThread::Report(StormFault fault, const StormStamp& stamp,
                         const char* what, const std::string& why) {
  board_.Report(fault, fmt::format("{} of {}: {} (number {}, {} bytes)", what,
                                   StormKeyName(stamp.key & 0xFFFF, stamp.era,
                                                stamp.key >> 16U),
                                   why, stamp.number, stamp.size));
}

bool StormThread::Compare(const StormStamp& stamp, std::uint64_t offset,
                          std::string_view bytes, const char* what) {
  page_.figures.bytes_compared += bytes.size();
  const auto difference = CompareStorm(stamp, offset, bytes);
  if (!difference) return true;
  if (!difference->found) {
    Report(StormFault::kTorn, stamp, what,
           fmt::format("other bytes at {}", difference->offset));
    return false;
  }
  const StormStamp& found = *difference->found;
  Report(StormFault::kWrong, stamp, what,
         fmt::format(
             "at {} it is number {} of {}", difference->offset, found.number,
             StormKeyName(found.key & 0xFFFF, found.era, found.key >> 16U)));
  return false;
}

bool StormThread::Judge(std::uint32_t row, std::uint32_t member,
                        const StormFloor& floor, std::string_view bytes,
                        const char* what, StormStamp& stamp) {
  ++page_.figures.reads;
  const auto line = ReadStormLine(bytes);
  stamp = line.value_or(StormStamp{.key = row | member << 16U,
                                   .era = floor.era,
                                   .number = 0,
                                   .size = bytes.size()});
  if (!line) {
    Report(StormFault::kTorn, stamp, what, "its first bytes are of no value");
    return false;
  }
  StormStamp of_row = stamp;
  if (stamp.key >> 16U == member) of_row.key = stamp.key & 0xFFFF;
  const StormVerdict verdict = JudgeRead(page_, row, floor, of_row);
  if (verdict.why != nullptr) {
    Report(verdict.fault, stamp, what, verdict.why);
    return false;
  }
  Seen& seen = seen_[row];
  if (seen.era == stamp.era && stamp.number < seen.number) {
    Report(StormFault::kStale, stamp, what,
           fmt::format("older than number {}, seen before", seen.number));
  }
  seen = {stamp.era, stamp.number};
  return true;
}

void StormThread::Take(std::uint32_t row, std::uint32_t member,
                       const StormFloor& floor, Value value, const char* what) {
  StormStamp stamp;
  if (!Judge(row, member, floor, value.bytes(), what, stamp)) return;
  if (stamp.size != value.bytes().size()) {
    return Report(StormFault::kTorn, stamp, what,
                  fmt::format("{} bytes long", value.bytes().size()));
  }
  if (!Compare(stamp, 0, value.bytes(), what)) return;
  if (held_.size() >= kHeldMax || !OneIn(4)) return;
  const std::uint64_t hold =
      OneIn(16) ? kHoldLongMicroseconds : random_.Below(kHoldMicrosecondsMax);
  held_.push_back({std::move(value), stamp,
                   WallMicroseconds() + static_cast<std::int64_t>(hold)});
  ++page_.figures.handles_held;
}

void StormThread::Missed(std::uint32_t row, const StormFloor& floor,
                         const char* what) {
  ++page_.figures.reads;
  ++page_.figures.misses;
  if (options_.evicts || !IsLost(page_, row, floor)) return;
  Report(StormFault::kLost,
         {.key = row, .era = floor.era, .number = floor.done}, what,
         "acknowledged, and a miss");
}

void StormThread::CompareHeld(bool all) {
  const std::int64_t now = WallMicroseconds();
  std::erase_if(held_, [&](const Held& held) {
    const bool is_over = all || now > held.until_us;
    if (!is_over && !OneIn(8)) return false;
    return !Compare(held.stamp, 0, held.value.bytes(), "a held value") ||
           is_over;
  });
}

// A piece of each value that is read slowly.
void StormThread::ReadOn(bool all) {
  std::array<char, kReadPieceBytes> buffer;
  std::erase_if(readers_, [&](HeldReader& held) {
    do {
      const auto size = held.reader->Read(buffer);
      if (!size) {
        Note(size.error(), "a stream", true);
        return true;
      }
      if (*size == 0) {
        if (held.offset != held.stamp.size) {
          Report(StormFault::kTorn, held.stamp, "a stream",
                 fmt::format("ended at {}", held.offset));
        }
        return true;
      }
      if (!Compare(held.stamp, held.offset, {buffer.data(), *size},
                   "a stream")) {
        return true;
      }
      held.offset += *size;
    } while (all && held.offset < held.stamp.size);
    return false;
  });
}

void StormThread::OpenReader() {
  if (readers_.size() >= kHeldReadersMax) return ReadOn(false);
  const std::uint32_t row = AnyKey();
  const StormFloor floor = TakeFloor(page_, row);
  auto reader = cache_.OpenReader(StormKeyName(row, floor.era, 0));
  if (!reader)
    return static_cast<void>(Note(reader.error(), "OpenReader", true));
  if (*reader == nullptr) return Missed(row, floor, "OpenReader");
  std::array<char, kReadPieceBytes> buffer;
  const auto size = (*reader)->Read(buffer);
  if (!size) return static_cast<void>(Note(size.error(), "Read", true));
  HeldReader held{std::move(*reader), {}, 0};
  const std::string_view first(buffer.data(), *size);
  if (!Judge(row, 0, floor, first, "OpenReader", held.stamp) ||
      !Compare(held.stamp, 0, first, "OpenReader")) {
    return;
  }
  held.offset = first.size();
  readers_.push_back(std::move(held));
  ++page_.figures.streams;
}

void StormThread::ReapChildren() {
  std::erase_if(children_, [&](pid_t child) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) != child) return false;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      board_.Report(StormFault::kUnexpected,
                    fmt::format("a forked child ended with {} {}",
                                WIFSIGNALED(status) ? "signal" : "exit code",
                                WIFSIGNALED(status) ? WTERMSIG(status)
                                                    : WEXITSTATUS(status)));
    }
    return true;
  });
}

void StormThread::Finish() {
  CompareHeld(true);
  ReadOn(true);
  while (!children_.empty()) {
    ReapChildren();
    ::usleep(10'000);
    ++page_.slots[options_.process].progress;
  }
}

}  // namespace larder::tools
