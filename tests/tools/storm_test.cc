#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <thread>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "larder_command.h"

// `larder torture --full`: clean on a good cache, and not on a bad one.

namespace larder::testing {
namespace {

class StormCommand : public LarderCommand {
 protected:
  // LARDER_TORTURE_SECONDS: how long; 60 in continuous integration.
  static double Seconds() {
    const char* const seconds = std::getenv("LARDER_TORTURE_SECONDS");
    return seconds == nullptr ? 10 : std::max(10.0, std::atof(seconds));
  }
  /// Two rounds, of which the first evicts.
  Outcome RunTwoRounds(const std::string& directory, double seconds) {
    return Run({"torture", directory, "--full", "--json", "--seed", "1",
                "--seconds", std::to_string(seconds), "--round-seconds",
                std::to_string(seconds / 2)});
  }
  static void ExpectNothingWrong(const Outcome& outcome) {
    ASSERT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    const auto report = outcome.json();
    EXPECT_TRUE(report.at("ok"));
    for (const char* name :
         {"acknowledged", "reads", "handles_held", "holders_killed"}) {
      EXPECT_GT(report.at(name), 0) << name;
    }
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
    EXPECT_GT(report.at("forks"), 0);  // The sanitizers cannot.
#endif
  }
};

TEST_F(StormCommand, NothingIsWrong) {
  ExpectNothingWrong(RunTwoRounds(cache(), Seconds()));
}

// A child of a shell that became the storm is as one of a process that was
// killed: until it has ended it may have the cache open.
TEST_F(StormCommand, NoChildIsLeftBehind) {
  const std::string ended = Path("ended");
  const std::string line =
      "(sleep 4; touch " + ended + ") & exec " + LARDER_COMMAND + " torture " +
      cache() + " --full --seconds 0.5 --kill-every 0 > " + Path("out");
  EXPECT_EQ(std::system(line.c_str()), 0);
  EXPECT_TRUE(std::filesystem::exists(ended));
}

TEST_F(StormCommand, AFullDiskHarmsNothing) {
  const std::string place = Path("small");
  std::filesystem::create_directory(place);
  if (::mount("tmpfs", place.c_str(), "tmpfs", 0, "size=160m") != 0) {
    GTEST_SKIP() << "a file system of its own cannot be mounted here";
  }
  const Outcome outcome = Run({"torture", place + "/caches", "--full", "--json",
                               "--seed", "1", "--seconds", "8", "--fill-disk"});
  EXPECT_EQ(::umount2(place.c_str(), MNT_DETACH), 0);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  EXPECT_GT(outcome.json().at("full_disks"), 0);
}

/// Flips bits in segment files as long as it lives.
class BitFlipper {
 public:
  // Of the caches of round 2 below `place`.
  explicit BitFlipper(std::filesystem::path place)
      : place_(std::move(place)), thread_([this] {
          while (!stop_) {
            FlipOnce();
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
          }
        }) {}
  ~BitFlipper() {
    stop_ = true;
    thread_.join();
  }

 private:
  void FlipOnce() {
    std::error_code error;
    for (std::filesystem::directory_iterator it(place_, error), end;
         !error && it != end; it.increment(error)) {
      FlipIn(it->path() / "2" / "cache" / "log");
    }
  }
  void FlipIn(const std::filesystem::path& log) {
    std::error_code error;
    for (std::filesystem::directory_iterator it(log, error), end;
         !error && it != end; it.increment(error)) {
      const int fd = ::open(it->path().c_str(), O_RDWR | O_CLOEXEC);
      struct stat info {};
      char byte = 0;
      if (fd >= 0 && ::fstat(fd, &info) == 0 && info.st_size > 0) {
        const auto at = static_cast<off_t>(
            random_() % static_cast<std::uint64_t>(info.st_size));
        if (::pread(fd, &byte, 1, at) == 1) {
          byte = static_cast<char>(byte ^ 1);
          EXPECT_EQ(::pwrite(fd, &byte, 1, at), 1);
        }
      }
      if (fd >= 0) ::close(fd);
    }
  }

  const std::filesystem::path place_;
  std::mt19937_64 random_{1};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST_F(StormCommand, FlippedBitsAreReported) {
  Outcome outcome;
  {
    const BitFlipper flipper(cache());
    outcome = Run({"torture", cache(), "--full", "--json", "--seed", "2",
                   "--seconds", "4", "--kill-every", "0"});
  }
  EXPECT_EQ(outcome.exit_code, 1) << outcome.out << outcome.err;
  const auto report = outcome.json();
  EXPECT_FALSE(report.at("ok"));
  EXPECT_GT(report.at("lost"), 0);                 // Damage is a miss.
  EXPECT_GT(report.at("torn"), 0) << outcome.out;  // Under a handle.
  EXPECT_GT(report.at("damaged"), 0);              // And is counted.
  EXPECT_NE(report.at("problems").dump().find("--seed 2"), std::string::npos);
}

}  // namespace
}  // namespace larder::testing
