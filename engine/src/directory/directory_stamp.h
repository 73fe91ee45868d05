#ifndef LARDER_ENGINE_SRC_DIRECTORY_DIRECTORY_STAMP_H_
#define LARDER_ENGINE_SRC_DIRECTORY_DIRECTORY_STAMP_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "larder/engine/status.h"

namespace larder {

/// The format that this code writes, and the newest that it reads.
inline constexpr std::uint32_t kDirectoryFormat = 1;
/// Features that this code understands, as bits.
inline constexpr std::uint64_t kDirectoryFeatures = 0;

/// What the file larder.format says: that the directory is a cache, which one,
/// and what must be understood to use it.
struct DirectoryStamp {
  std::uint32_t format = kDirectoryFormat;
  std::string id;  ///< 32 hexadecimal digits, of this cache alone.
  std::uint64_t features = 0;
};

/// The text of the file; see docs/format.md.
[[nodiscard]] std::string FormatStamp(const DirectoryStamp& stamp);
/// Errors: kUnsupportedFormat (a newer format, an unknown feature),
/// kCorruption (anything else that does not parse).
[[nodiscard]] Result<DirectoryStamp> ParseStamp(std::string_view text);
/// A stamp with an id from the machine's random source. Errors: kIoError.
[[nodiscard]] Result<DirectoryStamp> NewStamp();

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_DIRECTORY_DIRECTORY_STAMP_H_
