#include "model/history.h"

#include <array>
#include <limits>
#include <sstream>

#include "test_values.h"

namespace larder::testing {
namespace {

struct Weight {
  OpKind kind;
  unsigned weight;
};

constexpr std::array kWeights = {
    Weight{OpKind::kSet, 260},     Weight{OpKind::kGet, 160},
    Weight{OpKind::kInspect, 40},  Weight{OpKind::kIncr, 70},
    Weight{OpKind::kTouch, 60},    Weight{OpKind::kDelete, 70},
    Weight{OpKind::kPop, 30},      Weight{OpKind::kBatch, 70},
    Weight{OpKind::kStreamIn, 20}, Weight{OpKind::kStreamOut, 20},
    Weight{OpKind::kHold, 20},     Weight{OpKind::kScan, 40},
    Weight{OpKind::kCount, 40},    Weight{OpKind::kEvictTag, 15},
    Weight{OpKind::kClear, 4},     Weight{OpKind::kExpire, 12},
    Weight{OpKind::kCull, 6},      Weight{OpKind::kAdvance, 60},
    Weight{OpKind::kReopen, 10},
};
// In a history with eviction only these, as their results then still follow
// from what is there.
constexpr std::array kWeightsWithEviction = {
    Weight{OpKind::kSet, 500},     Weight{OpKind::kGet, 250},
    Weight{OpKind::kTouch, 40},    Weight{OpKind::kDelete, 50},
    Weight{OpKind::kStreamIn, 30}, Weight{OpKind::kStreamOut, 20},
    Weight{OpKind::kHold, 20},     Weight{OpKind::kScan, 20},
    Weight{OpKind::kEvictTag, 5},  Weight{OpKind::kClear, 2},
    Weight{OpKind::kAdvance, 40},  Weight{OpKind::kReopen, 10},
};

class Drawer {
 public:
  Drawer(std::uint64_t seed, const HistoryOptions& options)
      : random_(seed), options_(options) {}

  Op Draw() {
    return options_.with_eviction ? DrawKind(Pick(kWeightsWithEviction))
                                  : DrawKind(Pick(kWeights));
  }

 private:
  template <typename Weights>
  OpKind Pick(const Weights& weights) {
    unsigned total = 0;
    for (const Weight& w : weights) total += w.weight;
    auto left = static_cast<unsigned>(random_.Below(total));
    for (const Weight& w : weights) {
      if (left < w.weight) return w.kind;
      left -= w.weight;
    }
    return OpKind::kGet;
  }

  Op DrawKind(OpKind kind) {
    Op op;
    op.kind = kind;
    op.key = static_cast<std::uint8_t>(random_.Below(options_.key_count));
    op.value_seed = random_.Next();
    op.flag = random_.OneIn(3);
    op.with_values = random_.OneIn(2);
    switch (kind) {
      case OpKind::kSet:
      case OpKind::kStreamIn:
        DrawSet(op);
        break;
      case OpKind::kIncr:
        op.number = DrawNumber();
        op.ttl = DrawTtl();
        op.tag = DrawTag();
        break;
      case OpKind::kTouch:
        op.ttl = DrawTtl();
        break;
      case OpKind::kDelete:
        op.condition = random_.OneIn(4) && !options_.with_eviction
                           ? SetCondition::kIfVersion
                           : SetCondition::kAlways;
        op.expected = DrawExpected();
        break;
      case OpKind::kBatch:
        DrawBatch(op);
        break;
      case OpKind::kScan:
      case OpKind::kEvictTag:
        op.tag = DrawTag();
        op.number = static_cast<std::int64_t>(random_.Below(8));
        op.size = static_cast<std::uint32_t>(1 + random_.Below(9));
        break;
      case OpKind::kAdvance:
        op.ttl =
            Duration(static_cast<Duration::rep>(random_.Below(20'000'000)));
        break;
      default:
        break;
    }
    return op;
  }

  void DrawSet(Op& op) {
    op.size = DrawSize();
    op.ttl = DrawTtl();
    op.tag = DrawTag();
    op.codec = random_.OneIn(4) ? kCodecInt64 : 0;
    if (op.codec == kCodecInt64 && !random_.OneIn(4)) op.size = 8;
    op.pinned = random_.OneIn(20) && !options_.with_eviction;
    op.durability = random_.OneIn(100)  ? Durability::kPower
                    : random_.OneIn(10) ? Durability::kNone
                                        : Durability::kProcess;
    // (An item may be evicted between the question for its version and the
    // operation.)
    if (random_.OneIn(5) && !options_.with_eviction) {
      op.condition =
          random_.OneIn(2) ? SetCondition::kIfAbsent : SetCondition::kIfVersion;
      op.expected = DrawExpected();
    }
  }

