#include "larder/cache/key.h"

#include <bit>
#include <cmath>
#include <limits>
#include <optional>

/// Every element starts with a tag and ends where its own bytes say, so
/// elements can stand one after another. Integers have a fixed size: a shorter
/// form for small ones would save up to seven bytes a key, and RocksDB's prefix
/// compression saves most of them anyway.
///
/// Always: 1. a < b in value order (see key.h) if and only if
///            bytes(a) < bytes(b).
///         2. Decode(bytes) gives v only if the bytes of v are `bytes`.
///         3. No key is the beginning of another one.
/// Strings end with kEnd, which is below all that can stand inside them; for
/// that, the bytes 0 and 1 are escaped as 1 1 and 1 2. (Escaping only 0, as 0
/// 255, is shorter, but then "a" is the beginning of "a\0" and 3 fails, and
/// with it prefix scans over tuples.)

namespace larder {
namespace {

constexpr char kEnd = '\x00';
constexpr char kEscape = '\x01';  // Stands before 1 + the byte it is for.
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

/// Reads the bytes of a typed key. What it reads goes into a KeyPart of the
/// caller's, where it is built in place.
class KeyDecoder {
 public:
  explicit KeyDecoder(std::string_view bytes) noexcept : bytes_(bytes) {}

  [[nodiscard]] bool AtEnd() const noexcept { return offset_ == bytes_.size(); }

  Status TakePart(int depth, KeyPart* part) {
    if (AtEnd()) {
      return Bad("an element is missing");
    }
    switch (bytes_[offset_++]) {
      case kTagInteger:
        return TakeInteger(&part->value.emplace<std::int64_t>());
      case kTagDouble:
        return TakeDouble(&part->value.emplace<double>());
      case kTagString:
        return TakeString(&part->value.emplace<std::string>());
      case kTagTuple:
        return TakeTuple(depth + 1, &part->value.emplace<KeyTuple>());
      default:
        --offset_;
        return Bad("no tag of an element");
    }
  }

  [[nodiscard]] Status Bad(std::string_view what) const {
    return Status::ParseError(
        "not a typed key: at byte " + std::to_string(offset_) + " of " +
        std::to_string(bytes_.size()) + ": " + std::string(what));
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
  Status TakeInteger(std::int64_t* value) {
    const std::optional<std::uint64_t> bits = TakeBigEndian();
    if (!bits) {
      return Bad("an integer has eight bytes");
    }
    *value = static_cast<std::int64_t>(*bits ^ kSignBit);
    return Status::Ok();
  }
  Status TakeDouble(double* value) {
    const std::optional<std::uint64_t> bits = TakeBigEndian();
    if (!bits) {
      return Bad("a double has eight bytes");
    }
    *value = DoubleOfOrderedBits(*bits);
    return std::isnan(*value) || (*value == 0 && std::signbit(*value))
               ? Bad("NaN and -0.0 are never written")
               : Status::Ok();
  }
  Status TakeString(std::string* text) {
    while (!AtEnd()) {
      const char c = bytes_[offset_++];
      if (c == kEnd) {
        return Status::Ok();
      }
      if (c != kEscape) {
        text->push_back(c);
        continue;
      }
      if (AtEnd() || (bytes_[offset_] != 1 && bytes_[offset_] != 2)) {
        return Bad("after 1 in a string stands 1 or 2");
      }
      text->push_back(static_cast<char>(bytes_[offset_++] - 1));
    }
    return Bad("the end of a string is missing");
  }
  Status TakeTuple(int depth, KeyTuple* parts) {
    if (depth > kKeyNestingDepthMax) {
      return Bad("tuples nest more than " +
                 std::to_string(kKeyNestingDepthMax) + " deep");
    }
    while (!AtEnd()) {
      if (bytes_[offset_] == kEnd) {
        ++offset_;
        return Status::Ok();
      }
      LARDER_RETURN_IF_ERROR(TakePart(depth, &parts->emplace_back()));
    }
    return Bad("the end of a tuple is missing");
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
    if (c == kEnd || c == kEscape) {
      bytes_.push_back(kEscape);
      bytes_.push_back(static_cast<char>(c + 1));
    } else {
      bytes_.push_back(c);
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
  Result<KeyPart> part;
  LARDER_FAIL_IF_ERROR(decoder.TakePart(0, &*part));
  if (!decoder.AtEnd()) {
    return Fail(decoder.Bad("something follows the key"));
  }
  return part;
}

}  // namespace larder
