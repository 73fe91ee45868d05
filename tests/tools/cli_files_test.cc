#include <filesystem>
#include <string>
#include <thread>

#include <sys/stat.h>

#include "larder_command.h"

namespace larder::testing {
namespace {

class CliFiles : public LarderCommand {
 protected:
  // A small tree with all that a walk may meet.
  void MakeSource() {
    WriteFile(source() + "/a.txt", "hello");
    WriteFile(source() + "/empty", "");
    WriteFile(source() + "/sub/lib.so.1", std::string(50'000, 's'));
    WriteFile(source() + "/sub/.hidden", "h");
    std::string big(3'000'000, 'b');
    big[1'500'000] = 'B';
    WriteFile(source() + "/sub/big.bin", big);
    std::filesystem::create_symlink("a.txt", source() + "/link");
    std::filesystem::create_symlink(".", source() + "/loop");
    ASSERT_EQ(::mkfifo((source() + "/pipe").c_str(), 0600), 0);
  }
  [[nodiscard]] std::string source() const { return Path("source"); }
};

TEST_F(CliFiles, FillCachesEveryRegularFile) {
  MakeSource();
  auto report = OkJson({"fill", cache(), source()});
  EXPECT_EQ(report["files"], 5);
  EXPECT_EQ(report["bytes"], 5 + 50'000 + 1 + 3'000'000);
  EXPECT_EQ(report["count"], 5);
  EXPECT_EQ(Ok({"get", cache(), source() + "/a.txt"}), "hello");
  EXPECT_EQ(Ok({"get", cache(), source() + "/empty"}), "");
  EXPECT_TRUE(Ok({"get", cache(), source() + "/sub/big.bin"}) ==
              ReadFile(source() + "/sub/big.bin"));
  EXPECT_EQ(Run({"get", cache(), source() + "/link"}).exit_code, 1);
}

TEST_F(CliFiles, FillTagsByExtension) {
  MakeSource();
  Ok({"fill", cache(), source()});
  EXPECT_EQ(Ok({"keys", cache(), "--tag", "txt"}), source() + "/a.txt\n");
  EXPECT_EQ(Ok({"keys", cache(), "--tag", "1"}), source() + "/sub/lib.so.1\n");
  EXPECT_EQ(OkJson({"inspect", cache(), source() + "/sub/.hidden"})["tag"], "");
}

TEST_F(CliFiles, FillVerifiesWhatItStored) {
  MakeSource();
  auto verify =
      OkJson({"fill", cache(), source(), "--verify", "--jobs", "3"})["verify"];
  EXPECT_EQ(verify["hits"], 5);
  EXPECT_EQ(verify["misses"], 0);
  EXPECT_EQ(verify["verified"], 5);
  EXPECT_EQ(verify["mismatched"], 0);
  EXPECT_EQ(verify["changed"], 0);
  EXPECT_EQ(verify["hit_ratio"], 1.0);
}

TEST_F(CliFiles, FillOfMoreThanTheLimitEvictsAndVerifiesTheRest) {
  for (int i = 0; i < 500; ++i) {
    WriteFile(source() + "/" + std::to_string(i),
              std::string(100'000, static_cast<char>('a' + i % 26)));
  }
  auto report =
      OkJson({"fill", cache(), source(), "--size-limit", "32MiB", "--verify"});
  EXPECT_EQ(report["files"], 500);
  EXPECT_GT(report["evictions"], 100);
  EXPECT_GT(report["verify"]["misses"], 0);
  EXPECT_EQ(report["verify"]["verified"], report["verify"]["hits"]);
  EXPECT_GT(report["verify"]["hit_ratio"], 0.4);
  EXPECT_LT(report["disk_bytes"], 36 << 20);
}

TEST_F(CliFiles, FillStoresValuesAlmostAsLargeAsTheCache) {
  for (int i = 0; i < 4; ++i) {
    WriteFile(source() + "/large" + std::to_string(i),
              std::string(10'000'000, 'l'));
  }
  for (int i = 0; i < 300; ++i) {
    WriteFile(source() + "/" + std::to_string(i), std::string(30'000, 's'));
  }
  auto report = OkJson({"fill", cache(), source(), "--size-limit", "16MiB",
                        "--jobs", "4", "--verify"});
  EXPECT_EQ(report["files"], 304);
  EXPECT_EQ(report["verify"]["verified"], report["verify"]["hits"]);
}

TEST_F(CliFiles, FillCountsWhatFindsNoRoomAndGoesOn) {
  for (int i = 0; i < 12; ++i) {
    WriteFile(source() + "/large" + std::to_string(i),
              std::string(2'000'000, 'l'));
  }
  for (int i = 0; i < 9; ++i) {
    WriteFile(source() + "/small" + std::to_string(i), std::string(900, 's'));
  }
  const Outcome outcome =
      Run({"fill", cache(), source(), "--size-limit", "16MiB", "--setting",
           "when_full=fail", "--json"});
  EXPECT_EQ(outcome.exit_code, 3);
  auto report = outcome.json();
  const int without = report["no_room"];
  EXPECT_GT(without, 4);
  EXPECT_LT(without, 9);
  EXPECT_EQ(report["no_room_bytes"], without * 2'000'000);
  EXPECT_EQ(report["files"], 21 - without);
  EXPECT_NE(outcome.err.find(std::to_string(without) + " items found no room"),
            std::string::npos)
      << outcome.err;
  // What there is of it goes into another one.
  const std::string file = Path("export.larder");
  Ok({"export", cache(), file});
  const Outcome import =
      Run({"import", Path("copy"), file, "--setting", "when_full=fail",
           "--size-limit", "16MiB", "--json"});
  EXPECT_EQ(import.json()["items"], 21 - without) << import.err;
}

TEST_F(CliFiles, ValuesOfNearlyTheLimitAreFilledIn) {
  for (int i = 0; i < 400; ++i) {
    WriteFile(source() + "/a" + std::to_string(i),
              std::string(100'000 + 100 * i, 's'));
  }
  WriteFile(source() + "/b", std::string(20'000'000, 'l'));
  WriteFile(source() + "/c", std::string(21'000'000, 'l'));
  auto report = OkJson({"fill", cache(), source(), "--size-limit", "24MiB"});
  EXPECT_EQ(report["files"], 402);
  EXPECT_EQ(report["no_room"], 0);
}

TEST_F(CliFiles, FillLeavesOutWhatIsTooLargeAndGoesOn) {
  WriteFile(source() + "/large", std::string(2'000'000, 'l'));
  WriteFile(source() + "/small", "s");
  auto report =
      OkJson({"fill", cache(), source(), "--setting", "item_size_limit=1MB"});
  EXPECT_EQ(report["files"], 1);
  EXPECT_EQ(report["too_large"], 1);
  EXPECT_EQ(Ok({"keys", cache()}), source() + "/small\n");
}

TEST_F(CliFiles, FillCountsAPathThatIsGoneAndGoesOn) {
  WriteFile(source() + "/a", "v");
  const Outcome outcome =
      Run({"fill", cache(), source(), Path("vanished"), "--json"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.json()["files"], 1);
  EXPECT_EQ(outcome.json()["vanished"], 1);
  EXPECT_NE(outcome.err.find(Path("vanished")), std::string::npos);
}

TEST_F(CliFiles, FillCountsAFileThatCannotBeReadAndGoesOn) {
  WriteFile(source() + "/a", "v");
  // Reading the first page of one's own memory fails, for root too.
  const Outcome outcome =
      Run({"fill", cache(), "/proc/self/mem", source(), "--json"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.json()["files"], 1);
  EXPECT_EQ(outcome.json()["unreadable"], 1);
  EXPECT_NE(outcome.err.find("/proc/self/mem"), std::string::npos);
}

TEST_F(CliFiles, FillOfNothingThatIsThereFailsAndMakesNoCache) {
  Fails(3, {"fill", cache(), Path("vanished")}, {"kNotFound", "vanished"});
  EXPECT_FALSE(std::filesystem::exists(cache()));
}

TEST_F(CliFiles, FillDoesNotCacheItsOwnDirectory) {
  WriteFile(Path("tree/a"), "v");
  auto report = OkJson({"fill", Path("tree/cache"), Path("tree")});
  EXPECT_EQ(report["files"], 1);
}

TEST_F(CliFiles, FillCompressesWhereTheSettingsSaySo) {
  WriteFile(source() + "/a", std::string(200'000, 'z'));
  auto report = OkJson(
      {"fill", cache(), source(), "--verify", "--setting", "compression=zstd"});
  EXPECT_EQ(report["verify"]["verified"], 1);
  auto item = OkJson({"inspect", cache(), source() + "/a"});
  EXPECT_LT(item["size_bytes"], 2000);
  EXPECT_EQ(item["codec"], "compressed bytes");
}

// A cache with one item of each kind that an export keeps.
class CliTransfer : public CliFiles {
 protected:
  void MakeCache() {
    Ok({"set", cache(), "plain", "value", "--tag", "t"});
    Ok({"set", cache(), "timed", "value", "--ttl", "1h"});
    Ok({"set", cache(), "AP8=", "value", "--key-base64"});
    Ok({"incr", cache(), "number", "42"});
    Ok({"set", cache(), "big", "-"}, std::string(5'000'000, 'b'));
    Ok({"set", cache(), "pinned", "value", "--pin"});
  }
  [[nodiscard]] std::string file() const { return Path("export.larder"); }
  [[nodiscard]] std::string copy() const { return Path("copy"); }
};

TEST_F(CliTransfer, ImportGivesBackWhatExportWrote) {
  MakeCache();
  EXPECT_EQ(OkJson({"export", cache(), file()})["items"], 6);
  EXPECT_EQ(OkJson({"import", copy(), file()})["items"], 6);
  EXPECT_EQ(Ok({"keys", copy(), "-0"}), Ok({"keys", cache(), "-0"}));
  EXPECT_TRUE(Ok({"get", copy(), "big"}) == std::string(5'000'000, 'b'));
  EXPECT_EQ(Ok({"incr", copy(), "number"}), "43\n");
  EXPECT_EQ(OkJson({"inspect", copy(), "plain"})["tag"], "t");
  EXPECT_EQ(OkJson({"inspect", copy(), "pinned"})["pinned"], true);
  EXPECT_NEAR(OkJson({"inspect", copy(), "timed"})["ttl_seconds"], 3600.0,
              120.0);
}

TEST_F(CliTransfer, ExportCompressesByNameOrOption) {
  MakeCache();
  auto plain = OkJson({"export", cache(), file()});
  auto zstd = OkJson({"export", cache(), file() + ".zst"});
  EXPECT_LT(zstd["file_bytes"], plain["file_bytes"].get<int>() / 10);
  EXPECT_EQ(OkJson({"import", copy(), file() + ".zst"})["items"], 6);
}

TEST_F(CliTransfer, ExportAndImportGoThroughPipes) {
  MakeCache();
  const std::string bytes = Ok({"export", cache(), "-"});
  EXPECT_EQ(OkJson({"import", copy(), "-"}, bytes)["items"], 6);
}

TEST_F(CliTransfer, ExportGoesOverManyItemsAndTheLongestKey) {
  for (int i = 0; i < 1100; ++i) {
    WriteFile(source() + "/" + std::to_string(i), std::string(20'000, 'm'));
  }
  Ok({"fill", cache(), source(), "--size-limit", "64MiB"});
  Ok({"set", cache(), std::string(65536, '~'), "value"});
  EXPECT_EQ(OkJson({"export", cache(), file()})["items"], 1101);
  EXPECT_EQ(OkJson({"import", copy(), file()})["items"], 1101);
  EXPECT_EQ(Ok({"keys", copy()}), Ok({"keys", cache()}));
}

TEST_F(CliTransfer, ExportTakesAPrefixOrATag) {
  Ok({"set", cache(), "a1", "v", "--tag", "t"});
  Ok({"set", cache(), "a2", "v"});
  Ok({"set", cache(), "b1", "v", "--tag", "t"});
  EXPECT_EQ(OkJson({"export", cache(), file(), "--prefix", "a"})["items"], 2);
  EXPECT_EQ(OkJson({"export", cache(), file(), "--tag", "t"})["items"], 2);
}

TEST_F(CliTransfer, ExportIsNoHit) {
  Ok({"set", cache(), "key", "value"});
  Ok({"export", cache(), file()});
  EXPECT_EQ(OkJson({"stats", cache()})["hits"], 0);
}

TEST_F(CliTransfer, ImportIfAbsentKeepsWhatIsThere) {
  Ok({"set", cache(), "key", "exported"});
  Ok({"export", cache(), file()});
  Ok({"set", copy(), "key", "kept"});
  auto report = OkJson({"import", copy(), file(), "--if-absent"});
  EXPECT_EQ(report["items"], 0);
  EXPECT_EQ(report["kept"], 1);
  EXPECT_EQ(Ok({"get", copy(), "key"}), "kept");
}

TEST_F(CliTransfer, ImportOfATruncatedFileStoresWholeItemsAndFails) {
  MakeCache();
  Ok({"export", cache(), file()});
  std::filesystem::resize_file(file(), 3'000'000);
  Fails(3, {"import", copy(), file()}, {"kCorruption", "truncated", file()});
  EXPECT_EQ(OkJson({"check", copy()})["ok"], true);
  EXPECT_EQ(Run({"get", copy(), "big"}).exit_code, 1);
}

TEST_F(CliTransfer, ImportOfEveryFlippedByteIsNoticed) {
  Ok({"set", cache(), "key", "value", "--tag", "t"});
  Ok({"export", cache(), file()});
  const std::string bytes = ReadFile(file());
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    WriteFile(file(), damaged);
    EXPECT_EQ(Run({"import", copy(), file()}).exit_code, 3) << "byte " << i;
  }
}

TEST_F(CliTransfer, ImportOfAForeignFileChangesNothing) {
  WriteFile(file(), "something else, long enough for a header of 32 bytes");
  Fails(3, {"import", copy(), file()}, {"kCorruption", file()});
  EXPECT_FALSE(std::filesystem::exists(copy()));
}

TEST_F(CliTransfer, ImportOfANewerFileIsRefused) {
  MakeCache();
  Ok({"export", cache(), file()});
  std::string bytes = ReadFile(file());
  bytes[8] = 2;
  WriteFile(file(), bytes);
  Fails(3, {"import", copy(), file()}, {"kUnsupportedFormat", "version 2"});
}

TEST_F(CliTransfer, AFailedExportLeavesNoFile) {
  Ok({"set", cache(), "key", "value"});
  Fails(3, {"export", cache(), Path("missing/file")}, {"kNotFound", "missing"});
  EXPECT_FALSE(std::filesystem::exists(Path("missing")));
}

TEST_F(CliTransfer, ExportWritesIntoAPipe) {
  MakeCache();
  ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);
  std::string bytes;
  std::thread reader([&] { bytes = ReadFile(file()); });
  Ok({"export", cache(), file()});
  reader.join();
  EXPECT_TRUE(std::filesystem::is_fifo(file()));
  EXPECT_EQ(OkJson({"import", copy(), "-"}, bytes)["items"], 6);
}

TEST_F(CliTransfer, ExportKeepsALinkAndTheModeOfItsTarget) {
  MakeCache();
  const std::string target = Path("target");
  std::filesystem::create_symlink("target", file());
  Ok({"export", cache(), file()});  // It is not there yet.
  EXPECT_TRUE(std::filesystem::is_symlink(file()));
  std::filesystem::permissions(target, std::filesystem::perms(0600));
  Ok({"export", cache(), file()});
  EXPECT_TRUE(std::filesystem::is_symlink(file()));
  EXPECT_EQ(std::filesystem::status(target).permissions(),
            std::filesystem::perms(0600));
  EXPECT_EQ(OkJson({"import", copy(), target})["items"], 6);
}

// Its standard output is a regular file here, and has a place in it.
TEST_F(CliTransfer, ExportToTheNameOfStandardOutputIsStandardOutput) {
  MakeCache();
  // As /dev/stdout is, which this test must not replace if it fails.
  std::filesystem::create_symlink("/proc/self/fd/1", file());
  const std::string bytes = Ok({"export", cache(), file()});
  EXPECT_EQ(OkJson({"import", copy(), "-"}, bytes)["items"], 6);
  Fails(2, {"export", cache(), file(), "--json"}, {"--json"});
}

TEST_F(CliTransfer, ExportToADescriptorThatIsNotOpenWritesNowhere) {
  MakeCache();
  Fails(3, {"export", cache(), "/dev/fd/9"}, {"/dev/fd/9"});
  EXPECT_EQ(OkJson({"check", cache()})["ok"], true);
}

TEST_F(CliTransfer, ExportIntoACacheIsRefused) {
  MakeCache();
  std::filesystem::create_symlink(cache() + "/larder.format", file());
  const std::string stamp = ReadFile(cache() + "/larder.format");
  for (const std::string& name : {cache() + "/log/new", file()}) {
    Fails(3, {"export", cache(), name}, {"kInvalidArgument", "is a cache"});
  }
  EXPECT_EQ(ReadFile(cache() + "/larder.format"), stamp);
}

TEST_F(CliTransfer, ExportLeavesAFileNamedPartialAlone) {
  MakeCache();
  WriteFile(file() + ".partial", "mine");
  Ok({"export", cache(), file()});
  EXPECT_EQ(ReadFile(file() + ".partial"), "mine");
  EXPECT_EQ(OkJson({"import", copy(), file()})["items"], 6);
}

// gnuplot would run it.
TEST_F(CliFiles, APlotIsAFileWhateverItsNameIs) {
  WriteFile(Path("trace.csv"), "1,a,1,get,0\n2,b,1,get,0\n");
  std::filesystem::create_directory(Path("work"));
  const std::string line = "cd " + Path("work") + " && " + LARDER_COMMAND +
                           " replay ../trace.csv --size 1 --no-progress "
                           "--plot '|touch ran' > ../out 2>&1";
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0) {
    GTEST_SKIP() << "no gnuplot";
  }
  EXPECT_EQ(std::system(line.c_str()), 0) << ReadFile(Path("out"));
  EXPECT_TRUE(std::filesystem::exists(Path("work/|touch ran")));
  EXPECT_FALSE(std::filesystem::exists(Path("work/ran")));
}

TEST_F(CliFiles, RecordedCommandIsReplayed) {
  const std::string trace = Path("t.csv");
  for (int i = 0; i < 800; ++i) {
    WriteFile(source() + "/" + std::to_string(i), "value");
  }
  Ok({"record", cache(), trace, "--", LARDER_COMMAND, "fill", cache(), source(),
      "--verify"});
  const auto report =
      OkJson({"replay", trace, "--policy", "gdsf", "--size", "50%"});
  EXPECT_GT(report["results"][0]["requests"], 1500);
  EXPECT_EQ(report["advice"][0]["policy"], "gdsf");
  // Another cache than the one that was named is not recorded.
  const std::string other = Path("other.csv");
  Ok({"record", Path("elsewhere"), other, "--", LARDER_COMMAND, "stats",
      cache()});
  EXPECT_FALSE(std::filesystem::exists(other));
  Fails(3, {"record", cache(), trace, "--", Path("missing")},
        {"kNotFound", "missing"});
}

}  // namespace
}  // namespace larder::testing
