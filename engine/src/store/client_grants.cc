#include "store/client_grants.h"

#include <utility>

#include "base/check.h"

namespace larder {

Status UnknownGrant() {
  return {StatusCode::kGone,
          "the space for the value was granted by another "
          "holder: send the value"};
}

Status ClientGrants::CheckMayHaveMore(std::uint64_t uid) const {
  const std::scoped_lock lock(mutex_);
  const auto count = counts_.find(uid);
  return count == counts_.end() || count->second < kPerClientMax
             ? Status::Ok()
             : Status::InvalidArgument("too many grants of one client");
}

void ClientGrants::Add(std::uint64_t version, ClientGrant grant) {
  const std::scoped_lock lock(mutex_);
  const std::uint64_t uid = grant.uid;
  const bool is_new = grants_.emplace(version, std::move(grant)).second;
  LARDER_CHECK(is_new);
  ++counts_[uid];
}

Result<ClientGrant> ClientGrants::Take(std::uint64_t uid,
                                       std::uint64_t version) {
  const std::scoped_lock lock(mutex_);
  const auto found = grants_.find(version);
  if (found == grants_.end() || found->second.uid != uid) {
    return Fail(UnknownGrant());
  }
  ClientGrant grant = std::move(found->second);
  Erase(found);  // Its uid was copied.
  return grant;
}

void ClientGrants::Drop(std::uint64_t uid, std::uint64_t version) noexcept {
  const std::scoped_lock lock(mutex_);
  const auto found = grants_.find(version);
  if (found != grants_.end() && found->second.uid == uid) Erase(found);
}

void ClientGrants::DropAllOf(std::uint64_t uid) noexcept {
  const std::scoped_lock lock(mutex_);
  if (counts_.erase(uid) == 0) return;
  std::erase_if(grants_,
                [uid](const auto& grant) { return grant.second.uid == uid; });
}

void ClientGrants::Clear() noexcept {
  const std::scoped_lock lock(mutex_);
  grants_.clear();
  counts_.clear();
}

bool ClientGrants::IsEmpty() const noexcept {
  const std::scoped_lock lock(mutex_);
  return grants_.empty();
}

bool ClientGrants::HasAnyOf(std::uint64_t uid) const noexcept {
  const std::scoped_lock lock(mutex_);
  return counts_.contains(uid);
}

void ClientGrants::Erase(Grants::iterator grant) noexcept {
  const auto count = counts_.find(grant->second.uid);
  LARDER_ASSERT(count != counts_.end() && count->second > 0);
  if (--count->second == 0) counts_.erase(count);
  grants_.erase(grant);
}

}  // namespace larder
