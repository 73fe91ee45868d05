#include "commands/cache_access.h"

#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "larder/engine/attached.h"
#include "larder/engine/limits.h"

#include "commands/output.h"

namespace larder::tools {
namespace {

int RunAndClose(Result<std::unique_ptr<Cache>> cache,
                const std::string& directory, const CacheAction& action,
                std::string_view remedy = {}) {
  if (!cache) {
    return ReportError(cache.error(), directory, remedy);
  }
  const Result<int> exit_code = action(**cache);
  const Status closed = (*cache)->Close();
  if (!exit_code) {
    return ReportError(exit_code.error(), directory);
  }
  return closed.ok() ? *exit_code : ReportError(closed, directory);
}

}  // namespace

Status CheckKeySize(std::string_view key) {
  if (key.size() <= kKeySizeBytesMax) {
    return Status::Ok();
  }
  return {StatusCode::kKeyTooLarge, fmt::format("key of {} bytes", key.size())};
}

Status CheckNotInCache(const std::string& directory) {
  std::error_code error;
  std::filesystem::path at =
      std::filesystem::weakly_canonical(directory, error);
  if (error) return Status::FromErrno(error.value(), directory);
  for (;; at = at.parent_path()) {
    // Whatever else it says: somebody has made something like a cache there.
    const auto view = ReadAttached(at);
    if (view || (view.error().code() != StatusCode::kNotFound &&
                 view.error().code() != StatusCode::kNotADirectory)) {
      return Status::InvalidArgument(fmt::format(
          "{} is a cache, whose items might be harmed", at.string()));
    }
    if (at == at.parent_path()) return Status::Ok();
  }
}

CacheOptions MakeCacheOptions(OpenMode mode, const OutputFormat& format) {
  CacheOptions options;
  options.mode = mode;
  if (format.verbose) {
    options.log = [](std::string_view line) { Note(line); };
  }
  return options;
}

int ReadCache(const std::string& directory, const OutputFormat& format,
              const CacheAction& action) {
  auto cache =
      Cache::Open(directory, MakeCacheOptions(OpenMode::kExisting, format));
  if (!cache && cache.error().code() == StatusCode::kPermissionDenied) {
    cache =
        Cache::Open(directory, MakeCacheOptions(OpenMode::kReadOnly, format));
  }
  return RunAndClose(std::move(cache), directory, action);
}

int ChangeCache(const std::string& directory, const OutputFormat& format,
                const CacheAction& action) {
  return RunAndClose(
      Cache::Open(directory, MakeCacheOptions(OpenMode::kExisting, format)),
      directory, action);
}

int RepairCache(const std::string& directory, const OutputFormat& format,
                const CacheAction& action) {
  CacheOptions options = MakeCacheOptions(OpenMode::kExisting, format);
  options.when_damaged = WhenDamaged::kRepair;
  auto cache = Cache::Open(directory, std::move(options));
  // What wants room, or a newer larder, is not beyond repair.
  const bool beyond = !cache && cache.error().code() == StatusCode::kCorruption;
  return RunAndClose(std::move(cache), directory, action,
                     beyond ? "'larder reset' makes it an empty cache" : "");
}

int CreateCache(const std::string& directory, const SettingList& settings,
                const OutputFormat& format, const CacheAction& action) {
  CacheOptions options = MakeCacheOptions(OpenMode::kCreate, format);
  options.settings = settings;
  return RunAndClose(Cache::Open(directory, std::move(options)), directory,
                     action);
}

}  // namespace larder::tools
