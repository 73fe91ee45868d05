// Each case defines one LARDER_CASE_... and must not compile, with a message
// that says what to do. With LARDER_CASE_NONE all of it compiles.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "larder/cache/cache.h"

struct Plain {
  int* pointer = nullptr;
};
struct Good {
  int a = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(a);
  }
};
struct NoDefault {
  explicit NoDefault(int value) : a(value) {}
  int a;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(a);
  }
};
struct BadId {};

template <>
struct larder::Codec<BadId> {
  static constexpr std::uint8_t kId = 40;
  static std::string Encode(const BadId& /*value*/) { return {}; }
  static Decoded<BadId> Decode(std::string_view /*bytes*/) { return BadId{}; }
};

void Use(larder::Cache* cache) {
  cache->Set("k", Good{1}).IgnoreError();  // It is only compiled.
  static_cast<void>(cache->Get<std::vector<Good>>("k"));
  static_cast<void>(cache->Get<std::string>("k"));
#if defined(LARDER_CASE_SET)
  cache->Set("k", Plain{}).IgnoreError();
#elif defined(LARDER_CASE_SET_ELEMENT)
  cache->Set("k", std::vector<Plain>()).IgnoreError();
#elif defined(LARDER_CASE_SET_POINTER)
  static const int kNumber = 1;
  cache->Set("k", &kNumber).IgnoreError();
#elif defined(LARDER_CASE_GET)
  static_cast<void>(cache->Get<Plain>("k"));
#elif defined(LARDER_CASE_GET_NO_DEFAULT)
  static_cast<void>(cache->Get<NoDefault>("k"));
#elif defined(LARDER_CASE_GET_VIEW)
  static_cast<void>(cache->Get<std::string_view>("k"));
#elif defined(LARDER_CASE_BAD_ID)
  cache->Set("k", BadId{}).IgnoreError();
#elif defined(LARDER_CASE_IGNORED_STATUS)
  cache->Set("k", Good{1});
#elif !defined(LARDER_CASE_NONE)
#error "unknown case"
#endif
}
