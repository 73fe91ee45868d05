#include <array>
#include <charconv>
#include <utility>

#include "trace_detect.h"
#include "trace_reader.h"

// The traces of the ARC paper: "first block, number of blocks, ignored, number
// of the request", in blanks. A line is a request for each of its blocks, which
// is a key of 512 bytes. There are no times: the number of the line stands for
// milliseconds.

namespace larder::replay {
namespace {

constexpr std::uint64_t kBlockSizeBytes = 512;
/// 512 MiB in one request; more is no block I/O but a broken line.
constexpr std::uint64_t kBlockCountMax = 1U << 20;

struct Extent {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

std::optional<Extent> ParseExtent(std::string_view line) {
  Fields fields;
  if (!fields.Split(line, kBlanks, Quotes::kLiteral) || fields.count() != 4) {
    return std::nullopt;
  }
  std::array<std::uint64_t, 4> numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::string_view text = fields.at(i);
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, numbers[i]);
    if (error != std::errc() || stop != end) return std::nullopt;
  }
  const Extent extent{.first = numbers[0], .count = numbers[1]};
  if (extent.count == 0 || extent.count > kBlockCountMax ||
      extent.first + extent.count < extent.first) {
    return std::nullopt;
  }
  return extent;
}

class ArcReader final : public TraceReader {
 public:
  ArcReader(BufferedSource source, std::string path)
      : source_(std::move(source)), path_(std::move(path)) {}

  Result<std::optional<TraceRow>> Next() override {
    if (left_.count == 0) {
      Result<bool> more = NextExtent();
      if (!more) return Fail(std::move(more.error()));
      if (!*more) return std::nullopt;
    }
    std::array<char, 24> digits;
    const auto written = std::to_chars(
        digits.data(), digits.data() + digits.size(), left_.first++);
    --left_.count;
    return TraceRow{
        .time_ms = source_.line_number() - 1,
        .key_hash = HashKey({digits.data(), written.ptr}),
        .size_bytes = kBlockSizeBytes,
    };
  }

  TraceContent content() const override {
    return {.format = TraceFormat::kArc, .columns = "key,blocks,-,-"};
  }

 private:
  /// False at the end.
  Result<bool> NextExtent() {
    Result<BufferedSource::Line> line = source_.NextLine();
    if (!line) return Fail(std::move(line.error()));
    if (line->end) return false;
    const std::optional<Extent> extent = ParseExtent(line->text);
    if (!extent) {
      return Fail(Status::ParseError(
          path_ + ":" + std::to_string(source_.line_number()) +
          ": expected four numbers, the second of blocks from 1 to " +
          std::to_string(kBlockCountMax) + ", got " + Quote(line->text)));
    }
    left_ = *extent;
    return true;
  }

  BufferedSource source_;
  std::string path_;
  Extent left_;
};

}  // namespace

bool IsArcRow(std::string_view line) { return ParseExtent(line).has_value(); }

std::unique_ptr<TraceReader> MakeArcReader(BufferedSource source,
                                           const std::string& path) {
  return std::make_unique<ArcReader>(std::move(source), path);
}

}  // namespace larder::replay
