#include "messages/command_codec.h"

#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/limits.h"

#include "messages/message_codec.h"

namespace larder {
namespace {

SetCommand Set(std::string_view key, std::string_view value) {
  SetCommand command;
  command.key = key;
  command.value = value;
  return command;
}

std::vector<Command> AllCommands() {
  return {
      Set("k", "v"),
      SetCommand{.key = std::string_view("\0\xFF", 2),
                 .value = "",
                 .codec = 7,
                 .ttl = Duration(-5),
                 .tag = "t",
                 .condition = SetCondition::kIfVersion,
                 .version_expected = std::numeric_limits<std::uint64_t>::max(),
                 .pinned = true,
                 .cost = 2.5F},
      GetCommand{.key = ""},
      GetCommand{.key = "k", .with_value = false},
      IncrCommand{.key = "n",
                  .delta = std::numeric_limits<std::int64_t>::min(),
                  .initial = -1,
                  .ttl = Duration(9),
                  .tag = "t"},
      TouchCommand{.key = "k", .ttl = std::nullopt},
      TouchCommand{.key = "k", .ttl = Duration::max()},
      DeleteCommand{.key = "k", .with_value = true, .version_expected = 3},
      EvictTagCommand{.tag = "t"},
      ClearCommand{},
      ExpireCommand{.now = TimePoint(Duration(12))},
      CullCommand{.live_bytes_target = 0},
  };
}

std::string Encode(std::span<const Command> commands,
                   std::span<const PlacedValue> placed = {},
                   const ExecuteOptions& options = {}) {
  std::string out;
  EXPECT_TRUE(EncodeCommands(out, commands, placed, options).ok());
  return out;
}

struct Same {
  const Command& other;
  template <typename T>
  bool operator()(const T& a) const {
    const T& b = std::get<T>(other);
    if constexpr (std::is_same_v<T, SetCommand>) {
      return a.key == b.key && a.value == b.value && a.codec == b.codec &&
             a.ttl == b.ttl && a.tag == b.tag && a.condition == b.condition &&
             a.version_expected == b.version_expected && a.pinned == b.pinned &&
             a.cost == b.cost;
    } else if constexpr (std::is_same_v<T, GetCommand>) {
      return a.key == b.key && a.with_value == b.with_value;
    } else if constexpr (std::is_same_v<T, IncrCommand>) {
      return a.key == b.key && a.delta == b.delta && a.initial == b.initial &&
             a.ttl == b.ttl && a.tag == b.tag;
    } else if constexpr (std::is_same_v<T, TouchCommand>) {
      return a.key == b.key && a.ttl == b.ttl;
    } else if constexpr (std::is_same_v<T, DeleteCommand>) {
      return a.key == b.key && a.with_value == b.with_value &&
             a.version_expected == b.version_expected;
    } else if constexpr (std::is_same_v<T, EvictTagCommand>) {
      return a.tag == b.tag;
    } else if constexpr (std::is_same_v<T, ExpireCommand>) {
      return a.now == b.now;
    } else if constexpr (std::is_same_v<T, CullCommand>) {
      return a.live_bytes_target == b.live_bytes_target;
    } else {
      return true;
    }
  }
};

TEST(CommandCodec, EveryFieldOfEveryCommandTravels) {
  const std::vector<Command> commands = AllCommands();
  const std::string bytes = Encode(
      commands, {}, {.durability = Durability::kPower, .all_or_nothing = true});
  const auto decoded = DecodeCommands(bytes);
  ASSERT_TRUE(decoded.has_value());
  ASSERT_EQ(decoded->commands.size(), commands.size());
  for (std::size_t i = 0; i < commands.size(); ++i) {
    ASSERT_EQ(decoded->commands[i].index(), commands[i].index());
    EXPECT_TRUE(std::visit(Same{decoded->commands[i]}, commands[i])) << i;
  }
  EXPECT_EQ(decoded->options.durability, Durability::kPower);
  EXPECT_TRUE(decoded->options.all_or_nothing);
}

TEST(CommandCodec, CommandsAreViewsOfTheMessage) {
  const std::vector<Command> commands = {Set("key", "value")};
  const std::string bytes = Encode(commands);
  const auto decoded = DecodeCommands(bytes);
  ASSERT_TRUE(decoded.has_value());
  const auto& set = std::get<SetCommand>(decoded->commands[0]);
  EXPECT_GE(set.value.data(), bytes.data());
  EXPECT_LT(set.value.data(), bytes.data() + bytes.size());
}

TEST(CommandCodec, PlacesOfLargeValuesTravel) {
  const std::vector<Command> commands = {GetCommand{.key = "a"}, Set("b", "")};
  const std::vector<PlacedValue> placed = {
      {.index = 1,
       .value_size = 1U << 20,
       .version = 9,
       .chunks = {{1, 64, 1000}, {2, 0, 24}}}};
  const std::string bytes = Encode(commands, placed);
  const auto decoded = DecodeCommands(bytes);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->placed, placed);
}

TEST(CommandCodec, APlaceForACommandWithoutValueIsRefused) {
  const std::vector<Command> commands = {GetCommand{.key = "a"}};
  const std::vector<PlacedValue> placed(1);
  EXPECT_EQ(DecodeCommands(Encode(commands, placed)).error().code(),
            StatusCode::kCorruption);
}

TEST(CommandCodec, CommandsOnTheWholeCacheAreSeenAtAGlance) {
  for (const Command& command : AllCommands()) {
    const bool whole = std::holds_alternative<EvictTagCommand>(command) ||
                       std::holds_alternative<ClearCommand>(command) ||
                       std::holds_alternative<ExpireCommand>(command) ||
                       std::holds_alternative<CullCommand>(command);
    EXPECT_EQ(SeemsWholeCache(Encode({&command, 1})), whole) << command.index();
  }
  EXPECT_FALSE(SeemsWholeCache(""));
}

TEST(CommandCodec, EveryPrefixIsRefused) {
  const std::string bytes = Encode(AllCommands());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeCommands(std::string_view(bytes).substr(0, size)))
        << size;
  }
}

