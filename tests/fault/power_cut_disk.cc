// Files are known by inode and time of birth: names change, and inodes are used
// again. What was synced of a file is in `f/<id>`, of a directory in `d/<id>`,
// a line for each name; what a failed sync could not write is in `x/<id>`.

#include "power_cut_disk.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "fault/sync_hook.h"

namespace larder::testing {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kPage = 4096;

// Nothing if there is no such file.
std::string IdOf(int fd, const char* path) {
  struct statx info {};
  const int flags = AT_SYMLINK_NOFOLLOW | (*path == '\0' ? AT_EMPTY_PATH : 0);
  if (::statx(fd, path, flags, STATX_BASIC_STATS | STATX_BTIME, &info) != 0) {
    return {};
  }
  return std::to_string(info.stx_ino) + "-" +
         std::to_string(info.stx_btime.tv_sec) + "." +
         std::to_string(info.stx_btime.tv_nsec);
}

std::string ReadAll(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string_view PageOf(std::string_view bytes, std::size_t at) {
  return at < bytes.size() ? bytes.substr(at, kPage) : std::string_view();
}

}  // namespace

PowerCutDisk::PowerCutDisk(fs::path notes) : notes_(std::move(notes)) {
  for (const char* kind : {"f", "d", "x"}) {
    fs::create_directories(notes_ / kind);
  }
}

void PowerCutDisk::Start(Faults faults) {
  faults_ = faults;
  SetSyncHook([this](int fd) { return OnSync(fd); });
}

int PowerCutDisk::OnSync(int fd) {
  const std::lock_guard lock(mutex_);
  const bool dies = ++syncs_ == faults_.kill_at;
  if (dies && faults_.kill_before) ::raise(SIGKILL);
  struct stat info {};
  const std::string id = IdOf(fd, "");
  if (id.empty() || ::fstat(fd, &info) != 0) return EBADF;
  const std::string path = PathOf(fd);
  if (faults_.fail_at != 0 && syncs_ >= faults_.fail_at &&
      (path.ends_with(".log") || path.ends_with(".seg"))) {
    const std::uint64_t after = std::exchange(faults_.fail_again_after, 0);
    faults_.fail_at = after == 0 ? 0 : syncs_ + after;
    std::ofstream(notes_ / "x" / id, std::ios::binary)
        << ReadAll("/proc/self/fd/" + std::to_string(fd));
    return EIO;
  }
  if (S_ISDIR(info.st_mode)) {
    NoteDirectory(fd, id);
  } else {
    NoteFile(fd, id);
  }
  if (dies) ::raise(SIGKILL);
  return 0;
}

// Page by page, so that a kill in between leaves what a cut might.
void PowerCutDisk::NoteFile(int fd, const std::string& id) const {
  const std::string self = "/proc/self/fd/" + std::to_string(fd);
  const UniqueFd from(::open(self.c_str(), O_RDONLY | O_CLOEXEC));
  const UniqueFd to(
      ::open((notes_ / "f" / id).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const std::string lost = ReadAll(notes_ / "x" / id);
  struct stat info {};
  if (!from || !to || ::fstat(from.get(), &info) != 0) std::abort();
  constexpr std::size_t kChunk = 16 * kPage;
  std::array<char, kChunk> now;
  std::array<char, kChunk> synced;
  for (off_t at = 0; at < info.st_size; at += kChunk) {
    const ssize_t size = ::pread(from.get(), now.data(), kChunk, at);
    const ssize_t known = ::pread(to.get(), synced.data(), kChunk, at);
    if (size <= 0) break;
    const std::string_view bytes(now.data(), static_cast<std::size_t>(size));
    const std::string_view before(
        synced.data(), static_cast<std::size_t>(std::max<ssize_t>(known, 0)));
    for (std::size_t i = 0; i < bytes.size(); i += kPage) {
      const std::string_view page = PageOf(bytes, i);
      const auto place = static_cast<std::size_t>(at) + i;
      // What could not be written once is not tried again.
      if (page == PageOf(before, i) ||
          (!lost.empty() && page == PageOf(lost, place))) {
        continue;
      }
      if (::pwrite(to.get(), page.data(), page.size(),
                   static_cast<off_t>(place)) !=
          static_cast<ssize_t>(page.size())) {
        std::abort();
      }
    }
  }
  if (::ftruncate(to.get(), info.st_size) != 0) std::abort();
}

void PowerCutDisk::NoteDirectory(int fd, const std::string& id) const {
  const fs::path note = notes_ / "d" / id;
  const fs::path next = notes_ / "d" / "next";
  {
    std::ofstream out(next);
    for (const auto& [name, file] :
         Now("/proc/self/fd/" + std::to_string(fd))) {
      out << name << ' ' << file.id << ' ' << file.is_directory << '\n';
    }
  }
  fs::rename(next, note);
}

PowerCutDisk::Names PowerCutDisk::Synced(const std::string& id) const {
  std::ifstream in(notes_ / "d" / id);
  Names names;
  std::string name;
  Name file;
  while (in >> name >> file.id >> file.is_directory) names[name] = file;
  return names;
}

PowerCutDisk::Names PowerCutDisk::Now(const fs::path& directory) {
  Names names;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    const std::string id = IdOf(AT_FDCWD, it->path().c_str());
    std::error_code gone;
    if (!id.empty()) {
      names[it->path().filename()] = {id, it->is_directory(gone)};
    }
  }
  return names;
}

PowerCutDisk::Names PowerCutDisk::Choose(const Names& synced, const Names& now,
                                         bool each, Random& random) {
  if (!each || random.OneIn(3)) return random.OneIn(2) ? synced : now;
  Names names;
  Names all = synced;
  all.insert(now.begin(), now.end());
  for (const auto& [name, unused] : all) {
    const Names& from = random.OneIn(2) ? synced : now;
    if (const auto found = from.find(name); found != from.end()) {
      names.insert(*found);
    }
  }
  return names;
}

void PowerCutDisk::Cut(const fs::path& from, const fs::path& to,
                       Random& random) const {
  paths_.clear();
  names_.clear();
  const std::string root = IdOf(AT_FDCWD, from.c_str());
  paths_[root] = from;
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    paths_[IdOf(AT_FDCWD, entry.path().c_str())] = entry.path();
  }
  ChooseNames(root, from.filename(), random);
  KeepMoved();
  CutDirectory(root, to, random);
}

void PowerCutDisk::ChooseNames(const std::string& id, const fs::path& name,
                               Random& random) const {
  const auto path = paths_.find(id);
  // RocksDB relies on names that change in order.
  const Names& names = names_[id] =
      Choose(Synced(id), path != paths_.end() ? Now(path->second) : Names(),
             /*each=*/name == "log", random);
  for (const auto& [child, file] : Names(names)) {
    if (file.is_directory) ChooseNames(file.id, child, random);
  }
}

// A file that was moved is at least in one of the two directories.
void PowerCutDisk::KeepMoved() const {
  std::set<std::string> there;
  for (const auto& [unused, names] : names_) {
    for (const auto& [name, file] : names) there.insert(file.id);
  }
  for (auto& [id, names] : names_) {
    for (const auto& [name, file] : Synced(id)) {
      const auto now = paths_.find(file.id);
      const auto directory = paths_.find(id);
      if (!file.is_directory && !there.contains(file.id) &&
          now != paths_.end() && directory != paths_.end() &&
          now->second.parent_path() != directory->second) {
        names.emplace(name, file);
      }
    }
  }
}

void PowerCutDisk::CutDirectory(const std::string& id, const fs::path& to,
                                Random& random) const {
  fs::create_directory(to);
  fs::permissions(to, fs::perms::owner_all);
  for (const auto& [name, file] : names_[id]) {
    if (file.is_directory) {
      CutDirectory(file.id, to / name, random);
    } else {
      CutFile(file.id, to / name, random);
    }
  }
}

void PowerCutDisk::CutFile(const std::string& id, const fs::path& to,
                           Random& random) const {
  const std::string synced = ReadAll(notes_ / "f" / id);
  const auto path = paths_.find(id);
  const std::string now = path != paths_.end() ? ReadAll(path->second) : synced;
  std::string bytes(std::max(synced.size(), now.size()), '\0');
  // Of four pages so many are written.
  const std::uint64_t written = random.Below(5);
  for (std::size_t at = 0; at < bytes.size(); at += kPage) {
    const std::string_view page =
        PageOf(random.Below(4) < written ? now : synced, at);
    if (!page.empty()) std::memcpy(&bytes[at], page.data(), page.size());
  }
  bytes.resize(random.OneIn(2) ? synced.size() : now.size());
  std::ofstream(to, std::ios::binary) << bytes;
  fs::permissions(to, fs::perms::owner_read | fs::perms::owner_write);
}

}  // namespace larder::testing
