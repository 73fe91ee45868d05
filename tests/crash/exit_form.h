#ifndef LARDER_TESTS_CRASH_EXIT_FORM_H_
#define LARDER_TESTS_CRASH_EXIT_FORM_H_

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "larder/cache/cache.h"

namespace larder::testing {

/// A way to end a process that has a cache open; see exit_form.cc.
struct ExitForm {
  std::string_view name;
  int (*run)(const char* directory);
};

/// Those in which another thread does something beside exit.
std::span<const ExitForm> FormsBesideExit();

/// Ends the process with 3 unless `condition`.
inline void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "exit_form: %s\n", what);
  std::_Exit(3);
}

/// Opens the cache in `directory`, as it has to succeed, and sets "main".
inline std::unique_ptr<Cache> Open(const char* directory,
                                   CacheOptions options = {}) {
  auto cache = Cache::Open(directory, std::move(options));
  if (!cache) {
    std::fprintf(stderr, "exit_form: %s\n", cache.error().ToString().c_str());
    std::_Exit(3);
  }
  Require((*cache)->Set("main", "v").ok(), "Set");
  return std::move(*cache);
}

/// Forks, runs `run` in the child, and requires that it ends with 0 in time.
void Fork(const std::function<void()>& run);

}  // namespace larder::testing

#endif  // LARDER_TESTS_CRASH_EXIT_FORM_H_