TEST(CommandCodec, TrailingBytesAreRefused) {
  EXPECT_FALSE(DecodeCommands(Encode(AllCommands()) + '\0'));
}

TEST(CommandCodec, AnOversizedBatchIsRefusedByTheSender) {
  const std::string value(kMessageSizeBytesMax / 2, 'x');
  const std::vector<Command> commands(3, Set("k", value));
  std::string out;
  EXPECT_EQ(EncodeCommands(out, commands, {}, {}).code(),
            StatusCode::kTooLarge);
}

TEST(CommandCodec, ACountBeyondTheBytesAllocatesNothing) {
  std::string bytes(1, '\0');
  bytes += "\xFF\xFF\xFF\xFF\x7F";  // 34 billion commands.
  EXPECT_FALSE(DecodeCommands(bytes));
}

std::vector<Reply> AllReplies() {
  std::vector<Reply> replies(4);
  replies[0].status = Status::TooLarge("value of 9 bytes");
  replies[1].applied = true;
  replies[1].value = ValueHandle::FromString(std::string(5000, 'x'));
  replies[1].info = {.size_bytes = 5000,
                     .version = 1,
                     .stored_at = TimePoint(Duration(5)),
                     .expires_at = TimePoint(Duration(6)),
                     .tag = "tag",
                     .frequency = 3,
                     .codec = 2,
                     .pinned = true};
  replies[2].integer = -4;
  replies[3].count = 1ULL << 40;
  return replies;
}

