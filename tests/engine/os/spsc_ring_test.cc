#include "os/spsc_ring.h"

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "forked_process.h"
#include "os/doorbell.h"
#include "os/shared_region.h"
#include "temporary_directory.h"

namespace larder {
namespace {

using testing::ForkedProcess;

constexpr std::uint64_t kCapacity = 8192;

// A ring with its memory, zeroed as in a fresh region.
struct Ring {
  RingWords words{};
  alignas(64) char data[kCapacity]{};
  RingProducer Producer() { return {&words, data, kCapacity}; }
  RingConsumer Consumer() { return {&words, data, kCapacity}; }
};

FrameHeader Header(std::uint64_t sequence) {
  FrameHeader header;
  header.uid = 7;
  header.sequence = sequence;
  header.deadline_ns = 99;
  return header;
}

// The bytes of message number `sequence`: any mix-up shows.
std::string MessageOf(std::uint64_t sequence) {
  std::mt19937_64 random(sequence);
  std::string message(1 + random() % (3 * kCapacity), '\0');
  for (char& byte : message) byte = static_cast<char>(random());
  return message;
}

void SendAll(RingProducer& producer, std::uint64_t sequence) {
  const std::string message = MessageOf(sequence);
  std::size_t sent = 0;
  while (sent < message.size()) {
    const auto size = producer.Write(Header(sequence), message, sent);
    ASSERT_TRUE(size.has_value());
    if (*size == 0) std::this_thread::yield();
    sent += *size;
  }
}

std::string ReceiveWhole(RingConsumer& consumer, MessageAssembler& assembler) {
  for (;;) {
    const auto frame = consumer.Take(assembler.buffer());
    if (!frame) return frame.error().ToString();
    if (!*frame) {
      std::this_thread::yield();
      continue;
    }
    const auto whole = assembler.Add(**frame, 1U << 20);
    if (!whole) return whole.error().ToString();
    if (*whole) return assembler.Release();
  }
}

TEST(SpscRing, CarriesAMessageWithItsHeader) {
  Ring ring;
  RingProducer producer = ring.Producer();
  RingConsumer consumer = ring.Consumer();
  EXPECT_FALSE(consumer.HasData());
  EXPECT_EQ(producer.Write(Header(3), "hello", 0).value(), 5U);
  EXPECT_TRUE(consumer.HasData());
  std::string piece;
  const auto frame = consumer.Take(piece);
  ASSERT_TRUE(frame.has_value());
  ASSERT_TRUE(frame->has_value());
  EXPECT_EQ(piece, "hello");
  EXPECT_EQ((*frame)->sequence, 3U);
  EXPECT_EQ((*frame)->uid, 7U);
  EXPECT_EQ((*frame)->deadline_ns, 99);
  EXPECT_EQ((*frame)->message_size, 5U);
  EXPECT_FALSE(consumer.HasData());
}

TEST(SpscRing, AFullRingTakesNothing) {
  Ring ring;
  RingProducer producer = ring.Producer();
  const std::string message(2 * kCapacity, 'x');
  const auto first = producer.Write(Header(1), message, 0);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(*first, kCapacity - sizeof(FrameHeader));
  EXPECT_FALSE(producer.HasSpace());
  EXPECT_EQ(producer.Write(Header(1), message, *first).value(), 0U);
}

TEST(SpscRing, RandomSizesArriveInOrderBetweenThreads) {
  auto ring = std::make_unique<Ring>();
  constexpr std::uint64_t kCount = 500;
  std::thread sender([&ring] {
    RingProducer producer = ring->Producer();
    for (std::uint64_t i = 0; i < kCount; ++i) SendAll(producer, i);
  });
  RingConsumer consumer = ring->Consumer();
  MessageAssembler assembler;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(ReceiveWhole(consumer, assembler), MessageOf(i)) << i;
  }
  sender.join();
}

TEST(SpscRing, RandomSizesArriveInOrderBetweenProcesses) {
  const testing::TemporaryDirectory directory;
  RegionAddress address{.directory = directory.path(),
                        .id = {.high = 1, .low = 2},
                        .epoch = 1,
                        .kind = RegionKind::kClient,
                        .number = 1};
  constexpr std::uint64_t kDataOffset = 4096;
  const auto region = SharedRegion::Create(address, kDataOffset + kCapacity,
                                           kDataOffset + kCapacity);
  ASSERT_TRUE(region.has_value());
  constexpr std::uint64_t kCount = 500;
  ForkedProcess sender([&](const ForkedProcess::Pipe&) {
    const auto mine =
        SharedRegion::Open(address, SharedRegion::Access::kReadWrite);
    if (!mine) return 1;
    RingProducer producer((*mine)->At<RingWords>(1024),
                          (*mine)->At<char>(kDataOffset), kCapacity);
    for (std::uint64_t i = 0; i < kCount; ++i) SendAll(producer, i);
    return 0;
  });
  RingConsumer consumer((*region)->At<RingWords>(1024),
                        (*region)->At<char>(kDataOffset), kCapacity);
  MessageAssembler assembler;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(ReceiveWhole(consumer, assembler), MessageOf(i)) << i;
  }
  EXPECT_EQ(sender.Wait(), 0);
}

TEST(SpscRing, ANewMessageReplacesAnUnfinishedOne) {
  Ring ring;
  RingProducer producer = ring.Producer();
  RingConsumer consumer = ring.Consumer();
  const std::string abandoned(2 * kCapacity, 'x');
  ASSERT_GT(producer.Write(Header(1), abandoned, 0).value(), 0U);
  MessageAssembler assembler;
  const auto frame = consumer.Take(assembler.buffer());
  ASSERT_FALSE(assembler.Add(**frame, 1U << 20).value());
  ASSERT_EQ(producer.Write(Header(2), "next", 0).value(), 4U);
  EXPECT_EQ(ReceiveWhole(consumer, assembler), "next");
}

