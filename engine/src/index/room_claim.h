#ifndef LARDER_ENGINE_SRC_INDEX_ROOM_CLAIM_H_
#define LARDER_ENGINE_SRC_INDEX_ROOM_CLAIM_H_

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace larder {

/// The most that something may add to the directory.
struct Incoming {
  std::uint64_t log_bytes = 0;       ///< To segments.
  std::uint64_t log_values = 0;      ///< So many values.
  std::uint64_t database_bytes = 0;  ///< To the WAL, and later to tables.
  std::uint64_t items = 0;
  /// Of database_bytes: values in the record of an answer.
  std::uint64_t recorded_bytes = 0;
  /// Besides, to the WAL and later to tables, but not to stay: once the index
  /// is compacted, there is not more than before. May use the room for that.
  std::uint64_t replacing_bytes = 0;
  [[nodiscard]] bool empty() const noexcept {
    return log_bytes == 0 && to_database() == 0;
  }
  [[nodiscard]] bool only_replaces() const noexcept {
    return log_bytes == 0 && database_bytes == 0 && replacing_bytes != 0;
  }
  [[nodiscard]] std::uint64_t to_database() const noexcept {
    return database_bytes + replacing_bytes;
  }
};

/// What may yet be added to the directory.
struct RoomLeft {
  std::int64_t for_database = 0;
  /// Together with the log, which may use what the database may not.
  std::int64_t for_both = 0;
  std::int64_t for_replacing = 0;    ///< Besides, for what replaces.
  std::int64_t database_factor = 1;  ///< How often a byte of it counts.

  [[nodiscard]] bool Holds(const Incoming& incoming) const noexcept {
    const auto log_bytes = static_cast<std::int64_t>(incoming.log_bytes);
    const std::int64_t added = ToDatabase(incoming.database_bytes);
    const std::int64_t all = ToDatabase(incoming.to_database());
    return DatabaseLacks(incoming) == 0 &&
           (AddsNothing(incoming) || added + log_bytes <= for_both) &&
           all + log_bytes <= for_both + for_replacing;
  }
  /// What must become free for the database, of what only the log may use, say.
  [[nodiscard]] std::uint64_t DatabaseLacks(
      const Incoming& incoming) const noexcept {
    std::int64_t lacks =
        ToDatabase(incoming.to_database()) - for_database - for_replacing;
    if (!AddsNothing(incoming)) {
      lacks =
          std::max(lacks, ToDatabase(incoming.database_bytes) - for_database);
    }
    return static_cast<std::uint64_t>(std::max<std::int64_t>(lacks, 0));
  }
  void Take(const Incoming& incoming) noexcept {
    const std::int64_t to_database = ToDatabase(incoming.to_database());
    for_database -= to_database;
    for_both -= to_database + static_cast<std::int64_t>(incoming.log_bytes);
  }

 private:
  // What replaces may have used what is kept for it, so that nothing is left
  // for anything else.
  static bool AddsNothing(const Incoming& incoming) noexcept {
    return incoming.database_bytes == 0 && incoming.log_bytes == 0;
  }
  [[nodiscard]] std::int64_t ToDatabase(std::uint64_t bytes) const noexcept {
    return database_factor * static_cast<std::int64_t>(bytes);
  }
};

/// What all writers together have claimed and not used yet.
struct ClaimedRoom {
  std::atomic<std::uint64_t> log_bytes{0};
  std::atomic<std::uint64_t> database_bytes{0};
  std::atomic<std::uint64_t> items{0};

  /// Somebody has room that will be used, or free again, without anybody else's
  /// doing.
  [[nodiscard]] bool any() const noexcept {
    return log_bytes != 0 || database_bytes != 0;
  }
};

/// One writer's part of it: claimed in the moment in which there is so much, so
/// that nobody else finds it free, and let go when it counts as used.
///
/// Threads: thread-compatible.
class RoomClaim {
 public:
  RoomClaim() noexcept = default;
  ~RoomClaim() { Release(); }
  RoomClaim(const RoomClaim&) = delete;
  RoomClaim& operator=(const RoomClaim&) = delete;

  /// REQUIRES: nothing is claimed by this, and nobody else looks meanwhile
  /// whether there is room for more.
  void Take(ClaimedRoom& of, const Incoming& wanted) noexcept {
    of_ = &of;
    claimed_ = wanted;
    if (wanted.log_bytes != 0) of.log_bytes.fetch_add(wanted.log_bytes);
    if (wanted.to_database() != 0) {
      of.database_bytes.fetch_add(wanted.to_database());
    }
    if (wanted.items != 0) of.items.fetch_add(wanted.items);
  }
  /// All of it is in segments that count it themselves.
  void ReleaseLog() noexcept {
    if (claimed_.log_bytes != 0) of_->log_bytes.fetch_sub(claimed_.log_bytes);
    claimed_.log_bytes = 0;
  }
  void Release() noexcept {
    ReleaseLog();
    if (claimed_.to_database() != 0) {
      of_->database_bytes.fetch_sub(claimed_.to_database());
    }
    if (claimed_.items != 0) of_->items.fetch_sub(claimed_.items);
    claimed_ = {};
  }

 private:
  ClaimedRoom* of_ = nullptr;
  Incoming claimed_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_ROOM_CLAIM_H_
