#include "torture/storm_board.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace larder::tools {

const char* StormFaultName(StormFault fault) noexcept {
  static constexpr std::array<const char*, kStormFaultCount> kNames = {
      "lost", "wrong", "stale", "torn", "repeated", "unexpected"};
  return kNames[static_cast<std::size_t>(fault)];
}

void StormBoard::Unmap::operator()(StormPage* page) const {
  ::munmap(page, sizeof(StormPage));
}

Result<StormBoard> StormBoard::Map(const std::string& work, int flags) {
  const std::string path = work + "/board";
  const int fd =
      ::open(path.c_str(), O_RDWR | O_CLOEXEC | flags, S_IRUSR | S_IWUSR);
  if (fd < 0) return Fail(Status::FromErrno(errno, "open " + path));
  int error = 0;
  void* address = MAP_FAILED;
  if (flags != 0) error = ::posix_fallocate(fd, 0, sizeof(StormPage));
  if (error == 0) {
    address = ::mmap(nullptr, sizeof(StormPage), PROT_READ | PROT_WRITE,
                     MAP_SHARED, fd, 0);
    error = errno;
  }
  ::close(fd);
  if (address == MAP_FAILED) {
    return Fail(Status::FromErrno(error, "map " + path));
  }
  return StormBoard(work, static_cast<StormPage*>(address));
}

Result<StormBoard> StormBoard::Create(const std::string& work) {
  return Map(work, O_CREAT | O_EXCL);
}

Result<StormBoard> StormBoard::Open(const std::string& work) {
  return Map(work, 0);
}

void StormBoard::Report(StormFault fault, const std::string& line) const {
  ++page_->faults[static_cast<std::size_t>(fault)];
  const std::string text = fmt::format("{} process {}: {}\n",
                                       StormFaultName(fault), ::getpid(), line);
  const int fd =
      ::open(faults_path().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
             S_IRUSR | S_IWUSR);
  if (fd < 0) return;  // It is counted.
  [[maybe_unused]] const ssize_t written =
      ::write(fd, text.data(), text.size());
  ::close(fd);
}

void StormBoard::Note(std::string_view line) const {
  const std::uint64_t number = page_->notes_begun.fetch_add(1);
  StormNote& note = page_->notes[number % kStormNotes];
  const auto end = fmt::format_to_n(note.data(), note.size() - 1,
                                    "process {}: {}", ::getpid(), line);
  *end.out = '\0';
}

std::vector<std::string> StormBoard::Notes() const {
  const std::uint64_t end = page_->notes_begun;
  std::vector<std::string> lines;
  for (std::uint64_t i = end - std::min<std::uint64_t>(end, kStormNotes);
       i < end; ++i) {
    const StormNote& note = page_->notes[i % kStormNotes];
    lines.emplace_back(note.data(), ::strnlen(note.data(), note.size()));
  }
  return lines;
}

StormFloor TakeFloor(const StormPage& page, std::uint32_t key) {
  const StormKey& row = page.keys[key];
  StormFloor floor;
  do {  // What was done belongs to the era.
    floor.era = row.era;
    floor.done = row.done;
  } while (row.era != floor.era);
  floor.clears = page.clears_done;
  for (std::size_t i = 0; i < kStormTags; ++i) {
    floor.tag_clears[i] = page.tag_clears_done[i];
  }
  floor.now_us = WallMicroseconds();
  return floor;
}

StormVerdict JudgeRead(const StormPage& page, std::uint32_t key,
                       const StormFloor& floor, const StormStamp& stamp) {
  const StormKey& row = page.keys[key];
  if (stamp.key != key || stamp.era != floor.era) {
    return {StormFault::kWrong, "the value of another key"};
  }
  if (stamp.number > row.begun) {
    return {StormFault::kWrong, "a value that was never set"};
  }
  if (stamp.number < floor.done) {
    return {StormFault::kStale, "older than one acknowledged before"};
  }
  const StormCall& call = row.ring[stamp.number % kStormRing];
  if (call.number != stamp.number) return {};
  const StormState state = call.state;
  const StormKind kind = call.kind;
  const std::uint32_t tag = call.tag;
  const std::uint64_t clears = call.clears;
  const std::uint64_t tag_clears = call.tag_clears;
  const std::int64_t dead_at_us = call.dead_at_us;
  if (call.number != stamp.number) return {};  // Its place was used again.
  if (kind == StormKind::kDelete) {
    return {StormFault::kWrong, "the number of a delete"};
  }
  if (state == StormState::kNotApplied) {
    return {StormFault::kWrong, "a value whose Set said that it failed"};
  }
  if (state != StormState::kDone) return {};
  if (dead_at_us != 0 && floor.now_us > dead_at_us) {
    return {StormFault::kStale, "a value that had expired"};
  }
  if (clears < floor.clears) {
    return {StormFault::kStale, "a value that was cleared"};
  }
  if (tag != 0 && tag_clears < floor.tag_clears[tag - 1]) {
    return {StormFault::kStale, "a value whose tag was evicted"};
  }
  return {};
}

bool IsLost(const StormPage& page, std::uint32_t key, const StormFloor& floor) {
  const StormKey& row = page.keys[key];
  if (floor.done == 0 || floor.clears != page.clears_begun) return false;
  const StormCall& call = row.ring[floor.done % kStormRing];
  const std::uint32_t tag = call.tag;
  const bool is_there =
      call.kind == StormKind::kSet && call.dead_at_us == 0 &&
      call.state == StormState::kDone && call.number == floor.done &&
      (tag == 0 || page.tag_clears_begun[tag - 1] == floor.tag_clears[tag - 1]);
  // Nothing has begun since, this one is the last of its era.
  return is_there && row.begun == floor.done && row.era == floor.era;
}

bool IsSplit(const StormPage& page, std::uint32_t key, const StormFloor& floor,
             std::size_t count) {
  return count != 0 && count != kStormGroup && page.keys[key].era == floor.era;
}

std::int64_t WallMicroseconds() noexcept {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace larder::tools
