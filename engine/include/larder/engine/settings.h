#ifndef LARDER_ENGINE_SETTINGS_H_
#define LARDER_ENGINE_SETTINGS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/clock.h"
#include "larder/engine/command.h"
#include "larder/engine/status.h"

namespace larder {

/// What a full cache does with a new item.
enum class WhenFull : std::uint8_t { kEvict = 0, kFail = 1 };

/// What a policy tries to save: misses, missed bytes, or cost of misses.
enum class Objective : std::uint8_t { kObjects = 0, kBytes = 1, kCost = 2 };

/// Compression of values before they are stored (applied by the facade).
enum class CompressionSetting : std::uint8_t { kNone = 0, kLz4 = 1, kZstd = 2 };

/// When the checksum of a value in a segment file is compared. Values below 32
/// KiB, and those in the database, are compared on every read in any case.
///
/// kAlways: on every read.
/// kOnce:   on the first read since this process mapped the file, and again
///          when some of it was not in the page cache when it was asked for:
///          what comes from the storage is checked, what changes in memory
///          afterwards is not noticed.
enum class VerifyReads : std::uint8_t { kAlways = 0, kOnce = 1 };

/// How values in segment files are read.
///
/// kMap:   where they lie in a mapping of the file, without a copy. If somebody
///         else cuts the file, or the device cannot read one of its pages, the
///         process gets SIGBUS when it looks at the value.
/// kPread: into memory of the handle's own, with the checksum compared each
///         time; such a value is a miss that counts as damage, or kIoError.
///         So is every value of a file that is not this user's alone, whatever
///         the setting.
enum class ReadMode : std::uint8_t { kMap = 0, kPread = 1 };

/// Whether what scans hold of removed segments counts in size_limit.
enum class ScanHoldCounts : std::uint8_t {
  kNo,
  kYes,  ///< So much of it is kept for them, a quarter at most.
};

/// The settings of a cache. They live in the directory: opening a cache takes
/// them from there, `Reset` changes them for everyone.
///
/// Each has a text form: bytes like "64MiB", times like "1h30m", enumerators
/// by their names in docs/settings.md.
struct Settings {
  /// Physical bytes of the whole directory; at least kSizeLimitBytesMin.
  std::uint64_t size_limit = 1ULL << 30;
  /// Free space to leave on the file system; acts as a lower size_limit while
  /// it binds. 0 = off.
  std::uint64_t min_free_bytes = 0;
  /// Most live items; 0 = no limit.
  std::uint64_t item_count_limit = 0;
  /// Largest value; 0 = no limit but size_limit.
  std::uint64_t item_size_limit = 0;
  std::string policy = "adaptive";
  Objective objective = Objective::kObjects;
  WhenFull when_full = WhenFull::kEvict;
  Durability durability = Durability::kProcess;
  /// TTL of a Set that names none; zero = never expires.
  Duration default_ttl{0};
  /// Values from this size go to segment files; 256 B..1 MiB.
  std::uint64_t large_value_min = 512;
  /// Values up to this size ride in the index entry; 0..4 KiB, and less than
  /// large_value_min.
  std::uint64_t inline_value_max = 128;
  CompressionSetting compression = CompressionSetting::kNone;
  /// Smaller values are not compressed.
  std::uint64_t compression_min = 1024;
  VerifyReads verify_reads = VerifyReads::kOnce;
  ReadMode read_mode = ReadMode::kMap;
  /// Bytes of removed segments that scans with values may hold together; the
  /// oldest scan ends with kAborted then. 0 = size_limit.
  std::uint64_t scan_hold_max = 0;
  ScanHoldCounts scan_hold_counts = ScanHoldCounts::kNo;

  friend bool operator==(const Settings&, const Settings&) = default;
};

/// One line of a settings table.
struct SettingText {
  std::string name;
  std::string value;
  std::string description;
};

/// All settings as text, in the order of the struct.
[[nodiscard]] std::vector<SettingText> DescribeSettings(
    const Settings& settings);

/// The text of one. Errors: kInvalidArgument names the nearest valid name.
[[nodiscard]] Result<std::string> FormatSetting(const Settings& settings,
                                                std::string_view name);

/// `settings` with one changed. Errors: kInvalidArgument (unknown name: names
/// the nearest valid one; a value out of its bounds), kParseError (malformed
/// text).
[[nodiscard]] Result<Settings> WithSetting(Settings settings,
                                           std::string_view name,
                                           std::string_view value);

/// Checks bounds of all fields. Errors: kInvalidArgument.
[[nodiscard]] Status ValidateSettings(const Settings& settings);

/// "1536" or "64MiB", "1.5 GiB", "10MB" (powers of ten), "4k" (= KiB); case
/// does not matter. A part of a byte is dropped. Errors: kParseError, says what
/// was expected (also for overflow, and for less than a byte that is not 0).
[[nodiscard]] Result<std::uint64_t> ParseByteCount(std::string_view text);
/// The shortest exact text, for example "64MiB", "1500B" or "10MB".
[[nodiscard]] std::string FormatByteCount(std::uint64_t bytes);

/// "1h30m", "250ms", "10s", "7d", "2w", "0"; a plain number is seconds. Numbers
/// may have a fraction; a part of a microsecond is dropped. Units (w d h m s ms
/// us) come from long to short. May be negative. Errors: kParseError (also for
/// overflow, and for less than a microsecond that is not 0).
[[nodiscard]] Result<Duration> ParseDuration(std::string_view text);
/// A short exact text, for example "1h30m", "1.5s", "250ms", "14d" or "0s".
[[nodiscard]] std::string FormatDuration(Duration duration);

}  // namespace larder

#endif  // LARDER_ENGINE_SETTINGS_H_
