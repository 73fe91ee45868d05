#ifndef LARDER_ENGINE_SRC_SEAT_ORPHAN_REGIONS_H_
#define LARDER_ENGINE_SRC_SEAT_ORPHAN_REGIONS_H_

#include <cstdint>
#include <filesystem>
#include <string>

#include "os/shared_region.h"

/// Regions and named mutexes whose processes were all killed stay until their
/// cache is opened again, which may be never. So everybody who has one mapped
/// says so (in_use.h), and whoever founds an epoch, of any cache, removes what
/// nobody has.

namespace larder {

/// Removes the regions of this user's caches in `directory` that no process
/// has: an epoch whose main region nobody has, with its mutexes, and what is
/// left of one whose main region has gone. Looks at a bounded number of files.
void RemoveOrphanRegions(const std::filesystem::path& directory) noexcept;

/// Removes the named mutexes of this user's caches that no process has, a
/// bounded number of them.
void RemoveOrphanMutexes() noexcept;

/// The name of a mutex of an epoch, for NamedMutex.
[[nodiscard]] std::string EpochMutexName(const CacheId& id, std::uint64_t epoch,
                                         const char* what);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEAT_ORPHAN_REGIONS_H_
