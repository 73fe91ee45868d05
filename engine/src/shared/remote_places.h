#ifndef LARDER_ENGINE_SRC_SHARED_REMOTE_PLACES_H_
#define LARDER_ENGINE_SRC_SHARED_REMOTE_PLACES_H_

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <thread>

#include "larder/engine/command.h"
#include "larder/engine/status.h"
#include "larder/engine/value_handle.h"

#include "base/unique_fd.h"
#include "directory/directory_anchor.h"
#include "messages/command_codec.h"
#include "messages/message_codec.h"
#include "segments/segment_log.h"

namespace larder {

/// A client's own way to the values in segment files, so that the holder does
/// not carry their bytes.
///
/// Threads:   thread-safe.
/// Processes: the holder removes files meanwhile. A value that has gone is
///            kNotFound, one that is not there as said is kCorruption: then the
///            holder is to be asked for its bytes. Removed files keep their
///            blocks as long as they are mapped: they are let go within a
///            quarter of a second, and all are a second after the last use. The
///            holder uses no file again that is open or mapped.
class RemotePlaces {
 public:
  /// The cache directory. Nothing is opened yet.
  explicit RemotePlaces(
      std::shared_ptr<const DirectoryAnchor> directory) noexcept
      : directory_(std::move(directory)) {}
  ~RemotePlaces();
  RemotePlaces(const RemotePlaces&) = delete;
  RemotePlaces& operator=(const RemotePlaces&) = delete;

  /// The value, checked; without a copy if it lies in one piece.
  /// Errors: kNotFound, kCorruption, kIoError.
  [[nodiscard]] Result<ValueHandle> Read(std::string_view key,
                                         const PlacedValue& placed,
                                         VerifyReads verify,
                                         ReadMode mode) noexcept;
  /// The same of one piece.
  [[nodiscard]] Result<ValueHandle> Read(std::string_view key,
                                         std::uint64_t version,
                                         const SegmentPlace& place,
                                         VerifyReads verify,
                                         ReadMode mode) noexcept;
  /// As SegmentLog::ReadAhead.
  std::size_t ReadAhead(std::span<WantedRecord> wanted, ReadMode mode) noexcept;
  /// Writes the command's value where `grant` says. `generation` is that of the
  /// holder's log, in shared memory.
  /// Errors: kGone (the log is another one), kNotFound (the segment has gone),
  /// kNoSpace, kIoError.
  [[nodiscard]] Status Write(
      const SetCommand& command, const Grant& grant,
      const std::atomic<std::uint64_t>& generation) noexcept;

 private:
  struct OpenSegment {
    std::uint32_t id = 0;
    UniqueFd fd;  // Keeps the file from becoming another segment.
  };
  [[nodiscard]] Result<std::shared_ptr<SegmentLog>> Log(ReadMode mode) noexcept;
  // Both under mutex_.
  [[nodiscard]] Status StartJanitor() noexcept;
  [[nodiscard]] bool IsInUse() const noexcept {
    return log_ != nullptr || segment_ != nullptr;
  }
  void LetGo() noexcept;
  [[nodiscard]] Result<std::shared_ptr<const OpenSegment>> OpenForWriting(
      std::uint32_t segment) noexcept;

  const std::shared_ptr<const DirectoryAnchor> directory_;
  std::mutex mutex_;  // Guards what follows.
  std::shared_ptr<SegmentLog> log_;
  std::uint64_t uses_ = 0;
  bool stopping_ = false;
  std::condition_variable changed_;  // Something was opened, or stopping_.
  std::thread janitor_;              // Started with the first use.
  std::shared_ptr<const OpenSegment> segment_;  // The last one written to.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SHARED_REMOTE_PLACES_H_
