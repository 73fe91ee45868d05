#include <algorithm>
#include <thread>

#include "base/check.h"
#include "base/coding.h"
#include "base/test_point.h"
#include "index/store_keys.h"
#include "store/store.h"
#include "store/store_command.h"
#include "store/store_locks.h"

// Evicting a tag. One small commit, with all writers out, raises a cutoff: what
// has the tag and a smaller version is gone from then on, for every reader at
// one moment and after any crash. Its entries are deleted afterwards, in steps
// between which others write; until an entry is, it counts in the ledger, as
// one that has expired does, and whoever asks for the figures has the rest
// deleted first.
//
// 1. A cutoff is larger than the version of all that was committed before it,
//    and smaller than those that are given afterwards. What was begun before it
//    and is committed later (a stream, a value that a client places) is spared
//    by name, in its own commit.
// 2. While a cutoff is there its tag has no other: who evicts it again has the
//    first one settled before.
// 3. A cutoff goes when the index has no line of its tag that it covers.
//
// Rejected: deleting all of it with the writers out, who waited 5 s for a
// million items; a batch of its own for small tags, which saves 20 us.

namespace larder {
namespace {

// Deletions of one step: they bound what a writer of one of their stripes waits
// for, and how many of the stripes are taken.
constexpr std::size_t kTagStepCountMax = 32;
constexpr std::size_t kTagStepBytesMax = 64 * 1024;

/// Of whoever evicts a tag, who tells how many items there were.
class OwnedCutoff {
 public:
  explicit OwnedCutoff(std::uint64_t& count) noexcept : count_(count) {}
  ~OwnedCutoff() { LetGo(); }
  OwnedCutoff(const OwnedCutoff&) = delete;
  OwnedCutoff& operator=(const OwnedCutoff&) = delete;

  /// Takes over one that nobody owns.
  void TakeIfLeft(const std::shared_ptr<TagCutoff>& cutoff) noexcept {
    LetGo();
    if (!cutoff->is_owned.exchange(true)) cutoff_ = cutoff;
  }
  /// Counts what was settled by then, by whomever.
  void LetGo() noexcept {
    if (cutoff_ == nullptr) return;
    count_ += cutoff_->settled.exchange(0);
    cutoff_->is_owned = false;
    cutoff_.reset();
  }

 private:
  std::uint64_t& count_;
  std::shared_ptr<TagCutoff> cutoff_;
};

}  // namespace

// The iterator goes before anything is deleted: what it can see stays on disk
// as long as it lives, though compactions drop it, and the disk may be full.
Status Store::ReadTagIndex(std::string_view prefix, std::string_view from,
                           std::vector<std::string>& keys) noexcept {
  const std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->access()));
  std::size_t bytes = 0;
  for (it->Seek(ToSlice(from));
       it->Valid() && it->key().starts_with(ToSlice(prefix)) &&
       keys.size() < kTagStepCountMax && bytes < kTagStepBytesMax;
       it->Next()) {
    keys.emplace_back(it->key().ToStringView().substr(prefix.size()));
    bytes += keys.back().size();
  }
  return FromRocks(it->status(), "reading a tag's index");
}

Status Store::EvictTag(std::string_view tag, std::uint64_t& count) noexcept {
  // An empty tag is no tag: nothing has it.
  if (tag.empty()) return Status::Ok();
  LARDER_RETURN_IF_ERROR(SettleAllExpired(clock_.Now()));
  OwnedCutoff owned(count);
  for (;;) {
    // One that a failure or a crash has cut off is counted here.
    const TagCutoffView view = tag_cutoffs_.View();
    if (const TagCutoffView::Item* before = view.Of(tag)) {
      owned.TakeIfLeft(before->cutoff);
      LARDER_RETURN_IF_ERROR(SettleTag(*before->cutoff));
      owned.LetGo();
      continue;
    }
    const std::string prefix = TagIndexPrefix(tag);
    std::vector<std::string> keys;
    LARDER_RETURN_IF_ERROR(ReadTagIndex(prefix, prefix, keys));
    if (keys.empty()) return Status::Ok();
    std::shared_ptr<TagCutoff> cutoff;
    LARDER_RETURN_IF_ERROR(CutTag(tag, cutoff));
    if (cutoff == nullptr) continue;  // Somebody else was faster.
    owned.TakeIfLeft(cutoff);
    return SettleTag(*cutoff);
  }
}

