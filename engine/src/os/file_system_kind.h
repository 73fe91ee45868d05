#ifndef LARDER_ENGINE_SRC_OS_FILE_SYSTEM_KIND_H_
#define LARDER_ENGINE_SRC_OS_FILE_SYSTEM_KIND_H_

#include <cstdint>
#include <string_view>

namespace larder {

/// The name of the network or user-space file system that statfs reports as
/// `f_type`, or an empty view for any other. On those, locks, shared mappings
/// and fsync do not promise what a cache needs.
[[nodiscard]] std::string_view NetworkFileSystemName(
    std::uint32_t f_type) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_FILE_SYSTEM_KIND_H_
