#include "trace_fields.h"

#include <algorithm>

namespace larder::replay {
namespace {

constexpr std::string_view kBlankCharacters = " \t";

std::string_view WithoutSpaces(std::string_view text) noexcept {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

void SkipBlanks(std::string_view& text) noexcept {
  text.remove_prefix(
      std::min(text.find_first_not_of(kBlankCharacters), text.size()));
}

}  // namespace

std::string SeparatorName(char separator) {
  if (separator == kBlanks) return "blanks";
  if (separator == '\t') return "tab";
  return {'"', separator, '"'};
}

bool Fields::TakeQuoted(std::string_view& rest) {
  const std::size_t begin = unquoted_.size();
  std::size_t at = 1;
  for (;;) {
    const std::size_t quote = rest.find('"', at);
    if (quote == std::string_view::npos) return false;
    unquoted_.append(rest, at, quote - at);
    at = quote + 1;
    if (at == rest.size() || rest[at] != '"') break;
    unquoted_ += '"';
    ++at;
  }
  rest.remove_prefix(at);
  Add(std::string_view(unquoted_).substr(begin));
  return true;
}

bool Fields::Split(std::string_view line, char separator, Quotes quotes) {
  count_ = 0;
  unquoted_.clear();
  const bool blanks = separator == kBlanks;
  const bool enclosed =
      quotes == Quotes::kEnclose && line.find('"') != std::string_view::npos;
  const bool trimmed = quotes == Quotes::kEnclose && separator != kNoSeparator;
  // So that it never moves under the fields that lie in it.
  if (enclosed) unquoted_.reserve(line.size());
  const auto stop_in = [separator, blanks](std::string_view text) {
    return blanks ? text.find_first_of(kBlankCharacters) : text.find(separator);
  };
  if (blanks) {
    SkipBlanks(line);
    if (line.empty()) return true;
  }
  for (;;) {
    std::string_view ahead = line;
    while (enclosed && separator != kNoSeparator && ahead.starts_with(' ')) {
      ahead.remove_prefix(1);
    }
    if (enclosed && ahead.starts_with('"')) {
      if (!TakeQuoted(ahead)) return false;
      line = ahead;
      const std::size_t stop = stop_in(line);
      if (line.substr(0, stop).find_first_not_of(' ') !=
          std::string_view::npos) {
        return false;
      }
      line.remove_prefix(std::min(stop, line.size()));
    } else {
      const std::size_t stop = std::min(stop_in(line), line.size());
      Add(trimmed ? WithoutSpaces(line.substr(0, stop)) : line.substr(0, stop));
      line.remove_prefix(stop);
    }
    if (line.empty()) return true;
    line.remove_prefix(1);
    if (!blanks) continue;
    SkipBlanks(line);
    if (line.empty()) return true;
  }
}

void Fields::Merge(std::size_t first, std::size_t count) noexcept {
  const std::size_t surplus = count_ - count;
  const std::string_view last = at_[first + surplus];
  const char* begin = at_[first].data();
  at_[first] = {begin,
                static_cast<std::size_t>(last.data() + last.size() - begin)};
  for (std::size_t i = first + 1; i < count; ++i) at_[i] = at_[i + surplus];
  count_ = count;
}

}  // namespace larder::replay
