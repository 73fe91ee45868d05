#ifndef LARDER_TESTS_WAL_RECORDS_H_
#define LARDER_TESTS_WAL_RECORDS_H_

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rocksdb/file_system.h>

#include "index/wal_reader.h"
#include "index/wal_writer.h"

/// Write-ahead logs and manifests as RocksDB writes them.

namespace larder::testing {

/// The records of a log or a manifest.
inline std::vector<std::string> ReadWalRecords(
    const std::filesystem::path& path) {
  std::vector<std::string> records;
  std::unique_ptr<rocksdb::FSSequentialFile> file;
  if (!rocksdb::FileSystem::Default()
           ->NewSequentialFile(path, {}, &file, nullptr)
           .ok()) {
    return records;
  }
  WalReader reader(std::move(file));
  while (const auto record = reader.Next()) records.emplace_back(*record);
  return records;
}

inline std::string WriteWalRecords(const std::vector<std::string>& records) {
  std::string log;
  for (const std::string& record : records) AppendWalRecord(log, record);
  return log;
}

}  // namespace larder::testing

#endif  // LARDER_TESTS_WAL_RECORDS_H_
