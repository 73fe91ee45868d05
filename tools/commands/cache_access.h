#ifndef LARDER_TOOLS_COMMANDS_CACHE_ACCESS_H_
#define LARDER_TOOLS_COMMANDS_CACHE_ACCESS_H_

#include <functional>
#include <string>
#include <string_view>

#include "larder/cache/cache.h"

#include "commands/command_line.h"
#include "commands/option_types.h"

/// How commands get at their cache: opened for reading, as it is, or made if
/// it is not there; closed, and its failure reported, in one place.

namespace larder::tools {

/// What a command does with its cache: an exit code, or why it failed.
using CacheAction = std::function<Result<int>(Cache& cache)>;

/// Runs `action` on the cache in `directory`, which has to exist. A directory
/// that may not be written is opened read-only. Returns the exit code.
int ReadCache(const std::string& directory, const OutputFormat& format,
              const CacheAction& action);
/// The same for a command that changes the cache.
int ChangeCache(const std::string& directory, const OutputFormat& format,
                const CacheAction& action);
/// The same for a cache that is repaired first if it cannot be opened.
int RepairCache(const std::string& directory, const OutputFormat& format,
                const CacheAction& action);
/// The same, but a missing directory is created.
int CreateCache(const std::string& directory, const SettingList& settings,
                const OutputFormat& format, const CacheAction& action);

/// What a command that may create its cache checks before it does, so that a
/// refused item leaves no new directory. Errors: kKeyTooLarge.
Status CheckKeySize(std::string_view key);

/// For a command that wants a directory of its own: that `directory` is no
/// cache and in none. Errors: kInvalidArgument.
Status CheckNotInCache(const std::string& directory);
/// What to do about its error.
inline constexpr std::string_view kUseOwnDirectory =
    "give a directory that is no cache, or not there yet";

/// Options for Cache::Open in `mode`.
CacheOptions MakeCacheOptions(OpenMode mode, const OutputFormat& format);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_COMMANDS_CACHE_ACCESS_H_
