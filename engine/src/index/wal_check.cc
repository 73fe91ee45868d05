// What holds for every log that larder has RocksDB write:
//
// 1. A record is a batch: sequence number of its first change (u64), number of
//    changes (u32), and as many changes: sets, merges and deletes of pairs.
// 2. Each change has a sequence number of its own. They grow from record to
//    record and from log to log; numbers are left out by writes without a log
//    only. The first one follows what is in the tables.
// 3. Where RocksDB stopped replaying a damaged log, the next one goes on with
//    the number it would have read next.

#include "index/wal_check.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/coding.h"
#include "index/rocks.h"
#include "index/wal_reader.h"
#include "index/wal_writer.h"

namespace larder {
namespace {

constexpr std::size_t kBatchHeadSize =
    sizeof(std::uint64_t) + sizeof(std::uint32_t);
// Numbers share their 8 bytes with a type.
constexpr std::uint64_t kSequenceEnd = std::uint64_t{1} << 56;

// RocksDB's tags of what a batch consists of. Those of a family other than
// "default" have its number first.
enum class WalTag : std::uint8_t {
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
    const auto tag = static_cast<WalTag>(in.Fixed<std::uint8_t>());
    if (tag > WalTag::kFamilyMerge) return std::nullopt;
    if (tag >= WalTag::kFamilyDelete) static_cast<void>(in.Varint());
    static_cast<void>(in.Bytes(in.Varint()));
    if (tag == WalTag::kComment) continue;
    ++count;
    if (tag != WalTag::kDelete && tag != WalTag::kFamilyDelete) {
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

std::unique_ptr<WalReader> OpenLog(rocksdb::FileSystem& files, const Log& log) {
  std::unique_ptr<rocksdb::FSSequentialFile> file;
  const rocksdb::IOStatus opened =
      files.NewSequentialFile(log.path, rocksdb::FileOptions(), &file, nullptr);
  return opened.ok() ? std::make_unique<WalReader>(std::move(file)) : nullptr;
}

// The sequence numbers that a record takes: [begin, end).
struct Range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

// nullopt, and why in `wrong`: it is no batch of changes.
std::optional<Range> RangeOf(std::string_view record, std::string& wrong) {
  const auto first = LoadFixed<std::uint64_t>(record.data());
  const auto count =
      LoadFixed<std::uint32_t>(record.data() + sizeof(std::uint64_t));
  if (first >= kSequenceEnd - count) {
    wrong = "sequence number " + std::to_string(first) + " is too large";
    return std::nullopt;
  }
  const auto found = CountChanges(record.substr(kBatchHeadSize));
  if (!found) {
    wrong = "not a batch of changes";
    return std::nullopt;
  }
  if (*found != count) {
    wrong = std::to_string(count) + " changes announced, " +
            std::to_string(*found) + " found";
    return std::nullopt;
  }
  return Range{first, first + count};
}

class LogScan {
 public:
  LogScan(rocksdb::FileSystem& files, std::uint64_t flushed)
      : files_(files), flushed_(flushed) {}

  Status Check(const Log& log) {
    const auto reader = OpenLog(files_, log);
    if (reader == nullptr) return {};
    while (const auto record = reader->Next()) {
      // RocksDB takes one that is too short for damage.
      if (record->size() < kBatchHeadSize) return Stop(log, *reader, true);
      const auto first = LoadFixed<std::uint64_t>(record->data());
      if (stopped_ && first != next_) return Stop(log, *reader, true);
      stopped_ = false;
      std::string wrong;
      if (CheckRecord(*record, wrong)) continue;
      return Status::Corruption("write-ahead log " + log.path + ", record at " +
                                std::to_string(reader->offset()) + ": " +
                                wrong);
    }
    return reader->stopped_early() ? Stop(log, *reader, false) : Status();
  }
  [[nodiscard]] const WalFindings& findings() const { return findings_; }

 private:
  // RocksDB reads no further in this log.
  Status Stop(const Log& log, WalReader& reader, bool more) {
    stopped_ = true;
    const std::uint64_t end = reader.end();
    if (findings_.cut.empty() && (more || HasMore(reader))) {
      findings_.cut = log.path + " at " + std::to_string(end);
    }
    return {};
  }
  static bool HasMore(WalReader& reader) {
    while (reader.Resume()) {
      if (reader.Next()) return true;
    }
    return false;
  }
  bool CheckRecord(std::string_view record, std::string& wrong) {
    const auto range = RangeOf(record, wrong);
    if (!range) return false;
    if (range->begin < next_) {
      wrong = "sequence number " + std::to_string(range->begin) +
              " again, after " + std::to_string(next_ - 1);
      return false;
    }
    const std::uint64_t expected = next_ != 0 ? next_ : flushed_ + 1;
    findings_.gap = findings_.gap || range->begin > expected;
    next_ = range->end;
    return true;
  }

  rocksdb::FileSystem& files_;
  const std::uint64_t flushed_;
  WalFindings findings_;
  std::uint64_t next_ = 0;  // The smallest sequence number that may follow.
  bool stopped_ = false;    // The last log was not read to its end.
};

struct Found {
  std::size_t log = 0;
  Range range;
  std::string record;
};

std::vector<Found> ReadAll(rocksdb::FileSystem& files,
                           const std::vector<Log>& logs) {
  std::vector<Found> all;
  for (std::size_t i = 0; i < logs.size(); ++i) {
    const auto reader = OpenLog(files, logs[i]);
    if (reader == nullptr) continue;
    do {
      while (const auto record = reader->Next()) {
        std::string wrong;
        if (record->size() < kBatchHeadSize) continue;
        const auto range = RangeOf(*record, wrong);
        if (range) all.push_back({i, *range, std::string(*record)});
      }
    } while (reader->stopped_early() && reader->Resume());
  }
  return all;
}

// `record`, a batch of the log `number`, without what is in tables; empty if
// nothing is left. The changes that are left have the first of its numbers.
std::string WithoutFlushed(const std::string& record, std::uint64_t number,
                           const FlushedLogs& flushed) {
  const bool any = std::ranges::any_of(
      flushed, [number](const auto& log) { return number < log.second; });
  if (!any) return record;
  std::string left = record.substr(0, kBatchHeadSize);
  std::uint32_t count = 0;
  ByteReader in(std::string_view(record).substr(kBatchHeadSize));
  while (in.ok() && !in.rest().empty()) {
    const std::string_view before = in.rest();
    const auto tag = static_cast<WalTag>(in.Fixed<std::uint8_t>());
    const bool named = tag >= WalTag::kFamilyDelete;
    const auto family = static_cast<std::uint32_t>(named ? in.Varint() : 0);
    static_cast<void>(in.Bytes(in.Varint()));
    if (tag == WalTag::kComment) continue;
    if (tag != WalTag::kDelete && tag != WalTag::kFamilyDelete) {
      static_cast<void>(in.Bytes(in.Varint()));
    }
    const auto log = flushed.find(family);
    if (log != flushed.end() && number < log->second) continue;
    left += before.substr(0, before.size() - in.rest().size());
    ++count;
  }
  if (count == 0) return {};
  std::memcpy(left.data() + sizeof(std::uint64_t), &count, sizeof(count));
  return left;
}

// As many as can be replayed one after another: a record that is at a wrong
// place must not cost all those whose numbers it would make too small.
std::vector<bool> LongestInOrder(const std::vector<Found>& all) {
  constexpr std::size_t kNone = SIZE_MAX;
  std::vector<std::size_t> last;  // Of the best row of each length.
  std::vector<std::size_t> before(all.size(), kNone);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto longer =
        std::upper_bound(last.begin(), last.end(), all[i].range.begin,
                         [&](std::uint64_t begin, std::size_t row) {
                           return begin < all[row].range.end;
                         });
    if (longer != last.begin()) before[i] = *std::prev(longer);
    if (longer == last.end()) {
      last.push_back(i);
    } else if (all[i].range.end < all[*longer].range.end) {
      *longer = i;
    }
  }
  std::vector<bool> chosen(all.size());
  for (std::size_t i = last.empty() ? kNone : last.back(); i != kNone;
       i = before[i]) {
    chosen[i] = true;
  }
  return chosen;
}

}  // namespace

Result<WalFindings> CheckWriteAheadLogs(rocksdb::FileSystem& files,
                                        const std::string& directory,
                                        std::uint64_t flushed) {
  LogScan scan(files, flushed);
  for (const Log& log : FindLogs(files, directory)) {
    LARDER_FAIL_IF_ERROR(scan.Check(log));
  }
  return scan.findings();
}

Status CopyReadableLogs(rocksdb::FileSystem& files, const std::string& from,
                        const std::string& to, const FlushedLogs& flushed) {
  const std::vector<Log> logs = FindLogs(files, from);
  const std::vector<Found> all = ReadAll(files, logs);
  const std::vector<bool> chosen = LongestInOrder(all);
  std::vector<std::string> copies(logs.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!chosen[i]) continue;
    const std::string record =
        WithoutFlushed(all[i].record, logs[all[i].log].number, flushed);
    if (!record.empty()) AppendWalRecord(copies[all[i].log], record);
  }
  for (std::size_t i = 0; i < logs.size(); ++i) {
    const std::string path = to + logs[i].path.substr(logs[i].path.rfind('/'));
    const rocksdb::IOStatus written =
        rocksdb::WriteStringToFile(&files, copies[i], path);
    if (!written.ok()) {
      return FromRocks(written, "copying a write-ahead log");
    }
  }
  return {};
}

}  // namespace larder
