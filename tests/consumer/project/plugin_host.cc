// Loads a plugin that has a cache and lets it go: one that closes it, one that
// leaves it open, one that is in use until the program ends. And two at once,
// each with a library of its own, whose caches open and close while the program
// forks.

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

void Require(bool condition, const char* what) {
  if (condition) return;
  const char* const error = ::dlerror();
  std::fprintf(stderr, "plugin_host: %s: %s\n", what, error ? error : "");
  std::_Exit(1);
}

// On a thread of its own, as the loader keeps a library for the destructors of
// what its threads keep.
int OnThread(const std::function<int()>& run) {
  int result = 0;
  std::thread([&] { result = run(); }).join();
  return result;
}

class Plugin {
 public:
  explicit Plugin(std::string file = PLUGIN)
      : file_(std::move(file)),
        library_(::dlopen(file_.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    Require(library_ != nullptr, "dlopen");
  }
  int Use(const std::string& directory) {
    auto* const use =
        reinterpret_cast<int (*)(const char*)>(::dlsym(library_, "PluginUse"));
    Require(use != nullptr, "PluginUse");
    return OnThread([&] { return use(directory.c_str()); });
  }
  void CloseCache() {
    auto* const close =
        reinterpret_cast<int (*)()>(::dlsym(library_, "PluginClose"));
    Require(close != nullptr, "dlsym");
    Require(OnThread(close) == 1, "PluginClose");
  }
  void Unload() {
    Require(::dlclose(library_) == 0, "dlclose");
    Require(::dlopen(file_.c_str(), RTLD_NOW | RTLD_NOLOAD) != nullptr,
            "it is gone");
  }

 private:
  const std::string file_;
  void* const library_;
};

void ForkBesideTwo() {
  constexpr int kForks = 30;
  constexpr unsigned kChildSeconds = 30;
  // The loader takes copies for other libraries.
  const auto load = [](const std::string& copy) {
    std::filesystem::copy_file(PLUGIN, copy);
    return Plugin(copy);
  };
  Plugin plugins[] = {load(SCRATCH "/0.so"), load(SCRATCH "/1.so")};
  std::atomic<bool> stop{false};
  std::thread threads[2];
  for (int i = 0; i < 2; ++i) {
    threads[i] = std::thread([&, i] {
      const std::string directory = SCRATCH "/" + std::to_string(i);
      do {
        Require(plugins[i].Use(directory) > 0, "use beside another");
        plugins[i].CloseCache();
      } while (!stop);
    });
  }
  for (int i = 0; i < kForks; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(kChildSeconds);  // Who hangs ends by a signal.
      std::exit(0);
    }
    int status = -1;
    Require(::waitpid(child, &status, 0) == child && status == 0, "a child");
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main() {
  // After all that comes later. A run that failed has left its own.
  static const pid_t self = ::getpid();
  std::atexit([] {
    if (::getpid() == self) std::filesystem::remove_all(SCRATCH);
  });
  std::filesystem::remove_all(SCRATCH);
  std::filesystem::create_directories(SCRATCH);
  const std::string directory = SCRATCH "/cache";
  int calls = 0;
  for (int i = 0; i < 3; ++i) {
    Plugin plugin;
    Require(plugin.Use(directory) == ++calls, "use");
    plugin.CloseCache();
    plugin.Unload();
  }
  for (int i = 0; i < 3; ++i) {
    Plugin plugin;
    Require(plugin.Use(directory) == ++calls, "use of one that was left open");
    plugin.Unload();
  }
  ForkBesideTwo();
  Plugin last;
  Require(last.Use(directory) == ++calls, "use until the end");
  std::puts("plugin_host: all well");
  return 0;
}
