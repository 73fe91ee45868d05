// The command without standard input, output or error.

#include <cstdlib>
#include <string>

#include <sys/wait.h>

#include "larder_command.h"

namespace larder::testing {
namespace {

class CliClosedStdio : public LarderCommand {
 protected:
  void SetUp() override { Ok({"set", cache(), "key", "precious"}); }
  // Runs `larder WORDS` with the shell's redirections; the exit code.
  int Shell(const std::string& words, const std::string& redirections) {
    const std::string line =
        std::string(LARDER_COMMAND) + " " + words + " " + redirections +
        (redirections.find("2>") == std::string::npos ? " 2>/dev/null" : "");
    const int state = std::system(line.c_str());
    return WIFEXITED(state) ? WEXITSTATUS(state) : -WTERMSIG(state);
  }
  void ExpectUnchanged() {
    EXPECT_EQ(Ok({"get", cache(), "key"}), "precious");
    EXPECT_EQ(ReadFile(cache() + "/seat.lock"), "");
  }
};

TEST_F(CliClosedStdio, AnInputThatCannotBeReadChangesNothing) {
  WriteFile(Path("output"), "");
  for (const std::string& input :
       {std::string("<&-"), "< " + Path(""), "0> " + Path("output")}) {
    for (const char* closed : {"", " >&-", " 2>&-", " >&- 2>&-"}) {
      EXPECT_EQ(Shell("set " + cache() + " key -", input + closed), 3);
      EXPECT_EQ(Shell("import " + cache() + " -", input + closed), 3);
      EXPECT_EQ(Shell("set " + Path("new") + " key -", input + closed), 3);
    }
  }
  ExpectUnchanged();
  EXPECT_FALSE(std::filesystem::exists(Path("new")));
}

TEST_F(CliClosedStdio, AResultThatCannotBePrintedIsAnError) {
  for (const char* closed : {">&-", "<&- >&-", "<&- >&- 2>&-"}) {
    for (const char* command : {"get", "inspect"}) {
      EXPECT_EQ(Shell(command + (" " + cache()) + " key", closed), 3);
    }
    for (const char* command : {"keys", "stats", "check", "settings"}) {
      EXPECT_EQ(Shell(command + (" " + cache()), closed), 3) << command;
    }
    EXPECT_EQ(Shell("export " + cache() + " -", closed), 3);
  }
  ExpectUnchanged();
}

TEST_F(CliClosedStdio, WhatNeedsNoneOfThemWorks) {
  for (const char* closed : {"<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-",
                             ">&- 2>&-", "<&- >&- 2>&-"}) {
    EXPECT_EQ(Shell("set " + cache() + " other 'a value'", closed), 0);
    EXPECT_EQ(Ok({"get", cache(), "other"}), "a value");
    EXPECT_EQ(Shell("delete " + cache() + " other", closed), 0) << closed;
  }
  ExpectUnchanged();
}

}  // namespace
}  // namespace larder::testing