TEST(ReplyCodec, EveryFieldTravels) {
  const std::vector<Reply> replies = AllReplies();
  auto message = std::make_shared<std::string>();
  EncodeReplies(*message, Status::IoError("disk"), replies, {});
  std::vector<Reply> back(4);
  const auto decoded = DecodeReplies(message, *message, back);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->status.ToString(), "kIoError: disk");
  EXPECT_EQ(back[0].status.ToString(), "kTooLarge: value of 9 bytes");
  EXPECT_TRUE(back[1].applied);
  EXPECT_EQ(back[1].value.bytes(), std::string(5000, 'x'));
  EXPECT_EQ(back[1].info.size_bytes, 5000U);
  EXPECT_EQ(back[1].info.version, 1U);
  EXPECT_EQ(back[1].info.stored_at, TimePoint(Duration(5)));
  EXPECT_EQ(back[1].info.expires_at, TimePoint(Duration(6)));
  EXPECT_EQ(back[1].info.tag, "tag");
  EXPECT_EQ(back[1].info.frequency, 3U);
  EXPECT_EQ(back[1].info.codec, 2);
  EXPECT_TRUE(back[1].info.pinned);
  EXPECT_EQ(back[2].integer, -4);
  EXPECT_EQ(back[3].count, 1ULL << 40);
  EXPECT_EQ(back[3].info.expires_at, kNeverExpires);
}

TEST(ReplyCodec, ValuesOutliveTheMessageBuffer) {
  auto message = std::make_shared<std::string>();
  EncodeReplies(*message, {}, AllReplies(), {});
  std::vector<Reply> back(4);
  ASSERT_TRUE(DecodeReplies(message, *message, back).has_value());
  const std::weak_ptr<std::string> watch = message;
  message.reset();
  EXPECT_FALSE(watch.expired());
  EXPECT_EQ(back[1].value.bytes(), std::string(5000, 'x'));
  back.clear();
  EXPECT_TRUE(watch.expired());
}

TEST(ReplyCodec, APlacedValueTravelsAsItsPlace) {
  const std::vector<PlacedValue> placed = {
      {.index = 1, .value_size = 5000, .version = 1, .chunks = {{3, 4, 5000}}}};
  auto message = std::make_shared<std::string>();
  EncodeReplies(*message, {}, AllReplies(), placed);
  EXPECT_LT(message->size(), 300U);
  std::vector<Reply> back(4);
  const auto decoded = DecodeReplies(message, *message, back);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->placed, placed);
  EXPECT_EQ(back[1].value.size(), 0U);
}

TEST(ReplyCodec, AnotherNumberOfRepliesIsRefused) {
  auto message = std::make_shared<std::string>();
  EncodeReplies(*message, {}, AllReplies(), {});
  std::vector<Reply> back(3);
  EXPECT_FALSE(DecodeReplies(message, *message, back));
}

TEST(MessageCodec, HeadNamesTheKind) {
  std::string bytes;
  PutMessageHead(bytes, MessageKind::kSync);
  bytes += "body";
  const auto message = DecodeMessage(bytes);
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->kind, MessageKind::kSync);
  EXPECT_EQ(message->body, "body");
}

TEST(MessageCodec, AnotherVersionIsRefused) {
  std::string bytes;
  PutMessageHead(bytes, MessageKind::kSync);
  ++bytes[0];
  EXPECT_FALSE(DecodeMessage(bytes));
}

TEST(MessageCodec, OutcomeCarriesTheStatusOrTheBody) {
  std::string good;
  PutOutcome(good, {});
  good += "body";
  EXPECT_EQ(DecodeOutcome(good).value(), "body");
  std::string bad;
  PutOutcome(bad, Status::NoSpace("full"));
  EXPECT_EQ(DecodeOutcome(bad).error().ToString(), "kNoSpace: full");
}

TEST(MessageCodec, ScanOptionsTravel) {
  const ScanOptions options{.prefix = "p",
                            .begin = "",
                            .end = std::nullopt,
                            .tag = "t",
                            .reverse = true,
                            .with_values = true};
  std::string bytes;
  EncodeScanOptions(bytes, options);
  const auto back = DecodeScanOptions(bytes);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->prefix, "p");
  EXPECT_EQ(back->begin, std::optional<std::string>(""));
  EXPECT_EQ(back->end, std::nullopt);
  EXPECT_EQ(back->tag, "t");
  EXPECT_TRUE(back->reverse);
  EXPECT_TRUE(back->with_values);
}

