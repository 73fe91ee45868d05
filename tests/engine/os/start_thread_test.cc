// Threads of ours: they take no signals, and a process that gets none goes on
// or is told so.

#include "os/start_thread.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "larder/engine/engine.h"

#include "temporary_directory.h"

namespace larder::testing {
namespace {

std::atomic<int> granted_before{0};

class StartThreadTest : public ::testing::Test {
 protected:
  void TearDown() override { thread_grant.store(nullptr); }
  // All but the one that is asked for after `count` others.
  static void DenyThread(int count) {
    granted_before = count;
    thread_grant.store([]() noexcept { return granted_before-- != 0; });
  }
  Result<std::unique_ptr<Engine>> Open() const {
    EngineOptions options;
    options.region_directory = regions_.path();
    options.on_eviction = [](std::string_view, std::uint64_t, EvictionReason) {
    };
    options.record.file = (directory_.path() / "trace").string();
    return OpenEngine(directory_.path() / "cache", std::move(options));
  }
  static Status Use(Engine& engine) {
    for (const Command& command : std::vector<Command>{
             SetCommand{.key = "key", .value = std::string_view("value")},
             ClearCommand{}, CullCommand{}}) {
      Reply reply;
      LARDER_RETURN_IF_ERROR(engine.Execute({&command, 1}, {&reply, 1}, {}));
      LARDER_RETURN_IF_ERROR(reply.status);
    }
    const auto report = engine.Check(false);
    return report ? Status() : report.error();
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
};

TEST_F(StartThreadTest, AnEngineThatLacksAThreadWorksOrSaysSo) {
  int opened = 0;
  for (int count = 0; count < 8; ++count) {
    DenyThread(count);
    auto engine = Open();
    if (!engine) {
      EXPECT_EQ(engine.error().code(), StatusCode::kIoError);
      EXPECT_NE(engine.error().message().find("thread"), std::string::npos);
      continue;
    }
    ++opened;
    EXPECT_EQ(Use(**engine).ToString(), "kOk") << count;
    EXPECT_EQ((*engine)->Close().ToString(), "kOk");
  }
  EXPECT_GE(opened, 3);  // All but RocksDB's, the server's and the trace's.
}

TEST_F(StartThreadTest, AClientThatLacksAThreadWorksOrSaysSo) {
  const auto holder = Open();
  ASSERT_TRUE(holder.has_value()) << holder.error().ToString();
  for (int count = 0; count < 4; ++count) {
    DenyThread(count);
    auto client = Open();
    if (!client) continue;
    ASSERT_FALSE((*client)->capabilities().holds_store);
    EXPECT_EQ(Use(**client).ToString(), "kOk") << count;
    const std::string large(100'000, 'v');
    const Command set = SetCommand{.key = "large", .value = large};
    Reply reply;
    EXPECT_TRUE((*client)->Execute({&set, 1}, {&reply, 1}, {}).ok());
    EXPECT_EQ((*client)->Close().ToString(), "kOk");
  }
}

TEST_F(StartThreadTest, NoThreadTakesSignalsOfTheApplication) {
  const auto engine = Open();
  ASSERT_TRUE(engine.has_value()) << engine.error().ToString();
  const Command check = ClearCommand{};
  Reply reply;
  ASSERT_TRUE((*engine)->Execute({&check, 1}, {&reply, 1}, {}).ok());
  int threads = 0;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/self/task")) {
    if (task.path().filename() == std::to_string(::getpid())) continue;
    std::ifstream status(task.path() / "status");
    std::string line;
    while (std::getline(status, line) && !line.starts_with("SigBlk:")) {
    }
    const std::uint64_t blocked = std::stoull(line.substr(7), nullptr, 16);
    EXPECT_NE(blocked >> (SIGUSR1 - 1) & 1, 0U) << line;
    ++threads;
  }
  EXPECT_GT(threads, 3);
}

}  // namespace
}  // namespace larder::testing
