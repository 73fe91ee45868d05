#ifndef LARDER_TESTS_FAULT_DAMAGE_RUN_H_
#define LARDER_TESTS_FAULT_DAMAGE_RUN_H_

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "larder/cache/cache.h"

#include "fault/damage_items.h"
#include "read_file.h"
#include "spawned_process.h"

/// What damage_test and damage_sweep_test share: a directory with all items, a
/// damaged copy of it, and a process that looks at what is left.

namespace larder::testing {

inline void WriteFile(const std::filesystem::path& path,
                      const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/// Files of one kind have one name here: "000012.sst" is "*.sst".
inline std::string KindOf(const std::filesystem::path& file) {
  const std::string name = file.filename();
  for (const char* extension : {".sst", ".log", ".seg", ".ldb"}) {
    if (name.ends_with(extension)) return std::string("*") + extension;
  }
  for (const char* prefix : {"MANIFEST", "OPTIONS", "LOG"}) {
    if (name.starts_with(prefix)) return prefix;
  }
  return name;
}

/// The files below `directory`, by kind, relative to it.
inline std::map<std::string, std::vector<std::filesystem::path>> FilesOf(
    const std::filesystem::path& directory) {
  std::map<std::string, std::vector<std::filesystem::path>> files;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) {
      files[KindOf(entry.path())].push_back(
          std::filesystem::relative(entry.path(), directory));
    }
  }
  for (auto& [kind, of_kind] : files) {
    std::sort(of_kind.begin(), of_kind.end());
  }
  return files;
}

inline void FillForDamage(Cache& cache, int begin, int end) {
  for (int i = begin; i < end; ++i) {
    ASSERT_EQ(
        cache
            .Set(DamageKey(i), DamageValue(i), {.tag = i % 3 == 0 ? "red" : ""})
            .ToString(),
        "kOk");
  }
}

/// A copy of a directory at rest is what a killed process leaves.
inline void CopyCache(const std::filesystem::path& from,
                      const std::filesystem::path& to) {
  std::filesystem::remove_all(to);
  std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
  std::filesystem::permissions(to, std::filesystem::perms::owner_all);
}

/// What damage_reader found.
struct DamageOutcome {
  bool opened = false;
  int right = 0;  ///< This and the next ones: after a repair.
  int large = 0;
  int missing = 0;
  int corrupt = 0;
  std::string refusal;
};

/// Has damage_reader look at `directory`, in its way `mode`.
inline DamageOutcome LookAtDamage(const std::filesystem::path& directory,
                                  const std::string& mode) {
  SpawnedProcess reader(LARDER_DAMAGE_READER, {mode, directory.string()});
  std::vector<char> bytes;
  while (reader.ReadUntil(
      SpawnedProcess::Clock::now() + std::chrono::seconds(90), bytes)) {
  }
  const int status = reader.Wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
      << (WIFSIGNALED(status)
              ? "killed by signal " + std::to_string(WTERMSIG(status))
              : "exit code " + std::to_string(WEXITSTATUS(status)));
  DamageOutcome outcome;
  std::istringstream report(std::string(bytes.begin(), bytes.end()));
  std::string word;
  report >> word;
  outcome.opened = word == "opened";
  report >> outcome.right >> outcome.large >> outcome.missing >>
      outcome.corrupt;
  std::getline(report, outcome.refusal);
  return outcome;
}

}  // namespace larder::testing

#endif  // LARDER_TESTS_FAULT_DAMAGE_RUN_H_
