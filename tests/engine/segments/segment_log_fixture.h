#ifndef LARDER_TESTS_ENGINE_SEGMENTS_SEGMENT_LOG_FIXTURE_H_
#define LARDER_TESTS_ENGINE_SEGMENTS_SEGMENT_LOG_FIXTURE_H_

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "segments/segment_format.h"
#include "segments/segment_log.h"
#include "temporary_directory.h"
#include "test_values.h"

namespace larder {

/// What a test has put into a log and expects to find again.
struct StoredRecord {
  std::string key;
  std::string value;
  std::uint64_t version = 0;
  SegmentPlace place;
};

/// A log of small segments in a directory of its own.
class SegmentLogFixture : public ::testing::Test {
 protected:
  void SetUp() override { Reopen(); }

  void Reopen(std::uint32_t next_id_min = 1) {
    log_.reset();
    auto log = SegmentLog::Open(path(), options_, next_id_min,
                                [](std::uint32_t) { return true; });
    ASSERT_TRUE(log.has_value()) << log.error().ToString();
    log_ = std::move(*log);
  }

  [[nodiscard]] std::filesystem::path path() const {
    return directory_.path() / "log";
  }
  [[nodiscard]] std::filesystem::path FilePath(std::uint32_t id) const {
    return SegmentPath(path(), id);
  }

  static Result<SegmentPlace> WriteTo(SegmentLog& log, SegmentGrant& grant,
                                      const StoredRecord& record) {
    return log.Write(grant, {record.key, record.value, record.version,
                             record.value.size(), 0, 7});
  }

  /// Writes a value in one record; the test fails if it cannot.
  StoredRecord Put(std::uint64_t seed, std::size_t size) {
    StoredRecord record{"key-" + std::to_string(seed),
                        testing::MakeValue(seed, size),
                        seed,
                        {}};
    auto grant = log_->Reserve(record.key.size(), size);
    EXPECT_TRUE(grant.has_value()) << grant.error().ToString();
    if (grant) {
      EXPECT_EQ(grant->payload_size, size);
      const auto place = WriteTo(*log_, *grant, record);
      EXPECT_TRUE(place.has_value()) << place.error().ToString();
      record.place = place.value_or(SegmentPlace{});
    }
    return record;
  }

  Result<ValueHandle> Get(const StoredRecord& record) {
    return log_->Read(record.place, record.key, record.version);
  }

  void ExpectReadable(const StoredRecord& record) {
    const auto value = Get(record);
    ASSERT_TRUE(value.has_value()) << value.error().ToString();
    EXPECT_TRUE(value->bytes() == record.value) << record.key;
  }

  void ExpectFails(const StoredRecord& record, StatusCode code) {
    const auto value = Get(record);
    ASSERT_FALSE(value.has_value());
    EXPECT_EQ(value.error().code(), code) << value.error().ToString();
  }

  void FlipBit(std::uint32_t id, std::uint64_t offset) const {
    std::fstream file(FilePath(id),
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const char byte = static_cast<char>(file.get() ^ 0x10);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(byte);
    ASSERT_TRUE(file.good());
  }

  /// Bytes of all files as du counts them.
  [[nodiscard]] std::uint64_t DuBytes() const {
    std::uint64_t bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path())) {
      struct stat info {};
      EXPECT_EQ(::stat(entry.path().c_str(), &info), 0);
      bytes += static_cast<std::uint64_t>(info.st_blocks) * 512;
    }
    return bytes;
  }

  testing::TemporaryDirectory directory_;
  SegmentLogOptions options_{.segment_size_bytes = kSegmentSizeBytesMin};
  std::unique_ptr<SegmentLog> log_;
};

}  // namespace larder

#endif  // LARDER_TESTS_ENGINE_SEGMENTS_SEGMENT_LOG_FIXTURE_H_
