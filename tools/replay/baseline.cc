#include "baseline.h"

#include <array>

namespace larder::replay {
namespace {

using Maker = std::unique_ptr<Baseline> (*)(const BaselineOptions&);

struct Entry {
  std::string_view name;
  Maker make;
};

constexpr std::array<Entry, 12> kBaselines = {{
    {"lru", MakeLru},
    {"fifo", MakeFifo},
    {"sieve", MakeSieve},
    {"s3fifo", MakeS3Fifo},
    {"arc", MakeArc},
    {"lirs", MakeLirs},
    {"wtinylfu",
     [](const BaselineOptions& o) {
       return MakeWTinyLfu(o, WindowSizing::kFixed);
     }},
    {"wtinylfu-climber",
     [](const BaselineOptions& o) {
       return MakeWTinyLfu(o, WindowSizing::kHillClimbing);
     }},
    {"belady",
     [](const BaselineOptions& o) {
       return MakeBelady(o, BeladyVictim::kFarthest,
                         BeladyAdmission::kMustAdmit);
     }},
    {"belady-size",
     [](const BaselineOptions& o) {
       return MakeBelady(o, BeladyVictim::kFarthestTimesSize,
                         BeladyAdmission::kMustAdmit);
     }},
    {"belady-bypass",
     [](const BaselineOptions& o) {
       return MakeBelady(o, BeladyVictim::kFarthest,
                         BeladyAdmission::kMayBypass);
     }},
    {"belady-size-bypass",
     [](const BaselineOptions& o) {
       return MakeBelady(o, BeladyVictim::kFarthestTimesSize,
                         BeladyAdmission::kMayBypass);
     }},
}};

}  // namespace

const std::vector<std::string>& BaselineNames() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Entry& entry : kBaselines) all.emplace_back(entry.name);
    return all;
  }();
  return names;
}

std::unique_ptr<Baseline> MakeBaseline(std::string_view name,
                                       const BaselineOptions& options) {
  for (const Entry& entry : kBaselines) {
    if (entry.name == name) return entry.make(options);
  }
  return nullptr;
}

}  // namespace larder::replay
