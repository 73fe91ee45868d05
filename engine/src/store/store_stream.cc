#include <algorithm>
#include <array>

#include "index/store_keys.h"
#include "store/store.h"
#include "store/store_command.h"
#include "store/store_locks.h"

// Values piece by piece. A writer appends records to the log as it goes and
// commits one entry for all of them; until then the segments it wrote to are
// pinned, so that cleaning does not take them for dead.

namespace larder {

class StoreWriter final : public ValueWriter {
 public:
  StoreWriter(Store& store, const SetCommand& command,
              std::uint64_t size_expected, const ExecuteOptions& options)
      : store_(store),
        size_expected_(size_expected),
        key_(command.key),
        tag_(command.tag),
        command_(command),
        options_(options) {
    command_.key = key_;
    command_.tag = tag_;
    command_.value = {};
    stored_.version = store_.runs_.NextVersion();
  }

  ~StoreWriter() override { Unpin(); }

  [[nodiscard]] Status Append(std::string_view bytes) noexcept override {
    if (!failure_.ok()) return failure_;
    const auto gate = store_.store_gate_.Enter();
    failure_ = Enter(stored_.size + buffer_.size() + bytes.size());
    while (failure_.ok() && !bytes.empty()) {
      const std::size_t take =
          std::min(bytes.size(), kChunkSizeBytesMax - buffer_.size());
      buffer_.append(bytes.substr(0, take));
      bytes.remove_prefix(take);
      if (buffer_.size() == kChunkSizeBytesMax) failure_ = WriteBuffer();
    }
    return failure_;
  }

  [[nodiscard]] Reply Commit() noexcept override {
    Reply reply;
    if (failure_.ok()) {
      store_.HealIfFaulted();
      const auto gate = store_.store_gate_.Enter();
      reply.status = Enter(stored_.size + buffer_.size());
      if (reply.status.ok()) reply.status = CommitEntered(reply);
      if (!reply.status.ok()) reply.applied = false;
    } else {
      reply.status = failure_;
    }
    if (failure_.ok()) {
      failure_ = Status::Closed("the value was committed before");
    }
    Unpin();
    return reply;
  }

 private:
  Status Enter(std::uint64_t total) const noexcept {
    LARDER_RETURN_IF_ERROR(store_.CheckOpen());
    LARDER_RETURN_IF_ERROR(store_.CheckWritable());
    return store_.CheckValueSize(total);
  }

  Status WriteBuffer() noexcept {
    RoomClaim claim;
    LARDER_RETURN_IF_ERROR(store_.MakeRoom(
        {.log_bytes = store_.LogBytesFor(key_.size(), buffer_.size())}, claim));
    Extents extents;
    // Until the records are pinned.
    std::vector<SegmentGrant> grants;
    const Status status =
        store_.AppendToLog(key_, command_.codec, stored_.version, 0,
                           stored_.size, buffer_, extents, grants,
                           store_.StreamOfSize(std::max(
                               size_expected_, stored_.size + buffer_.size())));
    const std::scoped_lock lock(store_.ledger_mutex_);
    for (const SegmentPlace& place : extents) {
      const PlaceId pin = PlaceOfSegment(place.segment);
      store_.stream_pins_.insert(pin);
      pins_.push_back(pin);
    }
    stored_.extents.insert(stored_.extents.end(), extents.begin(),
                           extents.end());
    stored_.size += buffer_.size();
    buffer_.clear();
    return status;
  }

  Status CommitEntered(Reply& reply) noexcept {
    const bool streamed = !stored_.extents.empty() ||
                          buffer_.size() >= store_.settings_.large_value_min();
    if (streamed && !buffer_.empty()) {
      LARDER_RETURN_IF_ERROR(WriteBuffer());
    }
    RoomClaim claim;
    LARDER_RETURN_IF_ERROR(store_.MakeRoom(
        {.database_bytes = AdditionBytes(key_.size(), tag_.size(), true) +
                           stored_.extents.size() * sizeof(SegmentPlace) +
                           (streamed ? 0 : buffer_.size()),
         .items = store_.MayAddItem(key_) ? 1U : 0U},
        claim));
    command_.value = buffer_;
    PendingBatch pending;
    const auto writing = store_.write_gate_.Enter();
    store_.StartBatch(pending);
    Store::StripeLocks locks(store_);
    locks.LockOne(key_);
    store_.ApplySet(command_, streamed ? &stored_ : nullptr, pending, reply);
    if (!reply.status.ok() || pending.empty()) return reply.status;
    return store_.Commit(
        pending, options_.durability.value_or(store_.settings_.durability()));
  }

