// Regions are files that we open ourselves and hand to Boost.Interprocess for
// mapping only: its own shared_memory_object follows whatever is there, knows
// no O_EXCL with owner checks, and never allocates.
//
// 1. A mapped region has passed all checks on the open descriptor, not on the
//    name: nobody can swap the file in between.
// 2. No byte is touched before it is allocated.
// 3. A region that is mapped is locked as in use, by its mapping or by a
//    descriptor.

#include "os/shared_region.h"

#include <cerrno>
#include <cstdio>
#include <functional>
#include <system_error>
#include <utility>

#include <boost/interprocess/file_mapping.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/open_file.h"
#include "base/path_error.h"
#include "base/process_limits.h"
#include "os/fork_guard.h"
#include "os/in_use.h"

namespace larder {
namespace {

namespace ipc = boost::interprocess;

constexpr mode_t kRegionMode = S_IRUSR | S_IWUSR;

// Makes an open descriptor look like one of Boost's memory mappables.
class DescriptorMapping {
 public:
  explicit DescriptorMapping(int fd) noexcept : fd_(fd) {}
  [[nodiscard]] ipc::mapping_handle_t get_mapping_handle() const {
    return ipc::ipcdetail::mapping_handle_from_file_handle(fd_);
  }

 private:
  int fd_;
};

template <std::invocable Fn>
auto CatchMappingErrors(std::string_view what, Fn&& fn) noexcept
    -> std::invoke_result_t<Fn> try {
  return std::invoke(std::forward<Fn>(fn));
} catch (const ipc::interprocess_exception& e) {
  return Fail(Status::FromErrno(e.get_native_error(), what));
}

Result<ipc::mapped_region> Map(int fd, const std::string& path,
                               std::uint64_t size,
                               SharedRegion::Access access) noexcept {
  return CatchMappingErrors(
      "map shared memory " + path, [&]() -> Result<ipc::mapped_region> {
        const bool read_only = access == SharedRegion::Access::kReadOnly;
        return ipc::mapped_region(DescriptorMapping(fd),
                                  read_only ? ipc::read_only : ipc::read_write,
                                  0, static_cast<std::size_t>(size));
      });
}

Status AllocateFile(int fd, const std::string& path, std::uint64_t begin,
                    std::uint64_t end) noexcept {
  const FileSizeSignalHeld held;
  int error = 0;
  do {
    error = ::posix_fallocate(fd, static_cast<off_t>(begin),
                              static_cast<off_t>(end - begin));
  } while (error == EINTR);
  errno = error;  // It sets none itself.
  if (error == 0) return {};
  return Status::FromErrno(
      error, "allocate " + std::to_string(end - begin) +
                 " bytes of shared memory in " + path +
                 " (free some, or choose another region directory)");
}

// Which file a descriptor is of, while something keeps it.
struct FileKey {
  dev_t device = 0;
  ino_t inode = 0;
  friend bool operator==(const FileKey&, const FileKey&) = default;
};

FileKey KeyOf(int fd) noexcept {
  struct stat about {};
  if (::fstat(fd, &about) != 0) return {};
  return {.device = about.st_dev, .inode = about.st_ino};
}

class MappedSharedRegion final : public SharedRegion {
 public:
  MappedSharedRegion(UniqueFd fd, Access access, ipc::mapped_region mapping,
                     std::filesystem::path path, std::uint64_t allocated)
      : key_(KeyOf(fd.get())),
        access_(access),
        mapping_(std::move(mapping)),
        allocated_(allocated) {
    data_ = static_cast<char*>(mapping_.get_address());
    size_ = mapping_.get_size();
    path_ = std::move(path);
    if (!MappingsKeepLocks(fd.get())) fd_ = ForkSafeFd(std::move(fd));
  }

  Status Allocate(std::uint64_t end) noexcept override {
    if (end <= allocated_) return {};
    if (end > size_) return Status::NoSpace(path_.string() + " is used up");
    if (access_ == Access::kReadOnly) {
      return {StatusCode::kReadOnly, path_.string() + " is read-only"};
    }
    auto fd = OpenFile(FilePlace(path_), O_RDWR);
    if (!fd) return std::move(fd.error());
    if (KeyOf(fd->get()) != key_) {
      return Status::NotFound(path_.string() + " is another file by now");
    }
    LARDER_RETURN_IF_ERROR(AllocateFile(fd->get(), path_, allocated_, end));
    allocated_ = end;
    return {};
  }

  void Empty() noexcept override {
    constexpr std::size_t kPage = 4096;
    if (size_ > kPage) ::madvise(data_ + kPage, size_ - kPage, MADV_REMOVE);
  }

