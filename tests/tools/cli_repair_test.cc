#include <filesystem>
#include <string>

#include "larder_command.h"

namespace larder::testing {
namespace {

namespace fs = std::filesystem;

class CliRepair : public LarderCommand {
 protected:
  void Fill() {
    Ok({"set", cache(), "key", std::string(3000, 'v')});
    Ok({"set", cache(), "other", std::string(3000, 'w')});
  }
};

TEST_F(CliRepair, ARefusalNamesRepairWhichEndsInAnOpenCache) {
  for (const char* lost : {"db/CURRENT", "db", "larder.format"}) {
    Fill();
    fs::remove_all(fs::path(cache()) / lost);
    Fails(3, {"get", cache(), "key"}, {"kCorruption", "larder repair"});
    Fails(3, {"get", cache(), "key"}, {"kCorruption", "larder repair"});
    EXPECT_EQ(OkJson({"repair", cache()})["ok"], true) << lost;
    EXPECT_EQ(Ok({"get", cache(), "key"}), std::string(3000, 'v')) << lost;
    EXPECT_EQ(OkJson({"check", cache()})["ok"], true) << lost;
  }
}

TEST_F(CliRepair, CheckWithRepairIsTheSame) {
  Fill();
  fs::remove(fs::path(cache()) / "db" / "CURRENT");
  EXPECT_EQ(OkJson({"check", cache(), "--repair"})["ok"], true);
  EXPECT_EQ(Ok({"get", cache(), "key"}), std::string(3000, 'v'));
}

// It is whole, so the advice is to use a newer larder; reset would do.
TEST_F(CliRepair, ANewerFormatIsNotAdvisedToBeReset) {
  Fill();
  WriteFile(cache() + "/larder.format", "larder format 9\n");
  Fails(3, {"repair", cache()}, {"kUnsupportedFormat", "upgrade larder"});
  EXPECT_EQ(Run({"repair", cache()}).err.find("reset"), std::string::npos);
  EXPECT_EQ(OkJson({"reset", cache(), "--yes"})["reset"], true);
  EXPECT_EQ(OkJson({"stats", cache()})["count"], 0);
}

TEST_F(CliRepair, ResetAsksWhoeverIsThere) {
  Fill();
  Fails(2, {"reset", cache()}, {"all items and settings", "--yes"});
  EXPECT_EQ(OkJson({"stats", cache()})["count"], 2);
  EXPECT_EQ(OkJson({"reset", cache(), "--yes"})["reset"], true);
  EXPECT_EQ(OkJson({"stats", cache()})["count"], 0);
}

TEST_F(CliRepair, ResetLeavesOtherDirectoriesAlone) {
  const std::string foreign = Path("foreign");
  WriteFile(foreign + "/thesis.txt", "years of work");
  Fails(3, {"reset", foreign, "--yes"}, {"kForeignDirectory"});
  Fails(3, {"repair", foreign}, {"kForeignDirectory"});
  EXPECT_TRUE(fs::exists(foreign + "/thesis.txt"));
  Fails(3, {"reset", Path("none"), "--yes"}, {"kNotFound"});
}

}  // namespace
}  // namespace larder::testing
