// Ranks are handed out by level and, inside a level, by sub-bucket:
//
//   level = grid(256 * (L + v))   L = level of the class's cutoff: values
//                                 inflate as evictions go on, so what is not
//                                 hit again is overtaken
//   grid  = multiples of 2^k, the smallest k with 256 * v / 2^k <= 32: 16 to
//           32 steps per octave of value above the cutoff
//   seq   = the level's newest sub-bucket, one more once that holds budget / B
//           bytes ("spill"): one eviction frees about 1/B of the budget,
//           however many items share a value
//
// What is derived instead of stored: L is a field of the cutoff. The sequence
// counter of a level is the highest sequence among its rows. That may be lower
// than one handed out before, when deletes and re-stamps emptied the newest
// rows; it is right all the same, because order only matters among live items:
// every live item of the level lies in a row that exists, so a new stamp still
// ranks at or above all of them, and no dead entry on disk can come alive, as
// every stamp lies above the cutoff's level (step 1 of StampAtLevel's caller:
// v rounds to at least one step) and cutoffs never fall.
//
// Rejected: fixed value buckets without spill (fill 77 % of the budget with
// few distinct values); a std::map of rows (two cache misses per step, three
// searches per request); counters per level kept on disk (one more thing that
// a crash could tear from the rows).

#include "policy/rank_space.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"

