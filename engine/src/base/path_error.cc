#include "base/path_error.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include <sys/stat.h>
#include <unistd.h>

namespace larder {
namespace {

// The part of `path` down to where a look-up ends: the first thing that is not
// a directory, the last that can be seen, or the path itself.
std::filesystem::path LastReachable(const std::filesystem::path& path) {
  std::filesystem::path reached;
  for (const std::filesystem::path& part : path) {
    const std::filesystem::path next = reached / part;
    struct stat info {};
    if (::stat(next.c_str(), &info) != 0) {
      break;
    }
    reached = next;
    if (!S_ISDIR(info.st_mode)) {
      break;
    }
  }
  return reached.empty() ? path : reached;
}

std::string OwnerAndMode(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return path.string() + " cannot be looked at";
  }
  std::array<char, 8> mode{};
  std::snprintf(mode.data(), mode.size(), "%04o",
                static_cast<unsigned>(info.st_mode & 07777U));
  return path.string() + " belongs to uid " + std::to_string(info.st_uid) +
         " with mode " + mode.data();
}

}  // namespace

Status CheckPrivateFile(const struct stat& about,
                        const std::string& path) noexcept {
  const auto denied = [&](const std::string& why) {
    return Status(StatusCode::kPermissionDenied, path + why);
  };
  if (!S_ISREG(about.st_mode)) {
    return denied(
        ", where a cache has shared memory, is not a file: somebody else made "
        "it; choose another region directory");
  }
  if (about.st_uid != ::geteuid()) {
    return denied(" belongs to uid " + std::to_string(about.st_uid) +
                  ", who uses this cache, and this process runs as uid " +
                  std::to_string(::geteuid()) + ": run it as that user");
  }
  if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return denied(" may be opened by others: chmod 600 it");
  }
  return Status::Ok();
}

Status PathError(int error, std::string_view doing,
                 const std::filesystem::path& path,
                 std::string_view needed) noexcept {
  const std::string what = "cannot " + std::string(doing) + " " + path.string();
  const std::string text = std::system_category().message(error);
  switch (error) {
    case EROFS:
      return {StatusCode::kPermissionDenied,
              what + ": " + text + "; mount it writable or open read-only"};
    case EACCES:
    case EPERM:
      return {StatusCode::kPermissionDenied,
              what + ": " + text + ": this process runs as uid " +
                  std::to_string(::geteuid()) + ", " +
                  OwnerAndMode(LastReachable(path)) +
                  "; needed: " + std::string(needed)};
    case ENOTDIR:
      return {StatusCode::kNotADirectory,
              what + ": " + LastReachable(path).string() +
                  " is not a directory; choose another path"};
    case ENOENT:
      return {StatusCode::kNotFound, what + ": " + text};
    case ENAMETOOLONG:
    case ELOOP:
      return {StatusCode::kInvalidArgument, what + ": " + text};
    default:
      return Status::FromErrno(error, what);
  }
}

}  // namespace larder
