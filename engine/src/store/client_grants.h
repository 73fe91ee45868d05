#ifndef LARDER_ENGINE_SRC_STORE_CLIENT_GRANTS_H_
#define LARDER_ENGINE_SRC_STORE_CLIENT_GRANTS_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "larder/engine/status.h"

#include "segments/segment_log.h"

namespace larder {

/// Space in the log that a client writes a value into.
struct ClientGrant {
  std::uint64_t uid = 0;         ///< Of the client.
  std::uint64_t generation = 0;  ///< Of the log.
  std::uint32_t key_size = 0;
  std::uint64_t value_size = 0;
  std::vector<SegmentGrant> parts;
};

/// Errors: kGone.
Status UnknownGrant();

/// What was granted to clients and not used yet, by the version of the value
/// that it is for.
///
/// Threads: thread-safe; its lock is a leaf of the lock order.
class ClientGrants {
 public:
  /// It sets one value at a time, on each of its lanes.
  static constexpr std::size_t kPerClientMax = 4;

  /// OK, or kInvalidArgument: the client has kPerClientMax.
  [[nodiscard]] Status CheckMayHaveMore(std::uint64_t uid) const;
  /// REQUIRES: no grant of that version was ever added.
  void Add(std::uint64_t version, ClientGrant grant);
  /// It may be used once. Errors: kGone, also where another client has it.
  Result<ClientGrant> Take(std::uint64_t uid, std::uint64_t version);
  /// Unless another client has it.
  void Drop(std::uint64_t uid, std::uint64_t version) noexcept;
  void DropAllOf(std::uint64_t uid) noexcept;
  void Clear() noexcept;
  [[nodiscard]] bool IsEmpty() const noexcept;
  [[nodiscard]] bool HasAnyOf(std::uint64_t uid) const noexcept;

 private:
  using Grants = std::unordered_map<std::uint64_t, ClientGrant>;

  void Erase(Grants::iterator grant) noexcept;  // REQUIRES: mutex_.

  mutable std::mutex mutex_;
  Grants grants_;                                          // Guarded by mutex_.
  std::unordered_map<std::uint64_t, std::size_t> counts_;  // The same; no 0.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_STORE_CLIENT_GRANTS_H_
