#ifndef LARDER_ENGINE_SRC_REMOTE_PLACES_H_
#define LARDER_ENGINE_SRC_REMOTE_PLACES_H_

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string_view>

#include "larder/engine/command.h"
#include "larder/engine/status.h"
#include "larder/engine/value_handle.h"

#include "command_codec.h"
#include "message_codec.h"
#include "segment_log.h"
#include "unique_fd.h"

namespace larder {

/// A client's own way to the values in segment files, so that the holder does
/// not carry their bytes.
///
/// Threads:   thread-safe.
/// Processes: the holder removes files meanwhile. A value that has gone is
///            kNotFound, one that is not there as said is kCorruption: then the
///            holder is to be asked for its bytes. Files that were removed are
///            let go within 512 reads or the first one after a second.
class RemotePlaces {
 public:
  /// The cache directory. Nothing is opened yet.
  explicit RemotePlaces(std::filesystem::path directory) noexcept
      : directory_(std::move(directory)) {}

  /// The value, checked; without a copy if it lies in one piece.
  /// Errors: kNotFound, kCorruption, kIoError.
  [[nodiscard]] Result<ValueHandle> Read(std::string_view key,
                                         const PlacedValue& placed,
                                         VerifyReads verify) noexcept;
  /// The same of one piece.
  [[nodiscard]] Result<ValueHandle> Read(std::string_view key,
                                         std::uint64_t version,
                                         const SegmentPlace& place,
                                         VerifyReads verify) noexcept;
  /// Writes the command's value where `grant` says.
  /// Errors: kNotFound (the segment has gone), kNoSpace, kIoError.
  [[nodiscard]] Status Write(const SetCommand& command,
                             const Grant& grant) noexcept;

 private:
  [[nodiscard]] Result<std::shared_ptr<SegmentLog>> Log() noexcept;
  [[nodiscard]] Result<std::shared_ptr<UniqueFd>> OpenForWriting(
      std::uint32_t segment) noexcept;

  const std::filesystem::path directory_;
  std::mutex mutex_;  // Guards what follows.
  std::shared_ptr<SegmentLog> log_;
  std::chrono::steady_clock::time_point log_looked_at_{};
  std::uint32_t log_uses_ = 0;
  // The last segment written to.
  std::uint32_t segment_ = 0;
  std::shared_ptr<UniqueFd> segment_fd_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_REMOTE_PLACES_H_
