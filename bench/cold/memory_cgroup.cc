#include "cold/memory_cgroup.h"

#include <cerrno>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

namespace larder::bench {

namespace {

namespace fs = std::filesystem;

struct Hierarchy {
  fs::path root;
  const char* limit_name = nullptr;
};

// Version 2 where it has the memory, as only one of them can.
Result<Hierarchy> FindHierarchy() {
  Result<Hierarchy> found =
      Fail(Status::NotFound("no cgroup file system with a memory controller"));
  std::ifstream mounts("/proc/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string device;
    std::string path;
    std::string type;
    std::string options;
    fields >> device >> path >> type >> options;
    if (type == "cgroup" &&
        ("," + options + ",").find(",memory,") != std::string::npos) {
      found = Hierarchy{path, "memory.limit_in_bytes"};
    } else if (type == "cgroup2") {
      std::ifstream file(fs::path(path) / "cgroup.subtree_control");
      for (std::string name; file >> name;) {
        if (name == "memory") return Hierarchy{path, "memory.max"};
      }
    }
  }
  return found;
}

Status WriteTo(const fs::path& path, std::uint64_t number) {
  errno = 0;
  std::ofstream file(path);
  file << number << std::flush;
  if (file) return Status::Ok();
  return Status::FromErrno(errno != 0 ? errno : EIO,
                           "writing " + path.string());
}

}  // namespace

MemoryCgroup::MemoryCgroup(fs::path path) noexcept : path_(std::move(path)) {}

MemoryCgroup::MemoryCgroup(MemoryCgroup&& other) noexcept
    : path_(std::exchange(other.path_, {})) {}

MemoryCgroup::~MemoryCgroup() {
  if (!path_.empty()) ::rmdir(path_.c_str());
}

Result<MemoryCgroup> MemoryCgroup::Make(std::uint64_t limit_bytes) {
  const auto hierarchy = FindHierarchy();
  if (!hierarchy) return Fail(hierarchy.error());
  fs::path path = hierarchy->root / ("larder-" + std::to_string(::getpid()));
  if (::mkdir(path.c_str(), 0700) != 0) {
    return Fail(Status::FromErrno(errno, "making " + path.string()));
  }
  MemoryCgroup group(std::move(path));
  LARDER_FAIL_IF_ERROR(
      WriteTo(group.path_ / hierarchy->limit_name, limit_bytes));
  return group;
}

Status MemoryCgroup::Join() const {
  return WriteTo(path_ / "cgroup.procs",
                 static_cast<std::uint64_t>(::getpid()));
}

}  // namespace larder::bench
