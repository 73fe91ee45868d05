#ifndef LARDER_TESTS_FAULT_DAMAGE_ITEMS_H_
#define LARDER_TESTS_FAULT_DAMAGE_ITEMS_H_

#include <cstdint>
#include <string>

#include "test_values.h"

/// The items of the directories that damage_test damages; they follow from
/// their number, so that damage_reader knows them too.

namespace larder::testing {

inline constexpr int kDamageItemCount = 160;

inline std::string DamageKey(int i) { return "item" + std::to_string(i); }

inline std::string DamageValue(int i) {
  const auto n = static_cast<std::size_t>(i);
  std::size_t size = n % 120;                       // In the index entry.
  if (i % 4 == 1) size = 600 + n * 11;              // In the database.
  if (i % 4 == 2) size = 17'000 + n * 150;          // In a segment file.
  if (i % 80 == 3) size = (1 << 20) + 100'000 + n;  // In several records.
  return MakeValue(n, size);
}

}  // namespace larder::testing

#endif  // LARDER_TESTS_FAULT_DAMAGE_ITEMS_H_
