// attach and top while another process has the cache open; settings and stats
// of one that has a policy of its own.

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "larder/engine/attached.h"
#include "larder/engine/engine.h"
#include "larder/engine/policy.h"

#include "forked_process.h"
#include "larder_command.h"

namespace larder::testing {
namespace {

using ProcessesCommand = LarderCommand;
using nlohmann::json;

// A process that has the cache open: it stores what we do not send yet.
class Member {
 public:
  explicit Member(const std::string& cache)
      : pipe_(::popen(
            (std::string(LARDER_COMMAND) + " set '" + cache + "' late -")
                .c_str(),
            "w")) {}
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;
  ~Member() { Close(); }
  int Close() {
    return pipe_ == nullptr ? 0 : ::pclose(std::exchange(pipe_, nullptr));
  }

 private:
  std::FILE* pipe_;
};

Result<std::unique_ptr<Engine>> OpenAsOwner(const std::string& cache) {
  const Status status =
      RegisterPolicy("own", [] { return *MakePolicy("clock"); });
  if (!status.ok()) return Fail(status);
  EngineOptions options;
  options.settings = {{"policy", "own"}};
  return OpenEngine(cache, std::move(options));
}

class AttachedCommand : public ProcessesCommand {
 protected:
  // What attach says as soon as so many have it open.
  json AttachUntil(std::size_t count) {
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::seconds(20);
    json seen;
    do {
      seen = OkJson({"attach", cache()});
      if (seen.at("processes").size() == count && seen.at("serving")) break;
      std::this_thread::yield();
    } while (std::chrono::steady_clock::now() < deadline);
    return seen;
  }
};

TEST_F(AttachedCommand, NobodyHasAClosedCacheOpen) {
  Ok({"set", cache(), "k", "v"});
  EXPECT_EQ(Ok({"attach", cache()}), "nobody has it open\n");
  const json seen = OkJson({"attach", cache()});
  EXPECT_TRUE(seen.at("holder").is_null());
  EXPECT_FALSE(seen.at("serving"));
  EXPECT_TRUE(seen.at("processes").empty());
}

TEST_F(AttachedCommand, WhatIsNotACacheIsAnError) {
  Fails(3, {"attach", Path("nothing")}, {"kNotFound", "nothing"});
  Fails(3, {"top", Path("nothing"), "--once"}, {"kNotFound", "nothing"});
}

TEST_F(AttachedCommand, HolderAndClientAreListed) {
  Ok({"set", cache(), "k", "v"});
  Member holder(cache());
  const json alone = AttachUntil(1);
  Member client(cache());
  const json both = AttachUntil(2);
  ASSERT_EQ(both.at("processes").size(), 2U);
  EXPECT_EQ(both.at("holder"), alone.at("holder"));
  EXPECT_EQ(both.at("processes")[0].at("pid"), both.at("holder"));
  EXPECT_EQ(both.at("processes")[0].at("role"), "holder");
  EXPECT_EQ(both.at("processes")[1].at("role"), "client");
  EXPECT_EQ(both.at("processes")[1].at("state"), "running");
  EXPECT_EQ(holder.Close(), 0);  // The client goes on.
  EXPECT_EQ(client.Close(), 0);
  EXPECT_EQ(Ok({"attach", cache()}), "nobody has it open\n");
}

TEST_F(AttachedCommand, APolicyThatIsNotRegisteredIsShownWithTheOneThatRuns) {
  ForkedProcess owner([this](const ForkedProcess::Pipe&) {
    return OpenAsOwner(cache()) ? 0 : 1;
  });
  ASSERT_EQ(owner.Wait(), 0);
  const std::string note =
      "(not registered in the process that holds the store; adaptive runs)";
  EXPECT_NE(Ok({"stats", cache()}).find("policy         own " + note),
            std::string::npos);
  EXPECT_NE(Ok({"settings", cache()}).find("own                    " + note),
            std::string::npos);
  EXPECT_EQ(Ok({"settings", cache(), "policy"}), "own " + note + "\n");
  const json stats = OkJson({"stats", cache()});
  EXPECT_EQ(stats.at("policy"), "own");
  EXPECT_EQ(stats.at("policy_running"), "adaptive");
  const json settings = OkJson({"settings", cache()});
  EXPECT_EQ(settings.at("settings").at("policy"), "own");
  EXPECT_EQ(settings.at("policy_running"), "adaptive");
  const json setting = OkJson({"settings", cache(), "policy"});
  EXPECT_EQ(setting.at("value"), "own");
  EXPECT_EQ(setting.at("running"), "adaptive");
  Fails(3, {"settings", cache(), "policy", "own"}, {"kInvalidArgument", "own"});
  Ok({"settings", cache(), "policy", "clock"});
  EXPECT_EQ(Ok({"settings", cache(), "policy"}), "clock\n");
  EXPECT_EQ(OkJson({"stats", cache()}).at("policy_running"), "clock");
}

TEST_F(AttachedCommand, WhoLacksThePolicyThatIsSetIsShown) {
  ForkedProcess owner([this](const ForkedProcess::Pipe&) {
    return OpenAsOwner(cache()) ? 0 : 1;
  });
  ASSERT_EQ(owner.Wait(), 0);
  Member holder(cache());
  const json alone = AttachUntil(1);
  EXPECT_EQ(alone.at("policy"), "own");
  EXPECT_EQ(alone.at("policy_running"), "adaptive");
  EXPECT_EQ(alone.at("processes")[0].at("has_policy"), false);
  EXPECT_NE(Ok({"attach", cache()}).find("lacks it"), std::string::npos);
  // It is given the store, and closes.
  ForkedProcess taker([this](const ForkedProcess::Pipe&) {
    const auto engine = OpenAsOwner(cache());
    if (!engine) return 1;
    while (!(*engine)->capabilities().holds_store) ::usleep(1'000);
    const auto view = ReadAttached(cache());
    if (!view || view->processes.size() != 2) return 2;
    return view->processes[0].has_policy && !view->processes[1].has_policy &&
                   view->policy_running == "own"
               ? 0
               : 3;
  });
  EXPECT_EQ(taker.Wait(), 0);
  EXPECT_EQ(holder.Close(), 0);
  EXPECT_EQ(Ok({"get", cache(), "late"}), "");
}

// Another process reads and writes while the cache is open elsewhere.
TEST_F(AttachedCommand, CommandsWorkBesideAHolder) {
  Ok({"set", cache(), "k", "v"});
  Member holder(cache());
  AttachUntil(1);
  EXPECT_EQ(Ok({"get", cache(), "k"}), "v");
  EXPECT_EQ(Ok({"incr", cache(), "n"}), "1\n");
  EXPECT_EQ(OkJson({"check", cache()}).at("ok"), true);
  EXPECT_EQ(OkJson({"stats", cache()}).at("count"), 2);
}

TEST_F(AttachedCommand, TopShowsTheHolderAndItsStore) {
  Ok({"set", cache(), "k", "v"});
  Member holder(cache());
  AttachUntil(1);
  const json seen = OkJson({"top", cache(), "--once", "--interval", "0.1"});
  EXPECT_EQ(seen.at("processes").size(), 1U);
  EXPECT_EQ(seen.at("holder"), seen.at("processes")[0].at("pid"));
  EXPECT_EQ(seen.at("store").at("count"), 1);
  EXPECT_GT(seen.at("store").at("disk_bytes"), 0);
  for (const char* name :
       {"operations_per_second", "hot_reads_per_second", "requests_per_second",
        "hit_ratio", "hot_ratio", "service_p50_us", "service_p99_us",
        "requests", "commands", "bytes_in", "bytes_out", "takeovers",
        "hot_size_bytes"}) {
    EXPECT_TRUE(seen.contains(name)) << name;
  }
  const std::string text = Ok({"top", cache(), "--once", "--interval", "0.1"});
  EXPECT_NE(text.find("holder"), std::string::npos);
  EXPECT_EQ(text.find('\033'), std::string::npos);  // Not a terminal.
}

TEST_F(AttachedCommand, BenchOfSeveralProcessesAddsUp) {
  const json result = OkJson({"bench", cache(), "--processes", "3",
                              "--operations", "500", "--warmup", "10"});
  EXPECT_EQ(result.at("operations").at("total").at("count"), 1500);
  EXPECT_GT(result.at("operations_per_second"), 0);
  for (const char* operation : {"get", "set", "delete"}) {
    for (const char* name :
         {"count", "miss", "p50_us", "p90_us", "p99_us", "max_us"}) {
      EXPECT_TRUE(result.at("operations").at(operation).contains(name));
    }
  }
}

}  // namespace
}  // namespace larder::testing
