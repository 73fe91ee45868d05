// A manifest has the form of a write-ahead log; a record is a list of fields,
// each a tag and what belongs to it. Those about the database as a whole come
// first, the last sequence number is the last of them, and what follows it (the
// tables) does not matter here.

#include "index/manifest_check.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/coding.h"
#include "index/wal_reader.h"

namespace larder {
namespace {

constexpr std::string_view kManifestPrefix = "MANIFEST-";

enum class ManifestTag : std::uint32_t {
  kComparator = 1,
  kLogNumber = 2,
  kNextFileNumber = 3,
  kLastSequence = 4,
  kCompactionCursor = 5,
  kDeletedTable = 6,
  kPreviousLogNumber = 9,
  kLogNumberToKeep = 10,
  kNewTable = 103,
  kFamily = 200,
  kFamilyAdded = 201,
  kFamilyDropped = 202,
  kFamilyMax = 203,
  kGroup = 300,
  kIgnorable = 8192,  // And all that have this bit.
  kDatabaseId = 8193,
};

std::optional<std::uint64_t> LastSequence(std::string_view record) {
  ByteReader in(record);
  while (in.ok() && !in.rest().empty()) {
    switch (static_cast<ManifestTag>(in.Varint())) {
      case ManifestTag::kComparator:
      case ManifestTag::kDatabaseId:
        static_cast<void>(in.Bytes(in.Varint()));
        break;
      case ManifestTag::kLogNumber:
      case ManifestTag::kNextFileNumber:
      case ManifestTag::kPreviousLogNumber:
      case ManifestTag::kLogNumberToKeep:
      case ManifestTag::kFamilyMax:
        static_cast<void>(in.Varint());
        break;
      case ManifestTag::kLastSequence: {
        const std::uint64_t sequence = in.Varint();
        return in.ok() ? std::optional(sequence) : std::nullopt;
      }
      default:
        return std::nullopt;
    }
  }
  return std::nullopt;
}

void SkipBytes(ByteReader& in) { static_cast<void>(in.Bytes(in.Varint())); }

void SkipTable(ByteReader& in) {
  constexpr std::uint64_t kEnd = 1;
  for (int i = 0; i < 3; ++i)
    static_cast<void>(in.Varint());  // Level, name, size.
  SkipBytes(in);                     // Its first and its last key.
  SkipBytes(in);
  for (int i = 0; i < 2; ++i)
    static_cast<void>(in.Varint());  // Sequence numbers.
  while (in.ok() && in.Varint() != kEnd) SkipBytes(in);
}

// Its family comes last. False: there is something unknown in it.
bool NoteFlushedLog(std::string_view record, FlushedLogs& logs) {
  ByteReader in(record);
  std::uint32_t family = 0;
  std::uint64_t log = 0;
  while (in.ok() && !in.rest().empty()) {
    const auto tag = static_cast<ManifestTag>(in.Varint());
    switch (tag) {
      case ManifestTag::kLogNumber:
        log = in.Varint();
        break;
      case ManifestTag::kFamily:
        family = static_cast<std::uint32_t>(in.Varint());
        break;
      case ManifestTag::kNextFileNumber:
      case ManifestTag::kLastSequence:
      case ManifestTag::kPreviousLogNumber:
      case ManifestTag::kLogNumberToKeep:
      case ManifestTag::kFamilyMax:
      case ManifestTag::kGroup:
        static_cast<void>(in.Varint());
        break;
      case ManifestTag::kCompactionCursor:
        static_cast<void>(in.Varint());
        SkipBytes(in);
        break;
      case ManifestTag::kDeletedTable:
        static_cast<void>(in.Varint());
        static_cast<void>(in.Varint());
        break;
      case ManifestTag::kNewTable:
        SkipTable(in);
        break;
      case ManifestTag::kFamilyDropped:
        break;
      case ManifestTag::kComparator:
      case ManifestTag::kFamilyAdded:
        SkipBytes(in);
        break;
      default:
        if ((static_cast<std::uint32_t>(tag) &
             static_cast<std::uint32_t>(ManifestTag::kIgnorable)) == 0) {
          return false;
        }
        SkipBytes(in);
    }
  }
  logs[family] = std::max(logs[family], log);
  return in.ok();
}

std::unique_ptr<rocksdb::FSSequentialFile> OpenFile(rocksdb::FileSystem& files,
                                                    const std::string& path) {
  std::unique_ptr<rocksdb::FSSequentialFile> file;
  files.NewSequentialFile(path, rocksdb::FileOptions(), &file, nullptr)
      .PermitUncheckedError();
  return file;
}

// What CURRENT names; empty if it does not say.
std::string ManifestPath(rocksdb::FileSystem& files,
                         const std::string& directory) {
  const auto current = OpenFile(files, directory + "/CURRENT");
  if (current == nullptr) return {};
  char buffer[64];
  rocksdb::Slice name;
  current->Read(sizeof(buffer), rocksdb::IOOptions(), &name, buffer, nullptr)
      .PermitUncheckedError();
  const std::string_view line = name.ToStringView();
  return line.starts_with(kManifestPrefix)
             ? directory + "/" + std::string(line.substr(0, line.find('\n')))
             : std::string();
}

}  // namespace

std::optional<std::uint64_t> ManifestNumber(std::string_view path) noexcept {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  if (!name.starts_with(kManifestPrefix)) return std::nullopt;
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(name.data() + kManifestPrefix.size(),
                                      name.data() + name.size(), number);
  return parsed.ec == std::errc() && parsed.ptr == name.data() + name.size()
             ? std::optional(number)
             : std::nullopt;
}

Result<std::optional<std::uint64_t>> CheckManifest(rocksdb::FileSystem& files,
                                                   const std::string& directory,
                                                   const ManifestMark& mark) {
  const std::string path = ManifestPath(files, directory);
  auto file = path.empty() ? nullptr : OpenFile(files, path);
  if (file == nullptr) return std::optional<std::uint64_t>();
  WalReader reader(std::move(file));
  std::uint64_t last = 0;
  while (const auto record = reader.Next()) {
    const auto sequence = LastSequence(*record);
    if (!sequence) continue;
    if (*sequence < last) {
      return Fail(Status::Corruption(
          path + ", record at " + std::to_string(reader.offset()) +
          ": last sequence number " + std::to_string(*sequence) + ", after " +
          std::to_string(last)));
    }
    last = *sequence;
  }
  const std::uint64_t end = reader.end();
  if (ManifestNumber(path) == mark.number && end < mark.size) {
    return Fail(Status::Corruption(path + " can be read up to " +
                                   std::to_string(end) + " only, but has had " +
                                   std::to_string(mark.size) + " bytes"));
  }
  if (reader.stopped_early() && reader.FindMore()) {
    return Fail(Status::Corruption(path + ": damaged at " +
                                   std::to_string(end) + ", and more follows"));
  }
  return std::optional(last);
}

std::optional<FlushedLogs> ReadFlushedLogs(rocksdb::FileSystem& files,
                                           const std::string& directory) {
  const std::string path = ManifestPath(files, directory);
  auto file = path.empty() ? nullptr : OpenFile(files, path);
  if (file == nullptr) return std::nullopt;
  FlushedLogs logs;
  WalReader reader(std::move(file));
  while (const auto record = reader.Next()) {
    if (!NoteFlushedLog(*record, logs)) return std::nullopt;
  }
  if (reader.stopped_early() && reader.FindMore()) return std::nullopt;
  return logs;
}

}  // namespace larder
