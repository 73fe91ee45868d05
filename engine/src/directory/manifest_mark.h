#ifndef LARDER_ENGINE_SRC_DIRECTORY_MANIFEST_MARK_H_
#define LARDER_ENGINE_SRC_DIRECTORY_MANIFEST_MARK_H_

#include <cstdint>

namespace larder {

/// How long a manifest was when it was last synced. One that ends earlier has
/// lost what was told of the database since, and RocksDB would take it for an
/// older state and delete the files that it does not know of.
struct ManifestMark {
  std::uint64_t number = 0;  ///< In its name; 0 = nothing is known.
  std::uint64_t size = 0;
  friend bool operator==(const ManifestMark&, const ManifestMark&) = default;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_DIRECTORY_MANIFEST_MARK_H_
