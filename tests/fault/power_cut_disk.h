#ifndef LARDER_TESTS_FAULT_POWER_CUT_DISK_H_
#define LARDER_TESTS_FAULT_POWER_CUT_DISK_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>

#include "test_values.h"

namespace larder::testing {

/// Knows what of a directory is on the device: what a sync found in a file or
/// directory. Everything else may be there or not after a power cut.
///
/// It takes the place of fsync and fdatasync (SyncHook), so nothing is really
/// synced. What it knows lies in files of its own, so that the next process
/// goes on where one was killed.
///
/// Threads: thread-safe.
class PowerCutDisk {
 public:
  /// `notes` is a directory outside of those that are to be cut.
  explicit PowerCutDisk(std::filesystem::path notes);

  /// What else is to happen at a sync, counted from 1; 0: never.
  struct Faults {
    std::uint64_t kill_at = 0;  ///< The process ends
    bool kill_before = false;   ///< before it has done anything.
    /// It fails (EIO), if it is of a log or segment file, and the kernel takes
    /// what it could not write for written.
    std::uint64_t fail_at = 0;
    std::uint64_t fail_again_after = 0;  ///< And one so many syncs later.
  };
  /// From now on, in this process.
  void Start(Faults faults);

  /// Makes at `to` what a cut may leave of `from`: of each file what was synced
  /// and any of the pages written since, of each directory the names that were
  /// synced or those of now (of segments, each name by itself). What was moved
  /// to another directory is in one of the two or in both.
  void Cut(const std::filesystem::path& from, const std::filesystem::path& to,
           Random& random) const;

 private:
  struct Name {
    std::string id;  ///< Of the file or directory.
    bool is_directory = false;
  };
  using Names = std::map<std::string, Name>;

  int OnSync(int fd);
  void NoteFile(int fd, const std::string& id) const;
  void NoteDirectory(int fd, const std::string& id) const;
  [[nodiscard]] Names Synced(const std::string& id) const;
  static Names Now(const std::filesystem::path& directory);
  static Names Choose(const Names& synced, const Names& now, bool each,
                      Random& random);
  void ChooseNames(const std::string& id, const std::filesystem::path& name,
                   Random& random) const;
  void KeepMoved() const;
  void CutDirectory(const std::string& id, const std::filesystem::path& to,
                    Random& random) const;
  void CutFile(const std::string& id, const std::filesystem::path& to,
               Random& random) const;

  const std::filesystem::path notes_;
  // While a cut is made: where each file is now, what each directory has then.
  mutable std::map<std::string, std::filesystem::path> paths_;
  mutable std::map<std::string, Names> names_;
  Faults faults_;
  std::mutex mutex_;  // Guards the notes and
  std::uint64_t syncs_ = 0;
};

}  // namespace larder::testing

#endif  // LARDER_TESTS_FAULT_POWER_CUT_DISK_H_
