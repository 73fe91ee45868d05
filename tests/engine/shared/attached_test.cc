#include "larder/engine/attached.h"

#include <chrono>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "forked_process.h"
#include "session_model.h"
#include "shared/shared_engine.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

class AttachedTest : public ::testing::Test {
 protected:
  // Cleans up after members that were killed.
  ~AttachedTest() override { Open(); }
  void SetUp() override {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "forks with threads are beyond the sanitizers of gcc";
#endif
  }
  std::unique_ptr<Engine> Open() {
    SharedEngine::Options options;
    options.seat.directory = directory_.path();
    options.seat.region_directory = regions_.path();
    options.hot_tier_bytes = 4U << 20;
    options.hot_tier_delay = std::chrono::milliseconds(0);
    options.open_store = [this](const SharedEngine::StoreOpening&) {
      return SessionModel::Open(disk_, {});
    };
    auto engine = SharedEngine::Open(std::move(options));
    EXPECT_TRUE(engine.has_value()) << engine.error().ToString();
    return engine ? std::move(*engine) : nullptr;
  }
  static bool Set(Engine& engine, std::string_view key) {
    SetCommand set;
    set.key = key;
    set.value = "value";
    const Command command = set;
    Reply reply;
    return engine.Execute({&command, 1}, {&reply, 1}, {}).ok() &&
           reply.status.ok();
  }
  static bool Get(Engine& engine, std::string_view key) {
    GetCommand get;
    get.key = key;
    const Command command = get;
    Reply reply;
    return engine.Execute({&command, 1}, {&reply, 1}, {}).ok() && reply.applied;
  }
  // A process that opens, and sets `sets` keys, and waits to be killed.
  std::unique_ptr<ForkedProcess> Member(int sets) {
    auto member = std::make_unique<ForkedProcess>(
        [this, sets](const ForkedProcess::Pipe& pipe) -> int {
          const auto engine = Open();
          for (int i = 0; i < sets; ++i) {
            if (!Set(*engine, "k")) return 1;
          }
          pipe.Send(1);
          for (;;) ::pause();
        });
    EXPECT_EQ(member->Receive(), 1U);
    return member;
  }
  AttachedView View() {
    auto view = ReadAttached(directory_.path());
    EXPECT_TRUE(view.has_value()) << view.error().ToString();
    return view ? std::move(*view) : AttachedView();
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
  const std::shared_ptr<SessionDisk> disk_ = std::make_shared<SessionDisk>();
};

TEST_F(AttachedTest, ADirectoryThatNobodySharesIsNotFound) {
  const auto view = ReadAttached(directory_.path());
  ASSERT_FALSE(view.has_value());
  EXPECT_EQ(view.error().code(), StatusCode::kNotFound);
}

TEST_F(AttachedTest, NobodyIsListedAfterTheLastClosed) {
  auto engine = OpenEngine(directory_.path());
  ASSERT_TRUE(engine.has_value()) << engine.error().ToString();
  EXPECT_EQ(View().processes.size(), 1U);
  ASSERT_TRUE((*engine)->Close().ok());
  const AttachedView view = View();
  EXPECT_TRUE(view.processes.empty());
  EXPECT_FALSE(view.serving);
}

TEST_F(AttachedTest, TheHolderComesFirstThenItsClients) {
  const auto holder = Open();
  const auto quiet = Member(0);
  const auto busy = Member(3);
  const AttachedView view = View();
  EXPECT_TRUE(view.serving);
  EXPECT_EQ(view.region_directory, regions_.path());
  ASSERT_EQ(view.processes.size(), 3U);
  EXPECT_TRUE(view.processes[0].holds_seat);
  EXPECT_EQ(view.processes[0].pid, static_cast<std::uint64_t>(::getpid()));
  for (const AttachedProcess& process : view.processes) {
    EXPECT_EQ(process.state, AttachedState::kRunning);
    EXPECT_GT(process.since, TimePoint());
    const bool is_busy = process.pid == static_cast<std::uint64_t>(busy->pid());
    EXPECT_EQ(process.requests, is_busy ? 3U : 0U);
    EXPECT_EQ(process.slots.size(), is_busy ? 1U : 0U);
  }
}

TEST_F(AttachedTest, AKilledProcessIsNotListedAndTheNextHolderIs) {
  auto holder = Member(0);
  const auto other = Open();
  ASSERT_EQ(View().processes.size(), 2U);
  holder->Kill(SIGKILL);
  while (!other->capabilities().holds_store) ::usleep(1000);
  const AttachedView view = View();
  ASSERT_EQ(view.processes.size(), 1U);
  EXPECT_TRUE(view.processes[0].holds_seat);
  EXPECT_EQ(view.processes[0].pid, static_cast<std::uint64_t>(::getpid()));
  EXPECT_EQ(view.figures.takeovers, 2U);
}

TEST_F(AttachedTest, AStoppedProcessIsListedAsSuch) {
  const auto holder = Open();
  const auto client = Member(0);
  client->Kill(SIGSTOP);
  int status = 0;
  ASSERT_EQ(::waitpid(client->pid(), &status, WUNTRACED), client->pid());
  const AttachedView view = View();
  ASSERT_EQ(view.processes.size(), 2U);
  EXPECT_EQ(view.processes[1].state, AttachedState::kStopped);
}

TEST_F(AttachedTest, FiguresTellMessagesFromHotReads) {
  const auto holder = Open();
  const auto client = Open();
  ASSERT_TRUE(Set(*client, "k"));
  ASSERT_TRUE(Get(*client, "k"));
  const AttachedFigures before = View().figures;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(Get(*client, "k"));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Set(*client, "k"));
  const AttachedFigures after = View().figures;
  EXPECT_EQ(after.hot_hits - before.hot_hits, 10U);
  EXPECT_EQ(after.requests - before.requests, 5U);
  EXPECT_GT(after.hot_size_bytes, 3U << 20);
  ASSERT_TRUE(after.store.has_value());
  EXPECT_EQ(after.store->size_limit, holder->CurrentSettings().size_limit);
}

// More members were killed than there are entries: entries are used again.
TEST_F(AttachedTest, EntriesOfTheDeadAreUsedAgain) {
  const auto holder = Open();
  for (int i = 0; i < 270; ++i) Member(0)->Kill(SIGKILL);
  const auto last = Member(0);
  const AttachedView view = View();
  ASSERT_EQ(view.processes.size(), 2U);
  EXPECT_EQ(view.processes[1].pid, static_cast<std::uint64_t>(last->pid()));
}

}  // namespace
}  // namespace larder::testing
