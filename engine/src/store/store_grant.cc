#include <algorithm>

#include "segments/segment_file.h"
#include "store/store.h"

// Space in the value log for clients, who write large values there themselves:
// ask, write, set. A grant belongs to one client and is used once; it dies with
// the client, with the holder and when the database is opened again. The client
// then sends the value instead.

namespace larder {

Result<Grant> Store::GrantPlaces(std::uint64_t uid,
                                 const GrantRequest& wanted) noexcept {
  HealIfFaulted();
  const auto gate = store_gate_.Enter();
  LARDER_FAIL_IF_ERROR(CheckOpen());
  LARDER_FAIL_IF_ERROR(CheckWritable());
  if (wanted.key_size > kKeySizeBytesMax ||
      wanted.value_size < settings_.large_value_min() ||
      wanted.value_size > kValueInMemoryBytesMax) {
    return Fail(Status::InvalidArgument("no space is granted for that value"));
  }
  LARDER_FAIL_IF_ERROR(CheckValueSize(wanted.value_size));
  LARDER_FAIL_IF_ERROR(grants_.CheckMayHaveMore(uid));
  RoomClaim claim;  // Until the segments count it.
  Status room = MakeRoom(
      {.log_bytes = LogBytesFor(wanted.key_size, wanted.value_size)}, claim);
  if (room.code() == StatusCode::kNoSpace && evicts_for_room_ &&
      !grants_.IsEmpty()) {
    // Once they are set they can be evicted. It is not waited for here: whoever
    // calls this may be the one who is to set them.
    room = {StatusCode::kAborted, "others' values take the room: ask again"};
  }
  LARDER_FAIL_IF_ERROR(room);
  Grant grant;
  grant.version = runs_.NextVersion();
  ClientGrant kept;
  kept.uid = uid;
  kept.generation = log_->generation();
  grant.generation = kept.generation;
  kept.key_size = wanted.key_size;
  kept.value_size = wanted.value_size;
  for (std::uint64_t done = 0; done < wanted.value_size;) {
    const std::size_t size =
        std::min<std::uint64_t>(wanted.value_size - done, kChunkSizeBytesMax);
    const std::uint64_t before = log_->disk_bytes();
    auto part =
        log_->Reserve(wanted.key_size, size, StreamOfSize(wanted.value_size));
    if (!part) return Fail(SegmentFailure(part.error()));
    KeepWithinLimit(before);
    grant.chunks.push_back(
        {part->file->id(), part->offset, part->payload_size});
    done += part->payload_size;
    kept.parts.push_back(std::move(*part));
  }
  grants_.Add(grant.version, std::move(kept));
  return grant;
}

void Store::DropGrant(std::uint64_t uid, std::uint64_t version) noexcept {
  grants_.Drop(uid, version);
}

bool Store::HasGrants(std::uint64_t uid) noexcept {
  return grants_.HasAnyOf(uid);
}

void Store::DropGrants(std::uint64_t uid) noexcept { grants_.DropAllOf(uid); }

Result<Store::StoredValue> Store::AcceptValue(
    ClientGrant& grant, std::string_view key,
    const PlacedValue& value) noexcept {
  const auto gate = store_gate_.Enter();
  LARDER_FAIL_IF_ERROR(CheckOpen());
  if (grant.generation != log_->generation()) return Fail(UnknownGrant());
  if (key.size() != grant.key_size || value.value_size != grant.value_size ||
      value.chunks.size() != grant.parts.size()) {
    return Fail(Status::InvalidArgument("the value is not the one granted"));
  }
  StoredValue stored;
  stored.version = value.version;
  stored.size = value.value_size;
  stored.generation = grant.generation;
  for (std::size_t i = 0; i < grant.parts.size(); ++i) {
    auto place = log_->Accept(grant.parts[i], key, value.version);
    if (!place) return Fail(place.error());
    if (*place != value.chunks[i]) return Fail(UnknownGrant());
    stored.extents.push_back(*place);
  }
  return stored;
}

Status Store::CheckStored(const StoredValue& stored) const noexcept {
  return stored.generation == 0 || stored.generation == log_->generation()
             ? Status::Ok()
             : UnknownGrant();
}

}  // namespace larder
