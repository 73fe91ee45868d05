#ifndef LARDER_ENGINE_SRC_SESSION_STORE_H_
#define LARDER_ENGINE_SRC_SESSION_STORE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "larder/engine/engine.h"

namespace larder {

class HotWriter;

/// Which request of which client. Sequences of a client only grow; it never
/// has more than one request under way.
struct Session {
  std::uint64_t uid = 0;
  std::uint64_t sequence = 0;
};

/// What a store offers so that clients in other processes can use it, and each
/// of their changes is made exactly once, although its holder may die between
/// the commit and the answer.
///
/// Threads: thread-safe, as Engine.
class SessionStore : public Engine {
 public:
  /// As Execute, on behalf of a client; if it changes something, the same
  /// atomic commit has the record
  /// uid -> {sequence, EncodeReplies(status, replies, {})}, in place of the
  /// client's last one.
  [[nodiscard]] virtual Status ExecuteAs(
      const Session& session, std::span<const Command> commands,
      std::span<Reply> replies, const ExecuteOptions& options) noexcept = 0;
  /// What the record of the client holds, if it is of this sequence. Must know
  /// everything that was committed before a crash.
  [[nodiscard]] virtual std::optional<std::string> FindReply(
      const Session& session) noexcept = 0;
  /// The client will never come again: its record may go.
  virtual void ForgetClient(std::uint64_t uid) noexcept = 0;
  /// So may the records of all clients that are not among `uids`.
  virtual void RetainClients(std::span<const std::uint64_t> uids) noexcept {
    static_cast<void>(uids);
  }

  /// From now on the store keeps `hot` in step with what it commits, and fills
  /// it with what is read (see HotWriter); nullptr: not any more.
  virtual void SetHotTier(HotWriter* hot) noexcept { static_cast<void>(hot); }
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SESSION_STORE_H_
