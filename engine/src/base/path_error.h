#ifndef LARDER_ENGINE_SRC_BASE_PATH_ERROR_H_
#define LARDER_ENGINE_SRC_BASE_PATH_ERROR_H_

#include <filesystem>
#include <string>
#include <string_view>

#include <sys/stat.h>

#include "larder/engine/status.h"

namespace larder {

/// What is needed to look into a directory, for PathError.
inline constexpr const char* kToRead = "read and search permission";

/// Says for people why `doing` (a verb, "open") failed with `error` on `path`:
/// which part of the path is in the way, whose it is, and what is needed.
/// Codes: kPermissionDenied, kNotADirectory, kNotFound, kInvalidArgument (a
/// path that is too long or loops), else as Status::FromErrno.
[[nodiscard]] Status PathError(int error, std::string_view doing,
                               const std::filesystem::path& path,
                               std::string_view needed) noexcept;

/// Checks that `about`, of `path`, is of a regular file of this user that
/// nobody else may open. kPermissionDenied says what it is otherwise, and never
/// to remove it: it may be of a cache that is in use.
[[nodiscard]] Status CheckPrivateFile(const struct stat& about,
                                      const std::string& path) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_BASE_PATH_ERROR_H_
