#ifndef LARDER_ENGINE_SRC_OS_SHARED_REGION_H_
#define LARDER_ENGINE_SRC_OS_SHARED_REGION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "larder/engine/status.h"

namespace larder {

/// The 128-bit name of a cache directory, from the machine's random source.
struct CacheId {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  static Result<CacheId> Random() noexcept;
  [[nodiscard]] bool empty() const noexcept { return (high | low) == 0; }
  [[nodiscard]] std::string ToString() const;  ///< 32 hexadecimal digits.
  friend bool operator==(const CacheId&, const CacheId&) = default;
};

/// What all regions begin with. The creator writes `magic` last.
struct RegionHeader {
  std::atomic<std::uint64_t> magic;
  std::uint32_t layout_version;
  std::uint32_t kind;
  std::uint64_t size_bytes;
  std::uint64_t id_high;
  std::uint64_t id_low;
  std::uint64_t epoch;
  std::uint64_t reserved[2];
};
static_assert(sizeof(RegionHeader) == 64);

inline constexpr std::uint64_t kRegionMagic = 0x4E4F494745524452;  // RDREGION
/// Of all regions together: processes with different ones do not share.
inline constexpr std::uint32_t kRegionLayoutVersion = 5;
inline constexpr std::string_view kRegionDirectoryDefault = "/dev/shm";

/// What a region is for.
enum class RegionKind : std::uint32_t {
  kMain = 1,
  kHot = 2,
  kTouch = 3,
  kClient = 4,
};

/// Names one region: the directory, the cache, the epoch, and the part.
struct RegionAddress {
  std::filesystem::path directory{kRegionDirectoryDefault};
  CacheId id;
  std::uint64_t epoch = 0;
  RegionKind kind = RegionKind::kMain;
  std::uint64_t number = 0;  ///< Distinguishes regions of one kind.
  [[nodiscard]] std::filesystem::path Path() const;
};

/// A piece of memory that processes share: a file of fixed size, mapped.
///
/// Others may put files into /dev/shm, too, so nothing is taken for granted:
/// links are not followed, and owner, mode, size and header are checked on the
/// open file. The memory is allocated before it is touched, since a full tmpfs
/// would otherwise kill the process (SIGBUS). Whoever has one mapped declares
/// it in use (in_use.h), and keeps no descriptor where the mapping does that.
///
/// Threads:   thread-compatible; the memory is what its users make of it.
/// Processes: any number map it. The file goes when its creator says so; the
///            memory stays for those that have it mapped.
/// Lifetime:  pointers into it die with it.
class SharedRegion {
 public:
  enum class Access : std::uint8_t { kReadOnly, kReadWrite };

  /// Makes a region of zeros, of which the first `allocated_bytes` may be
  /// touched. A file of that name that is ours is a leftover and is replaced.
  /// Errors: kNoSpace, kPermissionDenied (somebody else's file is there),
  /// kNotFound (the directory), kIoError.
  static Result<std::unique_ptr<SharedRegion>> Create(
      const RegionAddress& address, std::uint64_t size_bytes,
      std::uint64_t allocated_bytes) noexcept;
  /// Errors: kNotFound, kPermissionDenied (owner or mode), kUnsupportedFormat
  /// (layout version), kCorruption (not that region), kIoError.
  static Result<std::unique_ptr<SharedRegion>> Open(
      const RegionAddress& address, Access access) noexcept;
  virtual ~SharedRegion() = default;
  SharedRegion(const SharedRegion&) = delete;
  SharedRegion& operator=(const SharedRegion&) = delete;

  [[nodiscard]] char* data() const noexcept { return data_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept {
    return path_;
  }
  template <typename T>
  [[nodiscard]] T* At(std::uint64_t offset) const noexcept {
    return reinterpret_cast<T*>(data_ + offset);
  }

  /// Allocates memory up to `end`, if this object does not know that it is.
  /// Errors: kNoSpace, kReadOnly, kNotFound (the file was removed), kIoError.
  virtual Status Allocate(std::uint64_t end) noexcept = 0;

  /// Gives the memory of all but its first page free, in all processes: what
  /// is read there is zeros, and what is written there takes memory again. As
  /// far as the file system can.
  virtual void Empty() noexcept = 0;

  /// Gives its memory free although threads may be reading it, or writing to
  /// it: from now on zeros are in its place, and what is written there nobody
  /// else sees. Costs nothing but addresses until the object goes. False: it
  /// stays as it is, as the process may map no more.
  virtual bool LetGo() noexcept = 0;

  /// Removes the file; fine if it has gone.
  static void Unlink(const RegionAddress& address) noexcept;
  /// Removes the files of one kind of an epoch of a cache, but `number_kept`.
  static void UnlinkKind(const RegionAddress& any,
                         std::uint64_t number_kept) noexcept;
  /// Removes the files of one epoch of a cache.
  static void UnlinkEpoch(const std::filesystem::path& directory,
                          const CacheId& id, std::uint64_t epoch) noexcept;
  /// Removes all files of a cache but those of `epoch_kept` (0: all).
  /// REQUIRES: nobody is attached to another epoch.
  static void UnlinkAll(const std::filesystem::path& directory,
                        const CacheId& id, std::uint64_t epoch_kept) noexcept;

 protected:
  SharedRegion() = default;
  char* data_ = nullptr;
  std::uint64_t size_ = 0;
  std::filesystem::path path_;
};

/// Free bytes of the file system that holds `directory`; 0 if unknown.
[[nodiscard]] std::uint64_t FreeSpaceBytes(
    const std::filesystem::path& directory) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_SHARED_REGION_H_
