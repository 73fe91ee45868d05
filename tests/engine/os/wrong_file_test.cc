// Something else than a file in each place where a cache has one: Open says so
// at once, with a code of its own, and changes nothing.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "larder/engine/engine.h"

#include "forked_process.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

namespace fs = std::filesystem;

enum class Kind { kDirectory, kPipe, kLink, kLinkToNothing, kSocket };

constexpr int kOpened = 100;
constexpr unsigned kPatienceSeconds = 30;
constexpr std::size_t kLargeSize = 100'000;

void Make(Kind kind, const fs::path& path, const fs::path& moved) {
  switch (kind) {
    case Kind::kDirectory:
      ASSERT_TRUE(fs::create_directory(path));
      break;
    case Kind::kPipe:
      ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
      break;
    case Kind::kLink:
      fs::create_symlink(moved, path);
      break;
    case Kind::kLinkToNothing:
      fs::create_symlink(moved.string() + "-not", path);
      break;
    case Kind::kSocket: {
      const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      path.string().copy(address.sun_path, sizeof(address.sun_path) - 1);
      ASSERT_EQ(
          ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)),
          0);
      ::close(fd);
      break;
    }
  }
}

// What each is, and a hash of what is in it.
using Files = std::map<std::string, std::pair<fs::file_type, std::size_t>>;

class WrongFile
    : public ::testing::TestWithParam<std::tuple<std::string_view, Kind>> {
 protected:
  // In a process of its own, which is ended if it hangs: the code of Open, or
  // kOpened plus whether the values are there.
  int OpenInChild(OpenMode mode) {
    ForkedProcess child([&](const ForkedProcess::Pipe&) {
      ::alarm(kPatienceSeconds);
      EngineOptions options;
      options.mode = mode;
      options.region_directory = regions_.path();
      auto engine = OpenEngine(cache_, options);
      if (!engine) return static_cast<int>(engine.error().code());
      return kOpened + (HasValues(**engine) ? 1 : 0);
    });
    return child.Wait();
  }
  static bool HasValues(Engine& engine) {
    for (const char* key : {"small", "large"}) {
      const Command get = GetCommand{.key = key};
      Reply reply;
      if (!engine.Execute({&get, 1}, {&reply, 1}, {}).ok() || !reply.applied) {
        return false;
      }
    }
    return true;
  }
  void MakeCache() {
    ForkedProcess child([&](const ForkedProcess::Pipe&) {
      EngineOptions options;
      options.region_directory = regions_.path();
      auto engine = OpenEngine(cache_, options);
      if (!engine) return 1;
      const std::string large(kLargeSize, 'l');
      for (const Command& set :
           {Command(SetCommand{.key = "small", .value = "s"}),
            Command(SetCommand{.key = "large", .value = large})}) {
        Reply reply;
        if (!(*engine)->Execute({&set, 1}, {&reply, 1}, {}).ok()) return 2;
      }
      return (*engine)->Close().ok() ? 0 : 3;
    });
    ASSERT_EQ(child.Wait(), 0);
  }
  // The file that a name with at most one * stands for.
  fs::path Find(std::string_view place) const {
    const fs::path pattern = cache_ / place;
    const std::string name = pattern.filename();
    const std::string before = name.substr(0, name.find('*'));
    const std::string after =
        name.substr(std::min(name.size(), before.size() + 1));
    for (const auto& entry : fs::directory_iterator(pattern.parent_path())) {
      const std::string found = entry.path().filename();
      if (found.starts_with(before) && found.ends_with(after)) return entry;
    }
    return {};
  }
  // All but seat.ctl, which says who was here last.
  Files Snapshot() const {
    Files files;
    for (const auto& entry : fs::recursive_directory_iterator(cache_)) {
      if (entry.path() == cache_ / "seat.ctl") continue;
      const fs::file_type type = entry.symlink_status().type();
      std::ostringstream bytes;
      if (type == fs::file_type::regular) {
        bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
      }
      files[entry.path()] = {type, std::hash<std::string>()(bytes.str())};
    }
    return files;
  }

  TemporaryDirectory directory_;
  TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
  const fs::path cache_ = directory_.path() / "cache";
};

TEST_P(WrongFile, IsToldAtOnceAndNothingChanges) {
  const auto [place, kind] = GetParam();
  ASSERT_NO_FATAL_FAILURE(MakeCache());
  const fs::path path = Find(place);
  ASSERT_FALSE(path.empty());
  const fs::path moved = directory_.path() / "moved";
  fs::rename(path, moved);
  ASSERT_NO_FATAL_FAILURE(Make(kind, path, moved));
  const auto before = Snapshot();
  for (const OpenMode mode :
       {OpenMode::kCreate, OpenMode::kExisting, OpenMode::kReadOnly}) {
    EXPECT_EQ(OpenInChild(mode), static_cast<int>(StatusCode::kNotAFile))
        << static_cast<int>(mode);
  }
  EXPECT_EQ(Snapshot(), before);
  fs::remove(path);
  fs::rename(moved, path);
  EXPECT_EQ(OpenInChild(OpenMode::kExisting), kOpened + 1);
}

INSTANTIATE_TEST_SUITE_P(
    All, WrongFile,
    ::testing::Combine(
        ::testing::Values("larder.format", "seat.lock", "seat.ctl", "reserve",
                          "marks", "log/*.seg", "db/CURRENT", "db/MANIFEST-*",
                          "db/OPTIONS-*", "db/IDENTITY", "db/LOCK", "db/*.log",
                          "db/*.sst"),
        ::testing::Values(Kind::kDirectory, Kind::kPipe, Kind::kLink,
                          Kind::kLinkToNothing, Kind::kSocket)));

}  // namespace
}  // namespace larder::testing
