#ifndef LARDER_ENGINE_SRC_BASE_TEXT_UNITS_H_
#define LARDER_ENGINE_SRC_BASE_TEXT_UNITS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace larder::internal {

/// `text` in double quotes, shortened, with anything but printable ASCII
/// replaced: fit for a one-line message.
[[nodiscard]] std::string QuoteForMessage(std::string_view text);

[[nodiscard]] std::string_view TrimSpaces(std::string_view text) noexcept;

/// The decimal number at the head of a text, "12" or "1.25".
struct DecimalNumber {
  std::uint64_t whole = 0;
  /// The digits after the point as an integer, and ten to their count.
  std::uint64_t fraction = 0;
  std::uint64_t fraction_scale = 1;
  /// Some digit after the point is not zero, even if cut off.
  bool has_fraction = false;

  /// This times `unit`, rounded down; nullopt if over 64 bits.
  [[nodiscard]] std::optional<std::uint64_t> Times(
      std::uint64_t unit) const noexcept;
};

/// Takes the number from the head of `text`; nullopt if there is none or its
/// whole part does not fit 64 bits. Digits past the 18th after the point are
/// dropped.
[[nodiscard]] std::optional<DecimalNumber> TakeNumber(
    std::string_view* text) noexcept;

/// Takes ASCII letters from the head of `text`, in lower case.
[[nodiscard]] std::string TakeLetters(std::string_view* text);

/// The name that is the fewest edits (insert, delete, change, swap of
/// neighbours) away from `name`; empty if there are no names.
[[nodiscard]] std::string_view NearestName(
    std::string_view name, std::span<const std::string_view> names);

/// "; did you mean \"X\"?" with the one of `names` that the value `name` is
/// meant to be: what it is called elsewhere ("lru", "fsync"), or a name that is
/// at most a third of its letters away. Empty if there is none. It is never
/// "none": who asks for something must not be led to nothing.
[[nodiscard]] std::string SuggestionFor(
    std::string_view name, std::span<const std::string_view> names);

}  // namespace larder::internal

#endif  // LARDER_ENGINE_SRC_BASE_TEXT_UNITS_H_
