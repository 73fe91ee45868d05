#include "torture/torture_journal.h"

#include <cerrno>
#include <chrono>
#include <fstream>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace larder::tools {
namespace {

constexpr std::size_t kStatesSize = kTortureProcessesMax * sizeof(TortureState);

}  // namespace

std::string TortureJournalPath(const std::string& work,
                               const TortureLife& life) {
  return fmt::format("{}/journal.{}.{}", work, life.writer, life.life);
}

Result<TortureJournal> TortureJournal::Create(const std::string& path) {
  const int fd =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC,
             S_IRUSR | S_IWUSR);
  if (fd < 0) return Fail(Status::FromErrno(errno, "create " + path));
  return TortureJournal(fd);
}

TortureJournal::TortureJournal(TortureJournal&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}

TortureJournal::~TortureJournal() {
  if (fd_ >= 0) ::close(fd_);
}

Status TortureJournal::Append(const TortureRecord& record) const {
  for (;;) {
    const ssize_t written = ::write(fd_, &record, sizeof record);
    if (written == static_cast<ssize_t>(sizeof record)) return Status::Ok();
    if (written < 0 && errno == EINTR) continue;
    return Status::FromErrno(written < 0 ? errno : ENOSPC, "write a journal");
  }
}

Result<std::vector<TortureRecord>> ReadTortureJournal(const std::string& path) {
  std::vector<TortureRecord> calls;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (errno == ENOENT) return calls;
    return Fail(Status::FromErrno(errno, "open " + path));
  }
  TortureRecord record;
  while (file.read(reinterpret_cast<char*>(&record), sizeof record)) {
    if (record.outcome == TortureOutcome::kIntended) {
      record.outcome = TortureOutcome::kUnknown;
      calls.push_back(record);
    } else if (!calls.empty() && calls.back().number == record.number) {
      calls.back() = record;
    } else {
      return Fail(Status::Corruption(fmt::format(
          "{}: the end of call {} has no begin", path, record.number)));
    }
  }
  return calls;
}

void TortureStates::Unmap::operator()(TortureState* states) const {
  ::munmap(states, kStatesSize);
}

Result<TortureStates> TortureStates::Map(int fd, const std::string& path) {
  if (fd < 0) return Fail(Status::FromErrno(errno, "open " + path));
  void* const address =
      ::mmap(nullptr, kStatesSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int error = errno;
  ::close(fd);
  if (address == MAP_FAILED) {
    return Fail(Status::FromErrno(error, "map " + path));
  }
  return TortureStates(static_cast<TortureState*>(address));
}

Result<TortureStates> TortureStates::Create(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                        S_IRUSR | S_IWUSR);
  if (fd >= 0) {
    if (const int error = ::posix_fallocate(fd, 0, kStatesSize); error != 0) {
      ::close(fd);
      return Fail(Status::FromErrno(error, "allocate " + path));
    }
  }
  return Map(fd, path);
}

Result<TortureStates> TortureStates::Open(const std::string& path) {
  return Map(::open(path.c_str(), O_RDWR | O_CLOEXEC), path);
}

std::int64_t MonotonicNanoseconds() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace larder::tools
