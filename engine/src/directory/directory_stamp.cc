// Text rather than bytes, so that whoever finds such a directory can see what
// it is. The first line alone decides whether the rest can be understood; a
// newer format may change everything after it. Lines beyond the known three
// are skipped: what must not be skipped is a feature bit.

#include "directory/directory_stamp.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <optional>

#include <sys/random.h>

namespace larder {
namespace {

constexpr std::string_view kStampMagic = "larder format ";
constexpr std::string_view kIdLabel = "id ";
constexpr std::string_view kFeaturesLabel = "features ";
constexpr std::size_t kIdSize = 32;

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  T value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

// Cuts the next line off `text`, which must begin with `label`; what follows
// the label, or nullopt.
std::optional<std::string_view> TakeLine(std::string_view& text,
                                         std::string_view label) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos || !text.starts_with(label)) {
    return std::nullopt;
  }
  const std::string_view rest = text.substr(label.size(), end - label.size());
  text.remove_prefix(end + 1);
  return rest;
}

Status MalformedStamp(std::string_view what) {
  return Status::Corruption("larder.format is damaged: " + std::string(what));
}

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

}  // namespace

std::string FormatStamp(const DirectoryStamp& stamp) {
  std::string text(kStampMagic);
  text += std::to_string(stamp.format) + "\n";
  text += std::string(kIdLabel) + stamp.id + "\n";
  text += std::string(kFeaturesLabel) + std::to_string(stamp.features) + "\n";
  return text;
}

Result<DirectoryStamp> ParseStamp(std::string_view text) {
  DirectoryStamp stamp;
  const auto format_text = TakeLine(text, kStampMagic);
  const auto format =
      format_text ? ParseNumber<std::uint32_t>(*format_text) : std::nullopt;
  if (!format || *format == 0) {
    return Fail(MalformedStamp("its first line is not 'larder format N'"));
  }
  if (*format > kDirectoryFormat) {
    return Fail(Status(StatusCode::kUnsupportedFormat,
                       "written by a newer larder: format " +
                           std::to_string(*format) + ", this one knows " +
                           std::to_string(kDirectoryFormat) +
                           "; upgrade larder or use another directory"));
  }
  const auto id = TakeLine(text, kIdLabel);
  if (!id || id->size() != kIdSize || !IsHex(*id)) {
    return Fail(
        MalformedStamp("its second line is not 'id' and 32 hex digits"));
  }
  const auto features_text = TakeLine(text, kFeaturesLabel);
  const auto features =
      features_text ? ParseNumber<std::uint64_t>(*features_text) : std::nullopt;
  if (!features) {
    return Fail(MalformedStamp("its third line is not 'features N'"));
  }
  if ((*features & ~kDirectoryFeatures) != 0) {
    return Fail(Status(
        StatusCode::kUnsupportedFormat,
        "needs features " + std::to_string(*features & ~kDirectoryFeatures) +
            " (bits) that this larder does not have; upgrade larder or use "
            "another directory"));
  }
  stamp.format = *format;
  stamp.id = std::string(*id);
  stamp.features = *features;
  return stamp;
}

Result<DirectoryStamp> NewStamp() {
  std::array<unsigned char, kIdSize / 2> random{};
  if (::getrandom(random.data(), random.size(), 0) !=
      static_cast<ssize_t>(random.size())) {
    return Fail(Status::FromErrno(errno, "getrandom"));
  }
  DirectoryStamp stamp;
  for (const unsigned char byte : random) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    stamp.id += kDigits[byte >> 4U];
    stamp.id += kDigits[byte & 15U];
  }
  return stamp;
}

}  // namespace larder
