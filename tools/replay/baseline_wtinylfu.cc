#include <algorithm>
#include <cmath>
#include <vector>

#include "baseline.h"
#include "count_sketch.h"
#include "index_list.h"

// W-TinyLFU (Einziger, Friedman and Manes, ACM TOS 2017) in the manner of the
// Caffeine library: an LRU window of 1 % for newcomers, then a main part of
// probation and protected (80 % of it) LRU lists. What leaves the window must
// be more frequent, by the sketch, than the next victim of probation, or it
// goes itself; a warm candidate (more than kWarm) that loses has one chance in
// 128, against attacks by collision. With the hill climber, the window grows
// or shrinks while that raises the hit ratio of the last sample.

namespace larder::replay {
namespace {

constexpr double kWindowShare = 0.01;
constexpr double kProtectedShare = 0.8;
constexpr std::uint32_t kWarm = 5;
constexpr double kStepShare = 0.0625;
constexpr double kStepDecay = 0.98;
constexpr double kRestartAtChange = 0.05;

class WTinyLfu final : public Baseline {
 public:
  WTinyLfu(const BaselineOptions& options, WindowSizing sizing)
      : capacity_(options.capacity_bytes),
        climbs_(sizing == WindowSizing::kHillClimbing),
        window_max_(std::max<std::uint64_t>(Share(kWindowShare), 1)),
        protected_max_(static_cast<std::uint64_t>(
            static_cast<double>(capacity_ - std::min(window_max_, capacity_)) *
            kProtectedShare)),
        step_(-kStepShare * static_cast<double>(capacity_)),
        random_(options.random_seed | 1),
        sketch_(ItemCount(options)),
        nodes_(options.key_count) {}

  bool Access(const BaselineAccess& access) override {
    sketch_.Increment(access.key);
    Node& node = nodes_[access.key];
    const bool hit = node.where != Where::kOut;
    if (hit) {
      Hit(access.key);
    } else if (access.size_bytes <= capacity_) {
      node.size_bytes = access.size_bytes;
      node.where = Where::kWindow;
      window_.PushFront(access.key);
      Shrink();
    }
    if (climbs_) Climb(hit);
    return hit;
  }

  bool Contains(std::uint32_t key) const noexcept override {
    return nodes_[key].where != Where::kOut;
  }
  void Erase(std::uint32_t key) override {
    if (nodes_[key].where != Where::kOut) Drop(key);
  }
  std::uint64_t used_bytes() const noexcept override {
    return window_.bytes() + probation_.bytes() + protected_.bytes();
  }
  std::uint64_t evictions() const noexcept override { return evictions_; }

 private:
  enum class Where : std::uint8_t { kOut, kWindow, kProbation, kProtected };

  struct Node : ListNode {
    Where where = Where::kOut;
  };

  [[nodiscard]] std::uint64_t Share(double share) const noexcept {
    return static_cast<std::uint64_t>(static_cast<double>(capacity_) * share);
  }
  static std::uint64_t ItemCount(const BaselineOptions& options) noexcept {
    const double count = static_cast<double>(options.capacity_bytes) /
                         std::max(options.average_size_bytes, 1.0);
    return static_cast<std::uint64_t>(
        std::clamp(count, 1.0, std::max<double>(options.key_count, 1.0)));
  }
  [[nodiscard]] IndexList<Node>& ListOf(Where where) noexcept {
    if (where == Where::kWindow) return window_;
    return where == Where::kProbation ? probation_ : protected_;
  }

  void Move(std::uint32_t key, Where where) {
    ListOf(nodes_[key].where).Unlink(key);
    nodes_[key].where = where;
    ListOf(where).PushFront(key);
  }
  void Drop(std::uint32_t key) {
    ListOf(nodes_[key].where).Unlink(key);
    nodes_[key].where = Where::kOut;
  }

  void Hit(std::uint32_t key) {
    const Where where = nodes_[key].where;
    if (where != Where::kProbation) {
      ListOf(where).MoveToFront(key);
      return;
    }
    if (nodes_[key].size_bytes > protected_max_) {
      probation_.MoveToFront(key);
      return;
    }
    Move(key, Where::kProtected);
    DemoteProtected();
  }
  void DemoteProtected() {
    while (protected_.bytes() > protected_max_) {
      Move(protected_.back(), Where::kProbation);
    }
  }

