#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "torture/storm_thread.h"

// The calls of a thread of the storm.

namespace larder::tools {
namespace {

constexpr std::uint64_t kForkChance = 600;
constexpr unsigned kChildSecondsMax = 60;

// "storm/ROW/ERA/MEMBER..." as StormKeyName writes it.
std::optional<std::array<std::uint32_t, 3>> ParseKeyName(std::string_view key) {
  constexpr std::string_view kPrefix = "storm/";
  if (!key.starts_with(kPrefix)) return std::nullopt;
  std::array<std::uint32_t, 3> parts{};
  const char* at = key.data() + kPrefix.size();
  const char* const end = key.data() + key.size();
  for (std::uint32_t& part : parts) {
    const auto [next, error] = std::from_chars(at, end, part);
    if (error != std::errc()) return std::nullopt;
    at = next < end ? next + 1 : end;
  }
  return parts[0] < kStormKeysMax ? std::optional(parts) : std::nullopt;
}

std::string TagName(std::uint64_t index) { return fmt::format("tag{}", index); }

void RaiseTo(std::atomic<std::uint64_t>& value, std::uint64_t least) {
  std::uint64_t now = value;
  while (now < least && !value.compare_exchange_weak(now, least)) {
  }
}

}  // namespace

void StormThread::Step() {
  if (!held_.empty() && OneIn(3)) CompareHeld(false);
  if (!readers_.empty() && OneIn(4)) ReadOn(false);
  ReapChildren();
  // Now and then, and soon for once, however few calls there will be.
  const bool is_first = page_.figures.forks == 0 && !held_.empty();
  if (options_.forks && children_.empty() && (is_first || OneIn(kForkChance))) {
    Fork();
  }
  const std::uint64_t kind = random_.Below(1000);
  if (kind < 400) return Get();
  if (kind < 450) return MultiGet();
  if (kind < 510) return ReadGroup();
  if (kind < 540) return OpenReader();
  if (kind < 800) return Set();
  if (kind < 840) return Delete();
  if (kind < 865) return Pop();
  if (kind < 910) return WriteGroup();
  if (kind < 920) return SetStream();
  if (kind < 926) return Scan();
  if (kind < 960) return Incr();
  if (kind < 962) return Clear();
  ::usleep(static_cast<useconds_t>(random_.Below(1000)));
}

void StormThread::ReadKey(std::uint32_t key) {
  const StormFloor floor = TakeFloor(page_, key);
  auto value = cache_.Get(StormKeyName(key, floor.era, 0));
  if (!value) return static_cast<void>(Note(value.error(), "Get"));
  if (!*value) return Missed(key, floor, "Get");
  Take(key, 0, floor, std::move(**value), "Get");
}

void StormThread::Get() { ReadKey(AnyKey()); }

void StormThread::MultiGet() {
  constexpr std::uint64_t kCountMax = 16;
  const std::uint64_t count = 1 + random_.Below(kCountMax);
  std::vector<std::uint32_t> rows;
  std::vector<StormFloor> floors;
  std::vector<std::string> names;
  for (std::uint64_t i = 0; i < count; ++i) {
    rows.push_back(AnyKey());
    floors.push_back(TakeFloor(page_, rows.back()));
    names.push_back(StormKeyName(rows.back(), floors.back().era, 0));
  }
  const std::vector<std::string_view> keys(names.begin(), names.end());
  auto values = cache_.MultiGet(keys);
  if (!values) return static_cast<void>(Note(values.error(), "MultiGet"));
  for (std::uint64_t i = 0; i < count; ++i) {
    auto& value = (*values)[i];
    if (!value) {
      Missed(rows[i], floors[i], "MultiGet");
    } else {
      Take(rows[i], 0, floors[i], std::move(*value), "MultiGet");
    }
  }
}

void StormThread::Set() {
  const Call call = Begin(OwnKey(), StormKind::kSet);
  const StormStamp stamp = StampOf(call, ChooseSize());
  const std::string tag = call.tag == 0 ? "" : TagName(call.tag - 1);
  SetOptions options;
  options.tag = tag;
  if (call.ttl_us != 0) options.ttl = std::chrono::microseconds(call.ttl_us);
  End(call, cache_.Set(StormKeyName(call.row, stamp.era, 0), StormValue(stamp),
                       options));
}

void StormThread::SetStream() {
  Call call = Begin(OwnKey(), StormKind::kSet);
  call.ttl_us = 0;
  page_.keys[call.row].ring[call.number % kStormRing].tag = call.tag = 0;
  const StormStamp stamp =
      StampOf(call, (1U << 20) + random_.Below(options_.stream_size_max));
  const bool gives_up = OneIn(8);
  auto writer = cache_.OpenWriter(StormKeyName(call.row, stamp.era, 0), {},
                                  OneIn(2) ? stamp.size : 0);
  if (!writer) return End(call, writer.error(), true);
  std::string piece;
  Status status;
  for (std::uint64_t done = 0; done < stamp.size && status.ok();) {
    piece.resize(
        std::min(stamp.size - done,
                 kStormLineBytes * (1 + random_.Below(8 * kStormLineBytes))));
    FillStorm(stamp, done, piece);
    status = (*writer)->Append(piece);
    done += piece.size();
    if (gives_up && done > stamp.size / 2) break;
    ++page_.slots[options_.process].progress;
  }
  // Without a Commit nothing of it is ever seen.
  if (gives_up && status.ok()) {
    writer->reset();
    StormKey& key = page_.keys[call.row];
    key.ring[call.number % kStormRing].state = StormState::kNotApplied;
    key.is_open = 0;
    return;
  }
  // Until it is committed, what failed has not happened.
  if (!status.ok() && status.code() == StatusCode::kGone) {
    status = {StatusCode::kTimedOut, "the stream was lost with its holder"};
  }
  if (status.ok()) status = (*writer)->Commit().status;
  End(call, status, true);
}

void StormThread::Delete() {
  const Call call = Begin(OwnKey(), StormKind::kDelete);
  const auto deleted =
      cache_.Delete(StormKeyName(call.row, page_.keys[call.row].era, 0));
  End(call, deleted ? Status() : deleted.error());
}

void StormThread::Pop() {
  const std::uint32_t row = OwnKey();
  const StormFloor floor = TakeFloor(page_, row);
  const Call call = Begin(row, StormKind::kDelete);
  auto value = cache_.Pop(StormKeyName(row, floor.era, 0));
  if (value && *value) Take(row, 0, floor, std::move(**value), "Pop");
  End(call, value ? Status() : value.error());
}

void StormThread::WriteGroup() {
  const Call call = Begin(OwnGroup(), StormKind::kSet);
  WriteBatch batch;
  for (std::uint32_t member = 0; member < kStormGroup; ++member) {
    StormStamp stamp =
        StampOf(call, std::min<std::uint64_t>(ChooseSize(), 100'000));
    stamp.key |= member << 16U;
    batch.Set(StormKeyName(call.row, stamp.era, member), StormValue(stamp));
  }
  End(call, cache_.Write(batch));
}

// All of a batch or nothing of it; of an evicted one, perhaps a part.
void StormThread::ReadGroup() {
  const auto row = static_cast<std::uint32_t>(
      options_.keys + random_.Below(options_.processes * kStormThreads));
  const StormFloor floor = TakeFloor(page_, row);
  std::vector<std::string> names;
  for (std::uint32_t member = 0; member < kStormGroup; ++member) {
    names.push_back(StormKeyName(row, floor.era, member));
  }
  const std::vector<std::string_view> keys(names.begin(), names.end());
  auto values = cache_.MultiGet(keys);
  if (!values) return static_cast<void>(Note(values.error(), "MultiGet"));
  std::vector<std::uint64_t> numbers;
  for (std::uint32_t member = 0; member < kStormGroup; ++member) {
    auto& value = (*values)[member];
    if (!value) continue;
    const auto stamp = ReadStormLine(value->bytes());
    if (stamp) numbers.push_back(stamp->number);
    Take(row, member, floor, std::move(*value), "a batch");
  }
  if (numbers.empty()) return Missed(row, floor, "a batch");
  const bool is_split =
      !options_.evicts && IsSplit(page_, row, floor, numbers.size());
  if (is_split || std::adjacent_find(numbers.begin(), numbers.end(),
                                     std::not_equal_to<>()) != numbers.end()) {
    Report(StormFault::kTorn, {.key = row, .era = floor.era}, "a batch",
           fmt::format("{} of {} keys, numbers {}", numbers.size(), kStormGroup,
                       fmt::join(numbers, ", ")));
  }
}

void StormThread::Incr() {
  StormCounter& counter = page_.counters[index_];
  const std::string key =
      fmt::format("count/{}/{}", index_, counter.era.load());
  const std::uint64_t sum = counter.sum;
  counter.is_open = 1;
  const auto next = cache_.Incr(key);
  if (!next) {
    if (Note(next.error(), "Incr")) {
      counter.sum = 0;
      ++counter.era;
    }
    counter.is_open = 0;
    return;
  }
  const auto answer = static_cast<std::uint64_t>(*next);
  const bool is_less = answer <= sum && !options_.evicts;
  if (answer > sum + 1 || is_less) {
    board_.Report(is_less ? StormFault::kLost : StormFault::kRepeated,
                  fmt::format("{}: {} after {}", key, answer, sum));
  }
  counter.sum = answer;
  counter.is_open = 0;
  ++page_.figures.acknowledged;
}

void StormThread::Scan() {
  ScanOptions options;
  options.with_values = true;
  options.reverse = OneIn(2);
  std::vector<StormFloor> floors;
  for (std::uint32_t row = 0; row < options_.keys; ++row) {
    floors.push_back(TakeFloor(page_, row));
  }
  auto scan = cache_.OpenScan(options);
  if (!scan) return static_cast<void>(Note(scan.error(), "OpenScan", true));
  for (bool more = true; more && page_.stop == 0;) {
    const auto page = (*scan)->Next(1 + random_.Below(64));
    if (!page) {
      Note(page.error(), "a scan", true);
      break;
    }
    more = !page->empty();
    ++page_.slots[options_.process].progress;
    for (const ScanItem& item : *page) {
      const auto name = ParseKeyName(item.key);
      if (!name || (*name)[0] >= options_.keys) continue;
      const std::uint32_t row = (*name)[0];
      // An era that was left, or has begun since.
      if ((*name)[1] != floors[row].era) continue;
      StormStamp stamp;
      if (Judge(row, 0, floors[row], item.value.bytes(), "a scan", stamp)) {
        Compare(stamp, 0, item.value.bytes(), "a scan");
      }
    }
  }
}

// Of the whole cache, seldom, or of a tag.
void StormThread::Clear() {
  if (!options_.evicts) return;
  if (OneIn(8)) {
    const std::uint64_t number = ++page_.clears_begun;
    const auto cleared = cache_.Clear();
    if (!cleared) return static_cast<void>(Note(cleared.error(), "Clear"));
    RaiseTo(page_.clears_done, number);
  } else {
    const std::uint64_t tag = random_.Below(kStormTags);
    const std::uint64_t number = ++page_.tag_clears_begun[tag];
    const auto evicted = cache_.Evict(TagName(tag));
    if (!evicted) return static_cast<void>(Note(evicted.error(), "Evict"));
    RaiseTo(page_.tag_clears_done[tag], number);
  }
  ++page_.figures.clears;
}

void StormThread::Fork() {
  const pid_t child = ::fork();
  if (child < 0) return;
  if (child == 0) LiveAsChild();
  children_.push_back(child);
  ++page_.figures.forks;
}

// What it inherited must stay as it was, whatever becomes of its parent. A
// stream is not the child's to read.
void StormThread::LiveAsChild() {
  ::signal(SIGALRM, SIG_DFL);
  ::alarm(kChildSecondsMax);  // Who hangs ends by a signal.
  children_.clear();
  std::array<char, kStormLineBytes> buffer;
  for (HeldReader& held : readers_) {
    const auto size = held.reader->Read(buffer);
    if (size || size.error().code() != StatusCode::kClosed) {
      Report(StormFault::kUnexpected, held.stamp, "an inherited stream",
             size ? "goes on" : size.error().ToString());
    }
  }
  readers_.clear();
  CompareHeld(false);
  ::usleep(static_cast<useconds_t>(random_.Below(2'000'000)));
  CompareHeld(false);
  for (std::uint64_t i = random_.Below(60); i > 0 && page_.stop == 0; --i) {
    Get();
    CompareHeld(false);
  }
  CompareHeld(true);
  if (OneIn(2)) ::_exit(0);
  if (OneIn(2)) cache_.Close().IgnoreError();  // As good as gone.
  std::exit(0);
}

}  // namespace larder::tools
