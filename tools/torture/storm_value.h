#ifndef LARDER_TOOLS_TORTURE_STORM_VALUE_H_
#define LARDER_TOOLS_TORTURE_STORM_VALUE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

/// Values that say in every 64 bytes whose they are, so that a single page of
/// another value, or of an older one, is told from the right one.

namespace larder::tools {

inline constexpr std::size_t kStormLineBytes = 64;

/// Names one written value.
struct StormStamp {
  std::uint32_t key = 0;
  std::uint32_t era = 0;  ///< Of the key, see StormKey.
  std::uint64_t number = 0;
  std::uint64_t size = 0;  ///< Of the value, from kStormLineBytes on.
  friend bool operator==(const StormStamp&, const StormStamp&) = default;
};

/// The bytes of the value from `offset` on, a multiple of kStormLineBytes.
void FillStorm(const StormStamp& stamp, std::uint64_t offset,
               std::span<char> out);
[[nodiscard]] std::string StormValue(const StormStamp& stamp);

/// What the line at the begin of `bytes` says; nullopt if it is not whole.
[[nodiscard]] std::optional<StormStamp> ReadStormLine(std::string_view bytes);

/// A byte that is not as it was written.
struct StormDifference {
  std::uint64_t offset = 0;  ///< Of its line in the value.
  /// What the line there says, if it is a whole line of a value.
  std::optional<StormStamp> found = {};
};
/// Compares bytes of the value from `offset` on with what was written.
[[nodiscard]] std::optional<StormDifference> CompareStorm(
    const StormStamp& stamp, std::uint64_t offset, std::string_view bytes);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_TORTURE_STORM_VALUE_H_
