#include "trace_detect.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "little_endian.h"
#include "trace_decompress.h"

// Telling formats apart. A wrong guess is a miss ratio that looks like a
// result, so there are none: what could be two things is refused.

namespace larder::replay {
namespace {

using std::string_view_literals::operator""sv;

struct Magic {
  std::string_view bytes;
  std::string_view what;
};
/// Kinds of files with which traces are mistaken.
constexpr std::array kMagics = {
    Magic{"BZh"sv, "bzip2"},
    Magic{"\x04\x22\x4D\x18"sv, "lz4"},
    Magic{"LZIP"sv, "lzip"},
    Magic{"PK\x03\x04"sv, "zip"},
    Magic{"7z\xBC\xAF\x27\x1C"sv, "7z"},
    Magic{"PAR1"sv, "Parquet"},
    Magic{"\xFF\xFE"sv, "UTF-16"},
    Magic{"\xFE\xFF"sv, "UTF-16"},
    Magic{"SQLite format 3"sv, "SQLite"},
};

/// `path` in lower case without what says how it is compressed.
std::string PlainName(const std::string& path) {
  std::string name = HeaderName(path.substr(path.find_last_of('/') + 1));
  for (const std::string_view suffix : {".zst", ".gz", ".xz"}) {
    if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
  }
  return name;
}

/// Whether these are records of oracleGeneral, by what they say of each other:
/// a record ends with the number of the next one of its key, or how far that
/// is; -1 or the largest number is never. At least one must say something that
/// is true.
bool AreOracleRecords(std::string_view head) noexcept {
  constexpr std::uint64_t kNever = ~std::uint64_t{0};
  constexpr std::uint64_t kLargest = kNever >> 1;
  constexpr std::uint64_t kPlausible = 1ULL << 40;
  const std::size_t count = head.size() / kOracleRecordSizeBytes;
  const auto at = [head](std::size_t index) {
    return head.substr(index * kOracleRecordSizeBytes, kOracleRecordSizeBytes);
  };
  const auto same_key = [&at](std::size_t one, std::size_t other) {
    return at(one).substr(4, 8) == at(other).substr(4, 8);
  };
  bool numbers_fit = true;
  bool distances_fit = true;
  std::size_t true_count = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto next = LoadLittleEndian<std::uint64_t>(at(i).data() + 16);
    if (next == kNever || next == kLargest) {
      ++true_count;
      continue;
    }
    if (next == 0 || next >= kPlausible) return false;
    numbers_fit =
        numbers_fit && next > i && (next >= count || same_key(i, next));
    distances_fit =
        distances_fit && (i + next >= count || same_key(i, i + next));
    if ((numbers_fit && next < count) || (distances_fit && i + next < count)) {
      ++true_count;
    }
  }
  return (numbers_fit || distances_fit) && true_count > 0;
}

Result<DetectedFormat> DetectBinary(std::string_view head,
                                    const std::string& path) {
  const auto refused = [&path](std::string_view what) {
    return Fail(Status::InvalidArgument(path + ": " + std::string(what)));
  };
  if (CompressionOf(head) != Compression::kNone) {
    return refused("compressed twice: decompress it once");
  }
  for (const Magic& magic : kMagics) {
    if (!head.starts_with(magic.bytes)) continue;
    return refused("begins like a " + std::string(magic.what) +
                   " file, which replay does not read: convert it");
  }
  const bool named = PlainName(path).find("oraclegeneral") != std::string::npos;
  if (named || AreOracleRecords(head)) {
    return DetectedFormat{.format = TraceFormat::kOracleGeneral, .layout = {}};
  }
  return refused(
      "binary, and not certainly oracleGeneral, as its records do not say "
      "where their keys come next: say --format oracleGeneral if it is that");
}

/// The lines that are there in full; the first one in any case.
std::vector<std::string_view> LinesOf(std::string_view head) {
  constexpr std::size_t kLineCountMax = 100;
  std::vector<std::string_view> lines;
  while (lines.size() < kLineCountMax) {
    const std::size_t end = head.find('\n');
    if (end == std::string_view::npos && (head.empty() || !lines.empty())) {
      break;
    }
    std::string_view line = head.substr(0, end);
    head.remove_prefix(std::min(line.size() + 1, head.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
  }
  return lines;
}

using Lines = std::vector<std::string_view>;

bool AllRowsOf(TraceFormat format, const Lines& lines) {
  if (format == TraceFormat::kArc) {
    return std::ranges::all_of(lines, IsArcRow);
  }
  const Result<TableLayout> layout = LayoutOf(format, lines[0]);
  return layout && !layout->has_header &&
         std::ranges::all_of(lines, [&layout](std::string_view line) {
           return IsRow(*layout, line);
         });
}

/// What to do about lines that could be several things.
Status WhatItMayBe(const std::string& path, const Lines& lines) {
  std::string formats;
  for (const TraceFormat format :
       {TraceFormat::kCsv, TraceFormat::kTwitter, TraceFormat::kLrb,
        TraceFormat::kArc, TraceFormat::kCloudPhysics,
        TraceFormat::kWikipedia}) {
    if (!AllRowsOf(format, {lines[0]})) continue;
    formats += (formats.empty() ? "" : " or ");
    formats += "--format ";
    formats += TraceFormatName(format);
  }
  const auto apart = std::ranges::find_if(lines, HasSeparator);
  return Status::InvalidArgument(
      path + ":" + std::to_string(apart - lines.begin() + 1) +
      ": expected a known format, or a key a line without separators and "
      "quotes, got " +
      Quote(*apart) + ": say " + (formats.empty() ? "" : formats + ", ") +
      "--columns time,key,size,op,ttl (- for others) as they come, or --format "
      "text if the line is the key");
}

Result<DetectedFormat> DetectText(const Lines& lines, const std::string& path) {
  const auto table = [](const TableLayout& layout) {
    return DetectedFormat{.format = layout.format, .layout = layout};
  };
  for (const TraceFormat format : {TraceFormat::kTwitter, TraceFormat::kCsv}) {
    if (!AllRowsOf(format, lines)) continue;
    Result<TableLayout> layout = LayoutOf(format, lines[0]);
    if (layout) return table(*layout);
  }
  const bool only_keys = HeaderName(lines[0]) == "key";
  Result<std::optional<TableLayout>> header = LayoutOfHeader(lines[0]);
  if (!header) {
    return Fail(
        Status::InvalidArgument(path + ":1: " + header.error().message()));
  }
  if (header->has_value()) return table(**header);
  if (std::ranges::none_of(lines, HasSeparator)) {
    if (!only_keys) return DetectedFormat();
    Result<TableLayout> layout = LayoutOf(TraceFormat::kCsv, lines[0]);
    if (layout) return table(*layout);
  }
  const std::string name = PlainName(path);
  if (name.ends_with(".lis") && AllRowsOf(TraceFormat::kArc, lines)) {
    return DetectedFormat{.format = TraceFormat::kArc, .layout = {}};
  }
  if (name.ends_with(".tr") && AllRowsOf(TraceFormat::kLrb, lines)) {
    Result<TableLayout> layout = LayoutOf(TraceFormat::kLrb, lines[0]);
    if (layout) return table(*layout);
  }
  return Fail(WhatItMayBe(path, lines));
}

}  // namespace

bool IsBinary(std::string_view head) noexcept {
  return std::ranges::any_of(head, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r';
  });
}

bool HasSeparator(std::string_view line) noexcept {
  return line.find_first_of(",;|\t \r\"") != std::string_view::npos;
}

Result<DetectedFormat> DetectFormat(std::string_view head,
                                    const std::string& path) {
  if (IsBinary(head) || head.starts_with("\xFF\xFE") ||
      head.starts_with("\xFE\xFF")) {
    return DetectBinary(head, path);
  }
  const Lines lines = LinesOf(head);
  if (lines.empty()) return DetectedFormat();
  return DetectText(lines, path);
}

}  // namespace larder::replay