  void DrawBatch(Op& op) {
    constexpr std::array kInBatch = {
        Weight{OpKind::kSet, 10},   Weight{OpKind::kGet, 3},
        Weight{OpKind::kIncr, 4},   Weight{OpKind::kTouch, 3},
        Weight{OpKind::kDelete, 4}, Weight{OpKind::kPop, 2},
        Weight{OpKind::kInspect, 1}};
    const std::uint64_t count = random_.OneIn(10) ? 40 : 2 + random_.Below(7);
    const auto first_key = op.key;
    for (std::uint64_t i = 0; i < count; ++i) {
      op.batch.push_back(DrawKind(Pick(kInBatch)));
      // Often the same keys, so that a batch sees its own writes.
      if (random_.OneIn(2)) op.batch.back().key = first_key;
    }
  }

  std::uint32_t DrawSize() {
    const std::uint64_t draw = random_.Below(1000);
    if (options_.with_eviction) {
      return static_cast<std::uint32_t>(draw < 500 ? random_.Below(3000)
                                                   : random_.Below(400'000));
    }
    if (draw < 400) return static_cast<std::uint32_t>(random_.Below(140));
    if (draw < 800) return static_cast<std::uint32_t>(random_.Below(4096));
    if (draw < 993 || !options_.chunked_values) {
      return static_cast<std::uint32_t>(3500 + random_.Below(30'000));
    }
    return static_cast<std::uint32_t>((1 << 20) - 2 + random_.Below(3 << 20));
  }
  std::optional<Duration> DrawTtl() {
    switch (random_.Below(8)) {
      case 0:
        return Duration::zero();
      case 1:
        return Duration(-5);
      case 2:
      case 3:
        return Duration(
            static_cast<Duration::rep>(1 + random_.Below(60'000'000)));
      default:
        return std::nullopt;
    }
  }
  std::uint8_t DrawTag() {
    return random_.OneIn(2) ? 0
                            : static_cast<std::uint8_t>(1 + random_.Below(3));
  }
  Expected DrawExpected() { return static_cast<Expected>(random_.Below(3)); }
  std::int64_t DrawNumber() {
    return random_.OneIn(20)
               ? (random_.OneIn(2) ? std::numeric_limits<std::int64_t>::max()
                                   : std::numeric_limits<std::int64_t>::min())
               : static_cast<std::int64_t>(random_.Below(200)) - 100;
  }

  Random random_;
  const HistoryOptions options_;
};

constexpr std::array kKindNames = {
    "Set",   "Get",      "Inspect",   "Incr",    "Touch", "Delete", "Pop",
    "Batch", "StreamIn", "StreamOut", "Hold",    "Scan",  "Count",  "EvictTag",
    "Clear", "Expire",   "Cull",      "Advance", "Reopen"};

}  // namespace

std::vector<Op> MakeHistory(std::uint64_t seed, const HistoryOptions& options) {
  Drawer drawer(seed, options);
  std::vector<Op> history;
  while (history.size() < options.op_count) history.push_back(drawer.Draw());
  return history;
}

std::string KeyName(std::uint8_t key) {
  switch (key) {
    case 0:
      return "";
    case 1:
      return std::string("a\0b", 3);
    case 2:
      return "\xff\xff";
    case 3:
      return std::string(3000, 'L');
    default:
      return "key/" + std::to_string(key % 3) + "/" + std::to_string(key);
  }
}

std::string TagName(std::uint8_t tag) {
  return tag == 0 ? std::string() : "tag" + std::to_string(tag);
}

std::string Describe(const Op& op) {
  std::ostringstream out;
  out << kKindNames[static_cast<std::size_t>(op.kind)]
      << " key=" << int{op.key};
  if (op.tag != 0) out << " tag=" << int{op.tag};
  if (op.size != 0) out << " size=" << op.size;
  if (op.number != 0) out << " number=" << op.number;
  if (op.ttl) out << " ttl_us=" << op.ttl->count();
  if (op.codec != 0) out << " codec=" << int{op.codec};
  if (op.pinned) out << " pinned";
  if (op.flag) out << " flag";
  if (op.with_values) out << " with_values";
  if (op.condition != SetCondition::kAlways) {
    out << " condition=" << int(op.condition)
        << " expected=" << int(op.expected);
  }
  if (op.durability != Durability::kProcess) {
    out << " durability=" << int(op.durability);
  }
  for (const Op& inner : op.batch) out << "\n      " << Describe(inner);
  return out.str();
}

std::string Describe(const std::vector<Op>& history) {
  std::ostringstream out;
  for (std::size_t i = 0; i < history.size(); ++i) {
    out << "  " << i << ": " << Describe(history[i]) << "\n";
  }
  return out.str();
}

}  // namespace larder::testing
