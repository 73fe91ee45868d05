#include <cstdlib>
#include <filesystem>
#include <string>

#include "larder_command.h"

namespace larder::testing {
namespace {

using TortureCommand = LarderCommand;

// LARDER_TORTURE_SECONDS: how long; 60 in continuous integration.
std::string Seconds() {
  const char* const seconds = std::getenv("LARDER_TORTURE_SECONDS");
  return seconds == nullptr ? "5" : seconds;
}

void ExpectNothingLost(const Outcome& outcome) {
  ASSERT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  const auto proof = outcome.json();
  for (const char* name : {"lost", "repeated", "stale", "torn", "split", "hung",
                           "died", "values_damaged", "values_missing"}) {
    EXPECT_EQ(proof.at(name), 0) << name;
  }
  EXPECT_TRUE(proof.at("counters_match"));
  EXPECT_EQ(proof.at("count_ledger"), proof.at("count_recount"));
  EXPECT_EQ(proof.at("bytes_ledger"), proof.at("bytes_recount"));
  EXPECT_GT(proof.at("acknowledged"), 100);
  EXPECT_GT(proof.at("holders_killed"), 0);
}

TEST_F(TortureCommand, NothingAcknowledgedIsLostToKills) {
  ExpectNothingLost(Run({"torture", cache(), "--json", "--processes", "4",
                         "--seconds", Seconds(), "--kill-every", "200"}));
}

TEST_F(TortureCommand, StoppedProcessesHarmNobody) {
  ExpectNothingLost(
      Run({"torture", cache(), "--json", "--processes", "4", "--seconds", "4",
           "--kill-every", "200", "--stop", "--seed", "2"}));
}

}  // namespace
}  // namespace larder::testing