  void Unpin() noexcept {
    const std::scoped_lock lock(store_.ledger_mutex_);
    for (const PlaceId pin : pins_) {
      store_.stream_pins_.erase(store_.stream_pins_.find(pin));
    }
    if (!pins_.empty()) store_.unpinnings_.fetch_add(1);
    pins_.clear();
  }

  Store& store_;
  const std::uint64_t size_expected_;
  const std::string key_;
  const std::string tag_;
  SetCommand command_;
  const ExecuteOptions options_;
  Status failure_;
  std::string buffer_;
  Store::StoredValue stored_;
  std::vector<PlaceId> pins_;
};

Result<std::unique_ptr<ValueWriter>> Store::OpenWriter(
    const SetCommand& command, std::uint64_t size_expected,
    const ExecuteOptions& options) noexcept {
  HealIfFaulted();
  const auto gate = store_gate_.Enter();
  LARDER_FAIL_IF_ERROR(CheckOpen());
  LARDER_FAIL_IF_ERROR(CheckWritable());
  SetCommand checked = command;
  checked.value = {};
  LARDER_FAIL_IF_ERROR(ValidateCommand(checked));
  LARDER_FAIL_IF_ERROR(CheckValueSize(size_expected));
  return std::make_unique<StoreWriter>(*this, checked, size_expected, options);
}

class StoreReader final : public ValueReader {
 public:
  StoreReader(Store& store, std::string_view key, ItemInfo info,
              Extents extents, ValueHandle whole)
      : store_(store),
        key_(key),
        info_(std::move(info)),
        extents_(std::move(extents)),
        piece_(std::move(whole)),
        piece_end_(piece_.size()) {}

  [[nodiscard]] const ItemInfo& info() const noexcept override { return info_; }

  [[nodiscard]] Result<std::size_t> Read(
      std::span<char> buffer) noexcept override {
    const auto gate = store_.store_gate_.Enter();
    LARDER_FAIL_IF_ERROR(store_.CheckOpen());
    std::size_t done = 0;
    while (done < buffer.size() && offset_ < info_.size_bytes) {
      if (offset_ >= piece_end_) LARDER_FAIL_IF_ERROR(NextPiece());
      const std::string_view bytes = piece_.bytes().substr(
          piece_.size() - static_cast<std::size_t>(piece_end_ - offset_));
      const std::size_t take = std::min(bytes.size(), buffer.size() - done);
      bytes.copy(buffer.data() + done, take);
      done += take;
      offset_ += take;
      if (offset_ == piece_end_) LetPieceGo();
    }
    return done;
  }

 private:
  // The piece that starts at offset_. Cleaning may have moved it: then the
  // entry of the same version says where to.
  Status NextPiece() noexcept {
    constexpr int kAttemptsMax = 8;
    for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
      std::uint64_t begin = 0;
      auto place = extents_.begin();
      while (place != extents_.end() &&
             begin + place->payload_size <= offset_) {
        begin += place->payload_size;
        ++place;
      }
      if (place == extents_.end()) break;
      const std::uint64_t cold_before = SegmentLog::ThreadColdReads();
      Result<ValueHandle> piece = store_.log_->Read(
          *place, key_, info_.version, store_.settings_.verify_reads());
      if (piece) {
        piece_ = std::move(*piece);
        piece_end_ = begin + place->payload_size;
        place_ = *place;
        is_cold_ |= SegmentLog::ThreadColdReads() != cold_before;
        if (is_cold_) {
          ReadAhead(static_cast<std::size_t>(place - extents_.begin()) + 1);
        }
        return Status::Ok();
      }
      if (piece.error().code() != StatusCode::kNotFound) return piece.error();
      LARDER_RETURN_IF_ERROR(Refresh());
    }
    return Gone();
  }

