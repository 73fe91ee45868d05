#ifndef LARDER_ENGINE_SRC_SEAT_SEAT_CONTROL_H_
#define LARDER_ENGINE_SRC_SEAT_SEAT_CONTROL_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "larder/engine/status.h"

#include "os/process_identity.h"
#include "os/shared_region.h"

namespace larder {

/// What the file `seat.ctl` says: where the shared regions of a cache are, and
/// who has it open. Never a reason to believe that anybody lives: that is what
/// the locks on `seat.lock` are for.
struct SeatControl {
  std::uint64_t serial = 0;  ///< Grows with each write.
  CacheId id;
  std::uint64_t epoch = 0;
  /// Inode of the `seat.lock` it lies beside. In a copy of the directory it is
  /// another one: then the regions named here belong to the original.
  std::uint64_t lock_inode = 0;
  std::string boot_id;           ///< Regions of another boot are gone.
  std::string region_directory;  ///< At most kRegionDirectorySizeMax bytes.
  ProcessIdentity holder;

  friend bool operator==(const SeatControl&, const SeatControl&) = default;
};

inline constexpr std::size_t kRegionDirectorySizeMax = 1024;
inline constexpr std::size_t kSeatControlSize = 4096;

/// The file is 4 KiB: two copies of 2 KiB with a checksum each, written one
/// after the other, so that a writer killed in between leaves one good copy.
/// nullopt: there is none, or both copies are damaged. Errors: kIoError,
/// kPermissionDenied, kUnsupportedFormat (of a newer larder).
[[nodiscard]] Result<std::optional<SeatControl>> ReadSeatControl(
    const std::filesystem::path& file) noexcept;
/// REQUIRES: the writer has the seat, or is the only one attached.
[[nodiscard]] Status WriteSeatControl(const std::filesystem::path& file,
                                      const SeatControl& control) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEAT_SEAT_CONTROL_H_
