#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <sys/wait.h>

// The example of README.md is a program that compiles, runs and prints what
// the README says.

namespace {

std::string ReadFile(const char* path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ReadmeExample, IsInTheReadmeWordForWord) {
  const std::string example = ReadFile(LARDER_README_EXAMPLE_SOURCE);
  ASSERT_FALSE(example.empty());
  EXPECT_NE(ReadFile(LARDER_README).find("```cpp\n" + example + "```\n"),
            std::string::npos)
      << "README.md must contain tests/docs/readme_example.cc as it is";
}

TEST(ReadmeExample, RunsAndPrintsTheGreeting) {
  std::FILE* const program = ::popen(LARDER_README_EXAMPLE_PROGRAM, "r");
  ASSERT_NE(program, nullptr);
  std::string output;
  std::array<char, 256> buffer;
  while (std::fgets(buffer.data(), buffer.size(), program) != nullptr) {
    output += buffer.data();
  }
  const int status = ::pclose(program);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(output, "hello\n1 visit\n");
}

}  // namespace
