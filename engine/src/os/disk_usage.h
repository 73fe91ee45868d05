#ifndef LARDER_ENGINE_SRC_OS_DISK_USAGE_H_
#define LARDER_ENGINE_SRC_OS_DISK_USAGE_H_

#include <cstdint>
#include <filesystem>

#include "larder/engine/status.h"

namespace larder {

/// Bytes that `du -s --block-size=1 path` prints: the blocks of all files and
/// directories below and of `path` itself, each hard-linked file once, links
/// not followed. What vanishes during the walk is left out.
/// Errors: kNotFound, kPermissionDenied, kIoError.
[[nodiscard]] Result<std::uint64_t> DiskUsage(
    const std::filesystem::path& path) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_DISK_USAGE_H_
