#ifndef LARDER_ENGINE_SRC_SPACE_OPEN_SCANS_H_
#define LARDER_ENGINE_SRC_SPACE_OPEN_SCANS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>

namespace larder {

/// What holds removed segments until it ends: a scan with values.
class HoldingScan {
 public:
  /// The database is about to close: gives back what is of it.
  virtual void Invalidate() noexcept = 0;
  /// Gives back what it holds, at once or after the item at hand. Does not
  /// wait.
  virtual void EndHolding() noexcept = 0;

 protected:
  HoldingScan() = default;
  ~HoldingScan() = default;
  HoldingScan(const HoldingScan&) = default;
  HoldingScan& operator=(const HoldingScan&) = default;
};

/// The scans that are open, the oldest first.
///
/// Threads: thread-safe. Its lock comes before those of the scans.
class OpenScans {
 public:
  /// One is among them as long as this lives, which must end before it does.
  class Membership {
   public:
    Membership(OpenScans& scans, HoldingScan& scan);
    ~Membership();
    Membership(const Membership&) = delete;
    Membership& operator=(const Membership&) = delete;

   private:
    OpenScans& scans_;
    std::list<HoldingScan*>::iterator place_;
  };

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  void InvalidateAll() noexcept;
  /// Of the oldest first, as long as there is too much.
  void EndHoldingWhile(const std::function<bool()>& is_too_much) noexcept;

 private:
  std::mutex mutex_;
  std::list<HoldingScan*> scans_;  // Guarded by mutex_.
  std::atomic<std::uint64_t> count_{0};
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SPACE_OPEN_SCANS_H_
