// Everything that can be refused is refused before anything is made; what a
// creation made before it failed is taken away again (CreationUndo).
//
// Always: 1. a directory with a stamp is a cache, whatever else is missing in
// it; 2. a directory without one is touched only if it is vacant: empty, or
// with nothing but the remains of a creation; 3. only the holder of the seat
// changes anything.

#include "directory/directory.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/open_file.h"
#include "base/path_error.h"
#include "base/process_limits.h"
#include "directory/directory_anchor.h"
#include "directory/directory_create.h"
#include "os/disk_usage.h"
#include "os/file_system_kind.h"

namespace larder {
namespace {

using Path = std::filesystem::path;

constexpr const char* kReserveName = "reserve";
constexpr std::size_t kStampSizeMax = 4096;
constexpr const char* kToWrite =
    "read, write and search permission; open as its owner or read-only";

// Entries of a directory that do not keep it from becoming a cache.
constexpr std::array<std::string_view, 6> kVacantNames{
    "seat.lock", "seat.ctl",          "regions",
    "marks",     kStampTemporaryName, "lost+found"};

// What a cache has besides, with what a repair leaves that is cut off.
constexpr std::array<std::string_view, 7> kCacheNames{"db",
                                                      "log",
                                                      kReserveName,
                                                      kNewDatabaseName,
                                                      kReadyDatabaseName,
                                                      kMovingDatabaseName,
                                                      kScratchDatabaseName};

Result<Path> AbsolutePath(const Path& path) {
  if (path.empty() || path.native().find('\0') != std::string::npos) {
    return Fail(Status::InvalidArgument(
        "the path of a cache directory is empty or has a zero byte"));
  }
  std::error_code error;
  Path absolute = std::filesystem::absolute(path, error);
  if (error) {
    return Fail(Status::FromErrno(error.value(), path.string()));
  }
  // "dir/" has an empty last part, which has no parent to sync.
  return absolute.has_filename() ? absolute : absolute.parent_path();
}

Status RefuseNetworkFileSystem(const Path& at, bool allowed,
                               const LogCallback& log) {
  struct statfs info {};
  if (::statfs(at.c_str(), &info) != 0) {
    return PathError(errno, "look at", at, kToRead);
  }
  const std::string_view name =
      NetworkFileSystemName(static_cast<std::uint32_t>(info.f_type));
  if (name.empty()) {
    return Status::Ok();
  }
  if (allowed) {
    if (log) {
      log(at.string() + " is on " + std::string(name) +
          ": locks and mapped files may fail there");
    }
    return Status::Ok();
  }
  return {StatusCode::kUnsupportedFileSystem,
          at.string() + " is on " + std::string(name) +
              ", where locks and mapped files cannot be relied on; use a "
              "local disk or set allow_network_file_system"};
}

// Whether there is a directory at `path`; an error if something else is.
Result<bool> DirectoryExists(const Path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    if (errno != ENOENT) {
      return Fail(PathError(errno, "open", path, kToRead));
    }
    // What is there by now and is no link has just been made by another
    // process.
    if (::lstat(path.c_str(), &info) == 0 && S_ISLNK(info.st_mode)) {
      return Fail(Status::NotFound("cannot open " + path.string() +
                                   ": it is a symbolic link to nothing"));
    }
    return false;
  }
  return S_ISDIR(info.st_mode) ? Result<bool>(true)
                               : Fail(PathError(ENOTDIR, "open", path, ""));
}

Path NearestExisting(Path path) {
  struct stat info {};
  while (::stat(path.c_str(), &info) != 0 && path.has_relative_path()) {
    path = path.parent_path();
  }
  return path;
}

// Makes the directory unless it is there; every refusal that needs nothing but
// the path is here.
Status MakeOrFind(const Path& root, OpenMode mode, bool allow_network,
                  const LogCallback& log, CreationUndo& undo) {
  const Result<bool> exists = DirectoryExists(root);
  if (!exists) {
    return exists.error();
  }
  if (!*exists && mode != OpenMode::kCreate) {
    return Status::NotFound("cannot open " + root.string() +
                            ": there is no such directory");
  }
  LARDER_RETURN_IF_ERROR(
      RefuseNetworkFileSystem(NearestExisting(root), allow_network, log));
  return *exists ? Status::Ok() : MakeDirectories(root, undo);
}

// The stamp of the directory, or nullopt if it has none.
Result<std::optional<DirectoryStamp>> ReadStamp(const Path& root, int fd) {
  const Path path = root / kStampName;
  const auto file =
      OpenFile(FilePlace(fd, kStampName, path), O_RDONLY, 0, kToRead);
  if (!file) {
    return file.error().code() == StatusCode::kNotFound
               ? Result<std::optional<DirectoryStamp>>(std::nullopt)
               : Fail(file.error());
  }
  std::string text(kStampSizeMax, '\0');
  const ssize_t size = ::pread(file->get(), text.data(), text.size(), 0);
  if (size < 0) {
    return Fail(PathError(errno, "read", path, kToRead));
  }
  text.resize(static_cast<std::size_t>(size));
  Result<DirectoryStamp> stamp = ParseStamp(text);
  if (!stamp) {
    return Fail(Status(stamp.error().code(),
                       root.string() + ": " + stamp.error().message()));
  }
  return std::optional<DirectoryStamp>(std::move(*stamp));
}

// A directory without a stamp that has a database or values, and nothing that
// is not larder's.
bool LooksLikeCache(const Path& root) {
  bool ours = true;
  const auto is_ours = [&ours](const char* name) {
    ours = std::find(kVacantNames.begin(), kVacantNames.end(), name) !=
               kVacantNames.end() ||
           std::find(kCacheNames.begin(), kCacheNames.end(), name) !=
               kCacheNames.end();
    return ours;
  };
  if (ListDirectory(AT_FDCWD, root.c_str(), is_ours) != 0 || !ours) {
    return false;
  }
  bool found = false;
  const auto is_data = [&found](std::string_view name) {
    found = name == "CURRENT" || name.starts_with("MANIFEST-") ||
            name.ends_with(".sst") || name.ends_with(".seg");
    return !found;
  };
  for (const char* part : {"db", "log"}) {
    // What is missing has nothing.
    static_cast<void>(ListDirectory(AT_FDCWD, (root / part).c_str(), is_data));
    if (found) break;
  }
  return found;
}

bool MayReplace(const Status& damage, BadStamp bad_stamp) {
  if (bad_stamp == BadStamp::kRefused) return false;
  return damage.code() == StatusCode::kCorruption ||
         (damage.code() == StatusCode::kUnsupportedFormat &&
          bad_stamp == BadStamp::kReplaced);
}

// `reached`: a path to it. REQUIRES: the directory has no stamp.
Status CheckVacant(const Path& root, const Path& reached, OpenMode mode) {
  std::string foreign;
  const int error =
      ListDirectory(AT_FDCWD, reached.c_str(), [&](const char* name) {
        if (std::find(kVacantNames.begin(), kVacantNames.end(), name) ==
            kVacantNames.end()) {
          foreign = name;
        }
        return foreign.empty();
      });
  if (error != 0) {
    return PathError(error, "list", root, kToRead);
  }
  if (!foreign.empty()) {
    return {StatusCode::kForeignDirectory,
            root.string() + " is not a cache: it has no " + kStampName +
                " but other things ('" + foreign +
                "'); choose an empty or new directory"};
  }
  return mode == OpenMode::kCreate
             ? Status::Ok()
             : Status::NotFound("there is no cache in " + root.string() +
                                ": the directory is empty");
}

// That nothing else has the name of one of our files, before any is made.
Status CheckFileKinds(const Path& root, int fd) {
  for (const char* name : {kStampName, kStampTemporaryName, "seat.lock",
                           "seat.ctl", "marks", kReserveName}) {
    LARDER_RETURN_IF_ERROR(CheckNamesFile(FilePlace(fd, name, root / name)));
  }
  return Status::Ok();
}

// The stamp, or nullopt for a directory that may become a cache.
Result<std::optional<DirectoryStamp>> Recognise(const DirectoryAnchor& anchor,
                                                OpenMode mode) {
  const Path& root = anchor.root();
  const int fd = anchor.fd();
  LARDER_FAIL_IF_ERROR(CheckFileKinds(root, fd));
  auto stamp = ReadStamp(root, fd);
  if (!stamp || *stamp) {
    return stamp;
  }
  const Status vacant = LooksLikeCache(anchor.Path())
                            ? Status::Corruption(root.string() + ": " +
                                                 kStampName + " is missing")
                            : CheckVacant(root, anchor.Path(), mode);
  // What looks foreign may be a cache that is being made just now.
  stamp = ReadStamp(root, fd);
  if (stamp && !*stamp && !vacant.ok()) {
    return Fail(vacant);
  }
  return stamp;
}

Status CheckWritable(const Path& root, int fd) {
  if (::faccessat(fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
    return PathError(errno, "write to", root, kToWrite);
  }
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    return PathError(errno, "look at", root, kToRead);
  }
  // Files that we made would lock the owner out.
  if (::geteuid() != 0 && info.st_uid != ::geteuid()) {
    return PathError(EACCES, "write to", root, "to be its owner");
  }
  return Status::Ok();
}

// Completes the directory under the seat; returns its stamp.
Result<DirectoryStamp> Complete(const Path& root, int fd,
                                const LogCallback& log, CreationUndo& undo) {
  // Again: another process may have made it while we had no seat.
  auto stamp = ReadStamp(root, fd);
  if (!stamp) {
    return Fail(stamp.error());
  }
  if (!*stamp) {
    auto made = NewStamp();
    if (!made) {
      return Fail(made.error());
    }
    LARDER_FAIL_IF_ERROR(WriteStamp(root, fd, *made, undo));
    *stamp = std::move(*made);
    if (log) {
      log("made the cache " + (*stamp)->id + " in " + root.string());
    }
  }
  LARDER_FAIL_IF_ERROR(MakeSubdirectory(root, fd, "db", undo));
  LARDER_FAIL_IF_ERROR(MakeSubdirectory(root, fd, "log", undo));
  return std::move(**stamp);
}

// fallocate where there is one, else bytes that no file system compresses.
// 0 or an errno.
int Allocate(int fd, std::uint64_t size) {
  const FileSizeSignalHeld held;
  int result = 0;
  do {
    result = ::fallocate(fd, 0, 0, static_cast<off_t>(size));
  } while (result != 0 && errno == EINTR);
  if (result == 0 || errno != EOPNOTSUPP) {
    return result == 0 ? 0 : errno;
  }
  std::vector<std::uint64_t> block(8192);
  std::uint64_t state = 0x9E3779B97F4A7C15U;
  for (std::uint64_t done = 0; done < size;) {
    for (std::uint64_t& word : block) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      word = state;
    }
    const std::size_t wanted =
        std::min<std::uint64_t>(block.size() * sizeof(block[0]), size - done);
    const ssize_t count =
        ::pwrite(fd, block.data(), wanted, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return count < 0 ? errno : EIO;
    }
    done += static_cast<std::uint64_t>(count);
  }
  return 0;
}

