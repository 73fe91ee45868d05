#ifndef LARDER_TOOLS_FILES_FILE_WALK_H_
#define LARDER_TOOLS_FILES_FILE_WALK_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "larder/engine/status.h"

namespace larder::tools {

struct FoundFile {
  std::string path;
  std::uint64_t size_bytes = 0;
};

/// What a walk tells.
struct WalkCallbacks {
  /// A regular file. False ends the walk.
  std::function<bool(FoundFile file)> on_file;
  /// A directory or file that cannot be looked at.
  std::function<void(const Status& problem)> on_problem;
};

/// Visits every regular file below `paths`, which may be files themselves.
/// Symbolic links are followed only if they are one of `paths`. The directory
/// `excluded` is left out wherever it is met. Returns how many of `paths`
/// could be looked at.
std::size_t WalkFiles(const std::vector<std::string>& paths,
                      const std::string& excluded,
                      const WalkCallbacks& callbacks);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_FILES_FILE_WALK_H_
