// Every kind of bad input: one line that says what, where and what to do, a
// code of its own, and nothing changed.

#include <filesystem>
#include <map>
#include <string>

#include "larder_command.h"

namespace larder::testing {
namespace {

class CliBadInput : public LarderCommand {
 protected:
  // Names, sizes and contents of all files below a path.
  static std::map<std::string, std::string> Snapshot(const std::string& path) {
    std::map<std::string, std::string> files;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(path)) {
      files[entry.path()] =
          entry.is_regular_file() ? ReadFile(entry.path()) : "";
    }
    return files;
  }
};

TEST_F(CliBadInput, ReadersOfAMissingDirectoryDoNotMakeIt) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"get", cache(), "key"},
                                             {"delete", cache(), "key"},
                                             {"touch", cache(), "key"},
                                             {"keys", cache()},
                                             {"inspect", cache(), "key"},
                                             {"stats", cache()},
                                             {"check", cache()},
                                             {"expire", cache()},
                                             {"cull", cache()},
                                             {"clear", cache()},
                                             {"evict", cache(), "tag"},
                                             {"settings", cache()},
                                             {"export", cache(), "-"}}) {
    Fails(3, arguments, {"kNotFound", cache()});
    EXPECT_FALSE(std::filesystem::exists(cache())) << arguments[0];
  }
}

TEST_F(CliBadInput, AFileInPlaceOfTheDirectoryIsRefused) {
  WriteFile(cache(), "content");
  Fails(3, {"get", cache(), "key"}, {"kNotADirectory", cache()});
  Fails(3, {"set", cache(), "key", "value"}, {"kNotADirectory", cache()});
  EXPECT_EQ(ReadFile(cache()), "content");
}

TEST_F(CliBadInput, AForeignDirectoryIsRefusedAndKept) {
  WriteFile(cache() + "/thesis.txt", "content");
  const auto before = Snapshot(cache());
  Fails(3, {"get", cache(), "key"}, {"kForeignDirectory", cache()});
  Fails(3, {"set", cache(), "key", "v"}, {"kForeignDirectory", cache()});
  EXPECT_EQ(Snapshot(cache()), before);
}

TEST_F(CliBadInput, ADirectoryThatMayNotBeMadeIsRefused) {
  // Not even root may make directories there.
  Fails(3, {"set", "/sys/larder-test", "key", "v"},
        {"kPermissionDenied", "/sys/larder-test"});
}

TEST_F(CliBadInput, ANewerFormatIsRefusedAndKept) {
  Ok({"set", cache(), "key", "value"});
  const std::string stamp = ReadFile(cache() + "/larder.format");
  ASSERT_TRUE(stamp.starts_with("larder format 1\n"));
  WriteFile(cache() + "/larder.format",
            "larder format 999\n" + stamp.substr(stamp.find('\n') + 1));
  const auto before = Snapshot(cache());
  Fails(3, {"get", cache(), "key"}, {"kUnsupportedFormat", "999"});
  Fails(3, {"set", cache(), "key", "new"}, {"kUnsupportedFormat", "999"});
  EXPECT_EQ(Snapshot(cache()), before);
}

TEST_F(CliBadInput, AnUnknownSettingNamesTheNearestOne) {
  Ok({"set", cache(), "key", "value"});
  Fails(3, {"settings", cache(), "size_limits", "64MiB"},
        {"kInvalidArgument", "size_limits", "size_limit"});
  Fails(3, {"settings", cache(), "size_limits"}, {"kInvalidArgument"});
  Fails(3, {"set", cache(), "key", "new", "--setting", "polcy=none"},
        {"kInvalidArgument", "policy"});
  EXPECT_EQ(Ok({"get", cache(), "key"}), "value");
}

TEST_F(CliBadInput, AnUnknownPolicyListsTheKnownOnes) {
  Ok({"set", cache(), "key", "value"});
  Fails(3, {"settings", cache(), "policy", "lru"},
        {"kInvalidArgument", "least-recently-used", "s3-fifo"});
}

TEST_F(CliBadInput, ALimitBelowTheMinimumNamesTheMinimum) {
  Fails(3, {"set", cache(), "key", "value", "--size-limit", "1MiB"},
        {"kInvalidArgument", "16MiB"});
  EXPECT_FALSE(std::filesystem::exists(cache()));
}

TEST_F(CliBadInput, AKeyThatIsTooLongIsRefused) {
  const std::string longest(65536, 'k');
  Ok({"set", cache(), longest, "value"});
  EXPECT_EQ(Ok({"get", cache(), longest}), "value");
  Fails(3, {"set", cache(), longest + "k", "v"}, {"kKeyTooLarge", "65537"});
  Fails(3, {"get", cache(), longest + "k"}, {"kKeyTooLarge", "65537"});
  Fails(3, {"incr", cache(), longest + "k"}, {"kKeyTooLarge", "65537"});
  EXPECT_EQ(OkJson({"stats", cache()})["count"], 1);
  Fails(3, {"set", Path("new"), longest + "k", "v"}, {"kKeyTooLarge"});
  EXPECT_FALSE(std::filesystem::exists(Path("new")));
}

