#include "measure/scratch_directory.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

namespace larder::tools {
namespace {

namespace fs = std::filesystem;

// From above to below.
std::vector<fs::path> MissingOf(const fs::path& path) {
  std::vector<fs::path> missing;
  std::error_code error;
  for (fs::path at = path; !at.empty() && !fs::exists(at, error) && !error;
       at = at.parent_path()) {
    missing.push_back(at);
  }
  std::reverse(missing.begin(), missing.end());
  return missing;
}

}  // namespace

Result<ScratchDirectory> ScratchDirectory::Create(const fs::path& parent,
                                                  std::string_view kind) {
  ScratchDirectory scratch;
  std::error_code error;
  // The process may change its directory before it is removed.
  const fs::path absolute = fs::absolute(parent, error);
  if (error) return Fail(Status::FromErrno(error.value(), parent.string()));
  for (const fs::path& missing : MissingOf(absolute)) {
    if (::mkdir(missing.c_str(), 0777) == 0) {
      scratch.made_.push_back(missing);
    } else if (errno != EEXIST) {
      return Fail(Status::FromErrno(errno, "create " + missing.string()));
    }
  }
  std::string path = absolute / ("larder-" + std::string(kind) + "-XXXXXX");
  if (::mkdtemp(path.data()) == nullptr) {
    return Fail(Status::FromErrno(errno, "create " + path));
  }
  scratch.path_ = path;
  scratch.made_.push_back(std::move(path));
  return scratch;
}

ScratchDirectory::~ScratchDirectory() {
  Remove().IgnoreError();  // Whoever cares has called it.
}

Status ScratchDirectory::Remove() noexcept {
  std::error_code error;
  if (!made_.empty() && made_.back() == path_) {
    fs::remove_all(path_, error);
    made_.pop_back();
  }
  for (; !made_.empty(); made_.pop_back()) {
    ::rmdir(made_.back().c_str());  // Not if there is something in it.
  }
  return error ? Status::FromErrno(error.value(),
                                   "cannot remove " + path_.string())
               : Status::Ok();
}

}  // namespace larder::tools
