#ifndef LARDER_SERIALIZERS_JSON_H_
#define LARDER_SERIALIZERS_JSON_H_

#include <concepts>
#include <cstdint>
#include <istream>
#include <ostream>
#include <sstream>
#include <streambuf>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#if defined(RAPIDJSON_ASSERT) && !defined(RAPIDJSON_ASSERT_THROWS)
#error \
    "Include larder/serializers/json.h before RapidJSON: its assertions must throw, or damaged JSON would end the process."
#endif
#include <cereal/archives/json.hpp>

#include "larder/serializers/codec.h"

/// Values as JSON text on one line, for other programs to read: {"value":...},
/// where ... is what cereal's JSON archive writes. Apart from codec.h, because
/// it is heavy to compile.
///
///   cache->Set("k", larder::AsJson(point));             // No copy of `point`.
///   cache->Get<larder::Json<Point>>("k");
///
///   template <>                                         // Or always:
///   struct larder::Codec<Point> : larder::JsonCodec<Point> {};
///
/// Damaged text is kUndecodable: brackets may nest kNestingDepthMax deep, and
/// nothing may follow the value. Strings must be UTF-8 for other programs'
/// sake (not checked) and cannot hold a NUL (refused when written: cereal would
/// read back what stands before it).

namespace larder {

/// A T that is stored as JSON.
template <typename T>
struct Json {
  T value{};
  friend bool operator==(const Json&, const Json&) = default;
};
template <typename T>
Json(T) -> Json<T>;

/// Stands for a T of the caller's, to be stored as JSON.
///
/// Lifetime: the T outlives it.
template <typename T>
struct JsonView {
  const T* value;
};

template <typename T>
[[nodiscard]] JsonView<T> AsJson(const T& value) noexcept {
  return {&value};
}
template <typename T>
void AsJson(const T&& value) = delete;  // It would dangle.

namespace internal {

/// Throws cereal::Exception for text that must not reach cereal's parser:
/// brackets outside of strings nest more than kNestingDepthMax deep (it
/// recurses), or there is a NUL, plain or escaped (it would stop there).
void CheckJsonText(std::string_view text);

/// Takes the spaces and line ends between tokens out of well-formed `text`.
[[nodiscard]] std::string WithoutJsonSpaces(std::string text);

/// Lets a stream read memory in place.
class ViewBuffer : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view bytes) {
    // A streambuf that only reads never writes through these.
    char* const begin = const_cast<char*>(bytes.data());
    setg(begin, begin, begin + bytes.size());
  }
};

inline constexpr const char* kJsonMemberName = "value";

template <typename T>
std::string EncodeJson(const T& value) {
  std::ostringstream out;
  {
    cereal::JSONOutputArchive archive(
        out, cereal::JSONOutputArchive::Options::NoIndent());
    archive(cereal::make_nvp(kJsonMemberName, value));
  }  // The archive writes the closing bracket when it is destroyed.
  std::string text = WithoutJsonSpaces(std::move(out).str());
  CheckJsonText(text);
  return text;
}

template <typename T>
void DecodeJson(std::string_view text, T* value) {
  CheckJsonText(text);
  ViewBuffer buffer(text);
  std::istream in(&buffer);
  cereal::JSONInputArchive archive(in);
  archive(cereal::make_nvp(kJsonMemberName, *value));
}

}  // namespace internal

/// The codec that writes a T as JSON.
template <typename T>
struct JsonCodec {
  static constexpr std::uint8_t kId = kCodecIdJson;
  static constexpr bool kCanEncode =
      internal::CerealCanSave<cereal::JSONOutputArchive, T>();
  static constexpr bool kCanDecode =
      internal::CerealCanLoad<cereal::JSONInputArchive, T>() &&
      std::is_default_constructible_v<T>;

  static std::string Encode(const T& value) requires kCanEncode {
    return internal::EncodeJson(value);
  }
  static Decoded<T> Decode(std::string_view bytes) requires kCanDecode {
    T value{};
    internal::DecodeJson(bytes, &value);
    return value;
  }
};

template <typename T>
struct Codec<Json<T>> {
  static constexpr std::uint8_t kId = kCodecIdJson;
  static std::string Encode(
      const Json<T>& json) requires JsonCodec<T>::kCanEncode {
    return internal::EncodeJson(json.value);
  }
  static Decoded<Json<T>> Decode(
      std::string_view bytes) requires JsonCodec<T>::kCanDecode {
    Json<T> json;
    internal::DecodeJson(bytes, &json.value);
    return json;
  }
};

template <typename T>
struct Codec<JsonView<T>> {
  static constexpr std::uint8_t kId = kCodecIdJson;
  static std::string Encode(
      JsonView<T> view) requires JsonCodec<T>::kCanEncode {
    return internal::EncodeJson(*view.value);
  }
};

}  // namespace larder

#endif  // LARDER_SERIALIZERS_JSON_H_
