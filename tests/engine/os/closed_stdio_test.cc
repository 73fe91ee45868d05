// Processes that have closed descriptors 0 to 2: nothing of a cache becomes
// one of them, not for a moment, whatever the process does meanwhile.

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "larder/engine/engine.h"

#include "forked_process.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

constexpr int kKeyCount = 40;
constexpr std::size_t kValueSize = 40'000;

std::string ValueOf(int i) {
  return std::string(kValueSize, static_cast<char>('a' + i % 26));
}

// Writes to the closed descriptors of `closed` all the time, as a careless
// print would, and counts how often something takes it.
class Printer {
 public:
  explicit Printer(int closed)
      : thread_([this, closed] {
          while (!stopping_) {
            for (int fd = 0; fd < 3; ++fd) {
              if ((closed >> fd & 1) == 0) continue;
              if (::write(fd, "text", 4) >= 0 || errno != EBADF) ++taken_;
            }
          }
        }) {}
  ~Printer() { Stop(); }
  int Stop() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
    return taken_;
  }

 private:
  std::atomic<bool> stopping_{false};
  std::atomic<int> taken_{0};
  std::thread thread_;
};

class ClosedStdio : public ::testing::TestWithParam<int> {
 protected:
  Result<std::unique_ptr<Engine>> Open() {
    EngineOptions options;
    options.region_directory = regions_.path();
    options.hot_tier_bytes = 4U << 20;
    options.settings = {{"size_limit", "16MiB"}};
    return OpenEngine(directory_.path() / "cache", options);
  }
  // Uses the cache as others do; 0 if all went well.
  int Use() {
    auto engine = Open();
    if (!engine) return 1;
    for (int i = 0; i < kKeyCount; ++i) {
      const std::string key = std::to_string(i);
      const std::string value = ValueOf(i);
      const Command set = SetCommand{.key = key, .value = value};
      const Command get = GetCommand{.key = key};
      Reply reply;
      if (!(*engine)->Execute({&set, 1}, {&reply, 1}, {}).ok()) return 2;
      if (!(*engine)->Execute({&get, 1}, {&reply, 1}, {}).ok()) return 3;
      if (reply.applied && reply.value.ToString() != value) return 4;
    }
    return (*engine)->Close().ok() ? 0 : 5;
  }
  int UseClosed() {
    ForkedProcess child([this](const ForkedProcess::Pipe&) {
      while (::open("/dev/null", O_RDWR) < 3) {
      }
      for (int fd = 0; fd < 3; ++fd) {
        if ((GetParam() >> fd & 1) != 0) ::close(fd);
      }
      Printer printer(GetParam());
      const int used = Use();
      if (printer.Stop() != 0) return 10;
      int closed = 0;
      for (int fd = 0; fd < 3; ++fd) {
        closed |= ::fcntl(fd, F_GETFD) >= 0 ? 0 : 1 << fd;
      }
      return closed == GetParam() ? used : 11;
    });
    return child.Wait();
  }

  TemporaryDirectory directory_;
  TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
};

TEST_P(ClosedStdio, AHolderTakesNoneOfThem) {
  EXPECT_EQ(UseClosed(), 0);
  EXPECT_EQ(std::filesystem::file_size(directory_.path() / "cache/seat.lock"),
            0U);
}

TEST_P(ClosedStdio, AClientTakesNoneOfThem) {
  ForkedProcess holder([this](const ForkedProcess::Pipe& pipe) {
    auto engine = Open();
    pipe.Send(engine.has_value() ? 1 : 0);
    return ::pause();
  });
  ASSERT_EQ(holder.Receive(), 1U);
  EXPECT_EQ(UseClosed(), 0);
}

INSTANTIATE_TEST_SUITE_P(All, ClosedStdio, ::testing::Range(1, 8));

}  // namespace
}  // namespace larder::testing
