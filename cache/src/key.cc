#include "larder/cache/key.h"

#include <bit>
#include <cmath>
#include <limits>
#include <optional>

/// Every element starts with a tag and ends where its own bytes say, so
/// elements can stand one after another, and no element is a prefix of
/// another. Integers have a fixed size: a shorter form for small ones would
/// save up to seven bytes a key, and RocksDB's prefix compression saves most
/// of them anyway.
///
/// Always: 1. a < b in value order (see key.h) if and only if
///            bytes(a) < bytes(b).
///         2. Decode(bytes) gives v only if the bytes of v are `bytes`.
///         3. kEnd is below every tag, and kEscape above: "a" < "a\0" and
///            (1) < (1, 2), whatever follows.

namespace larder {
namespace {

constexpr char kEnd = '\x00';
constexpr char kEscape = '\xFF';
constexpr char kTagInteger = '\x10';
constexpr char kTagDouble = '\x20';
constexpr char kTagString = '\x30';
constexpr char kTagTuple = '\x40';

constexpr std::uint64_t kSignBit = std::uint64_t{1} << 63;
constexpr std::size_t kFixedSize = sizeof(std::uint64_t);

void AppendBigEndian(std::string* out, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>((value >> shift) & 0xFF));
  }
}

// A double's bits as an integer of the same order: negative ones are reversed
// by flipping all their bits, the others are lifted above them.
std::uint64_t OrderedBits(double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  return (bits & kSignBit) != 0 ? ~bits : bits | kSignBit;
}
double DoubleOfOrderedBits(std::uint64_t ordered) {
  return std::bit_cast<double>((ordered & kSignBit) != 0 ? ordered & ~kSignBit
                                                         : ~ordered);
}

std::string_view TypeName(const KeyPart& part) {
  constexpr std::string_view kNames[] = {"an integer", "a double", "a string",
                                         "a tuple"};
  return kNames[part.value.index()];
}

/// Reads the bytes of a typed key.
class KeyDecoder {
 public:
  explicit KeyDecoder(std::string_view bytes) noexcept : bytes_(bytes) {}

  Result<KeyPart> TakePart(int depth) {
    if (AtEnd()) {
      return Bad("an element is missing");
    }
    switch (bytes_[offset_++]) {
      case kTagInteger:
        return TakeInteger();
      case kTagDouble:
        return TakeDouble();
      case kTagString:
        return TakeString();
      case kTagTuple:
        return TakeTuple(depth + 1);
      default:
        --offset_;
        return Bad("no tag of an element");
    }
  }
  [[nodiscard]] bool AtEnd() const noexcept { return offset_ == bytes_.size(); }

  [[nodiscard]] tl::unexpected<Status> Bad(std::string_view what) const {
    return Fail(Status::ParseError(
        "not a typed key: at byte " + std::to_string(offset_) + " of " +
        std::to_string(bytes_.size()) + ": " + std::string(what)));
  }

 private:
  std::optional<std::uint64_t> TakeBigEndian() {
    if (bytes_.size() - offset_ < kFixedSize) {
      return std::nullopt;
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < kFixedSize; ++i) {
      value = value << 8 | static_cast<unsigned char>(bytes_[offset_++]);
    }
    return value;
  }
  Result<KeyPart> TakeInteger() {
    const std::optional<std::uint64_t> bits = TakeBigEndian();
    if (!bits) {
      return Bad("an integer has eight bytes");
    }
    return KeyPart{static_cast<std::int64_t>(*bits ^ kSignBit)};
  }
  Result<KeyPart> TakeDouble() {
    const std::optional<std::uint64_t> bits = TakeBigEndian();
    if (!bits) {
      return Bad("a double has eight bytes");
    }
    const double value = DoubleOfOrderedBits(*bits);
    if (std::isnan(value) || (value == 0 && std::signbit(value))) {
      return Bad("NaN and -0.0 are never written");
    }
    return KeyPart{value};
  }
  Result<KeyPart> TakeString() {
    std::string text;
    while (!AtEnd()) {
      const char c = bytes_[offset_++];
      if (c != kEnd) {
        text.push_back(c);
      } else if (!AtEnd() && bytes_[offset_] == kEscape) {
        text.push_back('\0');
        ++offset_;
      } else {
        return KeyPart{std::move(text)};
      }
    }
    return Bad("the end of a string is missing");
  }
  Result<KeyPart> TakeTuple(int depth) {
    if (depth > kKeyNestingDepthMax) {
      return Bad("tuples nest more than " +
                 std::to_string(kKeyNestingDepthMax) + " deep");
    }
    KeyTuple parts;
    while (!AtEnd() && bytes_[offset_] != kEnd) {
      Result<KeyPart> part = TakePart(depth);
      if (!part) {
        return part;
      }
      parts.push_back(*std::move(part));
    }
    if (AtEnd()) {
      return Bad("the end of a tuple is missing");
    }
    ++offset_;
    return KeyPart{std::move(parts)};
  }

