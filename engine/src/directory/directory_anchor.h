#ifndef LARDER_ENGINE_SRC_DIRECTORY_DIRECTORY_ANCHOR_H_
#define LARDER_ENGINE_SRC_DIRECTORY_DIRECTORY_ANCHOR_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <sys/types.h>

#include "larder/engine/status.h"

#include "base/unique_fd.h"
#include "os/fork_guard.h"

namespace larder {

/// Which file it is, whatever it is called. Means something as long as the file
/// is open or has a name: then the number is given to another one.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// Of what a cache directory consists, besides what the seat and the reserve
/// keep there.
enum class DirectoryPart : std::uint8_t { kDatabase, kLog, kStamp };
inline constexpr std::size_t kDirectoryPartCount = 3;

/// A cache directory that is held by descriptors and not by its name. Whatever
/// is removed, moved or put in its place, who goes through its paths reaches
/// files of the directory that was opened, or none.
///
/// Threads:   thread-safe.
/// Processes: a forked child does not have the descriptors: the paths lead
///            nowhere there.
class DirectoryAnchor {
 public:
  /// Errors: as PathError; kUnsupportedFileSystem (there is no /proc).
  [[nodiscard]] static Result<std::shared_ptr<DirectoryAnchor>> Open(
      const std::filesystem::path& root) noexcept;
  DirectoryAnchor(const DirectoryAnchor&) = delete;
  DirectoryAnchor& operator=(const DirectoryAnchor&) = delete;

  /// The name by which it was opened: for people, and to look where it leads.
  [[nodiscard]] const std::filesystem::path& root() const noexcept {
    return root_;
  }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] const FileIdentity& identity() const noexcept {
    return identity_;
  }
  /// The directory itself, through its descriptor.
  [[nodiscard]] std::filesystem::path Path() const;
  /// A part of it: through its own descriptor if it has one.
  [[nodiscard]] std::filesystem::path PathOf(DirectoryPart part) const;
  /// The same, and what keeps it as it is, also when the part is replaced or
  /// this goes; nothing does if it has no descriptor.
  struct HeldPath {
    std::filesystem::path path;
    std::shared_ptr<const void> held;
  };
  [[nodiscard]] HeldPath HeldPathOf(DirectoryPart part) const;

  /// Takes what is there now for the parts of the cache; what is not there is
  /// not held. REQUIRES: the caller has the seat, or somebody who has serves.
  /// Errors: as PathError.
  [[nodiscard]] Status HoldParts() noexcept;

  /// kGone if its name leads nowhere, or to something else.
  [[nodiscard]] Status CheckName() const noexcept;
  /// kGone if a part that is held has been removed or replaced.
  [[nodiscard]] Status CheckParts() const noexcept;
  /// Both. Cost: four system calls.
  [[nodiscard]] Status CheckPresent() const noexcept;

 private:
  // So that nothing else gets its inode: of a file, a page is mapped, as there
  // are fewer descriptors than mappings.
  struct HeldPart {
    std::shared_ptr<const ForkSafeFd> fd;  // nullptr: it is mapped.
    std::shared_ptr<const void> page;
    FileIdentity identity;
  };

  DirectoryAnchor(std::filesystem::path root, UniqueFd fd,
                  const FileIdentity& identity) noexcept;

  const std::filesystem::path root_;
  const ForkSafeFd fd_;
  const FileIdentity identity_;
  const ForkGuard guard_;
  mutable std::mutex mutex_;  // A leaf.
  // Guarded by mutex_.
  std::array<std::optional<HeldPart>, kDirectoryPartCount> parts_;
};

/// The file that `fd` is of, whatever its name is by now. Means something as
/// long as that is open.
[[nodiscard]] std::filesystem::path DescriptorPath(int fd);

/// `message` with the names of files in the place of paths through descriptors
/// of this process.
[[nodiscard]] std::string NameDescriptors(std::string message);
/// The same of a status.
[[nodiscard]] Status NameDescriptors(const Status& status);

/// Removes all that is in `directory`, which itself stays the same.
/// Errors: as Status::FromErrno.
[[nodiscard]] Status EmptyDirectory(const std::filesystem::path& directory);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_DIRECTORY_DIRECTORY_ANCHOR_H_