  /// Brings window and cache back under their limits.
  void Shrink() {
    while (window_.bytes() > window_max_ && !window_.empty()) {
      const std::uint32_t candidate = window_.back();
      Move(candidate, Where::kProbation);
      while (used_bytes() > capacity_) {
        if (!EvictOneFor(candidate)) break;
      }
    }
    while (used_bytes() > capacity_) EvictVictim(kNil);
  }

  /// False if the candidate itself had to go.
  bool EvictOneFor(std::uint32_t candidate) {
    const std::uint32_t victim = Victim(candidate);
    if (victim != kNil && Admit(candidate, victim)) {
      Drop(victim);
      ++evictions_;
      return true;
    }
    Drop(candidate);
    ++evictions_;
    return false;
  }
  void EvictVictim(std::uint32_t spared) {
    const std::uint32_t victim = Victim(spared);
    Drop(victim == kNil ? window_.back() : victim);
    ++evictions_;
  }
  /// The oldest item of probation, else of protected, that is not `spared`.
  [[nodiscard]] std::uint32_t Victim(std::uint32_t spared) const noexcept {
    if (!probation_.empty() && probation_.back() != spared) {
      return probation_.back();
    }
    return protected_.back();
  }
  bool Admit(std::uint32_t candidate, std::uint32_t victim) noexcept {
    const std::uint32_t newcomer = sketch_.Estimate(candidate);
    if (newcomer > sketch_.Estimate(victim)) return true;
    if (newcomer <= kWarm) return false;
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return (random_ & 127) == 0;
  }

  void Climb(bool hit) {
    sample_hits_ += hit ? 1 : 0;
    if (++sample_count_ < sketch_.sample_size()) return;
    const double ratio =
        static_cast<double>(sample_hits_) / static_cast<double>(sample_count_);
    const double change = ratio - last_ratio_;
    const double amount = change >= 0 ? step_ : -step_;
    const double full = kStepShare * static_cast<double>(capacity_);
    step_ = std::abs(change) >= kRestartAtChange ? std::copysign(full, amount)
                                                 : kStepDecay * amount;
    last_ratio_ = ratio;
    sample_hits_ = sample_count_ = 0;
    MoveWindow(static_cast<std::int64_t>(amount));
  }

  void MoveWindow(std::int64_t amount) {
    if (amount > 0) {
      const std::uint64_t bytes =
          std::min(static_cast<std::uint64_t>(amount), protected_max_);
      protected_max_ -= bytes;
      window_max_ += bytes;
      DemoteProtected();
      GrowWindow(bytes);
    } else if (amount < 0) {
      const std::uint64_t bytes =
          std::min(static_cast<std::uint64_t>(-amount), window_max_ - 1);
      protected_max_ += bytes;
      window_max_ -= bytes;
      while (window_.bytes() > window_max_) {
        Move(window_.back(), Where::kProbation);
      }
    }
  }
  void GrowWindow(std::uint64_t bytes) {
    while (bytes > 0) {
      const std::uint32_t key = Victim(kNil);
      if (key == kNil || nodes_[key].size_bytes > bytes) return;
      bytes -= nodes_[key].size_bytes;
      Move(key, Where::kWindow);
    }
  }

  std::uint64_t capacity_;
  bool climbs_;
  std::uint64_t window_max_;
  std::uint64_t protected_max_;
  double step_;
  double last_ratio_ = 0;
  std::uint64_t sample_hits_ = 0;
  std::uint64_t sample_count_ = 0;
  std::uint64_t random_;
  CountSketch sketch_;
  std::vector<Node> nodes_;
  IndexList<Node> window_{&nodes_};
  IndexList<Node> probation_{&nodes_};
  IndexList<Node> protected_{&nodes_};
  std::uint64_t evictions_ = 0;
};

}  // namespace

std::unique_ptr<Baseline> MakeWTinyLfu(const BaselineOptions& options,
                                       WindowSizing sizing) {
  return std::make_unique<WTinyLfu>(options, sizing);
}

}  // namespace larder::replay
