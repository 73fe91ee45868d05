#include <chrono>
#include <iostream>

#include "larder/cache/cache.h"

int main() {
  using std::chrono::hours;
  auto opened = larder::Cache::Open("");  // "" = a temporary directory.
  if (!opened) {
    std::cerr << opened.error().ToString() << '\n';
    return 1;
  }
  larder::Cache& cache = **opened;

  if (auto s = cache.Set("greeting", "hello", {.ttl = hours(1)}); !s.ok()) {
    std::cerr << s.ToString() << '\n';  // For example "kNoSpace: ...".
  }
  if (auto value = cache.Get("greeting"); value && *value) {
    std::cout << (*value)->bytes() << '\n';  // No copy was made.
  }
  std::cout << cache.Incr("visits").value_or(0) << " visit\n";
  return cache.Close().ok() ? 0 : 1;
}