TEST(SpscRing, AMessageOverTheLimitIsRefused) {
  Ring ring;
  RingProducer producer = ring.Producer();
  RingConsumer consumer = ring.Consumer();
  ASSERT_GT(producer.Write(Header(1), std::string(101, 'x'), 0).value(), 0U);
  MessageAssembler assembler;
  const auto frame = consumer.Take(assembler.buffer());
  EXPECT_FALSE(assembler.Add(**frame, 100).has_value());
}

TEST(SpscRing, AFrameOutOfOrderIsRefused) {
  MessageAssembler assembler;
  FrameHeader header = Header(1);
  header.size = 4;
  header.offset = 8;
  header.message_size = 12;
  assembler.buffer() = "xxxx";
  EXPECT_FALSE(assembler.Add(header, 100).has_value());
}

TEST(SpscRing, AWildTailIsRefused) {
  for (const std::uint64_t tail : {std::uint64_t{8}, kCapacity + 8,
                                   std::uint64_t{51}, ~std::uint64_t{0}}) {
    Ring ring;
    RingConsumer consumer = ring.Consumer();
    ring.words.tail.store(tail);
    std::string piece;
    EXPECT_EQ(consumer.Take(piece).error().code(), StatusCode::kCorruption)
        << tail;
    EXPECT_TRUE(piece.empty());
  }
}

TEST(SpscRing, AWildHeadIsRefused) {
  Ring ring;
  RingProducer producer = ring.Producer();
  const std::string message(2 * kCapacity, 'x');
  const std::size_t sent = producer.Write(Header(1), message, 0).value();
  ring.words.head.store(std::uint64_t{1} << 40);
  EXPECT_EQ(producer.Write(Header(1), message, sent).error().code(),
            StatusCode::kCorruption);
}

// Invariant 3: whatever the other side writes into header, data or positions,
// the consumer reports it or takes bytes from within the ring.
TEST(SpscRing, ScribbledRingsNeverLeadOutOfBounds) {
  std::mt19937_64 random(20240612);
  int refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    auto ring = std::make_unique<Ring>();
    RingProducer producer = ring->Producer();
    RingConsumer consumer = ring->Consumer();
    const std::string message(random() % 300 + 1, 'm');
    ASSERT_TRUE(producer.Write(Header(1), message, 0).has_value());
    ASSERT_TRUE(producer.Write(Header(2), message, 0).has_value());
    for (int i = 0; i < 3; ++i) {
      ring->data[random() % 700] = static_cast<char>(random());
    }
    if (random() % 4 == 0) ring->words.tail.store(random() % 20'000);
    MessageAssembler assembler;
    for (int i = 0; i < 3; ++i) {
      const auto frame = consumer.Take(assembler.buffer());
      if (!frame) {
        ++refused;
        break;
      }
      if (!*frame) break;
      EXPECT_LE(assembler.buffer().size(), 2 * kCapacity);
      if (const auto whole = assembler.Add(**frame, 4096); whole && *whole) {
        static_cast<void>(assembler.Release());
      }
    }
  }
  EXPECT_GT(refused, 1000);
}

// Every ring of the bell is followed by an answer: a lost wake-up would leave
// the server asleep for a minute and the test in its time limit.
TEST(Doorbell, NoWakeUpIsLost) {
  Doorbell doorbell;
  constexpr int kClients = 2;
  constexpr std::uint32_t kRounds = 30'000;
  struct alignas(64) Line {
    std::atomic<std::uint32_t> asked{0};
    std::atomic<std::uint32_t> answered{0};
    SleepFlag asleep;
  };
  std::vector<Line> lines(kClients);
  std::atomic<bool> stop{false};
  std::thread server([&] {
    while (!stop.load()) {
      const auto slots = doorbell.Collect();
      bool any = false;
      Doorbell::ForEach(slots, [&](std::size_t slot) {
        any = true;
        Line& line = lines[slot / 100];
        line.answered.store(line.asked.load());
        line.asleep.WakeIfAsleep();
      });
      if (!any) doorbell.Wait(std::chrono::minutes(1));
    }
  });
  std::vector<std::thread> clients;
  for (std::size_t c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      Line& line = lines[c];
      AdaptiveSpin spin;
      for (std::uint32_t round = 1; round <= kRounds; ++round) {
        line.asked.store(round);
        doorbell.Ring(c * 100);
        const auto answered = [&] { return line.answered.load() == round; };
        // Straight to sleep most of the time, to provoke the race.
        if (round % 4 == 0) spin.Until(answered);
        while (!answered()) {
          line.asleep.SleepUnless(answered, std::chrono::minutes(1));
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  stop.store(true);
  doorbell.Nudge();
  server.join();
  for (const Line& line : lines) EXPECT_EQ(line.answered.load(), kRounds);
}

TEST(Doorbell, CollectsExactlyTheRungSlots) {
  Doorbell doorbell;
  for (const std::size_t slot : {0U, 63U, 64U, 255U}) doorbell.Ring(slot);
  std::vector<std::size_t> seen;
  Doorbell::ForEach(doorbell.Collect(),
                    [&](std::size_t slot) { seen.push_back(slot); });
  EXPECT_EQ(seen, (std::vector<std::size_t>{0, 63, 64, 255}));
  EXPECT_FALSE(doorbell.Rung());
}

}  // namespace
}  // namespace larder
