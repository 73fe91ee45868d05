#include "commands/output.h"

#include <array>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <ctime>

#include <fmt/format.h>

#include "commands/value_text.h"

namespace larder::tools {
namespace {

constexpr std::string_view kBase64Alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// What a user of the command line can do about it; empty if the engine's
// message says that itself.
std::string_view Remedy(StatusCode code) {
  switch (code) {
    case StatusCode::kNotFound:
      return "check the path; 'larder set', 'fill' or 'import' makes a cache";
    case StatusCode::kPermissionDenied:
      return "check owner, mode and mount";
    case StatusCode::kUnsupportedFormat:
      return "use the larder that wrote it, or a newer one";
    case StatusCode::kTypeMismatch:
      return "see 'larder inspect' for its codec";
    case StatusCode::kOutOfRange:
      return "the value was kept";
    case StatusCode::kKeyTooLarge:
      return "use a key of at most 65536 bytes";
    case StatusCode::kTooLarge:
      return "see size_limit and item_size_limit in 'larder settings'";
    case StatusCode::kNoSpace:
      return "free space, or raise size_limit";
    case StatusCode::kCorruption:
      return "run 'larder repair'";
    case StatusCode::kIoError:
      return "look at the disk and the kernel log";
    case StatusCode::kTimedOut:
      return "try again";
    case StatusCode::kOutcomeUnknown:
      return "see 'larder get' what is there before trying again";
    case StatusCode::kSeatUnavailable:
      return "try again when it has closed the cache";
    case StatusCode::kHolderNotResponding:
      return "continue that process";
    case StatusCode::kReadOnly:
      return "use an account that may write";
    case StatusCode::kUndecodable:
      return "the item is whole: read it as the type that wrote it, or set it "
             "anew";
    case StatusCode::kInternal:
      return "this is a defect of larder, please report it";
    default:
      return {};
  }
}

bool IsPathCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("_-./").find(c) != std::string_view::npos;
}

// True if `line` has `part` as a word or phrase of its own.
bool Mentions(std::string_view line, std::string_view part) {
  for (std::size_t at = line.find(part); at != std::string_view::npos;
       at = line.find(part, at + 1)) {
    const std::size_t end = at + part.size();
    if ((at == 0 || !IsPathCharacter(line[at - 1])) &&
        (end == line.size() || !IsPathCharacter(line[end]))) {
      return true;
    }
  }
  return false;
}

// Appends `part` after ": " unless there is nothing new in it.
void AppendPart(std::string& line, std::string_view part) {
  if (!part.empty() && !Mentions(line, part)) {
    line += ": ";
    line += part;
  }
}

// One line whatever the message holds.
void PrintErrorLine(std::string line) {
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < ' ') {
      c = ' ';
    }
  }
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

std::size_t Utf8SequenceLength(std::string_view bytes) {
  const auto at = [&](std::size_t i) {
    return static_cast<unsigned char>(bytes[i]);
  };
  const auto continues = [&](std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) {
      if (i >= bytes.size() || (at(i) & 0xC0U) != 0x80U) {
        return false;
      }
    }
    return true;
  };
  const unsigned char first = at(0);
  if (first < 0x80) {
    return 1;
  }
  if (first >= 0xC2 && first <= 0xDF) {
    return continues(1, 2) ? 2 : 0;
  }
  if (first >= 0xE0 && first <= 0xEF && continues(1, 3)) {
    const bool overlong = first == 0xE0 && at(1) < 0xA0;
    const bool surrogate = first == 0xED && at(1) > 0x9F;
    return overlong || surrogate ? 0 : 3;
  }
  if (first >= 0xF0 && first <= 0xF4 && continues(1, 4)) {
    const bool overlong = first == 0xF0 && at(1) < 0x90;
    const bool beyond = first == 0xF4 && at(1) > 0x8F;
    return overlong || beyond ? 0 : 4;
  }
  return 0;
}

}  // namespace

void Print(std::string_view bytes) {
  std::fwrite(bytes.data(), 1, bytes.size(), stdout);
}

