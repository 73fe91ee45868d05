#include <utility>

#include "little_endian.h"
#include "trace_reader.h"

// libCacheSim's oracleGeneral: packed little-endian records of 24 bytes, time
// in seconds (u32), object id (u64), size (u32), index of the next access
// (i64). The last is not used: it is computed for all formats alike.

namespace larder::replay {
namespace {

class OracleReader final : public TraceReader {
 public:
  OracleReader(BufferedSource source, std::string path)
      : source_(std::move(source)), path_(std::move(path)) {}

  Result<std::optional<TraceRow>> Next() override {
    for (;;) {
      const std::string_view bytes = source_.Peek(kOracleRecordSizeBytes);
      if (bytes.size() < kOracleRecordSizeBytes) return AtEnd(bytes.size());
      const auto size = LoadLittleEndian<std::uint32_t>(bytes.data() + 12);
      const auto time_s = LoadLittleEndian<std::uint32_t>(bytes.data());
      const std::uint64_t hash = HashKey(bytes.substr(4, 8));
      source_.Skip(kOracleRecordSizeBytes);
      if (size == 0) {
        ++left_out_;
        continue;
      }
      return TraceRow{.time_ms = std::uint64_t{time_s} * 1000,
                      .key_hash = hash,
                      .size_bytes = size};
    }
  }

  TraceContent content() const override {
    return {.format = TraceFormat::kOracleGeneral,
            .columns = "time_s,key,size,-",
            .has_times = true};
  }
  std::uint64_t left_out() const noexcept override { return left_out_; }

 private:
  Result<std::optional<TraceRow>> AtEnd(std::size_t size) {
    LARDER_FAIL_IF_ERROR(source_.TakeError());
    if (size == 0) return std::nullopt;
    const std::uint64_t offset = source_.offset();
    source_.Skip(size);
    return Fail(Status::ParseError(
        path_ + ":" + std::to_string(offset / kOracleRecordSizeBytes + 1) +
        ": expected a record of 24 bytes at offset " + std::to_string(offset) +
        ", got " + std::to_string(size) + " (truncated)"));
  }

  BufferedSource source_;
  std::string path_;
  std::uint64_t left_out_ = 0;
};

}  // namespace

std::unique_ptr<TraceReader> MakeOracleReader(BufferedSource source,
                                              const std::string& path) {
  return std::make_unique<OracleReader>(std::move(source), path);
}

}  // namespace larder::replay
