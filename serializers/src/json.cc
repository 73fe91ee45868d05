#include "larder/serializers/json.h"

#include <algorithm>

namespace larder::internal {
namespace {

/// Follows JSON text byte by byte and knows what is inside a string.
class StringTracker {
 public:
  /// True if `c`, the next byte, belongs to a string or to its quotes.
  bool InString(char c) noexcept {
    if (!in_string_) {
      in_string_ = c == '"';
      return in_string_;
    }
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
    }
    return true;
  }
  /// The byte after this one is escaped.
  [[nodiscard]] bool escaped() const noexcept { return escaped_; }

 private:
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace

void CheckJsonText(std::string_view text) {
  int depth = 0;
  StringTracker tracker;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool in_string = tracker.InString(c);
    if (c == '\0' ||
        (tracker.escaped() && text.substr(i).starts_with("\\u0000"))) {
      throw cereal::Exception("a NUL at byte " + std::to_string(i));
    }
    if (in_string) {
      continue;
    }
    if (c == '[' || c == '{') {
      if (++depth > kNestingDepthMax) {
        throw cereal::Exception("brackets nest more than " +
                                std::to_string(kNestingDepthMax) + " deep");
      }
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

std::string WithoutJsonSpaces(std::string text) {
  StringTracker tracker;
  std::erase_if(text, [&tracker](char c) {
    return !tracker.InString(c) && (c == ' ' || c == '\n');
  });
  return text;
}

}  // namespace larder::internal
