// Items lie in an open-addressing table of 32-byte slots, two to a cache line.
// Nothing is ever taken out of it: an entry dies by its rank, its expiry or a
// mark, and when the table is full, a rehash leaves the dead behind. So a
// request is one probe, and forgetting costs O(1) a request.
//
// Expiry is kept as the store does: an item counts until the end of its expiry
// column, the expiry rounded up to a multiple of a power of two that is at
// most a quarter of the TTL; reads check the exact time.

#include "policy/rank_cache.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "base/check.h"

namespace larder {
namespace {

constexpr Rank kDeletedRank = 1;  // Below any that Stamp gives.
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
constexpr std::uint64_t kSizeMax = (std::uint64_t{1} << 48) - 1;
constexpr std::size_t kSlotCountMin = 1024;

std::uint64_t TableHash(std::uint64_t key_hash) noexcept {
  key_hash *= 0x9E3779B97F4A7C15ULL;
  return key_hash ^ (key_hash >> 32);
}

std::int64_t ColumnOf(std::int64_t expiry_ms, std::uint64_t width_log2) {
  const std::int64_t width = std::int64_t{1} << width_log2;
  return (expiry_ms + width - 1) / width * width;
}

double Share(double part, double whole) noexcept {
  return whole > 0 ? 1.0 - part / whole : 0.0;
}

}  // namespace

double RankCache::Counters::object_miss_ratio() const noexcept {
  return Share(static_cast<double>(hits), static_cast<double>(requests));
}
double RankCache::Counters::byte_miss_ratio() const noexcept {
  return Share(static_cast<double>(hit_bytes),
               static_cast<double>(request_bytes));
}
double RankCache::Counters::cost_miss_ratio() const noexcept {
  return Share(hit_cost, request_cost);
}
double RankCache::Counters::restamps_per_request() const noexcept {
  return requests == 0
             ? 0.0
             : static_cast<double>(restamps) / static_cast<double>(requests);
}

Result<std::unique_ptr<RankCache>> RankCache::Open(std::string_view policy_name,
                                                   const Options& options) {
  if (options.budget_bytes == 0) {
    return Fail(Status::InvalidArgument("a cache of 0 bytes holds nothing"));
  }
  auto policy = MakePolicy(policy_name);
  if (!policy) return Fail(std::move(policy.error()));
  return std::make_unique<RankCache>(std::move(*policy), options);
}

RankCache::RankCache(std::unique_ptr<Policy> policy, const Options& options)
    : policy_(std::move(policy)),
      laziness_(policy_->laziness()),
      space_({.bucket_count = options.bucket_count}),
      slots_(kSlotCountMin) {
  space_.SetBudget(options.budget_bytes);
  space_.SetObjective(options.objective);
  space_.SetRandomSeed(options.random_seed);
}

void RankCache::SetPolicy(std::unique_ptr<Policy> policy) noexcept {
  policy_ = std::move(policy);
  laziness_ = policy_->laziness();
}

void RankCache::SetBudget(std::uint64_t bytes) {
  space_.SetBudget(bytes);
  static_cast<void>(MakeRoom(0));  // What cannot be evicted stays.
}

bool RankCache::IsPresent(const Slot& slot,
                          std::int64_t now_ms) const noexcept {
  return slot.expiry_ms > now_ms && slot.rank > kDeletedRank &&
         space_.IsLive(slot.rank);
}

const RankCache::Slot* RankCache::Find(std::uint64_t key_hash) const noexcept {
  const std::size_t mask = slots_.size() - 1;
  std::size_t i = TableHash(key_hash) & mask;
  while (slots_[i].rank != 0) {
    if (slots_[i].key_hash == key_hash) return &slots_[i];
    i = (i + 1) & mask;
  }
  return nullptr;
}

bool RankCache::Contains(std::uint64_t key_hash,
                         std::int64_t now_ms) const noexcept {
  const Slot* slot = Find(key_hash);
  return slot != nullptr && IsPresent(*slot, now_ms);
}

RankCache::Slot& RankCache::FindSlot(std::uint64_t key_hash) {
  if (8 * (used_ + 1) > 5 * slots_.size()) Rehash();
  const std::size_t mask = slots_.size() - 1;
  std::size_t i = TableHash(key_hash) & mask;
  while (slots_[i].rank != 0) {
    if (slots_[i].key_hash == key_hash) return slots_[i];
    i = (i + 1) & mask;
  }
  ++used_;
  slots_[i].key_hash = key_hash;
  slots_[i].rank = kDeletedRank;
  return slots_[i];
}

void RankCache::Rehash() {
  std::vector<Slot> old = std::move(slots_);
  const auto known = [&](const Slot& slot) {
    return slot.rank > kDeletedRank && slot.expiry_ms > now_ms_ &&
           (space_.IsLive(slot.rank) || space_.IsGhost(slot.rank));
  };
  const auto count =
      static_cast<std::size_t>(std::count_if(old.begin(), old.end(), known));
  std::size_t size = kSlotCountMin;
  while (3 * size < 8 * count) size *= 2;
  slots_.assign(size, {});
  const std::size_t mask = size - 1;
  used_ = count;
  for (const Slot& slot : old) {
    if (!known(slot)) continue;
    std::size_t i = TableHash(slot.key_hash) & mask;
    while (slots_[i].rank != 0) i = (i + 1) & mask;
    slots_[i] = slot;
  }
}

// Adds `slot` to the histogram (items 1) or takes it out (-1).
void RankCache::Count(const Slot& slot, std::int64_t items) {
  const auto bytes = static_cast<std::int64_t>(slot.size) * items;
  if (slot.expiry_ms != kNever) {
    const std::int64_t end = ColumnOf(slot.expiry_ms, slot.column_log2);
    if (end <= now_ms_) return;  // Its column is gone, and it with it.
    ExpiryColumn& column = columns_[end];
    RankRow& row = column[slot.rank];
    row.bytes += static_cast<std::uint64_t>(bytes);
    row.items += static_cast<std::uint64_t>(items);
    if (row.items == 0) column.erase(slot.rank);
  }
  space_.Add(slot.rank, bytes, items);
}

void RankCache::ExpireColumns() {
  while (!columns_.empty() && columns_.begin()->first <= now_ms_) {
    for (const auto& [rank, row] : columns_.begin()->second) {
      if (!space_.IsLive(rank)) continue;
      counters_.expired_items += row.items;
      space_.Add(rank, -static_cast<std::int64_t>(row.bytes),
                 -static_cast<std::int64_t>(row.items));
    }
    columns_.erase(columns_.begin());
  }
}

bool RankCache::MakeRoom(std::uint64_t size_bytes) {
  if (size_bytes > space_.budget()) return false;
  while (space_.live_bytes() + size_bytes > space_.budget()) {
    if (!policy_->evicts()) return false;
    const auto eviction = space_.EvictLowest(policy_->probation_share());
    if (!eviction) return false;
    counters_.evicted_items += eviction->freed.items;
    counters_.evicted_bytes += eviction->freed.bytes;
  }
  return true;
}

bool RankCache::Request(const Access& access) {
  LARDER_ASSERT(access.now_ms >= now_ms_);
  now_ms_ = std::max(now_ms_, access.now_ms);
  if (!columns_.empty()) ExpireColumns();
  ++counters_.requests;
  counters_.request_bytes += access.size_bytes;
  counters_.request_cost += access.cost;
  Slot& slot = FindSlot(access.key_hash);
  if (IsPresent(slot, now_ms_)) {
    Hit(slot, access);
    return true;
  }
  if (!Fill(slot, access)) ++counters_.rejections;
  return false;
}

void RankCache::Hit(Slot& slot, const Access& access) {
  ++counters_.hits;
  counters_.hit_bytes += access.size_bytes;
  counters_.hit_cost += access.cost;
  const PolicyItem item{.key_hash = slot.key_hash,
                        .size_bytes = slot.size,
                        .cost = access.cost,
                        .rank = slot.rank,
                        .frequency = static_cast<std::uint8_t>(slot.frequency)};
  policy_->OnAccess(item, space_.context());
  const auto placement = policy_->OnHit(item, space_.context());
  if (!placement) return;
  const auto rank = space_.Restamp(slot.rank, *placement, laziness_);
  if (!rank) return;
  ++counters_.restamps;
  Count(slot, -1);
  slot.rank = *rank;
  slot.frequency = placement->frequency;
  Count(slot, 1);
}

bool RankCache::Fill(Slot& slot, const Access& access) {
  if (slot.expiry_ms <= now_ms_ && slot.rank > kDeletedRank) {
    Count(slot, -1);  // Expired, but its column is still there.
    slot.rank = kDeletedRank;
  }
  const bool ghost = space_.IsGhost(slot.rank);
  const PolicyItem item{.key_hash = slot.key_hash,
                        .size_bytes = access.size_bytes,
                        .cost = access.cost,
                        .rank = ghost ? slot.rank : 0,
                        .frequency = 0,
                        .ghost = ghost};
  policy_->OnAccess(item, space_.context());
  if (access.size_bytes > kSizeMax || !MakeRoom(access.size_bytes)) {
    return false;
  }
  const Placement placement = policy_->OnInsert(item, space_.context());
  slot.rank = space_.Stamp(placement);
  slot.size = access.size_bytes;
  slot.frequency = placement.frequency;
  slot.expiry_ms = kNever;
  if (access.ttl_ms > 0 && access.ttl_ms < kNever / 2 - now_ms_) {
    slot.expiry_ms = now_ms_ + access.ttl_ms;
    const auto quarter = static_cast<std::uint64_t>(access.ttl_ms) / 4;
    slot.column_log2 =
        quarter == 0 ? 0U : static_cast<unsigned>(std::bit_width(quarter) - 1);
  }
  Count(slot, 1);
  ++counters_.insertions;
  counters_.inserted_bytes += access.size_bytes;
  return true;
}

bool RankCache::Delete(std::uint64_t key_hash) {
  Slot& slot = FindSlot(key_hash);
  if (!IsPresent(slot, now_ms_)) return false;
  Count(slot, -1);
  slot.rank = kDeletedRank;
  return true;
}

}  // namespace larder