TEST_F(CliBadInput, AValueOverTheLimitIsRefusedAndTheOldOneKept) {
  Ok({"set", cache(), "key", "old", "--size-limit", "16MiB"});
  const Outcome outcome =
      Run({"set", cache(), "key", "-"}, std::string(17 << 20, 'v'));
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_NE(outcome.err.find("kTooLarge"), std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1);
  EXPECT_EQ(Ok({"get", cache(), "key"}), "old");
}

TEST_F(CliBadInput, AMalformedTimeToLiveIsRefusedAndMakesNoCache) {
  for (const char* ttl : {"", "5parsecs", "1h30", "s", "1e99h"}) {
    Fails(2, {"set", cache(), "key", "value", "--ttl", ttl},
          {"--ttl", "kParseError"});
  }
  EXPECT_FALSE(std::filesystem::exists(cache()));
}

TEST_F(CliBadInput, AMalformedSizeIsRefused) {
  Fails(2, {"set", cache(), "key", "value", "--size-limit", "lots"},
        {"--size-limit", "kParseError"});
  Fails(2, {"set", cache(), "key", "value", "--setting", "size_limit"},
        {"--setting", "NAME=VALUE"});
}

TEST_F(CliBadInput, ACommandLineThatMakesNoSenseIsAUsageError) {
  Fails(2, {}, {"usage", "--help"});
  Fails(2, {"fetch"}, {"usage", "fetch"});
  Fails(2, {"get", cache()}, {"usage", "KEY"});
  Fails(2, {"set", cache(), "key"}, {"usage", "VALUE"});
  Fails(2, {"get", cache(), "key", "--bogus"}, {"usage", "--bogus"});
  Fails(2, {"stats", ""}, {"usage", "DIR"});
  Fails(2, {"incr", cache(), "n", "many"}, {"usage", "many"});
  Fails(2, {"set", cache(), "n", "many", "--int"}, {"kParseError", "many"});
  Fails(2, {"get", cache(), "a", "--key-base64"}, {"KEY", "base64"});
  Fails(2, {"fill", cache(), Path("a"), "--bogus"}, {"usage", "--bogus"});
  Fails(2, {"bench", cache(), "--mix", "1/2"}, {"--mix", "90/9/1"});
  Fails(2, {"bench", cache(), "--distribution", "zipf:"}, {"zipf:0.99"});
  Fails(2, {"bench", cache(), "--value-size", "9..1"}, {"--value-size"});
  EXPECT_FALSE(std::filesystem::exists(cache()));
}

TEST_F(CliBadInput, ANumberThatIsNoneIsAUsageError) {
  for (const char* cost :
       {"nan", "inf", "-inf", "-5", "1e39", "0x10", "", " 1", "1 "}) {
    Fails(2, {"set", cache(), "k", "v", "--cost", cost}, {"--cost", "number"});
  }
  const std::string file = Path("trace.csv");
  const std::vector<std::vector<std::string>> lines = {
      {"set", cache(), "k", "v", "--if-version"},
      {"incr", cache(), "n", "--initial"},
      {"keys", cache(), "--limit"},
      {"top", cache(), "--once", "--interval"},
      {"fill", cache(), Path("a"), "-j"},
      {"bench", cache(), "--threads"},
      {"bench", cache(), "--processes"},
      {"bench", cache(), "--keys"},
      {"bench", cache(), "--operations"},
      {"bench", cache(), "--warmup"},
      {"bench", cache(), "--seconds"},
      {"bench", cache(), "--seed"},
      {"torture", cache(), "--processes"},
      {"torture", cache(), "--seconds"},
      {"torture", cache(), "--kill-every"},
      {"torture", cache(), "--hang-after"},
      {"torture", cache(), "--round-seconds"},
      {"torture", cache(), "--seed"},
      {"replay", file, "--skip-bad"},
      {"replay", file, "--limit"},
      {"replay", file, "--tolerance"},
      {"replay", file, "--threads"},
      {"replay", file, "--buckets"},
      {"replay", file, "--seed"}};
  for (const std::vector<std::string>& line : lines) {
    for (const char* number :
         {"nan", "inf", "99999999999999999999999999", "0x10", ""}) {
      std::vector<std::string> words = line;
      words.emplace_back(number);
      Fails(2, words, {line.back().substr(line.back() == "-j" ? 1 : 0)});
    }
    std::vector<std::string> negative = line;
    negative.back() += line.back() == "-j" ? "-1" : "=-1";
    if (line.back() != "--initial") Fails(2, negative, {"-1"});
  }
  Fails(2, {"incr", cache(), "n", "--", "-9223372036854775809"}, {"number"});
  EXPECT_FALSE(std::filesystem::exists(cache()));
}

TEST_F(CliBadInput, AFullStandardOutputIsAnError) {
  Ok({"set", cache(), "key", "value"});
  const std::string command = std::string(LARDER_COMMAND) + " get " + cache() +
                              " key >/dev/full 2>" + Path("full");
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 3);
  EXPECT_NE(ReadFile(Path("full")).find("kIoError"), std::string::npos);
}

}  // namespace
}  // namespace larder::testing
