#ifndef LARDER_ENGINE_SRC_SHARED_REMOTE_ENGINE_H_
#define LARDER_ENGINE_SRC_SHARED_REMOTE_ENGINE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/engine.h"

#include "messages/command_codec.h"
#include "messages/reply_offer.h"
#include "seat/client_channel.h"
#include "seat/seat.h"
#include "segments/placed_reader.h"
#include "shared/remote_places.h"

namespace larder {

/// An answer and what of it is the body; the body lives as long as `bytes`.
struct RemoteAnswer {
  std::shared_ptr<const std::string> bytes;
  std::string_view body;
};

/// Asks the holder with one kind of message. Threads: thread-safe.
class RemoteCaller {
 public:
  struct Options {
    /// How long a call may take. Checks, clearing and the like have
    /// `long_timeout`.
    std::chrono::milliseconds timeout{5'000};
    std::chrono::milliseconds short_timeout{500};
    std::chrono::milliseconds long_timeout{600'000};
    ClientChannel::RunHere run_here;
  };
  RemoteCaller(ClientChannel& channel, Options options) noexcept
      : channel_(channel), options_(std::move(options)) {}

  enum class Patience : std::uint8_t { kShort, kNormal, kLong };
  using Effect = ClientChannel::Effect;
  /// `body` is appended to the message's head. Errors: those of
  /// ClientChannel::Call, those of the answer, kCorruption.
  [[nodiscard]] Result<RemoteAnswer> Ask(
      MessageKind kind, std::string_view body,
      Patience patience = Patience::kNormal, Effect effect = Effect::kNone,
      ClientChannel::Lease* lease = nullptr) noexcept;
  /// Closes a scan or stream: `kind` is how. If nobody answers now, then with
  /// CloseLeft.
  void CloseHandle(MessageKind kind, std::uint64_t number) noexcept;
  /// To be called now and then. Cost: a load, if all are closed.
  void CloseLeft() noexcept;

  [[nodiscard]] std::chrono::milliseconds timeout() const noexcept {
    return options_.timeout;
  }

 private:
  struct Left {
    MessageKind kind;
    std::uint64_t number;
  };
  // False: nobody answered.
  bool TryClose(const Left& handle) noexcept;

  ClientChannel& channel_;
  const Options options_;
  std::mutex left_mutex_;
  std::vector<Left> left_;             // Guarded by left_mutex_.
  std::atomic<bool> any_left_{false};  // Changed under it.
};

/// The store of another process, through its rings.
///
/// Threads:   thread-safe.
/// Processes: the store's may die or change. Calls wait for the next holder;
///            scans and streams that were open are lost (kGone).
class RemoteEngine final : public Engine, public PlacedReader {
 public:
  /// Both must outlive it.
  RemoteEngine(Seat& seat, ClientChannel& channel,
               RemoteCaller::Options options) noexcept;

  /// See RemoteCaller.
  void CloseLeft() noexcept { caller_->CloseLeft(); }

  // PlacedReader
  [[nodiscard]] Result<ValueHandle> ReadPlaced(
      std::string_view key, std::uint64_t version,
      const SegmentPlace& place) noexcept override;
  std::size_t ReadAheadPlaced(std::span<WantedRecord> wanted) noexcept override;

  /// What has left the cache since the last time. Errors: of Ask.
  [[nodiscard]] Result<EvictionNotices> TakeEvictions(
      std::uint64_t subscriber) noexcept;

  // Engine
  [[nodiscard]] Capabilities capabilities() const noexcept override;
  [[nodiscard]] Status Execute(std::span<const Command> commands,
                               std::span<Reply> replies,
                               const ExecuteOptions& options) noexcept override;
  [[nodiscard]] Result<std::unique_ptr<Scan>> OpenScan(
      const ScanOptions& options) noexcept override;
  [[nodiscard]] Result<std::unique_ptr<ValueWriter>> OpenWriter(
      const SetCommand& command, std::uint64_t size_expected,
      const ExecuteOptions& options) noexcept override;
  [[nodiscard]] Result<std::unique_ptr<ValueReader>> OpenReader(
      std::string_view key) noexcept override;
  [[nodiscard]] Result<std::uint64_t> Count() noexcept override;
  [[nodiscard]] Result<EngineStats> Stats() noexcept override;
  [[nodiscard]] Result<CheckReport> Check(bool repair) noexcept override;
  /// The last known ones if nobody answers.
  [[nodiscard]] Settings CurrentSettings() const noexcept override;
  [[nodiscard]] std::uint64_t settings_version() const noexcept override;
  [[nodiscard]] Status Reset(std::string_view name,
                             std::string_view value) noexcept override;
  [[nodiscard]] Status Sync() noexcept override;
  /// Ends nothing but this object: later calls are kClosed.
  [[nodiscard]] Status Close() noexcept override;
  [[nodiscard]] const std::filesystem::path& directory()
      const noexcept override {
    return seat_.directory();
  }

 private:
  [[nodiscard]] Status CheckOpen() const noexcept;
  Status ExecuteLarge(const SetCommand& command, Reply& reply,
                      const ExecuteOptions& options) noexcept;
  /// What Execute returns. nullopt: it did not work out that way; nothing was
  /// changed.
  std::optional<Status> SetInPlace(const Command& command, ReplyOffer offer,
                                   const ExecuteOptions& options) noexcept;
  /// Waits for other clients' values, if these take the room.
  Result<RemoteAnswer> AskForGrant(std::string_view body,
                                   ClientChannel::Lease& lease) noexcept;
  std::optional<Status> GetInPlace(const Command& command, ReplyOffer offer,
                                   const ExecuteOptions& options) noexcept;
  /// A value that is too large for the record of an answer is read first, then
  /// deleted if it is the same still.
  Status Pop(const DeleteCommand& command, ReplyOffer offer,
             const ExecuteOptions& options) noexcept;
  /// The value that was not popped; nullopt: there is another one now.
  Result<std::optional<ValueHandle>> ReadUnpopped(
      std::string_view key, const PlacedValue& placed,
      const ExecuteOptions& options) noexcept;
  /// Sends the commands and fills the replies.
  Result<DecodedReplies> AskFor(std::span<const Command> commands,
                                std::span<Reply> replies,
                                RemoteCaller::Patience patience,
                                const ExecuteOptions& options) noexcept;
  // Which checksums to compare now. Never waits for the holder: reads of the
  // hot tier go on without one.
  [[nodiscard]] VerifyReads verify_reads() const noexcept;
  [[nodiscard]] ReadMode read_mode() const noexcept;
  void RefreshVerifyReads() noexcept;
  Result<Settings> AskSettings(std::uint64_t& version) const noexcept;

  Seat& seat_;
  // Shared with scans and streams, which may be destroyed after Close.
  std::shared_ptr<RemoteCaller> caller_;
  RemotePlaces places_;
  // What the settings of version `verify_settings_` (0 = none) said.
  std::atomic<VerifyReads> verify_reads_{VerifyReads::kAlways};
  std::atomic<std::uint64_t> verify_settings_{0};
  std::atomic<bool> closed_{false};
  mutable std::mutex settings_mutex_;
  mutable Settings settings_;                 // Guarded by settings_mutex_.
  mutable std::uint64_t settings_known_ = 0;  // Its version; the same.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SHARED_REMOTE_ENGINE_H_
