#include "index/told_items.h"

namespace larder {

void ToldItems::Holds::Release() noexcept {
  for (const std::uint64_t version : versions_) {
    Shard& shard = owner_->ShardOf(version);
    const std::scoped_lock lock(shard.mutex);
    const auto held = shard.held.find(version);
    if (--held->second == 0) shard.held.erase(held);
  }
  versions_.clear();
}

bool ToldItems::Hold(std::uint64_t version, Holds& holds) noexcept {
  Shard& shard = ShardOf(version);
  const std::scoped_lock lock(shard.mutex);
  if (shard.keys.contains(version)) return false;
  ++shard.held[version];
  holds.owner_ = this;
  holds.versions_.push_back(version);
  return true;
}

bool ToldItems::Claim(std::string_view key, std::uint64_t version) noexcept {
  Shard& shard = ShardOf(version);
  const std::scoped_lock lock(shard.mutex);
  if (shard.keys.contains(version)) return false;
  Add(shard, key, version);
  return true;
}

ToldItems::Verdict ToldItems::ClaimLine(
    std::string_view key, std::uint64_t version,
    const std::function<bool()>& is_current) noexcept {
  Shard& shard = ShardOf(version);
  const std::scoped_lock lock(shard.mutex);
  if (shard.held.contains(version)) return Verdict::kLeave;
  if (shard.keys.contains(version) || !is_current()) return Verdict::kDrop;
  Add(shard, key, version);
  return Verdict::kTell;
}

// Two are looked at for each that is added: those that are out of the index get
// fewer until they are as many as those that are still in it, which go round.
void ToldItems::Add(Shard& shard, std::string_view key,
                    std::uint64_t version) noexcept {
  for (int i = 0; i < 2 && shard.queue.size() > kUnseenCountMax; ++i) {
    const std::uint64_t oldest = shard.queue.front();
    shard.queue.pop_front();
    const auto known = shard.keys.find(oldest);
    if (is_in_index_(known->second, oldest)) {
      shard.queue.push_back(oldest);
    } else {
      shard.keys.erase(known);
    }
  }
  shard.keys.emplace(version, key);
  shard.queue.push_back(version);
}

std::size_t ToldItems::size() const noexcept {
  std::size_t size = 0;
  for (const Shard& shard : shards_) {
    const std::scoped_lock lock(shard.mutex);
    size += shard.keys.size();
  }
  return size;
}

}  // namespace larder