TEST(MessageCodec, ScanPageTravels) {
  std::vector<ScanItem> items(2);
  items[0].key = "a";
  items[0].info.version = 7;
  items[0].value = ValueHandle::FromString("value");
  items[1].key = "b";
  const std::vector<PlacedValue> placed = {
      {.index = 1, .value_size = 70000, .version = 8, .chunks = {{1, 2, 3}}}};
  auto message = std::make_shared<std::string>();
  EncodeScanPage(*message, items, placed);
  const auto page = DecodeScanPage(message, *message);
  ASSERT_TRUE(page.has_value());
  ASSERT_EQ(page->items.size(), 2U);
  EXPECT_EQ(page->items[0].key, "a");
  EXPECT_EQ(page->items[0].info.version, 7U);
  EXPECT_EQ(page->items[0].value.bytes(), "value");
  EXPECT_EQ(page->items[1].key, "b");
  EXPECT_EQ(page->placed, placed);
}

TEST(MessageCodec, StatsTravel) {
  EngineStats stats;
  stats.count = 1;
  stats.hits = 1ULL << 60;
  stats.eviction_events_dropped = 5;
  stats.rows_recorded = 6;
  stats.rows_recorded_dropped = 7;
  stats.callbacks_failed = 8;
  stats.policy = "clock";
  stats.policy_running = "adaptive";
  std::string bytes;
  EncodeStats(bytes, stats);
  const auto back = DecodeStats(bytes);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->count, 1U);
  EXPECT_EQ(back->hits, 1ULL << 60);
  EXPECT_EQ(back->eviction_events_dropped, 5U);
  EXPECT_EQ(back->rows_recorded, 6U);
  EXPECT_EQ(back->rows_recorded_dropped, 7U);
  EXPECT_EQ(back->callbacks_failed, 8U);
  EXPECT_EQ(back->policy, "clock");
  EXPECT_EQ(back->policy_running, "adaptive");
}

TEST(MessageCodec, CheckReportTravels) {
  CheckReport report;
  report.items_checked = 3;
  report.counters_match = false;
  report.repaired = 2;
  report.problems = {"segment 1 at 64: bad checksum"};
  std::string bytes;
  EncodeCheckReport(bytes, report);
  const auto back = DecodeCheckReport(bytes);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->items_checked, 3U);
  EXPECT_FALSE(back->counters_match);
  EXPECT_EQ(back->repaired, 2U);
  EXPECT_EQ(back->problems, report.problems);
}

TEST(MessageCodec, SettingsAndGrantsTravel) {
  const SettingList settings = {{"size_limit", "64MiB"}, {"policy", "none"}};
  std::string bytes;
  EncodeSettings(bytes, settings);
  EXPECT_EQ(DecodeSettings(bytes).value(), settings);

  const std::vector<Grant> grants = {{.version = 4, .chunks = {{1, 2, 3}}}, {}};
  bytes.clear();
  EncodeGrants(bytes, grants);
  EXPECT_EQ(DecodeGrants(bytes).value(), grants);
}

TEST(MessageCodec, EvictionsTravel) {
  const EvictionNotices evictions{
      .notices = {{"key", 12, EvictionReason::kEvicted},
                  {"", 0, EvictionReason::kExpired},
                  {std::string(300, 'k'), ~std::uint64_t{0},
                   EvictionReason::kCleared}},
      .dropped = 7};
  std::string bytes;
  EncodeEvictions(bytes, evictions);
  const auto decoded = DecodeEvictions(bytes);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  EXPECT_EQ(decoded->notices, evictions.notices);
  EXPECT_EQ(decoded->dropped, 7U);
  bytes.back() = 3;  // No such reason.
  EXPECT_FALSE(DecodeEvictions(bytes).has_value());
  EXPECT_FALSE(DecodeEvictions(bytes.substr(0, 5)).has_value());
}

