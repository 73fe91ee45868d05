#ifndef LARDER_ENGINE_SRC_INDEX_STORE_KEYS_H_
#define LARDER_ENGINE_SRC_INDEX_STORE_KEYS_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <rocksdb/slice.h>

#include "larder/engine/status.h"

#include "base/coding.h"

/// The keys of `counters` and `values`, and statuses that many calls give.

namespace larder {

inline constexpr std::string_view kLedgerKey = "ledger";
/// There while something was written without a log and not flushed.
inline constexpr std::string_view kUnloggedKey = "unlogged";
/// There once something was promised to survive a power cut.
inline constexpr std::string_view kPowerKey = "power";
/// Of the total of expirations, what ExpireCommand has told.
inline constexpr std::string_view kExpirationsToldKey = "expirations-told";
/// The last search for room that found little (VainSearch).
inline constexpr std::string_view kVainSearchKey = "vain-search";
/// Followed by a tag that is being evicted; the value is the cutoff, eight
/// bytes big-endian: what has the tag and a version below it is gone.
inline constexpr std::string_view kTagCutoffPrefix = "tag-cutoff/";
/// Followed by a version, eight bytes big-endian, below the cutoff of its tag
/// that was committed after it; the value is the tag.
inline constexpr std::string_view kTagSparedPrefix = "tag-spared/";
inline constexpr std::string_view kSettingPrefix = "setting/";
inline constexpr std::string_view kRunPrefix = "run/";
inline constexpr std::string_view kSessionPrefix = "session/";

inline constexpr std::string_view kSessionGroupPrefix = "sessions/";

inline void AppendBigEndian32(std::string& key, std::uint32_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    key.push_back(static_cast<char>(number >> shift));
  }
}
/// What follows the prefix; nullopt: it is not a key of that kind.
inline std::optional<std::uint32_t> ParseBigEndian32(std::string_view key,
                                                     std::string_view prefix) {
  if (key.size() != prefix.size() + 4) return std::nullopt;
  std::uint32_t number = 0;
  for (const char byte : key.substr(prefix.size())) {
    number = number << 8 | static_cast<std::uint8_t>(byte);
  }
  return number;
}

/// The prefix and a number, eight bytes big-endian.
inline std::string NumberKey(std::string_view prefix, std::uint64_t number) {
  std::string key(prefix);
  key.resize(prefix.size() + sizeof(number));
  StoreBigEndian64(key.data() + prefix.size(), number);
  return key;
}
/// What follows the prefix; nullopt: it is not a key of that kind.
inline std::optional<std::uint64_t> ParseNumberKey(std::string_view key,
                                                   std::string_view prefix) {
  if (key.size() != prefix.size() + sizeof(std::uint64_t)) return std::nullopt;
  return LoadBigEndian64(key.data() + prefix.size());
}

inline std::string SettingKey(std::string_view name) {
  return std::string(kSettingPrefix).append(name);
}
inline std::string PolicyStateKey(std::string_view policy) {
  return std::string("policy/").append(policy);
}
/// "run/" and the id, four bytes big-endian; the value is the first position,
/// eight bytes big-endian.
inline std::string RunKey(std::uint32_t id) {
  std::string key(kRunPrefix);
  AppendBigEndian32(key, id);
  return key;
}
inline std::optional<std::uint32_t> ParseRunKey(std::string_view key) {
  return ParseBigEndian32(key, kRunPrefix);
}

/// "session/" and the client's uid, eight bytes big-endian; the value is the
/// sequence, eight bytes big-endian, and the encoded replies.
inline std::string SessionKey(std::uint64_t uid) {
  return NumberKey(kSessionPrefix, uid);
}
inline std::optional<std::uint64_t> ParseSessionKey(std::string_view key) {
  return ParseNumberKey(key, kSessionPrefix);
}

inline std::string TagCutoffKey(std::string_view tag) {
  return std::string(kTagCutoffPrefix).append(tag);
}
inline std::string TagSparedKey(std::uint64_t version) {
  return NumberKey(kTagSparedPrefix, version);
}
inline std::optional<std::uint64_t> ParseTagSparedKey(std::string_view key) {
  return ParseNumberKey(key, kTagSparedPrefix);
}

/// "sessions/" and the number of the group, four bytes big-endian.
inline std::string SessionGroupKey(std::uint32_t group) {
  std::string key(kSessionGroupPrefix);
  AppendBigEndian32(key, group);
  return key;
}
inline std::optional<std::uint32_t> ParseSessionGroupKey(std::string_view key) {
  return ParseBigEndian32(key, kSessionGroupPrefix);
}

/// A position as the key of `values`.
class PositionKey {
 public:
  explicit PositionKey(std::uint64_t position) noexcept {
    StoreBigEndian64(bytes_, position);
  }
  [[nodiscard]] rocksdb::Slice slice() const noexcept {
    return {bytes_, sizeof(bytes_)};
  }

 private:
  char bytes_[8];
};

/// Makes `value` at least `to`.
template <typename T>
void RaiseTo(std::atomic<T>& value, T to) noexcept {
  T now = value;
  while (now < to && !value.compare_exchange_weak(now, to)) {
  }
}
/// Makes `value` at most `to`.
template <typename T>
void LowerTo(std::atomic<T>& value, T to) noexcept {
  T now = value;
  while (now > to && !value.compare_exchange_weak(now, to)) {
  }
}

inline Status ClosedStatus() { return Status::Closed("the cache is closed"); }
inline Status ReadOnlyStatus() {
  return {StatusCode::kReadOnly,
          "the cache was opened read-only; open it with OpenMode::kCreate"};
}

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_STORE_KEYS_H_
