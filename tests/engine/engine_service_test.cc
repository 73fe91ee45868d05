#include "engine_service.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "client_channel.h"
#include "message_codec.h"
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

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
};

// A request may come as soon as the server has started, before the service
// knows where its answer goes.
TEST_F(EngineServiceTest, LongWorkIsAnsweredHoweverEarlyItCame) {
  const auto seat = Attach();
  ASSERT_TRUE(seat->TryTake().value());
  const auto disk = std::make_shared<SessionDisk>();
  const auto store = std::move(*SessionModel::Open(disk, {}));
  EngineService service(*store, seat->main());
  const auto server = std::move(*SeatServer::Start(*seat, service));
  const auto client = Attach();
  const auto channel = ClientChannel::Open(*client);
  std::string outcome;
  std::thread caller([&] {
    std::string message;
    PutMessageHead(message, MessageKind::kSync);
    const auto reply = channel->Call(
        message, std::chrono::steady_clock::now() + 10s,
        [](std::string_view, std::uint64_t, std::uint64_t) { return ""; });
    if (!reply) {
      outcome = reply.error().ToString();
      return;
    }
    const auto decoded = DecodeOutcome(*reply);
    outcome = decoded ? "kOk" : decoded.error().ToString();
  });
  while (seat->main().figures.requests.load() == 0) std::this_thread::yield();
  std::this_thread::sleep_for(50ms);  // Who would begin too early has.
  service.SetServer(server.get());
  caller.join();
  EXPECT_EQ(outcome, "kOk");
  channel->Close();
  server->Stop();
  service.SetServer(nullptr);
}

// What would not be idle waits, and is answered if the service goes on.
TEST_F(EngineServiceTest, WhatIsHeldIsAnsweredWhenItGoesOn) {
  const auto seat = Attach();
  ASSERT_TRUE(seat->TryTake().value());
  const auto disk = std::make_shared<SessionDisk>();
  const auto store = std::move(*SessionModel::Open(disk, {}));
  EngineService service(*store, seat->main());
  const auto server = std::move(*SeatServer::Start(*seat, service));
  service.SetServer(server.get());
  service.Hold();
  const auto client = Attach();
  const auto channel = ClientChannel::Open(*client);
  std::atomic<int> answered{0};
  const auto ask = [&](MessageKind kind) {
    std::string message;
    PutMessageHead(message, kind);
    const auto reply = channel->Call(
        message, std::chrono::steady_clock::now() + 10s,
        [](std::string_view, std::uint64_t, std::uint64_t) { return ""; });
    EXPECT_TRUE(reply.has_value()) << reply.error().ToString();
    if (reply) ++answered;
  };
  std::thread syncs([&] { ask(MessageKind::kSync); });
  std::thread scans([&] { ask(MessageKind::kScanOpen); });
  while (seat->main().figures.requests.load() < 2) std::this_thread::yield();
  ask(MessageKind::kSettings);  // The others do not wait.
  EXPECT_EQ(answered, 1);
  EXPECT_TRUE(service.IsIdle());
  service.Resume();
  syncs.join();
  scans.join();
  EXPECT_EQ(answered, 3);
  channel->Close();
  server->Stop();
  service.SetServer(nullptr);
}

// A scan keeps the place of the client, unless that gave up the request.
TEST_F(EngineServiceTest, WhatNobodyKnowsOfNeedsNoPlace) {
  const auto seat = Attach();
  ASSERT_TRUE(seat->TryTake().value());
  const auto disk = std::make_shared<SessionDisk>();
  const auto store = std::move(*SessionModel::Open(disk, {}));
  EngineService service(*store, seat->main());
  std::string open;
  PutMessageHead(open, MessageKind::kScanOpen);
  EncodeScanOptions(open, {});
  const Session first{.uid = 5, .sequence = 7};
  const Session second{.uid = 5, .sequence = 8};
  EXPECT_FALSE(service.NeedsPlace(5, 0s));
  EXPECT_TRUE(DecodeOutcome(service.Answer(open, first)).has_value());
  const std::string opened = service.Answer(open, second);
  const auto body = DecodeOutcome(opened);
  ASSERT_TRUE(body.has_value());
  EXPECT_TRUE(service.NeedsPlace(5, 60s));
  EXPECT_FALSE(service.NeedsPlace(9, 0s));
  service.Unwanted(5, 9);
  service.Unwanted(5, 7);
  EXPECT_TRUE(service.NeedsPlace(5, 0s));
  std::string close;
  PutMessageHead(close, MessageKind::kScanClose);
  EncodeNumber(close, DecodeNumber(*body).value());
  for (int i = 0; i < 2; ++i) {
    service.Answer(close, {.uid = 5, .sequence = 10});
    EXPECT_FALSE(service.NeedsPlace(5, 0s));
  }
  service.Answer(open, {.uid = 5, .sequence = 11});
  service.ClientGone(5);
  EXPECT_FALSE(service.NeedsPlace(5, 0s));
}

// Long work writes a record of the client when it is done.
TEST_F(EngineServiceTest, UnfinishedWorkNeedsThePlace) {
  const auto seat = Attach();
  ASSERT_TRUE(seat->TryTake().value());
  const auto disk = std::make_shared<SessionDisk>();
  const auto store = std::move(*SessionModel::Open(disk, {}));
  EngineService service(*store, seat->main());
  std::string message;
  PutMessageHead(message, MessageKind::kSync);
  ServedRequest request;
  request.uid = 5;
  request.sequence = 7;
  request.message = message;
  service.Execute({&request, 1});
  ASSERT_TRUE(request.deferred);
  EXPECT_TRUE(service.NeedsPlace(5, 60s));
  EXPECT_FALSE(service.NeedsPlace(9, 0s));
  const auto server = std::move(*SeatServer::Start(*seat, service));
  service.SetServer(server.get());
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (service.NeedsPlace(5, 60s) &&
         std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();
  }
  EXPECT_FALSE(service.NeedsPlace(5, 60s));
  server->Stop();
  service.SetServer(nullptr);
}

}  // namespace
}  // namespace larder::testing
