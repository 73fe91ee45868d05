#include "index/recent_entries.h"

#include <algorithm>

namespace larder {
namespace {

constexpr std::size_t kBytesPerSlot = 96;  // With the slot.
constexpr std::size_t kShareMax = 4;       // Of the capacity, for one entry.
constexpr std::size_t kBytesMax = 32 * 1024;

}  // namespace

void RecentEntries::SetCapacity(std::size_t bytes) noexcept {
  const std::size_t slot_count = std::min(bytes, kBytesMax) / kBytesPerSlot;
  slots_.reset();
  bytes_.reset();
  slot_count_ = static_cast<std::uint16_t>(slot_count);
  capacity_ =
      static_cast<std::uint16_t>(slot_count * (kBytesPerSlot - sizeof(Slot)));
  Clear();
}

void RecentEntries::Clear() noexcept {
  if (slots_) std::fill_n(slots_.get(), slot_count_, Slot());
  write_ = 0;
  first_ = 0;
  taken_ = 0;
}

RecentEntries::Slot* RecentEntries::SlotOf(std::string_view key,
                                           std::uint64_t hash) const noexcept {
  if (!slots_) return nullptr;
  const std::uint32_t tag = TagOf(hash);
  for (Slot* slot = slots_.get(); slot != slots_.get() + slot_count_; ++slot) {
    if (slot->tag == tag &&
        std::string_view(&bytes_[slot->offset], slot->key_size) == key) {
      return slot;
    }
  }
  return nullptr;
}

std::optional<RecentEntries::Known> RecentEntries::Find(
    std::string_view key, std::uint64_t hash) const noexcept {
  const Slot* const slot = SlotOf(key, hash);
  if (slot == nullptr || !slot->is_true) return std::nullopt;
  return Known{
      slot->present,
      {bytes_.get() + slot->offset + slot->key_size, slot->bytes_size}};
}

bool RecentEntries::Doubt(std::string_view key, std::uint64_t hash) noexcept {
  Slot* const slot = SlotOf(key, hash);
  if (slot == nullptr) return false;
  slot->is_true = false;
  return true;
}

void RecentEntries::Put(std::string_view key, std::uint64_t hash,
                        const Known& known) noexcept {
  if (Slot* const slot = SlotOf(key, hash)) {
    if (slot->bytes_size == known.bytes.size()) {
      std::copy(known.bytes.begin(), known.bytes.end(),
                bytes_.get() + slot->offset + slot->key_size);
      slot->is_true = true;
      slot->present = known.present;
      return;
    }
    slot->tag = 0;  // Its bytes are left to the ring.
  }
  const std::size_t size = key.size() + known.bytes.size();
  if (size > capacity_ / kShareMax) return;
  if (!slots_) {
    slots_ = std::make_unique<Slot[]>(slot_count_);
    bytes_ = std::make_unique_for_overwrite<char[]>(capacity_);
  }
  MakeRoom(size);
  Slot& slot = slots_[(first_ + taken_) % slot_count_];
  ++taken_;
  slot = {TagOf(hash),
          write_,
          static_cast<std::uint16_t>(key.size()),
          static_cast<std::uint16_t>(known.bytes.size()),
          true,
          known.present};
  char* const rest = std::copy(key.begin(), key.end(), bytes_.get() + write_);
  std::copy(known.bytes.begin(), known.bytes.end(), rest);
  write_ = static_cast<std::uint16_t>(write_ + size);
}

void RecentEntries::MakeRoom(std::size_t size) noexcept {
  // Of what has been there longest; nothing is there: before everything.
  const auto is_ahead = [this](std::size_t end) {
    return taken_ != 0 && slots_[first_].offset >= write_ &&
           slots_[first_].offset < end;
  };
  if (write_ + size > capacity_) {
    // What lies up to the end was there before what lies at the beginning.
    while (is_ahead(capacity_)) DropOldest();
    write_ = 0;
  }
  while (is_ahead(write_ + size) || taken_ == slot_count_) DropOldest();
}

void RecentEntries::DropOldest() noexcept {
  slots_[first_].tag = 0;
  first_ = static_cast<std::uint16_t>((first_ + 1) % slot_count_);
  --taken_;
}

}  // namespace larder
