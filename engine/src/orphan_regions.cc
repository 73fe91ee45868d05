#include "orphan_regions.h"

#include <cerrno>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "named_mutex.h"
#include "ofd_lock.h"
#include "open_file.h"

namespace larder {
namespace {

constexpr std::uint64_t kPresenceByte = 0;
// Most files that are looked at, so that a littered directory does not hold
// up an opening.
constexpr int kLookedAtMax = 4096;

struct Epoch {
  CacheId id;
  std::uint64_t epoch = 0;
};

std::optional<std::uint64_t> ParseHex(std::string_view digits) {
  std::uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  return value;
}

// Of larder-ID-EPOCH-main; see RegionAddress::Path.
std::optional<Epoch> ParseMainName(std::string_view name) {
  constexpr std::string_view kPrefix = "larder-";
  constexpr std::string_view kSuffix = "-main";
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) {
    return std::nullopt;
  }
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(kSuffix.size());
  if (name.size() != 32 + 1 + 16 || name[32] != '-') return std::nullopt;
  const auto high = ParseHex(name.substr(0, 16));
  const auto low = ParseHex(name.substr(16, 16));
  const auto epoch = ParseHex(name.substr(33));
  if (!high || !low || !epoch) return std::nullopt;
  return Epoch{.id = {.high = *high, .low = *low}, .epoch = *epoch};
}

UniqueFd OpenOwn(const std::filesystem::path& file) noexcept {
  auto fd = OpenFile(FilePlace(file), O_RDWR);
  struct stat about {};
  if (!fd || ::fstat(fd->get(), &about) != 0 || about.st_uid != ::geteuid()) {
    return {};
  }
  return std::move(*fd);
}

void RemoveEpoch(const std::filesystem::path& directory, const Epoch& epoch) {
  SharedRegion::UnlinkEpoch(directory, epoch.id, epoch.epoch);
  for (const char* what : {"seat", "ctl"}) {
    NamedMutex::Remove(EpochMutexName(epoch.id, epoch.epoch, what));
  }
}

}  // namespace

std::string EpochMutexName(const CacheId& id, std::uint64_t epoch,
                           const char* what) {
  // Not longer than NAME_MAX - 4: sem_open puts "sem." before it.
  return "larder-" + id.ToString() + "-" + std::to_string(epoch) + "-" + what;
}

Result<UniqueFd> HoldMainRegion(const std::filesystem::path& file) noexcept {
  UniqueFd fd = OpenOwn(file);
  if (!fd) return fd;
  const Result<bool> held =
      TryOfdLock(fd.get(), kPresenceByte, OfdLock::kShared);
  if (!held) return Fail(held.error());
  struct stat named {};
  struct stat locked {};
  if (!*held || ::lstat(file.c_str(), &named) != 0 ||
      ::fstat(fd.get(), &locked) != 0 || named.st_ino != locked.st_ino) {
    return UniqueFd();
  }
  return fd;
}

void RemoveOrphanRegions(const std::filesystem::path& directory) noexcept {
  int looked_at = 0;
  const auto look = [&](const char* name) {
    const auto epoch = ParseMainName(name);
    const UniqueFd fd = epoch ? OpenOwn(directory / name) : UniqueFd();
    const Result<bool> unused =
        fd ? TryOfdLock(fd.get(), kPresenceByte, OfdLock::kExclusive) : false;
    // Removed while we have the lock: whoever made it just now and has not
    // locked it yet will notice.
    if (unused && *unused) RemoveEpoch(directory, *epoch);
    return ++looked_at < kLookedAtMax;
  };
  // Best effort: the next epoch looks again.
  static_cast<void>(ListDirectory(AT_FDCWD, directory.c_str(), look));
}

}  // namespace larder
