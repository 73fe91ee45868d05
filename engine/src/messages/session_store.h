#ifndef LARDER_ENGINE_SRC_MESSAGES_SESSION_STORE_H_
#define LARDER_ENGINE_SRC_MESSAGES_SESSION_STORE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "larder/engine/engine.h"

#include "messages/message_codec.h"
#include "segments/placed_reader.h"

namespace larder {

class EvictionNotifier;
class HotWriter;

/// Which request of which client. Sequences of a client only grow; it never
/// has more than one request under way.
struct Session {
  std::uint64_t uid = 0;
  std::uint64_t sequence = 0;
};

/// From this size a client and the holder do not send each other values: both
/// reach the segment files.
inline constexpr std::size_t kPlacedValueSizeMin = 16 * 1024;

/// The most that a record of an answer holds of values: it is written with the
/// change and kept until the client's next one, outside of what can be evicted.
/// A larger value is not popped for a client, who is told where it lies
/// instead, reads it, and then deletes just this version.
inline constexpr std::size_t kRecordedValueSizeMax = kPlacedValueSizeMin;

/// The values of one call that do not travel with it.
struct PlacedValues {
  /// Of Sets: where the client has written them, as granted.
  std::span<const PlacedValue> written = {};
  /// The client can read large values of a single Get where they lie.
  bool wanted = false;
  /// Those, and what was not popped; their replies have none.
  std::vector<PlacedValue> found = {};
};

/// One command of one client.
struct ClientChange {
  Session session;  ///< uid 0: of this process itself, no record needed.
  const Command* command = nullptr;
  Reply* reply = nullptr;
  ExecuteOptions options;
  Status status;                        ///< Of the call, when it is done.
  std::vector<PlacedValue> found = {};  ///< As PlacedValues::found.
};

/// The names of the policy that is set and of the one that runs.
struct PolicyInForce {
  std::string set = {};
  std::string running = {};
};

/// What a store offers so that clients in other processes can use it, and each
/// of their changes is made exactly once, although its holder may die between
/// the commit and the answer.
///
/// Threads: thread-safe, as Engine.
class SessionStore : public Engine, public PlacedReader {
 public:
  /// As Execute, on behalf of a client; if it changes something, the same
  /// atomic commit has the record
  /// uid -> {sequence, EncodeReplies(status, replies, {})}, in place of the
  /// client's last one. So a Pop of more than kRecordedValueSizeMax is not
  /// made: its reply is not applied, and `placed.found` has the value.
  /// What a batch returns is recorded whole: it needs room.
  [[nodiscard]] virtual Status ExecuteAs(const Session& session,
                                         std::span<const Command> commands,
                                         std::span<Reply> replies,
                                         const ExecuteOptions& options,
                                         PlacedValues& placed) noexcept = 0;
  /// As ExecuteAs of each, but maybe in one commit, which costs less.
  /// REQUIRES: no two of one client; every command is a change of one key.
  virtual void ExecuteGroup(std::span<ClientChange> changes) noexcept {
    for (ClientChange& change : changes) {
      PlacedValues placed;
      change.status =
          change.session.uid == 0
              ? Execute({change.command, 1}, {change.reply, 1}, change.options)
              : ExecuteAs(change.session, {change.command, 1},
                          {change.reply, 1}, change.options, placed);
      change.found = std::move(placed.found);
    }
  }
  /// What the record of the client holds, if it is of this sequence. Must know
  /// everything that was committed before a crash.
  [[nodiscard]] virtual std::optional<std::string> FindReply(
      const Session& session) noexcept = 0;
  /// Space in the segment files for one value of a client, who writes it there
  /// and then sets it (PlacedValues::written). Errors: kNoSpace, kTooLarge,
  /// kAborted (other clients' values take the room: ask again), kInternal (send
  /// the value).
  [[nodiscard]] virtual Result<Grant> GrantPlaces(
      std::uint64_t uid, const GrantRequest& wanted) noexcept {
    static_cast<void>(uid);
    static_cast<void>(wanted);
    return Fail(Status::Internal("this store has no segment files"));
  }
  /// It will not be used.
  virtual void DropGrant(std::uint64_t uid, std::uint64_t version) noexcept {
    static_cast<void>(uid);
    static_cast<void>(version);
  }
  /// It will use none that was granted until now.
  virtual void DropGrants(std::uint64_t uid) noexcept {
    static_cast<void>(uid);
  }
  /// Whether it has space that it has not used yet.
  [[nodiscard]] virtual bool HasGrants(std::uint64_t uid) noexcept {
    static_cast<void>(uid);
    return false;
  }
  /// The client will never come again: its record may go, and its grants do.
  virtual void ForgetClient(std::uint64_t uid) noexcept = 0;
  /// So may the records of all clients that are not among `uids`.
  virtual void RetainClients(std::span<const std::uint64_t> uids) noexcept {
    static_cast<void>(uids);
  }