Status Store::CutTag(std::string_view tag,
                     std::shared_ptr<TagCutoff>& cutoff) noexcept {
  RoomClaim claim;
  ClaimToFree({.replacing_bytes = tag.size() + kIncomingLineBytes}, claim);
  write_gate_.lock();
  if (tag_cutoffs_.View().Of(tag) != nullptr) {
    write_gate_.unlock();
    return Status::Ok();
  }
  HotWriter* const hot = hot_.load(std::memory_order_relaxed);
  if (hot != nullptr) hot->BeginEvictTag(tag);
  PendingBatch pending;
  pending.claim = &claim;
  const std::uint64_t version = runs_.NextVersion();
  pending.delta.version_max = version;
  char bytes[sizeof(version)];
  StoreBigEndian64(bytes, version);
  LARDER_CHECK(pending.batch
                   .Put(rocks_->counters(), TagCutoffKey(tag),
                        rocksdb::Slice(bytes, sizeof(bytes)))
                   .ok());
  TestPoint("tag.begun");
  const Status status =
      Commit(pending, std::max(settings_.durability(), Durability::kProcess));
  if (status.ok()) cutoff = tag_cutoffs_.Add(tag, version);
  if (hot != nullptr) hot->EndInvalidation();
  write_gate_.unlock();
  return status;
}

Status Store::SettleTag(TagCutoff& cutoff) noexcept {
  while (!cutoff.is_done) {
    LARDER_RETURN_IF_ERROR(CheckWritable());
    LARDER_RETURN_IF_ERROR(SettleTagStep(cutoff));
    LetIndexCatchUp();
  }
  return Status::Ok();
}

// Many deletions in a row would have RocksDB slow down all who write.
void Store::LetIndexCatchUp() noexcept {
  constexpr auto kPause = std::chrono::milliseconds(1);
  constexpr int kPausesMax = 200;
  for (int i = 0; i < kPausesMax && !closed_ && rocks_->index_is_behind();
       ++i) {
    std::this_thread::sleep_for(kPause);
  }
}

Status Store::SettleTags(std::chrono::steady_clock::time_point until) noexcept {
  if (!tag_cutoffs_.any()) return Status::Ok();
  const bool is_all = until == std::chrono::steady_clock::time_point::max();
  for (const auto& cutoff : tag_cutoffs_.View().All()) {
    if (!is_all && cutoff->is_owned) continue;  // Somebody is at it.
    while (!cutoff->is_done && !faults_.any() &&
           (is_all || std::chrono::steady_clock::now() < until)) {
      LARDER_RETURN_IF_ERROR(SettleTagStep(*cutoff));
      LetIndexCatchUp();
    }
  }
  return CheckWritable();
}

Status Store::SettleTagStep(TagCutoff& cutoff) noexcept {
  const std::scoped_lock lock(settle_tags_mutex_);
  if (cutoff.is_done) return Status::Ok();
  const std::string prefix = TagIndexPrefix(cutoff.tag);
  std::vector<std::string> keys;
  LARDER_RETURN_IF_ERROR(ReadTagIndex(prefix, prefix + cutoff.next_key, keys));
  if (keys.empty()) {
    // Unlogged writes may have replaced what the cutoff covers: they must not
    // be lost after it has gone.
    if (unlogged_marked_) LARDER_RETURN_IF_ERROR(rocks_->FlushAll());
    TestPoint("tag.ending");
    return EndTagCutoff(cutoff);
  }
  LARDER_RETURN_IF_ERROR(DeleteGone(cutoff, keys));
  cutoff.next_key = keys.back() + '\0';
  TestPoint("tag.step");
  return Status::Ok();
}