  // The storage works on the next pieces while one is looked at.
  void ReadAhead(std::size_t first) noexcept {
    constexpr std::size_t kPiecesMax = 4;
    std::array<WantedRecord, kPiecesMax> wanted;
    std::size_t count = 0;
    for (; count < kPiecesMax && first + count < extents_.size(); ++count) {
      wanted[count] = {extents_[first + count], key_.size()};
    }
    is_cold_ = store_.log_->ReadAhead({wanted.data(), count}) != 0;
  }

  // What goes by once would else be memory of the process as long as its
  // segments are mapped. REQUIRES: the caller keeps the store open.
  void LetPieceGo() noexcept {
    constexpr std::uint64_t kKeptSizeMax = 16U << 20;
    if (place_.segment == 0 || info_.size_bytes <= kKeptSizeMax) return;
    store_.log_->LetGo({place_, key_.size()});
    place_ = {};
  }

  Status Refresh() noexcept {
    const EntryKey entry_key(key_);
    rocksdb::PinnableSlice slice;
    const rocksdb::Status read =
        store_.rocks_->db().Get(rocksdb::ReadOptions(), store_.rocks_->access(),
                                ToSlice(entry_key.bytes()), &slice);
    Entry entry;
    if (!read.ok() || !DecodeEntry(slice.ToStringView(), entry).ok() ||
        entry.version != info_.version) {
      return Gone();
    }
    extents_ = std::move(entry.extents);
    return Status::Ok();
  }

  static Status Gone() {
    return {StatusCode::kGone,
            "the item was replaced or evicted while it was read"};
  }

  Store& store_;
  const std::string key_;
  const ItemInfo info_;
  Extents extents_;
  ValueHandle piece_;
  std::uint64_t piece_end_ = 0;
  std::uint64_t offset_ = 0;
  SegmentPlace place_;  // Of piece_, if it lies in a segment.
  bool is_cold_ = false;
};

Result<std::unique_ptr<ValueReader>> Store::OpenReader(
    std::string_view key) noexcept {
  LARDER_FAIL_IF_ERROR(CheckCaller());
  {
    const auto gate = store_gate_.Enter();
    LARDER_FAIL_IF_ERROR(CheckOpen());
    LARDER_FAIL_IF_ERROR(ValidateCommand(GetCommand{key}));
    const EntryKey entry_key(key);
    rocksdb::PinnableSlice slice;
    rocksdb::Status read;
    TagCutoffView tags;
    for (bool is_one_moment = false; !is_one_moment;) {
      slice.Reset();
      const std::uint64_t tag_changes = tag_cutoffs_.changes();
      read = rocks_->db().Get(rocksdb::ReadOptions(), rocks_->access(),
                              ToSlice(entry_key.bytes()), &slice);
      tags = tag_cutoffs_.View();
      is_one_moment = tag_changes == tag_cutoffs_.changes();
    }
    Entry entry;
    if (read.ok() && DecodeEntry(slice.ToStringView(), entry).ok() &&
        entry.kind == EntryKind::kSegments) {
      if (!IsServed(entry, clock_.Now(), tags)) {
        accesses_.Add(/*is_hit=*/false);
        return std::unique_ptr<ValueReader>();
      }
      accesses_.Add(/*is_hit=*/true);
      NoteHit(key, entry);
      return std::make_unique<StoreReader>(*this, key, InfoOf(entry),
                                           entry.extents, ValueHandle());
    }
  }
  // Small, or nothing: Get knows all about it.
  const Command commands[] = {GetCommand{key}};
  Reply replies[1];
  LARDER_FAIL_IF_ERROR(Execute(commands, replies, {}));
  LARDER_FAIL_IF_ERROR(replies[0].status);
  if (!replies[0].applied) return std::unique_ptr<ValueReader>();
  return std::make_unique<StoreReader>(*this, key, std::move(replies[0].info),
                                       Extents(), std::move(replies[0].value));
}

}  // namespace larder
