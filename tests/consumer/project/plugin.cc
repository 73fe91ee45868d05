// A shared library that has a cache of its own.

#include <memory>
#include <string>
#include <utility>

#include <larder/cache/cache.h>

namespace {

std::unique_ptr<larder::Cache> cache;

}  // namespace

extern "C" {

/// What a key holds, a number that grows with each call; 0: it failed.
__attribute__((visibility("default"))) int PluginUse(const char* directory) {
  if (!cache) {
    auto opened = larder::Cache::Open(directory);
    if (!opened) return 0;
    cache = std::move(*opened);
  }
  for (int i = 0; i < 100; ++i) {
    const std::string key = std::to_string(i);
    if (!cache->Set(key, std::string(3000, 'x')).ok()) return 0;
    if (!cache->Get(key).value_or(std::nullopt)) return 0;
  }
  return static_cast<int>(cache->Incr("calls").value_or(0));
}

__attribute__((visibility("default"))) int PluginClose() {
  const bool closed = cache->Close().ok();
  cache.reset();
  return closed ? 1 : 0;
}
}
