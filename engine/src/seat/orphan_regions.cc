#include "seat/orphan_regions.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/open_file.h"
#include "base/unique_fd.h"
#include "os/in_use.h"
#include "os/named_mutex.h"

namespace larder {
namespace {

// Most files that are looked at, so that a littered directory does not hold
// up an opening.
constexpr int kLookedAtMax = 4096;

struct Epoch {
  CacheId id;
  std::uint64_t epoch = 0;
};

std::optional<std::uint64_t> ParseNumber(std::string_view digits, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(
      digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  return value;
}

// Of `prefix`larder-ID-EPOCH-PART; see RegionAddress::Path, EpochMutexName.
struct PartName {
  Epoch epoch;
  std::string_view part;
};

std::optional<PartName> ParseName(std::string_view name,
                                  std::string_view prefix, int epoch_base) {
  constexpr std::string_view kRegionPrefix = "larder-";
  constexpr std::size_t kRegionIdSize = 32;
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  if (!name.starts_with(kRegionPrefix)) return std::nullopt;
  name.remove_prefix(kRegionPrefix.size());
  if (name.size() <= kRegionIdSize || name[kRegionIdSize] != '-')
    return std::nullopt;
  const auto high = ParseNumber(name.substr(0, 16), 16);
  const auto low = ParseNumber(name.substr(16, 16), 16);
  name.remove_prefix(kRegionIdSize + 1);
  const auto epoch = ParseNumber(name.substr(0, name.find('-')), epoch_base);
  if (!high || !low || !epoch) return std::nullopt;
  name.remove_prefix(std::min(name.find('-'), name.size() - 1) + 1);
  return PartName{
      .epoch = {.id = {.high = *high, .low = *low}, .epoch = *epoch},
      .part = name};
}

bool HasMainRegion(const std::filesystem::path& directory, const Epoch& epoch) {
  const RegionAddress main{.directory = directory,
                           .id = epoch.id,
                           .epoch = epoch.epoch,
                           .kind = RegionKind::kMain};
  struct stat ignored {};
  return ::lstat(main.Path().c_str(), &ignored) == 0 || errno != ENOENT;
}

UniqueFd OpenOwn(const std::filesystem::path& file) noexcept {
  auto fd = OpenFile(FilePlace(file), O_RDWR);
  struct stat about {};
  if (!fd || ::fstat(fd->get(), &about) != 0 || about.st_uid != ::geteuid()) {
    return {};
  }
  return std::move(*fd);
}

// "ctl" is of regions before layout 5.
constexpr const char* kMutexKinds[] = {"seat", "ctl"};

void RemoveEpoch(const std::filesystem::path& directory, const Epoch& epoch) {
  SharedRegion::UnlinkEpoch(directory, epoch.id, epoch.epoch);
  for (const char* what : kMutexKinds) {
    NamedMutex::Remove(EpochMutexName(epoch.id, epoch.epoch, what));
  }
}

}  // namespace

std::string EpochMutexName(const CacheId& id, std::uint64_t epoch,
                           const char* what) {
  // Not longer than NAME_MAX - 4: sem_open puts "sem." before it.
  return "larder-" + id.ToString() + "-" + std::to_string(epoch) + "-" + what;
}

void RemoveOrphanRegions(const std::filesystem::path& directory) noexcept {
  int looked_at = 0;
  const auto look = [&](const char* name) {
    if (++looked_at > kLookedAtMax) return false;
    const auto found = ParseName(name, "", 16);
    if (!found) return true;
    const bool is_main = found->part == "main";
    // The main region is made first. While it is there, it speaks for the rest.
    if (!is_main && HasMainRegion(directory, found->epoch)) return true;
    const UniqueFd fd = OpenOwn(directory / name);
    if (!fd || !IsUnused(fd.get())) return true;
    // Removed while we have the lock: whoever made it just now and has not
    // locked it yet will notice.
    if (is_main) {
      RemoveEpoch(directory, found->epoch);
    } else {
      ::unlink((directory / name).c_str());
    }
    return true;
  };
  // Best effort: the next epoch looks again.
  static_cast<void>(ListDirectory(AT_FDCWD, directory.c_str(), look));
}

void RemoveOrphanMutexes() noexcept {
  const std::filesystem::path directory = NamedMutex::kDirectory;
  int looked_at = 0;
  const auto look = [&](const char* name) {
    if (++looked_at > kLookedAtMax) return false;
    const auto found = ParseName(name, NamedMutex::kFilePrefix, 10);
    if (!found || std::find(std::begin(kMutexKinds), std::end(kMutexKinds),
                            found->part) == std::end(kMutexKinds)) {
      return true;
    }
    // Goes with that; and may be of a version that does not lock its mutexes.
    if (HasMainRegion(directory, found->epoch)) return true;
    const UniqueFd fd = OpenOwn(directory / name);
    if (fd && IsUnused(fd.get())) ::unlink((directory / name).c_str());
    return true;
  };
  static_cast<void>(ListDirectory(AT_FDCWD, directory.c_str(), look));
}

}  // namespace larder
