#ifndef LARDER_ENGINE_SRC_OS_IN_USE_H_
#define LARDER_ENGINE_SRC_OS_IN_USE_H_

#include <filesystem>

#include "larder/engine/status.h"

/// Files of shared memory that say by a lock of the kernel's whether anybody
/// has them: whoever maps one holds a shared lock on its byte 0, by the open
/// file that the mapping came from. On a tmpfs the lock lives as long as that
/// mapping does, in whatever process; elsewhere the descriptor must be kept.

namespace larder {

/// Says that the file is in use, as long as `fd` is open or what is mapped from
/// it. False: it is not at `path` any more, or somebody is just removing it as
/// one that nobody uses. Errors: kIoError.
[[nodiscard]] Result<bool> DeclareInUse(
    int fd, const std::filesystem::path& path) noexcept;

/// Whether nobody has declared that; as long as `fd` is open, nobody can.
/// REQUIRES: `fd` may be written, and nothing of it is mapped.
[[nodiscard]] bool IsUnused(int fd) noexcept;

/// A mapping alone keeps the lock of `fd`.
[[nodiscard]] bool MappingsKeepLocks(int fd) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_IN_USE_H_