std::string DumpJson(const Json& object) {
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void PrintJson(const Json& object) { Print(DumpJson(object) + "\n"); }

int FinishOutput(int exit_code) {
  const bool failed_before = std::ferror(stdout) != 0;
  if (std::fflush(stdout) != 0 || failed_before) {
    return ReportError(Status::IoError("cannot write the result"),
                       "standard output");
  }
  return exit_code;
}

int ReportError(const Status& status, std::string_view where,
                std::string_view remedy) {
  std::string line = fmt::format("larder: {}", StatusCodeName(status.code()));
  AppendPart(line, status.message());
  AppendPart(line, where);
  // A message that names a limit says what to do.
  const bool is_limit = status.message().find("RLIMIT_") != std::string::npos;
  AppendPart(line, !remedy.empty() ? remedy
                   : is_limit      ? std::string_view()
                                   : Remedy(status.code()));
  PrintErrorLine(std::move(line));
  return kExitError;
}

int ReportUsage(std::string_view what, std::string_view remedy) {
  std::string line = "larder: usage";
  AppendPart(line, what);
  AppendPart(line, remedy);
  PrintErrorLine(std::move(line));
  return kExitUsage;
}

void Note(std::string_view line) {
  PrintErrorLine(fmt::format("larder: {}", line));
}

void NoteFailure(const Status& status) {
  if (!status.ok()) Note(status.ToString());
}

void AddBytes(Json& object, const std::string& name, std::string_view bytes) {
  if (IsUtf8(bytes)) {
    object[name] = std::string(bytes);
  } else {
    object[name + "_base64"] = EncodeBase64(bytes);
  }
}

Json ItemJson(std::string_view key, const ItemInfo& info, TimePoint now) {
  Json item;
  AddBytes(item, "key", key);
  item["size_bytes"] = info.size_bytes;
  item["version"] = info.version;
  AddBytes(item, "tag", info.tag);
  item["stored_at"] = FormatTime(info.stored_at);
  if (info.expires_at == kNeverExpires) {
    item["expires_at"] = nullptr;
    item["ttl_seconds"] = nullptr;
  } else {
    item["expires_at"] = FormatTime(info.expires_at);
    item["ttl_seconds"] =
        std::chrono::duration<double>(info.expires_at - now).count();
  }
  item["frequency"] = info.frequency;
  item["codec"] = CodecText(info.codec);
  item["pinned"] = info.pinned;
  return item;
}

bool IsUtf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t length = Utf8SequenceLength(bytes);
    if (length == 0) {
      return false;
    }
    bytes.remove_prefix(length);
  }
  return true;
}

std::string EncodeBase64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      group <<= 8U;
      group |= j < count ? static_cast<unsigned char>(bytes[i + j]) : 0U;
    }
    for (std::size_t j = 0; j < 4; ++j) {
      text += j <= count ? kBase64Alphabet[(group >> (18 - 6 * j)) & 63U] : '=';
    }
  }
  return text;
}

Result<std::string> DecodeBase64(std::string_view text) {
  const auto malformed = [] {
    return Fail(
        Status::ParseError("malformed base64, expected groups of four "
                           "of A-Z a-z 0-9 + / with = at the end"));
  };
  if (text.size() % 4 != 0) {
    return malformed();
  }
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() &&
         text[text.size() - 1 - padding] == '=') {
    ++padding;
  }
  std::string bytes;
  std::uint32_t group = 0;
  const std::size_t digits = text.size() - padding;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t digit = i < digits ? kBase64Alphabet.find(text[i]) : 0;
    if (digit == std::string_view::npos) {
      return malformed();
    }
    group = (group << 6U) | static_cast<std::uint32_t>(digit);
    if (i % 4 == 3) {
      bytes += static_cast<char>(group >> 16U & 0xFFU);
      bytes += static_cast<char>(group >> 8U & 0xFFU);
      bytes += static_cast<char>(group & 0xFFU);
      group = 0;
    }
  }
  bytes.resize(bytes.size() - padding);
  return bytes;
}

std::string FormatTime(TimePoint time) {
  if (time == kNeverExpires) {
    return "never";
  }
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const std::time_t whole = seconds.time_since_epoch().count();
  std::tm parts{};
  if (gmtime_r(&whole, &parts) == nullptr) {
    return fmt::format("{}us", time.time_since_epoch().count());
  }
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
                     parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec,
                     (time - seconds).count());
}

std::string FormatRoughBytes(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 6> kUnits = {"B",   "KiB", "MiB",
                                                      "GiB", "TiB", "PiB"};
  auto amount = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (amount >= 1000.0 && unit + 1 < kUnits.size()) {
    amount /= 1024.0;
    ++unit;
  }
  const int decimals = unit == 0 || amount >= 100 ? 0 : amount >= 10 ? 1 : 2;
  return fmt::format("{:.{}f} {}", amount, decimals, kUnits[unit]);
}

}  // namespace larder::tools
