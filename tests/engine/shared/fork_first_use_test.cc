// The first use of an inherited engine in a forked child, and a Close amid it.

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <gtest/gtest.h>
#include <unistd.h>

#include "larder/engine/engine.h"

#include "base/test_point.h"
#include "forked_process.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

constexpr unsigned kChildSeconds = 60;

Engine* closed_when_made = nullptr;
std::thread closer;
std::atomic<bool> close_waits{false};
std::atomic<bool> is_closed{false};

// Others do not see it yet: Close waits for it.
void CloseWhenMade(const char* name) {
  if (std::string_view(name) == "per_process.settles") close_waits = true;
  if (std::string_view(name) != "per_process.made") return;
  closer = std::thread([] {
    if (!closed_when_made->Close().ok()) ::_exit(80);
    is_closed = true;
  });
  while (!close_waits) std::this_thread::yield();
  if (is_closed) ::_exit(81);
}

StatusCode Get(Engine& engine) {
  const Command command = GetCommand{.key = "k"};
  Reply reply;
  return engine.Execute({&command, 1}, {&reply, 1}).code();
}

class ForkFirstUseTest : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "forks with threads are beyond the sanitizers of gcc";
#endif
  }
  std::unique_ptr<Engine> Open(OpenMode mode = OpenMode::kCreate) {
    EngineOptions options;
    options.mode = mode;
    options.region_directory = directory_.path();
    auto engine = OpenEngine(directory_.path() / "cache", std::move(options));
    EXPECT_TRUE(engine.has_value()) << engine.error().ToString();
    return engine ? std::move(*engine) : nullptr;
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
};

TEST_F(ForkFirstUseTest, AStoreThatIsClosedAmidItDoesNotStayOpen) {
  auto engine = Open();
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  ForkedProcess child([&](const ForkedProcess::Pipe& pipe) {
    ::alarm(kChildSeconds);
    char byte;
    if (::read(go[0], &byte, 1) != 1) return 1;
    closed_when_made = engine.get();
    test_point_hook = &CloseWhenMade;
    const bool is_refused = Get(*engine) == StatusCode::kClosed;
    closer.join();
    pipe.Send(is_refused ? 1 : 0);
    return ::read(go[0], &byte, 1) == 1 ? 0 : 2;
  });
  engine.reset();  // So that the child gets the store.
  ASSERT_EQ(::write(go[1], "", 1), 1);
  EXPECT_EQ(child.Receive(), 1U);
  EXPECT_TRUE(Open()->capabilities().holds_store);
  ASSERT_EQ(::write(go[1], "", 1), 1);
  EXPECT_EQ(child.Wait(), 0);
}

TEST_F(ForkFirstUseTest, AViewThatIsClosedAmidItDoesNotStayOpen) {
  Open();
  const auto view = Open(OpenMode::kReadOnly);
  ForkedProcess child([&](const ForkedProcess::Pipe&) {
    ::alarm(kChildSeconds);
    closed_when_made = view.get();
    test_point_hook = &CloseWhenMade;
    const StatusCode refused = Get(*view);
    closer.join();
    if (refused != StatusCode::kClosed) return 1;
    return Get(*view) == StatusCode::kClosed ? 0 : 2;
  });
  EXPECT_EQ(child.Wait(), 0);
  EXPECT_EQ(Get(*view), StatusCode::kOk);
}

// In a child that the callback has forked, which could not close it there.
TEST_F(ForkFirstUseTest, AViewIsNotOpenedInItsLogCallback) {
  const std::string value(200'000, 'x');
  const Command set = SetCommand{.key = "k", .value = value};
  Reply reply;
  ASSERT_TRUE(Open()->Execute({&set, 1}, {&reply, 1}).ok());
  for (const auto& file :
       std::filesystem::directory_iterator(directory_.path() / "cache/log")) {
    if (file.path().extension() != ".seg") continue;
    std::fstream(file.path(), std::ios::in | std::ios::out)
        .seekp(100'000)
        .put('y');
  }
  std::unique_ptr<Engine> view;
  int ended = -1;
  EngineOptions options;
  options.mode = OpenMode::kReadOnly;
  options.log = [&](std::string_view) {
    if (ended != -1) return;
    ForkedProcess child([&](const ForkedProcess::Pipe&) {
      ::alarm(kChildSeconds);
      test_point_hook = [](const char* name) {
        if (std::string_view(name) == "per_process.made") ::_exit(2);
      };
      return Get(*view) == StatusCode::kDeadlock ? 0 : 1;
    });
    ended = child.Wait();
  };
  auto opened = OpenEngine(directory_.path() / "cache", std::move(options));
  ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
  view = *std::move(opened);
  EXPECT_EQ(Get(*view), StatusCode::kOk);
  EXPECT_EQ(ended, 0);
}

TEST_F(ForkFirstUseTest, AViewThatIsClosedBeforeIsNotOpened) {
  Open();
  const auto view = Open(OpenMode::kReadOnly);
  ForkedProcess child([&](const ForkedProcess::Pipe&) {
    ::alarm(kChildSeconds);
    if (!view->Close().ok()) return 1;
    return Get(*view) == StatusCode::kClosed ? 0 : 2;
  });
  EXPECT_EQ(child.Wait(), 0);
  EXPECT_EQ(Get(*view), StatusCode::kOk);
}

}  // namespace
}  // namespace larder::testing
