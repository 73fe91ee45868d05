#ifndef LARDER_TOOLS_MEASURE_SCRATCH_DIRECTORY_H_
#define LARDER_TOOLS_MEASURE_SCRATCH_DIRECTORY_H_

#include <filesystem>
#include <string_view>
#include <vector>

#include "larder/engine/status.h"

namespace larder::tools {

/// A new directory for what a command makes for itself, which goes with its
/// owner, whatever is in it. Nothing else in the directory around it is
/// touched.
///
/// Threads:   thread-compatible.
/// Processes: a forked child must not destroy it.
class ScratchDirectory {
 public:
  /// Makes "PARENT/larder-KIND-XXXXXX", of mode 0700, where the Xs make it
  /// new. Directories that are missing above it are made, and go with it unless
  /// somebody has put something there.
  /// Errors: those of mkdir(2).
  static Result<ScratchDirectory> Create(const std::filesystem::path& parent,
                                         std::string_view kind);
  ScratchDirectory(ScratchDirectory&& other) noexcept = default;
  ScratchDirectory& operator=(ScratchDirectory&&) = delete;
  /// Removes it; what cannot be removed is left.
  ~ScratchDirectory();

  [[nodiscard]] const std::filesystem::path& path() const noexcept {
    return path_;
  }
  /// Removes it now. Errors: what is left, and why.
  [[nodiscard]] Status Remove() noexcept;
  /// It stays, for whoever looks at what is in it.
  void Keep() noexcept { made_.clear(); }

 private:
  ScratchDirectory() = default;
  std::filesystem::path path_;
  std::vector<std::filesystem::path> made_;  // From above to path_.
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_MEASURE_SCRATCH_DIRECTORY_H_
