// Loads a plugin that has a cache and lets it go: one that closes it, one that
// leaves it open, one that is in use until the program ends.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include <dlfcn.h>

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
  Plugin() : library_(::dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL)) {
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
    Require(::dlopen(PLUGIN, RTLD_NOW | RTLD_NOLOAD) != nullptr, "it is gone");
  }

 private:
  void* library_;
};

}  // namespace

int main() {
  // After all that comes later. A run that failed has left its own.
  std::atexit([] { std::filesystem::remove_all(SCRATCH); });
  std::filesystem::remove_all(SCRATCH);
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
  Plugin last;
  Require(last.Use(directory) == ++calls, "use until the end");
  std::puts("plugin_host: all well");
  return 0;
}