TEST(MessageCodec, StreamRequestsTravel) {
  WriterOpenRequest request;
  request.command = Set("key", "left out");
  request.command.tag = "tag";
  request.size_expected = 1ULL << 33;
  request.options.durability = Durability::kNone;
  std::string bytes;
  EncodeWriterOpen(bytes, request);
  const auto opened = DecodeWriterOpen(bytes);
  ASSERT_TRUE(opened.has_value());
  EXPECT_EQ(opened->command.key, "key");
  EXPECT_EQ(opened->command.tag, "tag");
  EXPECT_EQ(opened->command.value, "");
  EXPECT_EQ(opened->size_expected, 1ULL << 33);
  EXPECT_EQ(opened->options.durability, Durability::kNone);

  bytes.clear();
  EncodeStreamBytes(bytes, {.stream = 300, .bytes = "piece"});
  const auto piece = DecodeStreamBytes(bytes);
  ASSERT_TRUE(piece.has_value());
  EXPECT_EQ(piece->stream, 300U);
  EXPECT_EQ(piece->bytes, "piece");

  bytes.clear();
  EncodeReaderRead(bytes, {.stream = 3, .size_max = kStreamPieceSize + 1});
  EXPECT_FALSE(DecodeReaderRead(bytes));
}

// Every decoder on `bytes`; none may crash, and what they accept is bounded.
void DecodeAll(const std::string& bytes) {
  const auto message = std::make_shared<const std::string>(bytes);
  static_cast<void>(DecodeMessage(bytes));
  static_cast<void>(DecodeOutcome(bytes));
  if (const auto commands = DecodeCommands(bytes)) {
    EXPECT_LE(commands->commands.size(), bytes.size());
  }
  std::vector<Reply> replies(4);
  static_cast<void>(DecodeReplies(message, bytes, replies));
  static_cast<void>(DecodeScanOptions(bytes));
  if (const auto page = DecodeScanPage(message, bytes)) {
    EXPECT_LE(page->items.size(), bytes.size());
  }
  static_cast<void>(DecodeScanNext(bytes));
  static_cast<void>(DecodeStats(bytes));
  static_cast<void>(DecodeCheckReport(bytes));
  static_cast<void>(DecodeSettings(bytes));
  static_cast<void>(DecodeGrantRequest(bytes));
  static_cast<void>(DecodeGrants(bytes));
  static_cast<void>(DecodeEvictions(bytes));
  static_cast<void>(DecodeWriterOpen(bytes));
  static_cast<void>(DecodeStreamBytes(bytes));
  static_cast<void>(DecodeReaderOpened(bytes));
  static_cast<void>(DecodeReaderRead(bytes));
}

std::vector<std::string> ValidMessages() {
  std::vector<std::string> seeds(8);
  seeds[0] = Encode(AllCommands());
  EncodeReplies(seeds[1], Status::IoError("disk"), AllReplies(), {});
  EncodeScanOptions(seeds[2],
                    {.prefix = "p", .begin = "a", .end = "b", .tag = ""});
  std::vector<ScanItem> items(3);
  EncodeScanPage(seeds[3], items, {});
  EncodeStats(seeds[4], {});
  EncodeCheckReport(seeds[5], {});
  EncodeGrants(seeds[6],
               std::vector<Grant>{{.version = 0, .chunks = {{1, 2, 3}}}});
  EncodeEvictions(seeds[7], {.notices = {{"a key", 1, {}}, {"b", 2, {}}}});
  return seeds;
}

TEST(MessageCodec, MutatedMessagesNeverCrash) {
  std::mt19937_64 random(20240611);
  const std::vector<std::string> seeds = ValidMessages();
  for (int round = 0; round < 40'000; ++round) {
    std::string bytes = seeds[random() % seeds.size()];
    const std::size_t changes = 1 + random() % 4;
    for (std::size_t i = 0; i < changes && !bytes.empty(); ++i) {
      const std::size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
          break;
        case 2:
          bytes.erase(at, 1 + random() % 8);
          break;
        default:
          bytes.insert(at, "\xFF\xFF\xFF\xFF\x7F");
          break;
      }
    }
    DecodeAll(bytes);
  }
}

}  // namespace
}  // namespace larder