  /// PlacedReader: of a place in the hot tier.
  [[nodiscard]] Result<ValueHandle> ReadPlaced(
      std::string_view key, std::uint64_t version,
      const SegmentPlace& place) noexcept override {
    static_cast<void>(key);
    static_cast<void>(version);
    static_cast<void>(place);
    return Fail(Status::NotFound("this store has no segment files"));
  }
  std::size_t ReadAheadPlaced(
      std::span<WantedRecord> wanted) noexcept override {
    static_cast<void>(wanted);
    return 0;
  }

  /// Looks whether the files of the store are still in their place; if not,
  /// every call is kGone from now on. Cost: three system calls.
  virtual void LookForDirectory() noexcept {}

  /// As Reset("policy", name), for a client that has registered it, which this
  /// process need not have: then kFallbackPolicy runs until somebody has the
  /// store who can run it.
  [[nodiscard]] virtual Status ResetPolicy(std::string_view name) noexcept {
    return Reset("policy", name);
  }

  [[nodiscard]] virtual PolicyInForce policy() const noexcept { return {}; }

  /// If the policy that is set does not run but can be run here, as it was
  /// registered since, it does from now on. Writes no setting. Errors: kAborted
  /// (its factory failed; the one that ran goes on), kClosed, kGone.
  [[nodiscard]] virtual Status RunSetPolicy() noexcept { return {}; }

  /// False: somebody else might not be able to open or to write it, so that it
  /// is better off here.
  [[nodiscard]] virtual bool MayBeGivenAway() noexcept { return true; }

  /// As long as it is kept, Close does not wait for an eviction callback that
  /// runs, and what is still to be told is told. nullptr: nobody is.
  [[nodiscard]] virtual std::shared_ptr<EvictionNotifier>
  KeepTelling() noexcept {
    return nullptr;
  }

  /// Gives back the descriptors of files that have not been used for a while.
  /// To be called about once a second.
  virtual void CloseIdleFiles() noexcept {}

  /// False: Count and Stats have something to settle first (what has expired or
  /// gone with its tag), which may take long.
  [[nodiscard]] virtual bool CountsAtOnce() noexcept { return true; }

  /// What has left since the subscriber asked last; see EvictionBoard.
  [[nodiscard]] virtual EvictionNotices TakeEvictions(
      std::uint64_t subscriber) noexcept {
    static_cast<void>(subscriber);
    return {};
  }

  /// From now on the store keeps the generation of its segment log in
  /// `published` (see Grant), 0 while there is none that may be written to;
  /// nullptr: not any more, and 0 is left there.
  virtual void SetLogGeneration(
      std::atomic<std::uint64_t>* published) noexcept {
    static_cast<void>(published);
  }

  /// From now on the store keeps `hot` in step with what it commits, and fills
  /// it with what is read (see HotWriter); nullptr: not any more.
  virtual void SetHotTier(HotWriter* hot) noexcept { static_cast<void>(hot); }
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_MESSAGES_SESSION_STORE_H_