namespace larder {
namespace {

constexpr double kValueMax = 4096.0;
constexpr std::uint64_t kLevelMax = (std::uint64_t{1} << 42) - 1;
constexpr std::uint32_t kSequenceMax = 0xFFFFF;
// Bounds the ghost history of a class; far more rows than a cache has.
constexpr std::size_t kDeathCountMax = 8192;

constexpr Rank MakeRank(std::uint8_t class_index, std::uint64_t level,
                        std::uint32_t sequence) noexcept {
  return (Rank{class_index} << 62) | (level << 20) | sequence;
}

// Steps of 1/256 above the cutoff's level: at least 1, whatever the policy
// says (a NaN compares false and becomes 1).
std::uint64_t StepsOf(double value) noexcept {
  if (!(value > 1.0 / 256)) return 1;
  return static_cast<std::uint64_t>(std::min(value, kValueMax) * 256.0);
}

std::uint64_t LevelOf(Rank cutoff, std::uint64_t steps) noexcept {
  const int k = steps > 32 ? std::bit_width(steps - 1) - 5 : 0;
  const std::uint64_t level = ((RankLevel(cutoff) + steps) >> k) << k;
  return std::min(level, kLevelMax);
}

// At least 0; false if that is not what it comes to.
bool Shift(std::uint64_t& value, std::int64_t delta) noexcept {
  if (delta >= 0) {
    value += static_cast<std::uint64_t>(delta);
    return true;
  }
  const std::uint64_t drop = ~static_cast<std::uint64_t>(delta) + 1;
  const bool enough = drop <= value;
  value -= std::min(value, drop);
  return enough;
}

}  // namespace

void RankSpace::SetBudget(std::uint64_t bytes) noexcept {
  context_.budget_bytes = bytes;
  bucket_bytes_ = std::max<std::uint64_t>(
      1, bytes / std::max<std::uint32_t>(1, options_.bucket_count));
}

std::size_t RankSpace::NewestOfLevel(ClassRows& c, std::uint8_t class_index,
                                     std::uint64_t level) const {
  const RankRows& rows = c.rows;
  const std::size_t n = rows.size();
  const std::size_t h = c.hint;
  if (h < n && RankLevel(rows.rank(h)) == level &&
      (h + 1 == n || RankLevel(rows.rank(h + 1)) != level)) {
    return h;
  }
  const std::size_t after =
      rows.IndexAtOrAfter(MakeRank(class_index, level, kSequenceMax));
  if (after < n && RankLevel(rows.rank(after)) == level) return after;
  if (after == 0 || RankLevel(rows.rank(after - 1)) != level) return n;
  c.hint = after - 1;
  return after - 1;
}

Rank RankSpace::StampAtLevel(std::uint8_t class_index, std::uint64_t level) {
  ClassRows& c = classes_[class_index];
  for (;; ++level) {
    const std::size_t newest = NewestOfLevel(c, class_index, level);
    if (newest == c.rows.size()) {
      return std::max(MakeRank(class_index, level, 0),
                      context_.cutoffs[class_index]);
    }
    const Rank rank = c.rows.rank(newest);
    if (c.rows.row(newest).bytes < bucket_bytes_ || level == kLevelMax) {
      return rank;
    }
    if (RankSequence(rank) < kSequenceMax) return rank + 1;
  }
}

Rank RankSpace::Stamp(const Placement& placement) {
  const std::uint8_t c = placement.class_index & (kRankClassCount - 1);
  return StampAtLevel(c,
                      LevelOf(context_.cutoffs[c], StepsOf(placement.value)));
}

std::optional<Rank> RankSpace::Restamp(Rank rank, const Placement& placement,
                                       const Policy::Laziness& laziness) {
  const std::uint8_t c = placement.class_index & (kRankClassCount - 1);
  const std::uint64_t steps = StepsOf(placement.value);
  const std::uint64_t level = LevelOf(context_.cutoffs[c], steps);
  const std::uint64_t old_level = RankLevel(rank);
  if (!IsLive(rank) || RankClass(rank) != c) return StampAtLevel(c, level);
  if (level < old_level) return std::nullopt;
  if (level > old_level) {
    const double gain = static_cast<double>(level - old_level);
    if (gain <= laziness.value_gain * static_cast<double>(steps)) {
      return std::nullopt;
    }
    return StampAtLevel(c, level);
  }
  const Rank stamped = StampAtLevel(c, level);
  if (stamped <= rank) return std::nullopt;
  const double distance = static_cast<double>(stamped - rank);
  const double bucket_count = static_cast<double>(
      std::min<std::uint64_t>(options_.bucket_count, context_.live_items));
  if (distance <= laziness.sequence_gain * bucket_count) return std::nullopt;
  return stamped;
}

void RankSpace::Add(Rank rank, std::int64_t bytes, std::int64_t items) {
  if (!IsLive(rank)) return;
  const std::uint8_t class_index = RankClass(rank);
  ClassRows& c = classes_[class_index];
  std::size_t i = c.hint;
  if (i >= c.rows.size() || c.rows.rank(i) != rank) {
    i = c.rows.IndexAtOrAfter(rank);
    if (i == c.rows.size() || c.rows.rank(i) != rank) {
      adds_up_ = adds_up_ && bytes >= 0 && items >= 0;
      if (items <= 0) return;
      c.rows.Insert(i, rank, {});
    }
  }
  RankRow& row = c.rows.row(i);
  const RankRow before = row;
  adds_up_ = Shift(row.bytes, bytes) && adds_up_;
  adds_up_ = Shift(row.items, items) && adds_up_;
  if (row.items == 0) row.bytes = 0;
  context_.live_bytes += row.bytes - before.bytes;
  context_.live_items += row.items - before.items;
  context_.class_bytes[class_index] += row.bytes - before.bytes;
  if (row.items == 0) {
    c.rows.Erase(i);
    if (c.hint >= i && c.hint > 0) --c.hint;
  } else if (items > 0) {
    c.hint = i;
  }
}

void RankSpace::DropRow(std::uint8_t class_index) {
  ClassRows& c = classes_[class_index];
  const RankRow& freed = c.rows.row(0);
  context_.live_bytes -= freed.bytes;
  context_.live_items -= freed.items;
  context_.class_bytes[class_index] -= freed.bytes;
  c.rows.DropFirst(1);
  if (c.hint > 0) --c.hint;
}

// A ghost is told by rank alone: `deaths` says how much its class had evicted
// when the cutoff passed a rank, so the ranks that died one window ago are
// those below a second, trailing cutoff.
void RankSpace::RememberDeath(std::uint8_t class_index,
                              std::uint64_t freed_bytes) {
  ClassRows& c = classes_[class_index];
  c.evicted_bytes += freed_bytes;
  c.deaths.push_back({context_.cutoffs[class_index], c.evicted_bytes});
  const auto window = static_cast<std::uint64_t>(
      options_.ghost_share * static_cast<double>(context_.budget_bytes));
  while (!c.deaths.empty() &&
         (c.evicted_bytes - c.deaths.front().evicted_bytes > window ||
          c.deaths.size() > kDeathCountMax)) {
    ghost_cutoffs_[class_index] = c.deaths.front().cutoff;
    c.deaths.pop_front();
  }
}

std::optional<RankSpace::Eviction> RankSpace::EvictLowest(
    double probation_share) {
  const double probation_bytes_max =
      probation_share * static_cast<double>(context_.budget_bytes);
  const RankRows& probation = classes_[kClassProbation].rows;
  std::uint8_t victim = kClassMain;
  if (!probation.empty() && (static_cast<double>(class_bytes(kClassProbation)) >
                                 probation_bytes_max ||
                             classes_[kClassMain].rows.empty())) {
    victim = kClassProbation;
  } else if (classes_[kClassMain].rows.empty()) {
    victim = 2;  // The class without a use yet; whoever fills it is last.
  }
  if (classes_[victim].rows.empty()) return std::nullopt;
  Eviction eviction;
  eviction.row = classes_[victim].rows.rank(0);
  eviction.freed = classes_[victim].rows.row(0);
  eviction.cutoff = eviction.row + 1;
  DropRow(victim);
  context_.cutoffs[victim] = eviction.cutoff;
  RememberDeath(victim, eviction.freed.bytes);
  return eviction;
}

void RankSpace::RaiseCutoff(std::uint8_t class_index, Rank cutoff) {
  LARDER_ASSERT(class_index < kRankClassCount);
  if (cutoff <= context_.cutoffs[class_index] ||
      RankClass(cutoff) != class_index) {
    return;
  }
  ClassRows& c = classes_[class_index];
  const bool first = c.rows.empty() && c.evicted_bytes == 0;
  const std::uint64_t before = context_.class_bytes[class_index];
  context_.cutoffs[class_index] = cutoff;
  while (!c.rows.empty() && c.rows.rank(0) < cutoff) DropRow(class_index);
  if (first) {  // Opening a cache: how long ago these died is not known.
    ghost_cutoffs_[class_index] = cutoff;
    return;
  }
  RememberDeath(class_index, before - context_.class_bytes[class_index]);
}

void RankSpace::Clear() noexcept {
  for (ClassRows& c : classes_) {
    c.rows.Clear();
    c.hint = 0;
  }
  context_.live_bytes = 0;
  context_.live_items = 0;
  context_.class_bytes = {};
  adds_up_ = true;
}

std::size_t RankSpace::row_count() const noexcept {
  std::size_t count = 0;
  for (const ClassRows& c : classes_) count += c.rows.size();
  return count;
}

}  // namespace larder
