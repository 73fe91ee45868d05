#ifndef LARDER_TOOLS_BYTE_SINK_H_
#define LARDER_TOOLS_BYTE_SINK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "larder/engine/status.h"

namespace larder::tools {

enum class SinkCompression : std::uint8_t { kNone = 0, kZstd = 1 };

/// A file that is written once from front to back.
///
/// The file appears under its name, whole, with Commit; before, it grows beside
/// it as "NAME.partial" and goes away with the sink. "-" is standard output.
///
/// Threads: thread-compatible.
/// Errors:  kIoError, kNoSpace and so on, from errno, naming the file.
class ByteSink {
 public:
  static Result<std::unique_ptr<ByteSink>> Create(const std::string& path,
                                                  SinkCompression compression);
  virtual ~ByteSink() = default;
  [[nodiscard]] virtual Status Write(std::string_view bytes) = 0;
  /// Ends the stream and gives the file its name.
  [[nodiscard]] virtual Status Commit() = 0;
  /// Bytes that went to the file so far.
  [[nodiscard]] virtual std::uint64_t file_size_bytes() const = 0;
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_BYTE_SINK_H_
