#include "store/store_hot.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "store/store.h"

// The store's side of the hot tier. A commit hides its keys, writes, and shows
// what is true now; all under the stripes of the keys, so that no two commits
// have the same key between hiding and showing. Reads fill the tier with what
// they found, unless a commit of the key came in between.

namespace larder {
namespace {

std::optional<HotTierFigures> FiguresOf(const HotWriter* hot) noexcept {
  if (hot == nullptr) return std::nullopt;
  return hot->Figures();
}

}  // namespace

void HotDoor::Forget() noexcept {
  for (std::atomic<std::uint64_t>& word : words_) {
    word.store(0, std::memory_order_relaxed);
  }
  set_.store(0, std::memory_order_relaxed);
}

bool HotDoor::Knock(const HotKey& key) noexcept {
  const std::uint64_t bit = key.hash.high64 % kBits;
  const std::uint64_t mask = std::uint64_t{1} << (bit % 64);
  std::atomic<std::uint64_t>& word = words_[bit / 64];
  // Relaxed: a bit that is lost costs one more read of the store.
  if ((word.load(std::memory_order_relaxed) & mask) != 0) return true;
  word.fetch_or(mask, std::memory_order_relaxed);
  if (set_.fetch_add(1, std::memory_order_relaxed) >= kBits / 4) Forget();
  return false;
}

HotFill::HotFill(HotWriter* hot, HotDoor& door, std::string_view key,
                 std::size_t value_size_max) noexcept
    : hot_(hot), value_size_max_(value_size_max) {
  if (hot_ == nullptr) return;
  key_.emplace(key);
  if (!door.Knock(*key_)) {
    hot_ = nullptr;
    return;
  }
  token_ = hot_->BeginFill(*key_);
}

void HotFill::Absent() noexcept {
  if (hot_ != nullptr) hot_->FillAbsent(token_, *key_);
}

void HotFill::Present(Rank rank, const ItemInfo& info,
                      std::string_view value) noexcept {
  if (hot_ == nullptr || value.size() > value_size_max_) return;
  HotItem item;
  item.value = value;
  Fill(rank, info, item);
}

void HotFill::Placed(Rank rank, const ItemInfo& info,
                     const SegmentPlace& place) noexcept {
  if (hot_ == nullptr) return;
  HotItem item;
  item.place = place;
  Fill(rank, info, item);
}

void HotFill::Fill(Rank rank, const ItemInfo& info, HotItem item) noexcept {
  item.tag = info.tag;
  item.version = info.version;
  item.stored_at = info.stored_at;
  item.expires_at = info.expires_at;
  item.rank = rank;
  item.frequency = info.frequency;
  item.codec = info.codec;
  item.pinned = info.pinned;
  hot_->Fill(token_, *key_, item);
}

HotCommit::HotCommit(HotWriter* hot, PendingBatch& pending,
                     bool admit_new) noexcept
    : hot_(hot), admit_new_(admit_new) {
  if (hot_ == nullptr || pending.hot_count == 0) {
    hot_ = nullptr;
    return;
  }
  if (pending.hot_count == 1) {
    single_.emplace(pending.hot[0].key);
    single_change_ = &pending.hot[0];
    single_ticket_ = hot_->Begin(*single_);
    return;
  }
  std::vector<Change*> changes;
  changes.reserve(pending.hot_count);
  for (std::size_t i = 0; i < pending.hot_count; ++i) {
    changes.push_back(&pending.hot[i]);
  }
  std::stable_sort(
      changes.begin(), changes.end(),
      [](const Change* a, const Change* b) { return a->key < b->key; });
  hot_->BeginBatch();
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const bool last =
        i + 1 == changes.size() || changes[i + 1]->key != changes[i]->key;
    if (!last) continue;
    const HotKey key(changes[i]->key);
    several_.push_back({changes[i], key, hot_->Begin(key)});
  }
}

HotCommit::~HotCommit() {
  if (hot_ == nullptr) return;
  if (single_) {
    hot_->Drop(single_ticket_, *single_);
    return;
  }
  for (const Hidden& hidden : several_) hot_->Drop(hidden.ticket, hidden.key);
  hot_->EndBatch();
}

void HotCommit::Show() noexcept {
  if (hot_ == nullptr) return;
  if (single_) {
    Show(*single_change_, *single_, single_ticket_);
  } else {
    for (const Hidden& hidden : several_) {
      Show(*hidden.change, hidden.key, hidden.ticket);
    }
    hot_->EndBatch();
  }
  hot_ = nullptr;
}

