#ifndef LARDER_TOOLS_FILES_BYTE_SINK_H_
#define LARDER_TOOLS_FILES_BYTE_SINK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "larder/engine/status.h"

namespace larder::tools {

enum class SinkCompression : std::uint8_t { kNone = 0, kZstd = 1 };

/// A file that is written once from front to back.
///
/// A regular file appears under its name, whole, with Commit, with the mode of
/// the one that it replaces; before, it grows beside it as "NAME.partial" (or
/// "NAME.partial1" ...) and goes away with the sink. A symbolic link stays, and
/// its target is replaced. While it grows, SIGINT, SIGTERM and SIGHUP make
/// Write fail with kAborted: see Interruption. What is not a regular file (a
/// pipe, a device), and a descriptor of this process by name (/dev/stdout,
/// /dev/fd/3), is written to as it is. "-" is standard output.
///
/// Threads: thread-compatible.
/// Errors:  kInvalidArgument (a file in a cache), kIoError, kNoSpace and so on,
///          from errno, naming the file.
class ByteSink {
 public:
  static Result<std::unique_ptr<ByteSink>> Create(const std::string& path,
                                                  SinkCompression compression);
  /// Whether `path` means it: "-", or a name like /dev/stdout.
  [[nodiscard]] static bool IsStandardOutput(const std::string& path);
  virtual ~ByteSink() = default;
  [[nodiscard]] virtual Status Write(std::string_view bytes) = 0;
  /// Ends the stream and gives the file its name.
  [[nodiscard]] virtual Status Commit() = 0;
  /// Bytes that went to the file so far.
  [[nodiscard]] virtual std::uint64_t file_size_bytes() const = 0;
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_FILES_BYTE_SINK_H_
