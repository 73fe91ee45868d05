// Loads and unloads a plugin that has a cache: one that closes it, one that
// leaves it open, one that is in use until the program ends.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
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

class Plugin {
 public:
  Plugin() : library_(::dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL)) {
    Require(library_ != nullptr, "dlopen");
  }
  int Use(const std::string& directory) {
    auto* const use =
        reinterpret_cast<int (*)(const char*)>(::dlsym(library_, "PluginUse"));
    Require(use != nullptr, "PluginUse");
    return use(directory.c_str());
  }
  void CloseCache() {
    auto* const close =
        reinterpret_cast<int (*)()>(::dlsym(library_, "PluginClose"));
    Require(close != nullptr && close() == 1, "PluginClose");
  }
  void Unload() { Require(::dlclose(library_) == 0, "dlclose"); }

 private:
  void* library_;
};

// Never destroyed.
std::string& made = *new std::string(
    (std::filesystem::temp_directory_path() / "larder-XXXXXX").string());

}  // namespace

int main() {
  // After all that comes later.
  std::atexit([] { std::filesystem::remove_all(made); });
  Require(::mkdtemp(made.data()) != nullptr, "mkdtemp");
  const std::string directory = made + "/cache";
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
  std::thread([&] {
    Plugin plugin;
    Require(plugin.Use(directory) == ++calls, "use on a thread");
    plugin.Unload();
  }).join();
  Plugin last;
  Require(last.Use(directory) == ++calls, "use until the end");
  std::puts("plugin_host: all well");
  return 0;
}
