#include <utility>

#include "larder/cache/cache.h"

#include "cache_temporary_directory.h"
#include "compression_choice.h"

namespace larder {

Result<std::unique_ptr<Cache>> Cache::Open(const std::filesystem::path& path,
                                           CacheOptions options) noexcept {
  std::unique_ptr<TemporaryDirectory> temporary;
  if (path.empty()) {
    if (options.mode != OpenMode::kCreate) {
      return Fail(Status::InvalidArgument(
          "a cache without a path is a new one: it needs OpenMode::kCreate"));
    }
    Result<std::unique_ptr<TemporaryDirectory>> made =
        TemporaryDirectory::Make();
    if (!made) return Fail(made.error());
    temporary = *std::move(made);
  }
  Result<std::unique_ptr<Engine>> engine = OpenEngine(
      temporary == nullptr ? path : temporary->path(), std::move(options));
  if (!engine) return Fail(engine.error());
  std::unique_ptr<Cache> cache(new Cache(*std::move(engine)));
  cache->temporary_ = std::move(temporary);
  return cache;
}

}  // namespace larder
