#ifndef LARDER_SERIALIZERS_CEREAL_CODEC_H_
#define LARDER_SERIALIZERS_CEREAL_CODEC_H_

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include <cereal/types/array.hpp>
#include <cereal/types/chrono.hpp>
#include <cereal/types/deque.hpp>
#include <cereal/types/list.hpp>
#include <cereal/types/map.hpp>
#include <cereal/types/optional.hpp>
#include <cereal/types/set.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/tuple.hpp>
#include <cereal/types/unordered_map.hpp>
#include <cereal/types/unordered_set.hpp>
#include <cereal/types/utility.hpp>
#include <cereal/types/variant.hpp>
#include <cereal/types/vector.hpp>

#include "larder/serializers/codec_error.h"
#include "larder/serializers/codec_id.h"
#include "larder/serializers/portable_binary.h"

namespace larder::internal {

template <typename... Ts>
struct TypeList {};

/// The types that cereal will ask for when it serializes a standard container
/// T. cereal's own traits look at the container only, and then fail deep
/// inside.
template <typename T>
struct ElementsOf {
  using Types = TypeList<>;
};
template <typename T, typename A>
struct ElementsOf<std::vector<T, A>> {
  using Types = TypeList<T>;
};
template <typename T, typename A>
struct ElementsOf<std::deque<T, A>> {
  using Types = TypeList<T>;
};
template <typename T, typename A>
struct ElementsOf<std::list<T, A>> {
  using Types = TypeList<T>;
};
template <typename T, std::size_t kSize>
struct ElementsOf<std::array<T, kSize>> {
  using Types = TypeList<T>;
};
template <typename T>
struct ElementsOf<std::optional<T>> {
  using Types = TypeList<T>;
};
template <typename K, typename C, typename A>
struct ElementsOf<std::set<K, C, A>> {
  using Types = TypeList<K>;
};
template <typename K, typename H, typename E, typename A>
struct ElementsOf<std::unordered_set<K, H, E, A>> {
  using Types = TypeList<K>;
};
template <typename K, typename V, typename C, typename A>
struct ElementsOf<std::map<K, V, C, A>> {
  using Types = TypeList<K, V>;
};
template <typename K, typename V, typename H, typename E, typename A>
struct ElementsOf<std::unordered_map<K, V, H, E, A>> {
  using Types = TypeList<K, V>;
};
template <typename A, typename B>
struct ElementsOf<std::pair<A, B>> {
  using Types = TypeList<A, B>;
};
template <typename... Ts>
struct ElementsOf<std::tuple<Ts...>> {
  using Types = TypeList<Ts...>;
};
template <typename... Ts>
struct ElementsOf<std::variant<Ts...>> {
  using Types = TypeList<Ts...>;
};

template <typename Archive, typename T>
constexpr bool CerealCanSave();
template <typename Archive, typename T>
constexpr bool CerealCanLoad();

template <typename Archive, typename... Ts>
constexpr bool CerealCanSaveEach(TypeList<Ts...> /*types*/) {
  return (CerealCanSave<Archive, Ts>() && ...);
}
template <typename Archive, typename... Ts>
constexpr bool CerealCanLoadEach(TypeList<Ts...> /*types*/) {
  return (CerealCanLoad<Archive, Ts>() && ...);
}

/// Whether output archive `Archive` can save a T, as far as can be seen
/// without compiling the body of a serialize function.
template <typename Archive, typename T>
constexpr bool CerealCanSave() {
  if constexpr (std::is_pointer_v<T> || std::is_reference_v<T>) {
    return false;  // cereal fails on them with an assertion of its own.
  } else if constexpr (!CerealCanSaveEach<Archive>(
                           typename ElementsOf<T>::Types{})) {
    return false;
  } else {
    return cereal::traits::is_output_serializable<T, Archive>::value;
  }
}
template <typename Archive, typename T>
constexpr bool CerealCanLoad() {
  if constexpr (std::is_pointer_v<T> || std::is_reference_v<T> ||
                std::is_const_v<T>) {
    return false;
  } else if constexpr (!CerealCanLoadEach<Archive>(
                           typename ElementsOf<T>::Types{})) {
    return false;
  } else {
    return cereal::traits::is_input_serializable<T, Archive>::value;
  }
}

/// The codec of everything that no other codec claims.
template <typename T>
struct PortableBinaryCodec {
  static constexpr std::uint8_t kId = kCodecIdPortableBinary;
  static constexpr bool kCanEncode = CerealCanSave<PortableBinaryWriter, T>();
  static constexpr bool kCanDecode = CerealCanLoad<PortableBinaryReader, T>() &&
                                     std::is_default_constructible_v<T>;

  static std::string Encode(const T& value) requires kCanEncode {
    std::string bytes;
    PortableBinaryWriter archive(&bytes);
    archive(value);
    archive.Finish();
    return bytes;
  }
  static Decoded<T> Decode(std::string_view bytes) requires kCanDecode {
    PortableBinaryReader archive(bytes);
    T value{};
    archive(value);
    archive.Finish();
    return value;
  }
};

}  // namespace larder::internal

#endif  // LARDER_SERIALIZERS_CEREAL_CODEC_H_