  bool LetGo() noexcept override {
    const bool read_only = access_ == Access::kReadOnly;
    // Made elsewhere first: what cannot be mapped must not leave a hole.
    void* const zeros =
        ::mmap(nullptr, mapping_.get_size(),
               read_only ? PROT_READ : PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (zeros == MAP_FAILED) return false;
    // Who touches it meanwhile waits for the kernel.
    if (::mremap(zeros, mapping_.get_size(), mapping_.get_size(),
                 MREMAP_MAYMOVE | MREMAP_FIXED, data_) == MAP_FAILED) {
      ::munmap(zeros, mapping_.get_size());
      return false;
    }
    fd_.Reset();
    return true;
  }

 private:
  const FileKey key_;
  const Access access_;
  ForkSafeFd fd_;  // Where the mapping does not keep its lock.
  ipc::mapped_region mapping_;
  std::uint64_t allocated_;
};

// The hot tier can be done without.
Status CheckAddressSpace(const RegionAddress& address,
                         std::uint64_t size) noexcept {
  return address.kind != RegionKind::kHot || HasAddressSpace(size)
             ? Status::Ok()
             : Status::IoError("no address space for " +
                               address.Path().string() +
                               ": raise RLIMIT_AS ('ulimit -v')");
}

// Opens a file of our own making; a leftover of ours is replaced.
Result<UniqueFd> CreateFile(const std::string& path) noexcept {
  constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
  // More only if somebody takes it for an orphan each time.
  constexpr int kAttemptsMax = 8;
  for (int attempt = 0;; ++attempt) {
    UniqueFd fd(OpenDescriptor(AT_FDCWD, path.c_str(), kFlags, kRegionMode));
    if (fd) {
      // The umask may have taken bits away that we need.
      if (::fchmod(fd.get(), kRegionMode) != 0) {
        return Fail(Status::FromErrno(errno, "chmod " + path));
      }
      const Result<bool> in_use = DeclareInUse(fd.get(), path);
      if (!in_use) return Fail(in_use.error());
      if (*in_use) return fd;
      errno = EEXIST;
    }
    struct stat about {};
    if (errno != EEXIST || attempt >= kAttemptsMax) {
      return Fail(Status::FromErrno(errno, "create shared memory " + path));
    }
    if (::lstat(path.c_str(), &about) != 0) continue;  // Gone again.
    LARDER_FAIL_IF_ERROR(CheckPrivateFile(about, path));
    ::unlink(path.c_str());
  }
}

std::string Hex(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx",
                static_cast<unsigned long long>(value));
  return text;
}

std::string NamePrefix(const CacheId& id) {
  return "larder-" + id.ToString() + "-";
}

template <typename Condition>
void UnlinkIf(const std::filesystem::path& directory,
              const Condition& condition) {
  // Best effort: whoever begins an epoch tries again.
  static_cast<void>(
      ListDirectory(AT_FDCWD, directory.c_str(), [&](const char* name) {
        if (condition(name)) ::unlink((directory / name).c_str());
        return true;
      }));
}

}  // namespace

Result<CacheId> CacheId::Random() noexcept {
  CacheId id;
  while (id.empty()) {
    const ssize_t size = ::getrandom(&id, sizeof(id), 0);
    if (size == sizeof(id)) continue;
    if (errno != EINTR) return Fail(Status::FromErrno(errno, "getrandom"));
    id = {};
  }
  return id;
}

std::string CacheId::ToString() const { return Hex(high) + Hex(low); }

std::filesystem::path RegionAddress::Path() const {
  static constexpr std::string_view kNames[] = {"", "main", "hot", "touch",
                                                "client"};
  std::string name = NamePrefix(id) + Hex(epoch) + "-";
  name += kNames[static_cast<std::size_t>(kind)];
  if (number != 0) name += "-" + Hex(number);
  return directory / name;
}

Result<std::unique_ptr<SharedRegion>> SharedRegion::Create(
    const RegionAddress& address, std::uint64_t size_bytes,
    std::uint64_t allocated_bytes) noexcept {
  const std::string path = address.Path();
  LARDER_FAIL_IF_ERROR(CheckAddressSpace(address, size_bytes));
  auto fd = CreateFile(path);
  if (!fd) return Fail(std::move(fd.error()));
  const auto give_up = [&path](Status status) {
    ::unlink(path.c_str());
    return Fail(std::move(status));
  };
  const FileSizeSignalHeld held;
  if (::ftruncate(fd->get(), static_cast<off_t>(size_bytes)) != 0) {
    return give_up(Status::FromErrno(errno, "size shared memory " + path));
  }
  Status allocated = AllocateFile(fd->get(), path, 0, allocated_bytes);
  if (!allocated.ok()) return give_up(std::move(allocated));
  auto mapping = Map(fd->get(), path, size_bytes, Access::kReadWrite);
  if (!mapping) return give_up(std::move(mapping.error()));

  auto region = std::make_unique<MappedSharedRegion>(
      std::move(*fd), Access::kReadWrite, std::move(*mapping), path,
      allocated_bytes);
  auto* header = region->At<RegionHeader>(0);
  header->layout_version = kRegionLayoutVersion;
  header->kind = static_cast<std::uint32_t>(address.kind);
  header->size_bytes = size_bytes;
  header->id_high = address.id.high;
  header->id_low = address.id.low;
  header->epoch = address.epoch;
  // Pairs with the acquire in Open: whoever sees the magic sees the rest.
  header->magic.store(kRegionMagic, std::memory_order_release);
  return region;
}

Result<std::unique_ptr<SharedRegion>> SharedRegion::Open(
    const RegionAddress& address, Access access) noexcept {
  const std::string path = address.Path();
  const int mode = access == Access::kReadOnly ? O_RDONLY : O_RDWR;
  auto opened = OpenFile(FilePlace(path), mode);
  if (!opened) return Fail(std::move(opened.error()));
  UniqueFd fd = std::move(*opened);
  struct stat about {};
  if (::fstat(fd.get(), &about) != 0) {
    return Fail(Status::FromErrno(errno, "fstat " + path));
  }
  LARDER_FAIL_IF_ERROR(CheckPrivateFile(about, path));
  const auto size = static_cast<std::uint64_t>(about.st_size);
  if (size < sizeof(RegionHeader)) {
    return Fail(Status::Corruption(path + " is too short to be a region"));
  }
  LARDER_FAIL_IF_ERROR(CheckAddressSpace(address, size));
  const Result<bool> in_use = DeclareInUse(fd.get(), path);
  if (!in_use) return Fail(in_use.error());
  if (!*in_use) return Fail(Status::NotFound(path + " was just removed"));
  auto mapping = Map(fd.get(), path, size, access);
  if (!mapping) return Fail(std::move(mapping.error()));
  auto region = std::make_unique<MappedSharedRegion>(
      std::move(fd), access, std::move(*mapping), path, 0);
  const auto* header = region->At<RegionHeader>(0);
  // Pairs with the release in Create.
  if (header->magic.load(std::memory_order_acquire) != kRegionMagic) {
    return Fail(Status::Corruption(path + " is not a region of larder"));
  }
  if (header->layout_version != kRegionLayoutVersion) {
    return Fail(
        Status(StatusCode::kUnsupportedFormat,
               path + " has layout " + std::to_string(header->layout_version) +
                   ", this larder has " + std::to_string(kRegionLayoutVersion) +
                   ": use the same version of larder in all processes"));
  }
  if (header->kind != static_cast<std::uint32_t>(address.kind) ||
      header->size_bytes != size || header->id_high != address.id.high ||
      header->id_low != address.id.low || header->epoch != address.epoch) {
    return Fail(Status::Corruption(path + " is another region than its name"));
  }
  return region;
}

void SharedRegion::Unlink(const RegionAddress& address) noexcept {
  ::unlink(address.Path().c_str());
}

void SharedRegion::UnlinkKind(const RegionAddress& any,
                              std::uint64_t number_kept) noexcept {
  RegionAddress address = any;
  address.number = 0;
  const std::string prefix = address.Path().filename().string() + "-";
  address.number = number_kept;
  const std::string kept = address.Path().filename().string();
  UnlinkIf(any.directory, [&](std::string_view name) {
    return name.starts_with(prefix) && name != kept;
  });
}

void SharedRegion::UnlinkAll(const std::filesystem::path& directory,
                             const CacheId& id,
                             std::uint64_t epoch_kept) noexcept {
  const std::string prefix = NamePrefix(id);
  const std::string kept = prefix + Hex(epoch_kept) + "-";
  UnlinkIf(directory, [&](std::string_view name) {
    return name.starts_with(prefix) &&
           (epoch_kept == 0 || !name.starts_with(kept));
  });
}

void SharedRegion::UnlinkEpoch(const std::filesystem::path& directory,
                               const CacheId& id,
                               std::uint64_t epoch) noexcept {
  const std::string prefix = NamePrefix(id) + Hex(epoch) + "-";
  UnlinkIf(directory,
           [&](std::string_view name) { return name.starts_with(prefix); });
}

std::uint64_t FreeSpaceBytes(const std::filesystem::path& directory) noexcept {
  struct statvfs about {};
  if (::statvfs(directory.c_str(), &about) != 0) return 0;
  return static_cast<std::uint64_t>(about.f_bavail) * about.f_frsize;
}

}  // namespace larder
