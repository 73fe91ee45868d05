// What holds for every log that larder has RocksDB write:
//
// 1. A record is a batch: sequence number of its first change (u64), number of
//    changes (u32), and as many changes: sets, merges and deletes of pairs.
// 2. Each change has a sequence number of its own. They grow from record to
//    record and from log to log; numbers are left out by writes without a log.
// 3. Where RocksDB stopped replaying a damaged log, the next one goes on with
//    the number it would have read next.

#include "wal_check.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "coding.h"
#include "wal_reader.h"

namespace larder {
namespace {

using Checksums = WalReader::Checksums;

constexpr std::size_t kBatchHeadSize =
    sizeof(std::uint64_t) + sizeof(std::uint32_t);
// Numbers share their 8 bytes with a type.
constexpr std::uint64_t kSequenceEnd = std::uint64_t{1} << 56;

// RocksDB's tags of what a batch consists of. Those of a family other than
// "default" have its number first.
enum class Tag : std::uint8_t {
  kDelete = 0,
  kSet = 1,
  kMerge = 2,
  kComment = 3,  // Counts as no change.
  kFamilyDelete = 4,
  kFamilySet = 5,
  kFamilyMerge = 6,
};

// The changes in `bytes`, or nullopt if it is not made of changes alone.
std::optional<std::uint64_t> CountChanges(std::string_view bytes) {
  ByteReader in(bytes);
  std::uint64_t count = 0;
  while (in.ok() && !in.rest().empty()) {
    const auto tag = static_cast<Tag>(in.Fixed<std::uint8_t>());
    if (tag > Tag::kFamilyMerge) return std::nullopt;
    if (tag >= Tag::kFamilyDelete) static_cast<void>(in.Varint());
    static_cast<void>(in.Bytes(in.Varint()));
    if (tag == Tag::kComment) continue;
    ++count;
    if (tag != Tag::kDelete && tag != Tag::kFamilyDelete) {
      static_cast<void>(in.Bytes(in.Varint()));
    }
  }
  return in.ok() ? std::optional(count) : std::nullopt;
}

struct Log {
  std::uint64_t number = 0;
  std::string path;
};

std::vector<Log> FindLogs(rocksdb::FileSystem& files,
                          const std::string& directory) {
  constexpr std::string_view kSuffix = ".log";
  std::vector<std::string> names;
  std::vector<Log> logs;
  // What cannot be listed or read is for RocksDB to report.
  files.GetChildren(directory, rocksdb::IOOptions(), &names, nullptr)
      .PermitUncheckedError();
  for (const std::string& name : names) {
    Log log{.path = directory + "/" + name};
    const char* const end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data(), end, log.number);
    if (parsed.ec == std::errc() &&
        std::string_view(parsed.ptr, end) == kSuffix) {
      logs.push_back(std::move(log));
    }
  }
  std::ranges::sort(logs, {}, &Log::number);
  return logs;
}

class Scan {
 public:
  Scan(rocksdb::FileSystem& files, Checksums checksums)
      : files_(files), checksums_(checksums) {}

  Status Check(const Log& log) {
    std::unique_ptr<rocksdb::FSSequentialFile> file;
    const rocksdb::IOStatus opened = files_.NewSequentialFile(
        log.path, rocksdb::FileOptions(), &file, nullptr);
    if (!opened.ok()) return {};
    WalReader reader(std::move(file), checksums_);
    while (const auto record = reader.Next()) {
      // RocksDB takes one that is too short for damage.
      if (record->size() < kBatchHeadSize) {
        stopped_ = true;
        return {};
      }
      const auto first = LoadFixed<std::uint64_t>(record->data());
      if (stopped_ && first != next_) return {};
      stopped_ = false;
      const std::string wrong = CheckRecord(first, *record);
      if (wrong.empty()) continue;
      return Status::Corruption("write-ahead log " + log.path + ", record at " +
                                std::to_string(reader.offset()) + ": " + wrong);
    }
    stopped_ = stopped_ || reader.stopped_early();
    return {};
  }

 private:
  // What is wrong with it; empty = nothing.
  std::string CheckRecord(std::uint64_t first, std::string_view record) {
    const auto count =
        LoadFixed<std::uint32_t>(record.data() + sizeof(std::uint64_t));
    if (first < next_) {
      return "sequence number " + std::to_string(first) + " again, after " +
             std::to_string(next_ - 1);
    }
    if (first >= kSequenceEnd - count) {
      return "sequence number " + std::to_string(first) + " is too large";
    }
    const auto found = CountChanges(record.substr(kBatchHeadSize));
    if (!found) return "not a batch of changes";
    if (*found != count) {
      return std::to_string(count) + " changes announced, " +
             std::to_string(*found) + " found";
    }
    next_ = first + count;
    return {};
  }

  rocksdb::FileSystem& files_;
  const Checksums checksums_;
  std::uint64_t next_ = 0;  // The smallest sequence number that may follow.
  bool stopped_ = false;    // The last log was not read to its end.
};

Status CheckLogs(rocksdb::FileSystem& files, const std::vector<Log>& logs,
                 Checksums checksums) {
  Scan scan(files, checksums);
  for (const Log& log : logs) LARDER_RETURN_IF_ERROR(scan.Check(log));
  return {};
}

}  // namespace

Status CheckWriteAheadLogs(rocksdb::FileSystem& files,
                           const std::string& directory) {
  const std::vector<Log> logs = FindLogs(files, directory);
  Status status = CheckLogs(files, logs, Checksums::kIgnored);
  // What is odd may lie behind what a power cut has left, where RocksDB does
  // not get to: only checksums tell.
  if (status.ok()) return status;
  return CheckLogs(files, logs, Checksums::kVerified);
}

}  // namespace larder
