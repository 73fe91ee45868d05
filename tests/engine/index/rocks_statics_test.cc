// Exit destroys first what was made last: a static object of RocksDB that is
// made in the first opening of a cache is gone when exit comes amid that,
// before it comes to what waits for the opening.

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <dlfcn.h>
#include <gtest/gtest.h>

#include "larder/cache/cache.h"

#include "temporary_directory.h"

namespace larder::testing {
namespace {

// Where the handlers of exits are noted: the library or program of each.
std::mutex handlers_mutex;
std::vector<std::string>* handlers = nullptr;

void NoteInto(std::vector<std::string>* list) {
  const std::scoped_lock lock(handlers_mutex);
  handlers = list;
}

// A handler of the library that `address` is in.
void Note(void* address) {
  const std::scoped_lock lock(handlers_mutex);
  if (handlers == nullptr) return;
  Dl_info info{};
  const bool found = ::dladdr(address, &info) != 0;
  handlers->emplace_back(found ? info.dli_fname : "");
}

template <class Function>
Function Next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

constexpr bool kSanitized =
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    true;
#else
    false;
#endif

}  // namespace
}  // namespace larder::testing

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
// Instead of the C library's, for all libraries of this process.
extern "C" [[gnu::visibility("default")]] int __cxa_atexit(
    void (*handler)(void*), void* argument, void* library) {
  larder::testing::Note(library);
  return larder::testing::Next<decltype(&__cxa_atexit)>("__cxa_atexit")(
      handler, argument, library);
}

extern "C" [[gnu::visibility("default")]] int on_exit(void (*handler)(int,
                                                                      void*),
                                                      void* argument) {
  larder::testing::Note(&larder::testing::handlers);
  return larder::testing::Next<decltype(&on_exit)>("on_exit")(handler,
                                                              argument);
}
#endif

namespace larder::testing {
namespace {

bool IsRocks(std::string_view library) {
  return library.find("librocksdb") != std::string_view::npos;
}

void UseEverything(const std::filesystem::path& path) {
  for (int round = 0; round < 2; ++round) {
    auto opened = Cache::Open(path);
    ASSERT_TRUE(opened) << opened.error().ToString();
    Cache& cache = **opened;
    for (int i = 0; i < 2'000; ++i) {
      const std::string key = std::to_string(i);
      const std::string value(i % 10 == 0 ? 9'000 : 90, 'v');
      ASSERT_TRUE(cache.Set(key, value, {.tag = "tag"}).ok());
      ASSERT_TRUE(cache.Delete(std::to_string(i / 2)));
    }
    ASSERT_TRUE(cache.Incr("count", 1));
    ASSERT_TRUE(cache.Get("1"));
    ASSERT_TRUE(cache.Cull());
    ASSERT_TRUE(cache.Check());
    ASSERT_TRUE(cache.Close().ok());
  }
}

TEST(RocksStatics, AreMadeBeforeMain) {
  if (kSanitized) GTEST_SKIP() << "the sanitizers have this function, too";
  TemporaryDirectory directory;
  std::vector<std::string> seen;
  NoteInto(&seen);
  UseEverything(directory.path() / "cache");
  NoteInto(nullptr);
  EXPECT_FALSE(seen.empty());  // Ours.
  EXPECT_EQ(std::count_if(seen.begin(), seen.end(), IsRocks), 0);
}

}  // namespace
}  // namespace larder::testing
