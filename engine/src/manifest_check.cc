// A manifest has the form of a write-ahead log; a record is a list of fields,
// each a tag and what belongs to it. Those about the database as a whole come
// first, the last sequence number is the last of them, and what follows it (the
// tables) does not matter here.

#include "manifest_check.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "coding.h"
#include "wal_reader.h"

namespace larder {
namespace {

using Checksums = WalReader::Checksums;

enum class Tag : std::uint32_t {
  kComparator = 1,
  kLogNumber = 2,
  kNextFileNumber = 3,
  kLastSequence = 4,
  kPreviousLogNumber = 9,
  kLogNumberToKeep = 10,
  kFamilyMax = 203,
  kDatabaseId = 8193,
};

std::optional<std::uint64_t> LastSequence(std::string_view record) {
  ByteReader in(record);
  while (in.ok() && !in.rest().empty()) {
    switch (static_cast<Tag>(in.Varint())) {
      case Tag::kComparator:
      case Tag::kDatabaseId:
        static_cast<void>(in.Bytes(in.Varint()));
        break;
      case Tag::kLogNumber:
      case Tag::kNextFileNumber:
      case Tag::kPreviousLogNumber:
      case Tag::kLogNumberToKeep:
      case Tag::kFamilyMax:
        static_cast<void>(in.Varint());
        break;
      case Tag::kLastSequence: {
        const std::uint64_t sequence = in.Varint();
        return in.ok() ? std::optional(sequence) : std::nullopt;
      }
      default:
        return std::nullopt;
    }
  }
  return std::nullopt;
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
  return line.starts_with("MANIFEST-")
             ? directory + "/" + std::string(line.substr(0, line.find('\n')))
             : std::string();
}

Status Check(rocksdb::FileSystem& files, const std::string& path,
             Checksums checksums) {
  auto file = OpenFile(files, path);
  if (file == nullptr) return {};
  WalReader reader(std::move(file), checksums);
  std::uint64_t last = 0;
  while (const auto record = reader.Next()) {
    const auto sequence = LastSequence(*record);
    if (!sequence) continue;
    if (*sequence < last) {
      return Status::Corruption(
          path + ", record at " + std::to_string(reader.offset()) +
          ": last sequence number " + std::to_string(*sequence) + ", after " +
          std::to_string(last));
    }
    last = *sequence;
  }
  return {};
}

}  // namespace

Status CheckManifest(rocksdb::FileSystem& files, const std::string& directory) {
  const std::string path = ManifestPath(files, directory);
  if (path.empty()) return {};
  Status status = Check(files, path, Checksums::kIgnored);
  return status.ok() ? status : Check(files, path, Checksums::kVerified);
}

}  // namespace larder