bool Exists(int fd, const char* name) {
  return ::faccessat(fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

// Each step may be cut off and be taken again: the old database goes, its
// files are replaced, and CURRENT comes last.
Status FinishReplacement(const DirectoryAnchor& anchor) {
  const int root = anchor.fd();
  const auto failed = [&anchor](const char* what, const char* name) {
    return PathError(errno, what, anchor.root() / name, kToWrite);
  };
  if (Exists(root, kReadyDatabaseName)) {
    if (::fsync(root) != 0) return failed("sync", kReadyDatabaseName);
    LARDER_RETURN_IF_ERROR(EmptyDirectory(anchor.Path() / "db"));
    // Or an old log comes back beside the new database, which replays it.
    const UniqueFd old = OpenDirectory(root, "db", O_NOFOLLOW);
    if (!old || ::fsync(old.get()) != 0) return failed("sync", "db");
    if (::renameat(root, kReadyDatabaseName, root, kMovingDatabaseName) != 0) {
      return failed("rename", kReadyDatabaseName);
    }
  }
  if (!Exists(root, kMovingDatabaseName)) return Status::Ok();
  const UniqueFd from = OpenDirectory(root, kMovingDatabaseName, O_NOFOLLOW);
  const UniqueFd to = OpenDirectory(root, "db", O_NOFOLLOW);
  if (!from || !to || ::fsync(root) != 0) {
    return failed("open", kMovingDatabaseName);
  }
  std::vector<std::string> names;
  const int error =
      ListDirectory(root, kMovingDatabaseName, [&names](const char* name) {
        names.emplace_back(name);
        return true;
      });
  if (error != 0) return PathError(error, "list", anchor.root(), kToRead);
  std::stable_partition(names.begin(), names.end(),
                        [](const auto& name) { return name != "CURRENT"; });
  for (const std::string& name : names) {
    // What it names is there before it is.
    if (name == "CURRENT" && ::fsync(to.get()) != 0)
      return failed("sync", "db");
    if (::renameat(from.get(), name.c_str(), to.get(), name.c_str()) != 0) {
      return failed("rename", name.c_str());
    }
  }
  if (::fsync(to.get()) != 0) return failed("sync", "db");
  static_cast<void>(RemoveTree(anchor.Path() / kMovingDatabaseName));
  return Status::Ok();
}

}  // namespace

Status PrepareDirectory(const std::filesystem::path& path, OpenMode mode,
                        bool allow_network_file_system, BadStamp bad_stamp,
                        const LogCallback& log,
                        PreparedDirectory& prepared) noexcept {
  Result<Path> root = AbsolutePath(path);
  if (!root) return root.error();
  LARDER_RETURN_IF_ERROR(
      MakeOrFind(*root, mode, allow_network_file_system, log, prepared.undo));
  auto anchor = DirectoryAnchor::Open(*root);
  if (!anchor) return anchor.error();
  const auto stamp = Recognise(**anchor, mode);
  if (!stamp && !MayReplace(stamp.error(), bad_stamp)) {
    return stamp.error();
  }
  prepared.root = std::move(*root);
  prepared.anchor = std::move(*anchor);
  return mode == OpenMode::kReadOnly
             ? Status::Ok()
             : CheckWritable(prepared.root, prepared.anchor->fd());
}

Result<std::unique_ptr<CacheDirectory>> CacheDirectory::Open(
    const std::filesystem::path& path, OpenMode mode,
    bool allow_network_file_system, LogCallback log) noexcept {
  PreparedDirectory prepared;
  LARDER_FAIL_IF_ERROR(PrepareDirectory(path, mode, allow_network_file_system,
                                        BadStamp::kRefused, log, prepared));
  return Open(std::move(prepared.anchor), mode, log, std::move(prepared.undo));
}

Result<std::unique_ptr<CacheDirectory>> CacheDirectory::Open(
    std::shared_ptr<DirectoryAnchor> anchor, OpenMode mode,
    const LogCallback& log, CreationUndo undo, BadStamp bad_stamp) noexcept {
  auto stamp = Recognise(*anchor, mode);
  if (!stamp && MayReplace(stamp.error(), bad_stamp)) {
    LARDER_FAIL_IF_ERROR(CheckWritable(anchor->root(), anchor->fd()));
    const auto made = NewStamp();
    if (!made) return Fail(made.error());
    if (log) log("a new stamp: " + stamp.error().message());
    CreationUndo kept;
    LARDER_FAIL_IF_ERROR(WriteStamp(anchor->Path(), anchor->fd(), *made, kept));
    kept.Keep();
    stamp = std::optional<DirectoryStamp>(*made);
  }
  if (!stamp) {
    return Fail(stamp.error());
  }
  const bool read_only = mode == OpenMode::kReadOnly;
  if (!read_only) {
    LARDER_FAIL_IF_ERROR(CheckWritable(anchor->root(), anchor->fd()));
    auto completed = Complete(anchor->root(), anchor->fd(), log, undo);
    if (!completed) {
      return Fail(completed.error());
    }
    *stamp = std::move(*completed);
  }
  if (!read_only) LARDER_FAIL_IF_ERROR(FinishReplacement(*anchor));
  LARDER_FAIL_IF_ERROR(anchor->HoldParts());
  return std::unique_ptr<CacheDirectory>(new CacheDirectory(
      std::move(anchor), std::move(**stamp), read_only, std::move(undo)));
}

void CacheDirectory::Keep() noexcept {
  undo_.Keep();
  if (read_only_) return;
  for (const char* name : {kNewDatabaseName, kScratchDatabaseName}) {
    if (Exists(anchor_->fd(), name)) {
      static_cast<void>(RemoveTree(PathOf(name)));  // It only takes space.
    }
  }
}

Status CacheDirectory::ReplaceDatabase() noexcept {
  LARDER_RETURN_IF_ERROR(CheckParts());
  const int fd = anchor_->fd();
  if (::renameat(fd, kNewDatabaseName, fd, kReadyDatabaseName) != 0) {
    return PathError(errno, "rename", root() / kNewDatabaseName, kToWrite);
  }
  return FinishReplacement(*anchor_);
}

bool CacheDirectory::HoldsNothing() const noexcept {
  // A database that was written to has a table or a write-ahead log that is
  // not empty, and values from `large_value_min` on have segments.
  for (const Path& part : {db_path(), log_path()}) {
    bool empty = true;
    const auto look = [&](const char* name) {
      const Path extension = Path(name).extension();
      std::error_code unknown;
      empty = extension != ".sst" && extension != ".seg" &&
              (extension != ".log" ||
               std::filesystem::file_size(part / name, unknown) == 0);
      return empty;
    };
    const int error = ListDirectory(AT_FDCWD, part.c_str(), look);
    if (!empty || (error != 0 && error != ENOENT)) return false;
  }
  return true;
}

CacheDirectory::CacheDirectory(std::shared_ptr<DirectoryAnchor> anchor,
                               DirectoryStamp stamp, bool read_only,
                               CreationUndo undo)
    : anchor_(std::move(anchor)),
      stamp_(std::move(stamp)),
      read_only_(read_only),
      undo_(std::move(undo)) {
  struct stat info {};
  if (::fstatat(anchor_->fd(), kReserveName, &info, AT_SYMLINK_NOFOLLOW) == 0) {
    reserve_bytes_ = static_cast<std::uint64_t>(info.st_blocks) * 512;
  }
}

Status CacheDirectory::ReleaseReserve() noexcept {
  if (read_only_) {
    return {StatusCode::kReadOnly, root().string() + " is open read-only"};
  }
  const std::lock_guard lock(reserve_mutex_);
  const auto fd = OpenReserve(O_RDWR);
  if (!fd) {
    reserve_bytes_ = 0;
    return fd.error().code() == StatusCode::kNotFound ? Status::Ok()
                                                      : fd.error();
  }
  // Now that it is open: it may be that of a cache that is here by now.
  LARDER_RETURN_IF_ERROR(CheckParts());
  // Synced, since some file systems free blocks only with their journal.
  if (::ftruncate(fd->get(), 0) != 0 || ::fsync(fd->get()) != 0) {
    return PathError(errno, "empty", root() / kReserveName, kToWrite);
  }
  return MeasureReserve(fd->get());
}

Status CacheDirectory::RestoreReserve(std::uint64_t bytes_wanted) noexcept {
  if (read_only_) {
    return {StatusCode::kReadOnly, root().string() + " is open read-only"};
  }
  const std::lock_guard lock(reserve_mutex_);
  const std::uint64_t size = std::min(bytes_wanted, kReserveBytesMax);
  const Path path = root() / kReserveName;
  LARDER_RETURN_IF_ERROR(CheckParts());
  const auto reserve = OpenReserve(O_RDWR | O_CREAT);
  if (!reserve) {
    return reserve.error();
  }
  const int fd = reserve->get();
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    return PathError(errno, "look at", path, kToWrite);
  }
  LARDER_RETURN_IF_ERROR(CheckParts());  // As in ReleaseReserve.
  if (static_cast<std::uint64_t>(info.st_size) == size &&
      static_cast<std::uint64_t>(info.st_blocks) * 512 >= size) {
    return MeasureReserve(fd);
  }
  const FileSizeSignalHeld held;
  int error = ::ftruncate(fd, static_cast<off_t>(size)) == 0 ? 0 : errno;
  if (error == 0 && size > 0) {
    error = Allocate(fd, size);
  }
  if (error == 0 && (::fsync(fd) != 0 || ::fsync(anchor_->fd()) != 0)) {
    error = errno;
  }
  if (error != 0) {
    // Half of a reserve would only fill the disk that is full already.
    static_cast<void>(::ftruncate(fd, 0));
    MeasureReserve(fd).IgnoreError();  // The first error counts.
    return PathError(error, "allocate", path, kToWrite);
  }
  return MeasureReserve(fd);
}

Result<UniqueFd> CacheDirectory::OpenReserve(int flags) const noexcept {
  return OpenFile(FilePlace(anchor_->fd(), kReserveName, root() / kReserveName),
                  flags, 0600, kToWrite);
}

Status CacheDirectory::MeasureReserve(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    return PathError(errno, "look at", root() / kReserveName, kToRead);
  }
  reserve_bytes_ = static_cast<std::uint64_t>(info.st_blocks) * 512;
  return Status::Ok();
}

Result<std::uint64_t> CacheDirectory::DiskBytes(
    const std::filesystem::path& path) noexcept {
  return DiskUsage(path);
}

Result<std::uint64_t> CacheDirectory::FreeBytes() const noexcept {
  struct statvfs info {};
  if (::fstatvfs(anchor_->fd(), &info) != 0) {
    return Fail(PathError(errno, "look at", root(), kToRead));
  }
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

Result<std::uint64_t> CacheDirectory::TotalBytes() const noexcept {
  struct statvfs info {};
  if (::fstatvfs(anchor_->fd(), &info) != 0) {
    return Fail(PathError(errno, "look at", root(), kToRead));
  }
  return static_cast<std::uint64_t>(info.f_blocks) * info.f_frsize;
}

}  // namespace larder
