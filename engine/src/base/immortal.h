#ifndef LARDER_ENGINE_SRC_BASE_IMMORTAL_H_
#define LARDER_ENGINE_SRC_BASE_IMMORTAL_H_

namespace larder {

/// A T that is never destroyed, for static objects that others use in their
/// destructors. To be constinit and of a namespace, not of a function: what is
/// made at its first use may be half made when another thread forks, and the
/// child would wait for that.
template <typename T>
union Immortal {
  constexpr Immortal() noexcept : value() {}
  constexpr ~Immortal() {}
  Immortal(const Immortal&) = delete;
  Immortal& operator=(const Immortal&) = delete;

  T value;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_BASE_IMMORTAL_H_
