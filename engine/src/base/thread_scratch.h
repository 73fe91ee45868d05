#ifndef LARDER_ENGINE_SRC_BASE_THREAD_SCRATCH_H_
#define LARDER_ENGINE_SRC_BASE_THREAD_SCRATCH_H_

#include <utility>

namespace larder {

/// An object of each thread that is kept for its memory. A thread_local object
/// must not be used once it is destroyed, but destructors of others that come
/// later, and those of static objects in the main thread, may use a cache: for
/// them it is made anew, and then lives as long as the process.
///
/// Threads: each has its own. Cost: a load and a comparison.
template <typename T>
class ThreadScratch {
 public:
  [[nodiscard]] static T& Get() noexcept {
    if (object_ == nullptr) [[unlikely]]
      Make();
    return *object_;
  }

 private:
  struct Destroyer {
    ~Destroyer() { delete std::exchange(object_, nullptr); }
  };
  static void Make() noexcept {
    object_ = new T;
    if (std::exchange(destroyer_made_, true)) return;
    thread_local const Destroyer destroyer;
    static_cast<void>(destroyer);
  }

  // Without destructors, so that they are there as long as the thread is.
  static inline constinit thread_local T* object_ = nullptr;
  static inline constinit thread_local bool destroyer_made_ = false;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_BASE_THREAD_SCRATCH_H_
