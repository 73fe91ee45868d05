#include <utility>

#include "trace_detect.h"
#include "trace_reader.h"

// The plainest trace: the whole line is the key, every size is 1, and the
// number of the row stands for its time in milliseconds.

namespace larder::replay {
namespace {

class TextReader final : public TraceReader {
 public:
  TextReader(BufferedSource source, std::string path, TextKeys keys)
      : source_(std::move(source)), path_(std::move(path)), keys_(keys) {}

  Result<std::optional<TraceRow>> Next() override {
    Result<BufferedSource::Line> line = source_.NextLine();
    if (!line) return Fail(std::move(line.error()));
    if (line->end) return std::nullopt;
    if (line->too_long) {
      return Fail(Bad("at most " + std::to_string(kLineSizeBytesMax) + " bytes",
                      "more after " + Quote(line->text)));
    }
    if (line->text.empty()) return Fail(Bad("a key", "an empty line"));
    if (keys_ == TextKeys::kWithoutSeparator && HasSeparator(line->text)) {
      return Fail(Bad("a key a line without separators and quotes",
                      Quote(line->text) +
                          ": say --format text if the line is the key, or "
                          "--columns"));
    }
    return TraceRow{.time_ms = row_++, .key_hash = HashKey(line->text)};
  }

  TraceContent content() const override {
    return {.format = TraceFormat::kText, .columns = "key"};
  }

 private:
  [[nodiscard]] Status Bad(const std::string& expected,
                           const std::string& got) const {
    return Status::ParseError(path_ + ":" +
                              std::to_string(source_.line_number()) +
                              ": expected " + expected + ", got " + got);
  }

  BufferedSource source_;
  std::string path_;
  TextKeys keys_;
  std::uint64_t row_ = 0;
};

}  // namespace

std::unique_ptr<TraceReader> MakeTextReader(BufferedSource source,
                                            const std::string& path,
                                            TextKeys keys) {
  return std::make_unique<TextReader>(std::move(source), path, keys);
}

}  // namespace larder::replay
