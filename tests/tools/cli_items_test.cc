#include <string>

#include "larder_command.h"

namespace larder::testing {
namespace {

using CliItems = LarderCommand;

TEST_F(CliItems, GetPrintsWhatSetStored) {
  Ok({"set", cache(), "key", "value"});
  EXPECT_EQ(Ok({"get", cache(), "key"}), "value");
}

TEST_F(CliItems, GetOfAnAbsentKeyIsAMiss) {
  Ok({"set", cache(), "key", "value"});
  const Outcome miss = Run({"get", cache(), "other"});
  EXPECT_EQ(miss.exit_code, 1);
  EXPECT_EQ(miss.out, "");
  EXPECT_EQ(miss.err, "");
}

TEST_F(CliItems, GetOfAnAbsentKeyAsJsonSaysNotFound) {
  Ok({"set", cache(), "key", "value"});
  const Outcome miss = Run({"get", cache(), "other", "--json"});
  EXPECT_EQ(miss.exit_code, 1);
  EXPECT_EQ(miss.json(), nlohmann::json({{"found", false}, {"key", "other"}}));
}

TEST_F(CliItems, SetWithADashStoresStandardInputByteForByte) {
  const std::string bytes("a\0b\n\xff\r\n", 7);
  Ok({"set", cache(), "key", "-"}, bytes);
  EXPECT_EQ(Ok({"get", cache(), "key"}), bytes);
}

TEST_F(CliItems, ValuesLargerThanAPieceAreStreamedBothWays) {
  std::string bytes(20'000'001, 'x');
  for (std::size_t i = 0; i < bytes.size(); i += 997) {
    bytes[i] = static_cast<char>(i / 997);
  }
  auto stored = OkJson({"set", cache(), "key", "-"}, bytes);
  EXPECT_EQ(stored["size_bytes"], bytes.size());
  EXPECT_TRUE(Ok({"get", cache(), "key"}) == bytes);
}

TEST_F(CliItems, ValuesOfExactlyOnePieceAreStored) {
  const std::string bytes(1 << 20, 'p');
  Ok({"set", cache(), "key", "-"}, bytes);
  EXPECT_TRUE(Ok({"get", cache(), "key"}) == bytes);
}

TEST_F(CliItems, KeysAndValuesMayBeEmptyOrLookLikeLists) {
  for (const std::string text : {"", "[a,b]", "{}", "get", "--", "-x", "%%"}) {
    Ok({"set", cache(), "--", text, text});
    EXPECT_EQ(Ok({"get", cache(), "--", text}), text);
    Ok({"delete", cache(), "--", text});
  }
  EXPECT_EQ(OkJson({"stats", cache()})["count"], 0);
}

TEST_F(CliItems, KeysInBase64HoldAnyBytes) {
  Ok({"set", cache(), "AP8K", "value", "--key-base64"});  // 00 ff 0a
  EXPECT_EQ(Ok({"get", cache(), "AP8K", "--key-base64"}), "value");
  auto keys = OkJson({"keys", cache()})["keys"];
  ASSERT_EQ(keys.size(), 1U);
  EXPECT_EQ(keys[0]["key_base64"], "AP8K");
  EXPECT_FALSE(keys[0].contains("key"));
}

TEST_F(CliItems, ValuesThatAreNotTextAreBase64InJson) {
  Ok({"set", cache(), "key", "-"}, std::string("\xff\x00", 2));
  auto item = OkJson({"get", cache(), "key"});
  EXPECT_EQ(item["value_base64"], "/wA=");
  EXPECT_FALSE(item.contains("value"));
}

TEST_F(CliItems, JsonOfAnItemHasAllThatIsKnownOfIt) {
  Ok({"set", cache(), "key", "value", "--ttl", "1h", "--tag", "t", "--pin"});
  auto item = OkJson({"get", cache(), "key"});
  EXPECT_EQ(item["found"], true);
  EXPECT_EQ(item["key"], "key");
  EXPECT_EQ(item["value"], "value");
  EXPECT_EQ(item["size_bytes"], 5);
  EXPECT_EQ(item["tag"], "t");
  EXPECT_EQ(item["codec"], "bytes");
  EXPECT_EQ(item["pinned"], true);
  EXPECT_GT(item["version"], 0);
  EXPECT_GT(item["ttl_seconds"], 3500.0);
  EXPECT_LE(item["ttl_seconds"], 3600.0);
  EXPECT_TRUE(item["expires_at"].is_string());
  EXPECT_TRUE(item["stored_at"].is_string());
}

TEST_F(CliItems, InspectShowsMetadataWithoutTheValue) {
  Ok({"set", cache(), "key", "value"});
  auto item = OkJson({"inspect", cache(), "key"});
  EXPECT_EQ(item["size_bytes"], 5);
  EXPECT_TRUE(item["expires_at"].is_null());
  EXPECT_FALSE(item.contains("value"));
  EXPECT_EQ(Run({"inspect", cache(), "other"}).exit_code, 1);
}

TEST_F(CliItems, AnExpiredItemIsAMiss) {
  Ok({"set", cache(), "key", "value", "--ttl", "0"});
  EXPECT_EQ(Run({"get", cache(), "key"}).exit_code, 1);
}

TEST_F(CliItems, SetIfAbsentKeepsALiveItem) {
  Ok({"set", cache(), "key", "old", "--if-absent"});
  EXPECT_EQ(Run({"set", cache(), "key", "new", "--if-absent"}).exit_code, 1);
  EXPECT_EQ(Ok({"get", cache(), "key"}), "old");
}

TEST_F(CliItems, SetIfVersionNeedsTheVersionThatIsThere) {
  Ok({"set", cache(), "key", "old"});
  auto item = OkJson({"inspect", cache(), "key"});
  const auto version = item["version"].get<std::uint64_t>();
  EXPECT_EQ(Run({"set", cache(), "key", "new", "--if-version",
                 std::to_string(version + 1)})
                .exit_code,
            1);
  Ok({"set", cache(), "key", "new", "--if-version", std::to_string(version)});
  EXPECT_EQ(Ok({"get", cache(), "key"}), "new");
}

TEST_F(CliItems, DeleteSaysWhetherThereWasAnItem) {
  Ok({"set", cache(), "key", "value"});
  EXPECT_EQ(OkJson({"delete", cache(), "key"})["deleted"], true);
  EXPECT_EQ(Run({"delete", cache(), "key"}).exit_code, 1);
  EXPECT_EQ(Run({"get", cache(), "key"}).exit_code, 1);
}

TEST_F(CliItems, IncrCountsFromZeroByAnyInteger) {
  EXPECT_EQ(Ok({"incr", cache(), "n"}), "1\n");
  EXPECT_EQ(Ok({"incr", cache(), "n", "-5"}), "-4\n");
  EXPECT_EQ(OkJson({"incr", cache(), "n", "10"})["value"], 6);
  EXPECT_EQ(Ok({"get", cache(), "n"}), "6");
  EXPECT_EQ(OkJson({"get", cache(), "n"})["value"], 6);
  EXPECT_EQ(Ok({"get", cache(), "n", "--raw"}),
            std::string("\6\0\0\0\0\0\0\0", 8));
}

TEST_F(CliItems, IncrWorksOnWhatSetStoredAsAnInteger) {
  Ok({"set", cache(), "n", "41", "--int"});
  EXPECT_EQ(Ok({"incr", cache(), "n"}), "42\n");
}

TEST_F(CliItems, IncrOfTextIsRefusedAndKeepsIt) {
  Ok({"set", cache(), "key", "text"});
  Fails(3, {"incr", cache(), "key"}, {"kTypeMismatch"});
  EXPECT_EQ(Ok({"get", cache(), "key"}), "text");
}

TEST_F(CliItems, IncrThatOverflowsIsRefusedAndKeepsTheNumber) {
  Ok({"set", cache(), "n", "9223372036854775807", "--int"});
  Fails(3, {"incr", cache(), "n"}, {"kOutOfRange"});
  EXPECT_EQ(Ok({"get", cache(), "n"}), "9223372036854775807");
}

TEST_F(CliItems, TouchGivesANewTimeToLive) {
  Ok({"set", cache(), "key", "value", "--ttl", "1h"});
  EXPECT_EQ(OkJson({"touch", cache(), "key"})["touched"], true);
  EXPECT_TRUE(OkJson({"inspect", cache(), "key"})["expires_at"].is_null());
  Ok({"touch", cache(), "key", "--ttl", "1h30m"});
  EXPECT_GT(OkJson({"inspect", cache(), "key"})["ttl_seconds"], 5000.0);
  EXPECT_EQ(Run({"touch", cache(), "other"}).exit_code, 1);
}

}  // namespace
}  // namespace larder::testing
