// What several processes make of one directory, by way of OpenEngine.

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "larder/engine/engine.h"

#include "engine/directory/directory_fixture.h"

namespace larder {
namespace {

constexpr int kChildren = 4;

class DirectoryProcessTest : public DirectoryFixture {
 protected:
  /// What `kChildren` processes that run `say` at once have to say.
  static std::vector<std::string> AllSay(
      const std::function<std::string()>& say) {
    int lines[2];
    EXPECT_EQ(::pipe(lines), 0);
    std::vector<pid_t> children;
    for (int i = 0; i < kChildren; ++i) {
      const pid_t child = ::fork();
      if (child == 0) {
        const std::string line = say() + "\n";
        ::_exit(::write(lines[1], line.data(), line.size()) ==
                        static_cast<ssize_t>(line.size())
                    ? 0
                    : 2);
      }
      children.push_back(child);
    }
    ::close(lines[1]);
    std::string all;
    char buffer[4096];
    for (ssize_t size = 0;
         (size = ::read(lines[0], buffer, sizeof(buffer))) > 0;) {
      all.append(buffer, static_cast<std::size_t>(size));
    }
    ::close(lines[0]);
    for (const pid_t child : children) {
      int status = -1;
      ::waitpid(child, &status, 0);
      EXPECT_EQ(status, 0);
    }
    std::vector<std::string> said;
    for (std::size_t at = 0, end = 0;
         (end = all.find('\n', at)) != std::string::npos; at = end + 1) {
      said.push_back(all.substr(at, end - at));
    }
    return said;
  }
};

// The child adds one to a counter and says what the directory is.
std::string AddOne(const std::filesystem::path& path) {
  auto engine = OpenEngine(path);
  if (!engine) return engine.error().ToString();
  const Command command = IncrCommand{.key = "count", .delta = 1};
  Reply reply;
  const Status status = (*engine)->Execute({&command, 1}, {&reply, 1});
  if (!status.ok()) return status.ToString();
  if (!reply.status.ok()) return reply.status.ToString();
  const Status closed = (*engine)->Close();
  if (!closed.ok()) return closed.ToString();
  const auto directory =
      CacheDirectory::Open(path, OpenMode::kReadOnly, false, {});
  return directory ? (*directory)->id() : directory.error().ToString();
}

// All of them create it, or find it made; nobody is turned away, and nothing
// that any of them does is lost.
TEST_F(DirectoryProcessTest, RacingCreatorsShareOneCache) {
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    const auto at = temporary_.path() / std::to_string(round);
    const std::vector<std::string> ids = AllSay([&] { return AddOne(at); });
    ASSERT_EQ(ids.size(), static_cast<std::size_t>(kChildren));
    for (const std::string& id : ids) EXPECT_EQ(id, ids.front());
    EXPECT_EQ(ids.front().size(), 32U) << ids.front();
    auto engine = OpenEngine(at, {.mode = OpenMode::kExisting});
    ASSERT_TRUE(engine.has_value()) << engine.error().ToString();
    const Command command = IncrCommand{.key = "count", .delta = 0};
    Reply reply;
    ASSERT_TRUE((*engine)->Execute({&command, 1}, {&reply, 1}).ok());
    EXPECT_EQ(reply.integer, kChildren);
  }
}

// Two copies of one directory are two caches.
TEST_F(DirectoryProcessTest, CopyOfAnOpenCacheIsACacheOfItsOwn) {
  auto original = OpenEngine(path());
  ASSERT_TRUE(original.has_value()) << original.error().ToString();
  const Command before = SetCommand{.key = "key", .value = "original"};
  Reply reply;
  ASSERT_TRUE((*original)->Execute({&before, 1}, {&reply, 1}).ok());
  ASSERT_TRUE((*original)->Close().ok());
  original = OpenEngine(path());
  ASSERT_TRUE(original.has_value()) << original.error().ToString();
  const auto copy_path = temporary_.path() / "copy";
  std::filesystem::copy(path(), copy_path,
                        std::filesystem::copy_options::recursive);
  auto copy = OpenEngine(copy_path);
  ASSERT_TRUE(copy.has_value()) << copy.error().ToString();
  const Command change = SetCommand{.key = "key", .value = "copied"};
  ASSERT_TRUE((*copy)->Execute({&change, 1}, {&reply, 1}).ok());
  // The original's shared memory is still there for whoever comes.
  auto second = OpenEngine(path());
  ASSERT_TRUE(second.has_value()) << second.error().ToString();
  const Command get = GetCommand{.key = "key"};
  Reply got;
  ASSERT_TRUE((*second)->Execute({&get, 1}, {&got, 1}).ok());
  EXPECT_EQ(got.value.ToString(), "original");
}

TEST_F(DirectoryProcessTest, ReadOnlyOpensBesideAHolder) {
  const auto holder = OpenEngine(path());
  ASSERT_TRUE(holder.has_value());
  const auto reader = OpenEngine(path(), {.mode = OpenMode::kReadOnly});
  EXPECT_TRUE(reader.has_value());
}

// Whatever is refused leaves no trace, also of the meeting of processes.
TEST_F(DirectoryProcessTest, RefusedOpenLeavesNothingBehind) {
  WriteFile(temporary_.path() / "file", "not a directory");
  std::filesystem::create_directory(path());
  const auto before = Everything();
  EXPECT_EQ(OpenEngine(temporary_.path()).error().code(),
            StatusCode::kForeignDirectory);
  EXPECT_EQ(OpenEngine(temporary_.path() / "file").error().code(),
            StatusCode::kNotADirectory);
  EXPECT_EQ(OpenEngine(path(), {.mode = OpenMode::kExisting}).error().code(),
            StatusCode::kNotFound);
  EXPECT_EQ(OpenEngine(path(), {.settings = {{"no_such_setting", "1"}}})
                .error()
                .code(),
            StatusCode::kInvalidArgument);
  // Here it gets as far as the seat: the store cannot be made.
  WriteFile(path() / "regions", "in the way");
  const auto with_file = Everything();
  EXPECT_FALSE(OpenEngine(path(), {.region_directory = "/nowhere"}));
  EXPECT_EQ(Everything(), with_file);
  std::filesystem::remove(path() / "regions");
  EXPECT_EQ(Everything(), before);
}

}  // namespace
}  // namespace larder
