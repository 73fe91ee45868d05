// Commands that measure or torment leave what is there as it is.

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "larder_command.h"

namespace larder::testing {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

class MeasuringCommand : public LarderCommand {
 protected:
  // A directory with a file of the user's.
  void SetUp() override { WriteFile(place() + "/file", "mine"); }
  [[nodiscard]] std::string place() const { return Path("place"); }

  // All names below `directory`.
  static std::set<std::string> NamesIn(const std::string& directory) {
    std::set<std::string> names;
    std::error_code error;
    for (fs::recursive_directory_iterator it(directory, error), end;
         !error && it != end; it.increment(error)) {
      names.insert(it->path().string());
    }
    return names;
  }
  void ExpectNothingLeft() {
    EXPECT_EQ(NamesIn(place()), std::set<std::string>{place() + "/file"});
    EXPECT_EQ(ReadFile(place() + "/file"), "mine");
  }
  // Waits until the command has made its cache.
  bool AwaitCache() {
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < deadline) {
      for (const std::string& name : NamesIn(place())) {
        if (name.ends_with("/larder.format")) return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }
  // How it ended: by which signal, 0 for none.
  static int AwaitSignal(pid_t child) {
    int state = 0;
    while (::waitpid(child, &state, 0) < 0 && errno == EINTR) {
    }
    return WIFSIGNALED(state) ? WTERMSIG(state) : 0;
  }
  std::vector<Words> LongCommands() {
    std::ofstream trace(Path("trace.csv"));
    trace << "time_ms,key,size,op,ttl_s\n";
    for (int i = 0; i < 1'000'000; ++i)
      trace << i << ",k" << i << ",1000,get,0\n";
    return {{"bench", place(), "--seconds", "600"},
            {"bench", place(), "--seconds", "600", "--processes", "3"},
            {"torture", place(), "--seconds", "600"},
            {"torture", place(), "--full", "--seconds", "600"},
            {"replay", Path("trace.csv"), "--via", "engine", "--dir", place(),
             "--no-progress"}};
  }
};

TEST_F(MeasuringCommand, ACacheIsRefusedAndStaysAsItIs) {
  for (const char* key : {"0", "42", "99"}) Ok({"set", cache(), key, "mine"});
  const std::string settings = Ok({"settings", cache()});
  const std::string keys = Ok({"keys", cache(), "-l"});
  for (const std::string& directory : {cache(), cache() + "/db/new"}) {
    for (const Words& command :
         {Words{"bench", directory}, Words{"torture", directory},
          Words{"torture", directory, "--full"}}) {
      Fails(3, command, {"kInvalidArgument", cache() + " is a cache"});
    }
  }
  EXPECT_EQ(Ok({"settings", cache()}), settings);
  EXPECT_EQ(Ok({"keys", cache(), "-l"}), keys);
  EXPECT_FALSE(fs::exists(cache() + "/db/new"));
}

TEST_F(MeasuringCommand, NothingIsLeftBehind) {
  Ok({"bench", place(), "--operations", "500"});
  Ok({"bench", place(), "--operations", "500", "--processes", "2"});
  Ok({"torture", place(), "--seconds", "0.5", "--kill-every", "100"});
  Ok({"torture", place(), "--full", "--seconds", "0.5"});
  ExpectNothingLeft();
}

TEST_F(MeasuringCommand, DirectoriesThatAreMissingGoAgain) {
  Ok({"bench", Path("a/b/c"), "--operations", "500"});
  EXPECT_FALSE(fs::exists(Path("a")));
}

TEST_F(MeasuringCommand, AFailureLeavesNothingEither) {
  Fails(3, {"bench", place(), "--setting", "no_such=1"}, {"no_such"});
  Fails(3, {"torture", place(), "--setting", "no_such=1"}, {"no_such"});
  ExpectNothingLeft();
}

TEST_F(MeasuringCommand, ASignalEndsThemInOrder) {
  for (const Words& command : LongCommands()) {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
      SCOPED_TRACE(command[0] + ' ' + command[2] + ' ' + command.back());
      const pid_t child = Start(command);
      EXPECT_TRUE(AwaitCache());
      ::kill(child, signal);
      EXPECT_EQ(AwaitSignal(child), signal);
      ExpectNothingLeft();
    }
  }
}

// Nothing can be taken away then, but nobody goes on.
TEST_F(MeasuringCommand, ChildrenDieWithWhoStartedThem) {
  const pid_t child =
      Start({"bench", place(), "--seconds", "600", "--processes", "3"});
  EXPECT_TRUE(AwaitCache());
  ::kill(child, SIGKILL);
  EXPECT_EQ(AwaitSignal(child), SIGKILL);
  std::string made;
  for (const std::string& name : NamesIn(place())) {
    if (name.ends_with("/cache")) made = name;
  }
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (Ok({"attach", made}) != "nobody has it open\n") {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  }
}

}  // namespace
}  // namespace larder::testing
