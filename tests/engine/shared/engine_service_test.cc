#include "shared/engine_service.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include <gtest/gtest.h>

#include "messages/message_codec.h"
#include "seat/client_channel.h"
#include "session_model.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

using namespace std::chrono_literals;

class EngineServiceTest : public ::testing::Test {
 protected:
  std::unique_ptr<Seat> Attach() const {
    auto seat = Seat::Attach({.directory = directory_.path(),
                              .region_directory = regions_.path(),
                              .id = {},
                              .attach_timeout = 20s});
    EXPECT_TRUE(seat.has_value()) << seat.error().ToString();
    return seat ? std::move(*seat) : nullptr;
  }

  void SetUp() override {
    seat_ = Attach();
    ASSERT_TRUE(seat_->TryTake().value());
    store_ =
        std::move(*SessionModel::Open(std::make_shared<SessionDisk>(), {}));
    service_.emplace(*store_, seat_->main());
  }
  void TearDown() override {
    if (server_ != nullptr) server_->Stop();
    service_->SetServer(nullptr);
  }
  /// The service does not know of it yet.
  void StartServer() {
    server_ = std::move(*SeatServer::Start(*seat_, *service_));
  }
  void Serve() {
    StartServer();
    service_->SetServer(server_.get());
  }
  static Result<std::string> Ask(ClientChannel& channel, MessageKind kind) {
    std::string message;
    PutMessageHead(message, kind);
    return channel.Call(
        message, std::chrono::steady_clock::now() + 10s,
        [](std::string_view, std::uint64_t, std::uint64_t) { return ""; });
  }
  /// True: it is answered later.
  bool Defers(std::uint64_t uid, std::string_view message) {
    ServedRequest request;
    request.uid = uid;
    request.sequence = 7;
    request.message = message;
    service_->Execute({&request, 1});
    return request.deferred;
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
  std::unique_ptr<Seat> seat_;
  std::unique_ptr<SessionStore> store_;
  std::optional<EngineService> service_;
  std::unique_ptr<SeatServer> server_;
};

// A request may come as soon as the server has started, before the service
// knows where its answer goes.
TEST_F(EngineServiceTest, LongWorkIsAnsweredHoweverEarlyItCame) {
  StartServer();
  const auto client = Attach();
  const auto channel = ClientChannel::Open(*client);
  std::string outcome;
  std::thread caller([&] {
    const auto reply = Ask(*channel, MessageKind::kSync);
    if (!reply) {
      outcome = reply.error().ToString();
      return;
    }
    const auto decoded = DecodeOutcome(*reply);
    outcome = decoded ? "kOk" : decoded.error().ToString();
  });
  while (seat_->main().figures.requests.load() == 0) std::this_thread::yield();
  std::this_thread::sleep_for(50ms);  // Who would begin too early has.
  service_->SetServer(server_.get());
  caller.join();
  EXPECT_EQ(outcome, "kOk");
  channel->Close();
}

// What would not be idle waits, and is answered if the service goes on.
TEST_F(EngineServiceTest, WhatIsHeldIsAnsweredWhenItGoesOn) {
  Serve();
  service_->Hold();
  const auto client = Attach();
  const auto channel = ClientChannel::Open(*client);
  std::atomic<int> answered{0};
  const auto ask = [&](MessageKind kind) {
    const auto reply = Ask(*channel, kind);
    EXPECT_TRUE(reply.has_value()) << reply.error().ToString();
    if (reply) ++answered;
  };
  std::thread syncs([&] { ask(MessageKind::kSync); });
  std::thread scans([&] { ask(MessageKind::kScanOpen); });
  while (seat_->main().figures.requests.load() < 2) std::this_thread::yield();
  ask(MessageKind::kSettings);  // The others do not wait.
  EXPECT_EQ(answered, 1);
  EXPECT_TRUE(service_->IsIdle());
  service_->Resume();
  syncs.join();
  scans.join();
  EXPECT_EQ(answered, 3);
  channel->Close();
}

// A scan keeps the place of the client, unless that gave up the request.
TEST_F(EngineServiceTest, WhatNobodyKnowsOfNeedsNoPlace) {
  std::string open;
  PutMessageHead(open, MessageKind::kScanOpen);
  EncodeScanOptions(open, {});
  const Session first{.uid = 5, .sequence = 7};
  const Session second{.uid = 5, .sequence = 8};
  EXPECT_FALSE(service_->NeedsPlace(5, 0s));
  EXPECT_TRUE(DecodeOutcome(service_->Answer(open, first)).has_value());
  const std::string opened = service_->Answer(open, second);
  const auto body = DecodeOutcome(opened);
  ASSERT_TRUE(body.has_value());
  EXPECT_TRUE(service_->NeedsPlace(5, 60s));
  EXPECT_FALSE(service_->NeedsPlace(9, 0s));
  service_->Unwanted(5, 9);
  service_->Unwanted(5, 7);
  EXPECT_TRUE(service_->NeedsPlace(5, 0s));
  std::string close;
  PutMessageHead(close, MessageKind::kScanClose);
  EncodeNumber(close, DecodeNumber(*body).value());
  for (int i = 0; i < 2; ++i) {
    service_->Answer(close, {.uid = 5, .sequence = 10});
    EXPECT_FALSE(service_->NeedsPlace(5, 0s));
  }
  service_->Answer(open, {.uid = 5, .sequence = 11});
  service_->ClientGone(5);
  EXPECT_FALSE(service_->NeedsPlace(5, 0s));
}

// A client that goes while its requests are held leaves nothing open, nor
// anything that counts as under way.
TEST_F(EngineServiceTest, WhatIsHeldForOneThatGoesIsNotOpened) {
  std::string open;
  PutMessageHead(open, MessageKind::kScanOpen);
  EncodeScanOptions(open, {});
  Serve();
  service_->Hold();
  ASSERT_TRUE(Defers(5, open));
  ASSERT_TRUE(Defers(9, open));
  service_->ClientGone(5);
  service_->Resume();
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (!service_->NeedsPlace(9, 0s) &&
         std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(service_->NeedsPlace(9, 0s));
  EXPECT_FALSE(service_->NeedsPlace(5, 0s));
  service_->ClientGone(9);
  while (!service_->IsIdle() && std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(service_->IsIdle());
}

// Long work writes a record of the client when it is done.
TEST_F(EngineServiceTest, UnfinishedWorkNeedsThePlace) {
  std::string message;
  PutMessageHead(message, MessageKind::kSync);
  ASSERT_TRUE(Defers(5, message));
  EXPECT_TRUE(service_->NeedsPlace(5, 60s));
  EXPECT_FALSE(service_->NeedsPlace(9, 0s));
  Serve();
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (service_->NeedsPlace(5, 60s) &&
         std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();
  }
  EXPECT_FALSE(service_->NeedsPlace(5, 60s));
}

}  // namespace
}  // namespace larder::testing