  const std::string_view bytes_;
  std::size_t offset_ = 0;
};

}  // namespace

namespace internal {

void KeyEncoder::Fail(Status status) {
  if (status_.ok()) {
    status_ = std::move(status);
  }
}

void KeyEncoder::AppendInteger(std::int64_t value) {
  bytes_.push_back(kTagInteger);
  AppendBigEndian(&bytes_, static_cast<std::uint64_t>(value) ^ kSignBit);
}

void KeyEncoder::AppendDouble(double value) {
  static_assert(std::numeric_limits<double>::is_iec559);
  if (std::isnan(value)) {
    Fail(Status::InvalidArgument("NaN cannot be a key: it has no order"));
    return;
  }
  bytes_.push_back(kTagDouble);
  AppendBigEndian(&bytes_, OrderedBits(value == 0 ? 0.0 : value));
}

void KeyEncoder::AppendString(std::string_view value) {
  if (value.size() > kKeySizeBytesMax) {
    Fail({StatusCode::kKeyTooLarge, "a string of " +
                                        std::to_string(value.size()) +
                                        " bytes in a key, the limit is " +
                                        std::to_string(kKeySizeBytesMax)});
    return;
  }
  bytes_.push_back(kTagString);
  for (const char c : value) {
    bytes_.push_back(c);
    if (c == kEnd) {
      bytes_.push_back(kEscape);
    }
  }
  bytes_.push_back(kEnd);
}

void KeyEncoder::BeginTuple() {
  if (++depth_ > kKeyNestingDepthMax) {
    Fail(Status::InvalidArgument("tuples nest more than " +
                                 std::to_string(kKeyNestingDepthMax) +
                                 " deep in a key"));
  }
  bytes_.push_back(kTagTuple);
}

void KeyEncoder::EndTuple() {
  --depth_;
  bytes_.push_back(kEnd);
}

void KeyEncoder::AppendPart(const KeyPart& part) {
  if (!status_.ok()) {
    return;  // Also ends the recursion of a tuple that nests too deep.
  }
  if (const auto* const integer = std::get_if<std::int64_t>(&part.value)) {
    AppendInteger(*integer);
  } else if (const auto* const number = std::get_if<double>(&part.value)) {
    AppendDouble(*number);
  } else if (const auto* const text = std::get_if<std::string>(&part.value)) {
    AppendString(*text);
  } else {
    BeginTuple();
    for (const KeyPart& element : std::get<KeyTuple>(part.value)) {
      AppendPart(element);
    }
    EndTuple();
  }
}

void KeyEncoder::FailOutOfRange(std::uint64_t value) {
  Fail(Status::InvalidArgument(std::to_string(value) +
                               " cannot be a key: integers go up to "
                               "9223372036854775807"));
}

Result<std::string> KeyEncoder::Finish() && {
  if (status_.ok() && bytes_.size() > kKeySizeBytesMax) {
    Fail({StatusCode::kKeyTooLarge,
          "a typed key takes " + std::to_string(bytes_.size()) +
              " bytes, the limit is " + std::to_string(kKeySizeBytesMax)});
  }
  if (!status_.ok()) {
    return larder::Fail(std::move(status_));
  }
  return std::move(bytes_);
}

Status KeyTypeMismatch(const KeyPart& found, std::string_view expected) {
  std::string text(TypeName(found));
  if (const auto* const parts = std::get_if<KeyTuple>(&found.value)) {
    text += " of " + std::to_string(parts->size());
  }
  return Status::TypeMismatch("the key is " + text + ", asked for as " +
                              std::string(expected));
}

}  // namespace internal

Result<Key> Key::Finish(internal::KeyEncoder encoder) noexcept {
  Result<std::string> bytes = std::move(encoder).Finish();
  if (!bytes) {
    return Fail(std::move(bytes).error());
  }
  return Key(*std::move(bytes));
}

Result<KeyPart> Key::Decode(std::string_view bytes) noexcept {
  if (bytes.size() > kKeySizeBytesMax) {
    return Fail(Status(
        StatusCode::kKeyTooLarge,
        std::to_string(bytes.size()) + " bytes are more than a key can have"));
  }
  KeyDecoder decoder(bytes);
  Result<KeyPart> part = decoder.TakePart(0);
  if (part && !decoder.AtEnd()) {
    return decoder.Bad("something follows the key");
  }
  return part;
}

}  // namespace larder
