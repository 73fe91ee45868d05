#ifndef LARDER_TOOLS_COMMANDS_NUMBER_OPTION_H_
#define LARDER_TOOLS_COMMANDS_NUMBER_OPTION_H_

#include <charconv>
#include <concepts>
#include <limits>
#include <string>
#include <system_error>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace larder::tools {

template <typename T>
requires std::integral<T> || std::floating_point<T>
struct NumberBounds {
  T min = std::numeric_limits<T>::lowest();
  T max = std::numeric_limits<T>::max();
};

/// An option, or an argument without dashes, that is a decimal number within
/// `bounds`, which is stored in `target`. Anything else is refused: CLI11
/// itself takes -1 for the largest unsigned number and 010 for 8, cuts off what
/// is too large, and lets nan pass all bounds.
template <typename T, typename Target>
CLI::Option* AddNumberOption(CLI::App* command, const std::string& name,
                             Target& target, NumberBounds<T> bounds,
                             const std::string& description) {
  return command
      ->add_option_function<std::string>(
          name,
          [name, &target, bounds](const std::string& text) {
            const char* begin = text.data();
            const char* const end = begin + text.size();
            if (text.size() > 1 && *begin == '+' && begin[1] != '-') ++begin;
            T number{};
            const auto parsed = std::from_chars(begin, end, number);
            // What is not a number is within no bounds.
            if (parsed.ec != std::errc() || parsed.ptr != end ||
                !(number >= bounds.min && number <= bounds.max)) {
              throw CLI::ValidationError(
                  name, fmt::format("'{}', expected a number from {} to {}",
                                    text, bounds.min, bounds.max));
            }
            target = number;
          },
          description)
      ->type_name("N");
}

}  // namespace larder::tools

#endif  // LARDER_TOOLS_COMMANDS_NUMBER_OPTION_H_
