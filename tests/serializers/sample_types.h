#ifndef LARDER_TESTS_SERIALIZERS_SAMPLE_TYPES_H_
#define LARDER_TESTS_SERIALIZERS_SAMPLE_TYPES_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include <cereal/cereal.hpp>
#include <cereal/types/memory.hpp>

namespace larder::test {

struct Point {
  int x = 0;
  std::string label;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(x), CEREAL_NVP(label));
  }
  friend bool operator==(const Point&, const Point&) = default;
};

/// One of every kind of thing that cereal has a rule for.
struct Everything {
  bool flag = false;
  std::int8_t small = 0;
  std::uint64_t large = 0;
  double number = 0;
  std::string text;
  std::vector<int> numbers;
  std::vector<bool> bits;
  std::array<bool, 3> flags{};
  std::array<std::uint16_t, 2> pair{};
  std::vector<std::string> texts;
  std::map<std::string, std::vector<Point>> points;
  std::optional<Point> maybe;
  std::variant<std::monostate, int, std::string> either;
  std::tuple<int, double, std::string> together;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(flag, small, large, number, text, numbers, bits, flags, pair, texts,
            points, maybe, either, together);
  }
  friend bool operator==(const Everything&, const Everything&) = default;
};

inline Everything SampleOfEverything() {
  Everything sample;
  sample.flag = true;
  sample.small = -7;
  sample.large = 0x0123456789ABCDEF;
  sample.number = -1.5;
  sample.text = std::string("with a \0 inside", 15);
  sample.numbers = {1, -2, 3};
  sample.bits = {true, false, true, true};
  sample.flags = {true, false, true};
  sample.pair = {1, 65535};
  sample.texts = {"", "a", std::string(300, 'x')};
  sample.points = {{"a", {{1, "p"}, {2, ""}}}, {"", {}}};
  sample.maybe = Point{3, "q"};
  sample.either = std::string("s");
  sample.together = {4, 0.25, "t"};
  return sample;
}

/// A list as deep as one likes.
struct Link {
  int value = 0;
  std::unique_ptr<Link> next;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(value), CEREAL_NVP(next));
  }
};

inline Link ChainOf(int length) {
  Link head;
  for (int i = 1; i < length; ++i) {
    auto next = std::make_unique<Link>(std::move(head));
    head = Link{i, std::move(next)};
  }
  return head;
}

struct Unserializable {
  int* pointer = nullptr;
};

}  // namespace larder::test

#endif  // LARDER_TESTS_SERIALIZERS_SAMPLE_TYPES_H_