Status Store::DeleteGone(TagCutoff& cutoff,
                         std::span<const std::string> keys) noexcept {
  RoomClaim claim;
  ClaimToDelete(keys, cutoff.tag.size(), claim);
  PendingBatch pending;
  pending.claim = &claim;
  const auto writing = write_gate_.Enter();
  StartBatch(pending);
  StripeLocks locks(*this);
  std::vector<OldItem> items(keys.size());
  const std::vector<std::string_view> names(keys.begin(), keys.end());
  LARDER_RETURN_IF_ERROR(LookupAndLock(names, locks, items));
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const OldItem& old = items[i];
    if (!old.present || old.gone_by.get() != &cutoff) continue;
    RemoveEntry(keys[i], old, pending);
    TellOnce(keys[i], old.entry, EvictionReason::kCleared);
    if (old.counted) pending.settled.push_back(old.gone_by);
  }
  if (pending.empty()) return Status::Ok();
  return Commit(pending, Durability::kProcess);
}

Status Store::EndTagCutoff(TagCutoff& cutoff) noexcept {
  write_gate_.lock();
  rocksdb::WriteBatch batch;
  LARDER_CHECK(batch.Delete(rocks_->counters(), TagCutoffKey(cutoff.tag)).ok());
  const TagCutoffView view = tag_cutoffs_.View();
  const TagCutoffView::Item* const item = view.Of(cutoff.tag);
  LARDER_CHECK(item != nullptr && item->cutoff.get() == &cutoff);
  for (const std::uint64_t version : item->spared) {
    LARDER_CHECK(batch.Delete(rocks_->counters(), TagSparedKey(version)).ok());
  }
  const rocksdb::Status written =
      rocks_->db().Write(rocksdb::WriteOptions(), &batch);
  if (written.ok()) {
    tag_cutoffs_.Remove(cutoff.tag);
    cutoff.is_done = true;
  }
  write_gate_.unlock();
  return written.ok() ? Status::Ok() : HandleWriteFailure(written);
}

Status Store::LoadTagCutoffs() noexcept {
  TagCutoffView::Items items;
  const std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->counters()));
  for (it->Seek(ToSlice(kTagCutoffPrefix));
       it->Valid() && it->key().starts_with(ToSlice(kTagCutoffPrefix));
       it->Next()) {
    const std::string_view tag =
        it->key().ToStringView().substr(kTagCutoffPrefix.size());
    if (it->value().size() != sizeof(std::uint64_t)) {
      return Status::Corruption("cutoff of a tag: malformed line");
    }
    const std::uint64_t version = LoadBigEndian64(it->value().data());
    items.try_emplace(std::string(tag),
                      TagCutoffView::Item{
                          .cutoff = std::make_shared<TagCutoff>(tag, version)});
  }
  for (it->Seek(ToSlice(kTagSparedPrefix));
       it->Valid() && it->key().starts_with(ToSlice(kTagSparedPrefix));
       it->Next()) {
    const auto version = ParseTagSparedKey(it->key().ToStringView());
    const auto found = items.find(it->value().ToString());
    if (version && found != items.end()) found->second.spared.insert(*version);
  }
  LARDER_RETURN_IF_ERROR(FromRocks(it->status(), "reading cutoffs of tags"));
  tag_cutoffs_.Load(std::move(items));
  return Status::Ok();
}

std::uint64_t Store::CountGoneUnsettled(TimePoint now) noexcept {
  std::uint64_t count = 0;
  const TagCutoffView view = tag_cutoffs_.View();
  for (const auto& cutoff : view.All()) {
    const std::string prefix = TagIndexPrefix(cutoff->tag);
    const std::unique_ptr<rocksdb::Iterator> it(
        rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->access()));
    for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix);
         it->Next()) {
      OldItem item;
      const std::string_view key =
          it->key().ToStringView().substr(prefix.size());
      if (LookupInIndex(key, item).ok() && item.counted &&
          item.gone_by == cutoff && item.entry.expires_at > now) {
        ++count;
      }
    }
  }
  return count;
}

}  // namespace larder
