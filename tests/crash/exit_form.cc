// A program that ends in one of the ways in which programs end:
//   exit_form FORM DIR
// It opens the cache in DIR and sets "main", which is to be there afterwards; a
// child that uses the cache sets "child". Ends with 0 if all went as it should,
// from a callback with 7. Caches of its own are in DIR.2. Most of it happens
// after main, where only _Exit can tell of a failure.

#include "exit_form.h"

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "larder/cache/cache.h"

#include "spawned_process.h"

namespace larder::testing {

using namespace std::chrono_literals;

void Fork(const std::function<void()>& run) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  Require(child >= 0, "fork");
  if (child == 0) {
    run();
    std::exit(0);
  }
  int status = -1;
  for (int waited = 0; waited < 1000; ++waited) {
    if (::waitpid(child, &status, WNOHANG) == child) break;
    std::this_thread::sleep_for(10ms);
  }
  if (status != 0) {
    ::kill(child, SIGKILL);
    std::fprintf(stderr, "exit_form: the child: %#x\n", status);
    std::_Exit(4);
  }
}

namespace {

// Enough to flush and to compress, by way of everything that threads keep.
void Use(Cache& cache, const char* key) {
  for (int i = 0; i < 300; ++i) {
    const std::string text(3000, 'x');
    Require(cache.Set(std::to_string(i), text).ok(), "Set while it ends");
    Require(cache.Get(std::to_string(i)).value().has_value(), "Get");
  }
  Require(cache.Set(key, "v").ok(), "Set while it ends");
  Require(cache.First().value().has_value(), "First");
  Require(cache.OpenScan({.with_values = true}).value()->Next(100).has_value(),
          "Next");
  Require(cache.Check().value().ok(), "Check");
}

// Objects ---------------------------------------------------------------------

// Made before RocksDB's static objects, destroyed after them.
class UserAfterClose {
 public:
  ~UserAfterClose() {
    Require(!all_open, "destroyed while threads use RocksDB");
    if (cache == nullptr) return;
    const Status set = cache->Set("late", "v");
    Require(set.code() == StatusCode::kClosed, "kClosed after the exit");
    const auto opened = Cache::Open(cache->directory());
    Require(!opened && opened.error().code() == StatusCode::kClosed,
            "kClosed for Open after the exit");
  }
  Cache* cache = nullptr;
  bool all_open = false;  // It must not come to this.
};

std::unique_ptr<Cache> global;
UserAfterClose user_after_close;

int Global(const char* directory) {
  global = Open(directory);
  return 0;
}

int GlobalUsedTooLate(const char* directory) {
  global = Open(directory);
  user_after_close.cache = global.get();
  return 0;
}

int GlobalOfTwo(const char* directory) {
  static const std::unique_ptr<Cache> other = Open(directory);
  global = Open((std::string(directory) + ".2").c_str());
  return 0;
}

// Made after the cache, destroyed before it: may use it.
class UserBeforeClose {
 public:
  explicit UserBeforeClose(Cache& cache) : cache_(cache) {}
  ~UserBeforeClose() { Use(cache_, "static"); }

