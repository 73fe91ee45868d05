// Scans, writers and readers in the child of a fork: they are the parent's.

#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <signal.h>

#include "larder/engine/engine.h"

#include "forked_process.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

Status Set(Engine& engine, std::string_view key, std::string_view value) {
  const Command command = SetCommand{.key = key, .value = value};
  Reply reply;
  Status status = engine.Execute({&command, 1}, {&reply, 1});
  return status.ok() ? reply.status : status;
}
std::unique_ptr<ValueWriter> Write(Engine& engine, std::string_view piece) {
  auto writer = engine.OpenWriter(SetCommand{.key = "streamed"}, 0);
  EXPECT_TRUE(writer.has_value()) << writer.error().ToString();
  EXPECT_TRUE((*writer)->Append(piece).ok());
  return std::move(*writer);
}

// The holder's (true), or those of a client of another process.
class ForkStreamsTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "forks with threads are beyond the sanitizers of gcc";
#endif
    if (GetParam()) return;
    other_ = std::make_unique<ForkedProcess>(
        [this](const ForkedProcess::Pipe& pipe) -> int {
          const auto engine = Open();
          pipe.Send(1);
          for (;;) ::pause();
        });
    ASSERT_EQ(other_->Receive(), 1U);
  }
  std::unique_ptr<Engine> Open() {
    EngineOptions options;
    options.region_directory = directory_.path();
    auto engine = OpenEngine(directory_.path() / "cache", options);
    EXPECT_TRUE(engine.has_value()) << engine.error().ToString();
    return engine ? std::move(*engine) : nullptr;
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  std::unique_ptr<ForkedProcess> other_;
};

TEST_P(ForkStreamsTest, AreClosedInAChildAndTheParentGoesOn) {
  const auto engine = Open();
  ASSERT_EQ(engine->capabilities().holds_store, GetParam());
  ASSERT_TRUE(Set(*engine, "k", std::string(200'000, 'v')).ok());
  auto writer = Write(*engine, std::string(2'000'000, 'P'));
  auto reader = std::move(*engine->OpenReader("k"));
  auto scan = std::move(*engine->OpenScan({.with_values = true}));
  ForkedProcess child([&](const ForkedProcess::Pipe&) {
    std::string buffer(100, 0);
    if (writer->Append(buffer).code() != StatusCode::kClosed) return 1;
    if (writer->Commit().status.code() != StatusCode::kClosed) return 2;
    const auto read = reader->Read(buffer);
    if (read || read.error().code() != StatusCode::kClosed) return 3;
    const auto page = scan->Next(1);
    if (page || page.error().code() != StatusCode::kClosed) return 4;
    writer.reset();
    reader.reset();
    scan.reset();
    return Set(*engine, "child", "v").ok() ? 0 : 5;
  });
  EXPECT_EQ(child.Wait(), 0);
  EXPECT_EQ(scan->Next(1).value().size(), 1U);
  EXPECT_TRUE(writer->Append("end").ok());
  EXPECT_TRUE(writer->Commit().status.ok());
  EXPECT_EQ((*engine->OpenReader("streamed"))->info().size_bytes, 2'000'003U);
}

// A commit of the child's would be a second record with the sequence number of
// the parent's next one.
TEST_P(ForkStreamsTest, AChildsCommitIsNotInTheLogOfAKilledParent) {
  constexpr int kSets = 500;
  ForkedProcess parent([this](const ForkedProcess::Pipe& pipe) -> int {
    const auto engine = Open();
    const auto writer = Write(*engine, std::string(200, 'P'));
    ForkedProcess child([&](const ForkedProcess::Pipe&) {
      return writer->Commit().status.ok() ? 1 : 0;
    });
    pipe.Send(static_cast<std::uint64_t>(child.Wait()));
    for (int i = 0; i < kSets; ++i) {
      if (!Set(*engine, std::to_string(i), std::string(60, 'a')).ok()) return 1;
    }
    pipe.Send(2);
    for (;;) ::pause();
  });
  EXPECT_EQ(parent.Receive(), 0U);
  ASSERT_EQ(parent.Receive(), 2U);
  if (other_ != nullptr) other_->Kill(SIGKILL);
  parent.Kill(SIGKILL);
  parent.Wait();
  const auto engine = Open();
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(engine->Count().value(), std::uint64_t{kSets});
  EXPECT_TRUE(engine->Check(false).value().ok());
}

// No child at all: whoever destroys in the wrong order is safe, too.
TEST(HandedOut, MayOutliveItsEngine) {
  const TemporaryDirectory directory(TemporaryDirectory::Place::kMemory);
  EngineOptions options;
  options.region_directory = directory.path();
  const auto open = [&] {
    return std::move(*OpenEngine(directory.path() / "c", options));
  };
  for (const std::size_t size : {50, 300, 5000, 3'000'000}) {
    const std::string bytes(size, 'v');
    auto engine = open();
    ASSERT_TRUE(Set(*engine, "k", bytes).ok());
    engine = nullptr;
    engine = open();  // What it reads now is in its cache of blocks, or mapped.
    const Command get = GetCommand{.key = "k"};
    Reply reply;
    ASSERT_TRUE(engine->Execute({&get, 1}, {&reply, 1}).ok());
    const auto scan = std::move(*engine->OpenScan({.with_values = true}));
    const auto page = scan->Next(1);
    const auto reader = std::move(*engine->OpenReader("k"));
    const auto writer = Write(*engine, std::string(2'000'000, 'P'));
    engine = nullptr;
    EXPECT_EQ(reply.value.bytes(), bytes);
    EXPECT_EQ(page->at(0).value.bytes(), bytes);
    EXPECT_EQ(scan->Next(1).error().code(), StatusCode::kClosed);
    std::string buffer(10, 0);
    EXPECT_EQ(reader->Read(buffer).error().code(), StatusCode::kClosed);
    EXPECT_EQ(writer->Append(buffer).code(), StatusCode::kClosed);
    EXPECT_EQ(writer->Commit().status.code(), StatusCode::kClosed);
  }
}

INSTANTIATE_TEST_SUITE_P(WhoHasTheStore, ForkStreamsTest, ::testing::Bool(),
                         [](const auto& holds) {
                           return holds.param ? "ThisProcess" : "AnotherOne";
                         });

}  // namespace
}  // namespace larder::testing