void HotCommit::Show(const Change& change, const HotKey& key,
                     const HotWriter::Ticket& ticket) noexcept {
  if (!admit_new_ && !ticket.has_entry) return hot_->Drop(ticket, key);
  switch (change.kind) {
    case Change::Kind::kPresent:
      return hot_->Publish(ticket, key, change.item);
    case Change::Kind::kAbsent:
      return hot_->PublishAbsent(ticket, key);
    case Change::Kind::kUnknown:
      return hot_->Drop(ticket, key);
  }
}

SegmentPlace Store::PlaceForTier(const Entry& entry) noexcept {
  const bool in_one_piece = entry.kind == EntryKind::kSegments &&
                            entry.extents.size() == 1 &&
                            entry.value_size >= kHotPlacedSizeMin;
  return in_one_piece ? entry.extents.front() : SegmentPlace();
}

void Store::PrefetchHot(std::string_view key) const noexcept {
  // Relaxed: the gate orders it.
  hot_.load(std::memory_order_relaxed)->Prefetch(HotKey(key));
}

void Store::NoteHotPut(std::string_view key, const Entry& entry,
                       const std::string_view* value,
                       PendingBatch& pending) noexcept {
  using Change = PendingBatch::HotChange;
  const SegmentPlace place = PlaceForTier(entry);
  const bool at_hand = value != nullptr || entry.kind == EntryKind::kInline ||
                       place.segment != 0;
  Change& change = pending.AddHot(
      key, at_hand ? Change::Kind::kPresent : Change::Kind::kUnknown);
  if (!at_hand) return;
  HotItem& item = change.item;
  if (place.segment != 0) {
    item.place = place;
    // The entry's bytes do not outlive the caller.
    change.owned.assign(entry.tag);
    item.tag = change.owned;
  } else if (value != nullptr) {
    item.value = *value;
    item.tag = entry.tag;
  } else {
    change.owned.assign(entry.inline_value).append(entry.tag);
    item.value =
        std::string_view(change.owned).substr(0, entry.inline_value.size());
    item.tag = std::string_view(change.owned).substr(item.value.size());
  }
  item.version = entry.version;
  item.stored_at = entry.stored_at;
  item.expires_at = entry.expires_at;
  item.rank = entry.rank;
  item.frequency = entry.frequency;
  item.codec = entry.codec;
  item.pinned = entry.pinned;
}

void Store::SetHotTier(HotWriter* hot) noexcept {
  // With all writers out: a commit that did not hide its keys has ended before
  // anybody fills the tier.
  write_gate_.lock();
  HotWriter* const old = hot_.load(std::memory_order_relaxed);
  const auto before = FiguresOf(old);
  const auto after = FiguresOf(hot);
  accesses_.ChangeTier(before ? &*before : nullptr, after ? &*after : nullptr);
  if (hot != nullptr) {
    for (std::uint8_t c = 0; c < kRankClassCount; ++c) {
      hot->SetCutoff(c, cutoffs_[c]);
    }
  }
  hot_.store(hot, std::memory_order_release);
  write_gate_.unlock();
}

Accesses Store::AccessesHere() noexcept {
  const auto no_change_of_tier = write_gate_.Enter();
  const auto tier = FiguresOf(hot_.load(std::memory_order_relaxed));
  return accesses_.Total(tier ? &*tier : nullptr);
}

Status Store::RestampHot() noexcept {
  constexpr std::size_t kTouchedCountMax = 4096;
  HotWriter* const hot = hot_.load(std::memory_order_acquire);
  if (hot == nullptr || !policy_tracks_hits_) return Status::Ok();
  const std::vector<HotTouched> touched = hot->TakeTouched(kTouchedCountMax);
  std::vector<TouchBuffer::Touch> touches(touched.size());
  for (std::size_t i = 0; i < touched.size(); ++i) {
    touches[i].key = touched[i].key;
    touches[i].version = touched[i].version;
    touches[i].hits = touched[i].hits;
  }
  LARDER_RETURN_IF_ERROR(RestampAll(touches));
  for (std::size_t i = 0; i < touched.size(); ++i) {
    if (touches[i].restamped != 0)
      hot->SetRank(touched[i], touches[i].restamped);
  }
  return Status::Ok();
}

}  // namespace larder