 private:
  Cache& cache_;
};

int FunctionStatic(const char* directory) {
  static const std::unique_ptr<Cache> cache = Open(directory);
  static const UserBeforeClose user(*cache);
  Use(*cache, "before");  // What this thread keeps goes before `user`.
  return 0;
}

int ThreadLocal(const char* directory) {
  thread_local std::unique_ptr<Cache> mine;
  thread_local std::unique_ptr<UserBeforeClose> user;
  std::thread other([directory] {
    mine = Open(directory);
    user = std::make_unique<UserBeforeClose>(*mine);
    Use(*mine, "other");
  });
  mine = Open(directory);
  user = std::make_unique<UserBeforeClose>(*mine);
  other.join();
  return 0;
}

int Leaked(const char* directory) {
  Use(*Open(directory).release(), "main");
  return 0;
}

// The rest of its trace is written.
int LeakedAndRecorded(const char* directory) {
  CacheOptions options;
  options.record.file = std::string(directory) + ".trace";
  Cache* const cache = Open(directory, options).release();
  for (int i = 0; i < 100; ++i) {
    Require(cache->Set(std::to_string(i), "v").ok(), "Set");
  }
  return 0;
}

int Busy(const char* directory) {
  Cache* const cache = Open(directory).release();
  for (int t = 0; t < 3; ++t) {
    std::thread([cache, t] {
      const std::string value(2000, 'x');
      for (int i = 0;; ++i) {
        const std::string key = std::to_string(t) + "/" + std::to_string(i);
        static_cast<void>(cache->Set(key, value));
        static_cast<void>(cache->Get(key));
        static_cast<void>(cache->OpenScan({.with_values = true}));
      }
    }).detach();
  }
  std::this_thread::sleep_for(100ms);
  return 0;
}

int ExitOfAThread(const char* directory) {
  global = Open(directory);
  std::thread([] { std::exit(0); }).detach();
  for (;;) std::this_thread::sleep_for(1s);
}

// Processes -------------------------------------------------------------------

int ChildExits(const char* directory) {
  global = Open(directory);
  Fork([] {});
  Use(*global, "after");
  return 0;
}

int ChildUsesAndExits(const char* directory) {
  global = Open(directory);
  Use(*global, "before");
  Fork([] { Use(*global, "child"); });
  Use(*global, "after");
  return 0;
}

int ChildClosesAndExits(const char* directory) {
  global = Open(directory);
  Fork([] {
    Use(*global, "child");
    Require(global->Close().ok(), "Close");
    global.reset();
  });
  Use(*global, "after");
  return 0;
}

// Whose other threads hold whatever they hold at the fork.
int ChildrenOfABusyParentExit(const char* directory) {
  global = Open(directory);
  std::atomic<bool> stops{false};
  std::array<std::thread, 3> writers;
  for (std::thread& writer : writers) {
    writer = std::thread([&stops] {
      for (int i = 0; !stops; ++i) {
        const std::string key = std::to_string(i % 5000);
        static_cast<void>(global->Set(key, std::string(2000, 'x')));
        static_cast<void>(global->OpenScan({.with_values = true}));
        static_cast<void>(global->Get(key));
      }
    });
  }
  for (int i = 0; i < 30; ++i) {
    Fork([i] {
      if (i % 2 == 0) return;
      Require(global->Get("main").value().has_value(), "Get of a child");
    });
  }
  stops = true;
  for (std::thread& writer : writers) writer.join();
  return 0;
}

// A cache that is only read, in a global variable. Its children open their own.
int ReadOnly(const char* directory) {
  Require(Open(directory)->Close().ok(), "Close");
  global = std::move(*Cache::Open(directory, {.mode = OpenMode::kReadOnly}));
  const auto scan = std::move(*global->OpenScan());
  const auto read = [] {
    Require(global->Get("main").value().has_value(), "Get of a view");
  };
  read();
  Fork([] {});
  Fork(read);
  Fork([&] {
    const auto page = scan->Next(1);
    Require(!page && page.error().code() == StatusCode::kClosed, "Next");
    read();
    Require(global->Close().ok(), "Close of a view");
    global.reset();
  });
  Require(scan->Next(1).has_value(), "Next of a view");
  return 0;
}

int ChildHasMoreChildren(const char* directory) {
  global = Open(directory);
  Fork([] {
    Require(global->Set("child", "v").ok(), "Set of a child");
    Fork([] { Require(global->Set("child", "w").ok(), "Set of its child"); });
    Require(global->Set("child", "x").ok(), "Set of a child");
  });
  return 0;
}

int ChildEndsByUnderscoreExit(const char* directory) {
  global = Open(directory);
  Fork([] {
    Require(global->Set("child", "v").ok(), "Set of a child");
    ::_exit(0);
  });
  return 0;
}

int ChildExecutes(const char* directory) {
  global = Open(directory);
  Fork([directory] {
    ::execl("/proc/self/exe", "exit_form", "leaked", directory, nullptr);
    std::_Exit(5);
  });
  return 0;
}

int VforkedChildExecutes(const char* directory) {
  global = Open(directory);
  const pid_t child = ::vfork();
  if (child == 0) {
    ::execl("/proc/self/exe", "exit_form", "leaked", directory, nullptr);
    ::_exit(5);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  Require(status == 0, "the executed program");
  Use(*global, "after");
  return 0;
}

// The parent is gone at once, without closing anything; the child is a daemon.
int Daemon(const char* directory) {
  std::array<int, 2> ends{};
  Require(::pipe(ends.data()) == 0, "pipe");
  const pid_t shell = ::fork();
  if (shell == 0) {
    global = Open(directory);
    Require(::daemon(/*nochdir=*/1, /*noclose=*/1) == 0, "daemon");
    Use(*global, "child");
    Require(::write(ends[1], "1", 1) == 1, "write");
    std::exit(0);
  }
  int status = -1;
  ::waitpid(shell, &status, 0);
  Require(status == 0, "daemon");
  ::close(ends[1]);
  char byte = 0;
  Require(::read(ends[0], &byte, 1) == 1, "the daemon did not get to its end");
  while (::read(ends[0], &byte, 1) > 0) {
  }  // Until it has ended.
  return 0;
}

// Callbacks -------------------------------------------------------------------

constexpr int kExitOfCallback = 7;

// The callback ends the process, while others use the cache.
int ExitOfACallback(const char* directory) {
  CacheOptions options;
  options.on_eviction = [](std::string_view, std::uint64_t, EvictionReason) {
    std::exit(kExitOfCallback);
  };
  Cache& cache = **new auto(std::move(*Cache::Open(directory, options)));
  user_after_close.cache = &cache;
  Require(cache.Set("main", "v").ok(), "Set");
  Require(cache.Set("gone", "v", {.tag = "tag"}).ok(), "Set with a tag");
  Require(cache.Evict("tag").has_value(), "Evict");
  while (cache.Set("busy", "v").ok()) {
  }
  for (;;) ::pause();
}

// The callback destroys the cache, which exit is closing and so waits for it.
int DestroyedInACallbackAtExit(const char* directory) {
  static std::unique_ptr<Cache>& cache = *new std::unique_ptr<Cache>;
  static std::atomic<bool> told{false};
  static std::atomic<bool> ending{false};
  CacheOptions options;
  options.on_eviction = [](std::string_view, std::uint64_t, EvictionReason) {
    told = true;
    while (!ending) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(300ms);  // Exit has come to the cache by then.
    cache.reset();
  };
  cache = std::move(*Cache::Open(directory, options));
  Require(cache->Set("main", "v").ok(), "Set");
  Require(cache->Set("gone", "v", {.tag = "tag"}).ok(), "Set with a tag");
  Require(cache->Evict("tag").has_value(), "Evict");
  while (!told) std::this_thread::sleep_for(1ms);
  std::atexit([] { ending = true; });  // Before all that the cache registered.
  return 0;
}

// Ends the process at a line that has `text`. What it reports is to be flushed.
LogCallback ExitAt(std::string_view text) {
  return [text](std::string_view line) {
    if (line.find(text) == line.npos) return;
    std::fputs("from the log", ::fdopen(kReportFd, "w"));
    user_after_close.all_open = true;
    std::exit(kExitOfCallback);
  };
}

// Another thread has stdin for ever, and the lock of it.
void ReadForEver() {
  std::array<int, 2> ends{};
  Require(::pipe(ends.data()) == 0, "pipe");
  Require(::dup2(ends[0], STDIN_FILENO) == STDIN_FILENO, "dup2");
  std::thread([] { static_cast<void>(std::getchar()); }).detach();
}

// On the thread that evictions are told on.
int ExitOfTheLogOfAnotherThread(const char* directory) {
  CacheOptions options;
  options.on_eviction = [](std::string_view, std::uint64_t, EvictionReason) {
    throw 1;  // Something to say.
  };
  options.log = ExitAt("threw");
  ReadForEver();
  Cache& cache = **new auto(std::move(*Cache::Open(directory, options)));
  Require(cache.Set("main", "v").ok(), "Set");
  Require(cache.Set("gone", "v", {.tag = "tag"}).ok(), "Set with a tag");
  Require(cache.Evict("tag").has_value(), "Evict");
  while (cache.Set("busy", "v").ok()) {
  }
  for (;;) ::pause();
}

// Changes a byte of each file in `directory`, in its middle or at `place`.
void Damage(const std::filesystem::path& directory, std::string_view extension,
            std::optional<std::uint64_t> place = std::nullopt) {
  for (const auto& file : std::filesystem::directory_iterator(directory)) {
    if (file.path().extension() != extension) continue;
    const auto middle =
        static_cast<off_t>(place.value_or(file.file_size() / 2));
    const int fd = ::open(file.path().c_str(), O_RDWR | O_CLOEXEC);
    char byte = 0;
    if (::pread(fd, &byte, 1, middle) == 1) {
      byte = static_cast<char>(byte ^ 1);
      Require(::pwrite(fd, &byte, 1, middle) == 1, "pwrite");
    }
    ::close(fd);
  }
}

// In a call, under a lock that other threads wait for, while another cache is
// open.
int ExitOfTheLogInACall(const char* directory) {
  global = Open(directory);
  const std::string own = std::string(directory) + ".2";
  CacheOptions options;
  options.log = ExitAt("damaged");
  Cache& cache = **new auto(std::move(*Cache::Open(own, options)));
  Require(cache.Set("main", "v").ok(), "Set");
  Require(cache.Set("large", std::string(200'000, 'x')).ok(), "Set");
  Damage(own + "/log", ".seg");
  std::thread([&cache] {
    while (cache.Set("busy", "v").ok()) static_cast<void>(cache.Get("busy"));
  }).detach();
  ReadForEver();
  static_cast<void>(cache.Get("large"));
  return 1;  // It had nothing to say.
}

// In the exit of a log callback it would wait for what that has locked.
class WaitsForTheLog {
 public:
  ~WaitsForTheLog() {
    for (;;) ::pause();
  }
};

// After many lines, none of which was the last that a static object is made
// after.
int ExitOfTheLogAfterManyLines(const char* directory) {
  constexpr int kLineCount = 100;
  global = Open(directory);
  const std::string own = std::string(directory) + ".2";
  static int lines = 0;
  CacheOptions options;
  options.log = [exit_at = ExitAt("damaged")](std::string_view line) {
    if (line.find("damaged") != line.npos && ++lines > kLineCount) {
      exit_at(line);
    }
  };
  Cache& cache = **new auto(std::move(*Cache::Open(own, options)));
  Require(cache.Set("main", "v").ok(), "Set");
  for (int i = 0; i <= kLineCount; ++i) {
    Require(cache.Set(std::to_string(i), std::string(20'000, 'x')).ok(), "Set");
  }
  constexpr std::uint64_t kStep = 5000;
  for (std::uint64_t at = kStep; at < kLineCount * 21'000; at += kStep) {
    Damage(own + "/log", ".seg", at);
  }
  for (int i = 0; i < kLineCount; ++i) {
    static_cast<void>(cache.Get(std::to_string(i)));
  }
  Require(lines == kLineCount, "a line for each");
  static const WaitsForTheLog waits;
  static_cast<void>(cache.Get(std::to_string(kLineCount)));
  return 1;  // It had nothing to say.
}

// With the lock of a stream, and two others that have buffers of their own.
int ExitOfTheLogWithALockedStream(const char* directory) {
  global = Open(directory);
  const std::string own = std::string(directory) + ".2";
  Require(::dup2(kReportFd, STDOUT_FILENO) == STDOUT_FILENO, "dup2");
  std::ios::sync_with_stdio(false);
  CacheOptions options;
  options.log = [](std::string_view line) {
    if (line.find("damaged") == line.npos) return;
    ::flockfile(stderr);
    std::fputs("from ", stdout);
    std::cout << "the log";
    user_after_close.all_open = true;
    std::exit(kExitOfCallback);
  };
  Cache& cache = **new auto(std::move(*Cache::Open(own, options)));
  Require(cache.Set("main", "v").ok(), "Set");
  Require(cache.Set("large", std::string(200'000, 'x')).ok(), "Set");
  Damage(own + "/log", ".seg");
  static_cast<void>(cache.Get("large"));
  return 1;  // It had nothing to say.
}

// In the first Open of the process, which has a thread of RocksDB's by then.
int ExitOfTheLogInOpen(const char* directory) {
  const std::string own = std::string(directory) + ".2";
  Fork([&own, directory] {
    Open(directory);
    const auto cache = Open(own.c_str());
    for (int i = 0; i < 100; ++i) {
      Require(cache->Set(std::to_string(i), "v").ok(), "Set of a child");
    }
    ::_exit(0);  // Without a flush.
  });
  Damage(own + "/db", ".log");
  CacheOptions options;
  options.log = ExitAt("damaged");
  static_cast<void>(Cache::Open(own, options));
  return 1;  // It had nothing to say.
}

// In a destructor that the exit of main has come to.
int ExitOfTheLogAtExit(const char* directory) {
  static Cache* cache = nullptr;
  class Reader {
   public:
    ~Reader() {
      static_cast<void>(cache->Get("large"));
      std::_Exit(4);  // It had nothing to say.
    }
  };
  global = Open(directory);
  const std::string own = std::string(directory) + ".2";
  CacheOptions options;
  options.log = ExitAt("damaged");
  cache = std::move(*Cache::Open(own, options)).release();
  static const Reader reader;
  Require(cache->Set("main", "v").ok(), "Set");
  Require(cache->Set("large", std::string(200'000, 'x')).ok(), "Set");
  Damage(own + "/log", ".seg");
  return 0;
}

constexpr auto kForms = std::to_array<ExitForm>({
    {"global", &Global},
    {"global-used-too-late", &GlobalUsedTooLate},
    {"global-of-two", &GlobalOfTwo},
    {"function-static", &FunctionStatic},
    {"thread-local", &ThreadLocal},
    {"leaked", &Leaked},
    {"leaked-and-recorded", &LeakedAndRecorded},
    {"busy", &Busy},
    {"exit-of-a-thread", &ExitOfAThread},
    {"exit-of-a-callback", &ExitOfACallback},
    {"destroyed-in-a-callback-at-exit", &DestroyedInACallbackAtExit},
    {"exit-of-the-log-of-a-thread", &ExitOfTheLogOfAnotherThread},
    {"exit-of-the-log-in-a-call", &ExitOfTheLogInACall},
    {"exit-of-the-log-after-many-lines", &ExitOfTheLogAfterManyLines},
    {"exit-of-the-log-with-a-locked-stream", &ExitOfTheLogWithALockedStream},
    {"exit-of-the-log-in-open", &ExitOfTheLogInOpen},
    {"exit-of-the-log-at-exit", &ExitOfTheLogAtExit},
    {"child-exits", &ChildExits},
    {"child-uses-and-exits", &ChildUsesAndExits},
    {"child-closes-and-exits", &ChildClosesAndExits},
    {"children-of-a-busy-parent", &ChildrenOfABusyParentExit},
    {"read-only", &ReadOnly},
    {"grandchild", &ChildHasMoreChildren},
    {"underscore-exit", &ChildEndsByUnderscoreExit},
    {"exec", &ChildExecutes},
    {"vfork", &VforkedChildExecutes},
    {"daemon", &Daemon},
});

int Run(std::string_view name, const char* directory) {
  for (const auto forms :
       {std::span<const ExitForm>(kForms), FormsBesideExit()}) {
    for (const ExitForm& form : forms) {
      if (form.name == name) return form.run(directory);
    }
  }
  return 2;
}

}  // namespace
}  // namespace larder::testing

int main(int argc, char** argv) {
  return argc == 3 ? larder::testing::Run(argv[1], argv[2]) : 2;
}
