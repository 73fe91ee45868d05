#ifndef LARDER_ENGINE_SRC_ORPHAN_REGIONS_H_
#define LARDER_ENGINE_SRC_ORPHAN_REGIONS_H_

#include <filesystem>

#include "larder/engine/status.h"

#include "shared_region.h"
#include "unique_fd.h"

/// Regions whose processes were all killed stay in the region directory until
/// their cache is opened again, which may be never. So every member holds a
/// shared lock on its main region's file, and whoever founds an epoch, of any
/// cache, removes what nobody holds.

namespace larder {

/// Holds the lock that says "in use" as long as the descriptor is open. A
/// descriptor of nothing: the file has gone, somebody took it for an orphan
/// before it could be locked. Errors: kIoError.
[[nodiscard]] Result<UniqueFd> HoldMainRegion(
    const std::filesystem::path& file) noexcept;

/// Removes the regions and named mutexes of this user's caches in `directory`
/// that no process holds, a bounded number of them.
void RemoveOrphanRegions(const std::filesystem::path& directory) noexcept;

/// The name of a mutex of an epoch, for NamedMutex.
[[nodiscard]] std::string EpochMutexName(const CacheId& id, std::uint64_t epoch,
                                         const char* what);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_ORPHAN_REGIONS_H_
