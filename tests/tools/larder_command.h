#ifndef LARDER_TESTS_TOOLS_LARDER_COMMAND_H_
#define LARDER_TESTS_TOOLS_LARDER_COMMAND_H_

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "read_file.h"
#include "temporary_directory.h"

extern char** environ;

namespace larder::testing {

/// What a run of the larder command left behind.
struct Outcome {
  int exit_code = -1;
  std::string out;
  std::string err;

  /// Standard output as JSON; a test fails if it is not.
  [[nodiscard]] nlohmann::json json() const {
    auto parsed = nlohmann::json::parse(out, nullptr, false);
    EXPECT_FALSE(parsed.is_discarded()) << "not JSON: " << out << err;
    return parsed;
  }
};

inline void WriteFile(const std::filesystem::path& path,
                      std::string_view bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.flush().good()) << path;
}

/// The command itself, run on caches in a directory of the test's own.
class LarderCommand : public ::testing::Test {
 protected:
  /// Starts `larder ARGUMENTS...` with `input` as standard input, and with what
  /// this process may ignore not ignored; the process. It is to be waited for.
  pid_t Start(const std::vector<std::string>& arguments,
              std::string_view input = {}) {
    WriteFile(Path("stdin"), input);
    std::vector<std::string> words = {LARDER_COMMAND};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) {
      argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    constexpr int kWrite = O_WRONLY | O_CREAT | O_TRUNC;
    const std::string in = Path("stdin");
    const std::string out = Path("stdout");
    const std::string err = Path("stderr");
    ::posix_spawn_file_actions_addopen(&files, 0, in.c_str(), O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&files, 1, out.c_str(), kWrite, 0600);
    ::posix_spawn_file_actions_addopen(&files, 2, err.c_str(), kWrite, 0600);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    sigset_t defaults;
    ::sigfillset(&defaults);
    ::posix_spawnattr_setsigdefault(&attributes, &defaults);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    pid_t child = -1;
    const int spawned = ::posix_spawn(&child, argv[0], &files, &attributes,
                                      argv.data(), environ);
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&files);
    EXPECT_EQ(spawned, 0);
    return spawned == 0 ? child : -1;
  }

  /// Runs it to its end.
  Outcome Run(const std::vector<std::string>& arguments,
              std::string_view input = {}) {
    const pid_t child = Start(arguments, input);
    int state = 0;
    while (child > 0 && ::waitpid(child, &state, 0) < 0 && errno == EINTR) {
    }
    EXPECT_TRUE(WIFEXITED(state)) << "signal " << WTERMSIG(state);
    return {WEXITSTATUS(state), ReadFile(Path("stdout")),
            ReadFile(Path("stderr"))};
  }

  /// Runs what has to work; its standard output.
  std::string Ok(const std::vector<std::string>& arguments,
                 std::string_view input = {}) {
    const Outcome outcome = Run(arguments, input);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  }
  nlohmann::json OkJson(std::vector<std::string> arguments,
                        std::string_view input = {}) {
    arguments.emplace_back("--json");
    const Outcome outcome = Run(arguments, input);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.json();
  }

  /// Runs what has to fail with `exit_code` and one line on standard error
  /// that holds all of `parts`, and nothing on standard output.
  void Fails(int exit_code, const std::vector<std::string>& arguments,
             const std::vector<std::string>& parts) {
    const Outcome outcome = Run(arguments);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_TRUE(outcome.err.starts_with("larder: ")) << outcome.err;
    EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
    for (const std::string& part : parts) {
      EXPECT_NE(outcome.err.find(part), std::string::npos)
          << "no '" << part << "' in: " << outcome.err;
    }
  }

  [[nodiscard]] std::string Path(std::string_view name) const {
    return (directory_.path() / name).string();
  }
  /// Where the test's cache is, or will be.
  const std::string& cache() const { return cache_; }

 private:
  TemporaryDirectory directory_;
  std::string cache_ = (directory_.path() / "cache").string();
};

}  // namespace larder::testing

#endif  // LARDER_TESTS_TOOLS_LARDER_COMMAND_H_
