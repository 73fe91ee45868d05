#ifndef LARDER_TOOLS_REPLAY_TRACE_FIELDS_H_
#define LARDER_TOOLS_REPLAY_TRACE_FIELDS_H_

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "trace_columns.h"

namespace larder::replay {

/// Stands for runs of spaces and tabs, with any number of them around the line.
inline constexpr char kBlanks = ' ';
/// No separator: the line is one field as it is.
inline constexpr char kNoSeparator = '\n';
/// All separators of columns that are told apart, blanks last.
inline constexpr std::array kSeparators = {',', ';', '\t', '|', kBlanks};

/// `separator` for a message: "," "tab" "blanks".
[[nodiscard]] std::string SeparatorName(char separator);

enum class Quotes : bool {
  kLiteral = false,  ///< Quotes are characters like others.
  /// As in RFC 4180, but within a line; and spaces around a field are no part
  /// of it.
  kEnclose = true,
};

/// The fields of a line.
///
/// Threads: thread-compatible.
class Fields {
 public:
  /// False if a quoted field does not end, or not before a separator. The
  /// fields are valid until `line` goes or the next call.
  [[nodiscard]] bool Split(std::string_view line, char separator,
                           Quotes quotes);

  /// How many there are; those beyond kColumnCountMax are not kept.
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  /// REQUIRES: `index` < count() and kColumnCountMax.
  [[nodiscard]] std::string_view at(std::size_t index) const noexcept {
    return at_[index];
  }
  /// Makes one field of those from `first` on, so that `count` remain.
  /// REQUIRES: they lie in one piece (Quotes::kLiteral), `first` < `count` <=
  /// count() <= kColumnCountMax.
  void Merge(std::size_t first, std::size_t count) noexcept;

 private:
  void Add(std::string_view field) noexcept {
    if (count_ < at_.size()) at_[count_] = field;
    ++count_;
  }
  /// Takes a quoted field from the front of `rest`. False: it does not end.
  [[nodiscard]] bool TakeQuoted(std::string_view& rest);

  std::array<std::string_view, kColumnCountMax> at_;
  std::size_t count_ = 0;
  /// Fields from which quotes were taken.
  std::string unquoted_;
};

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_TRACE_FIELDS_H_
