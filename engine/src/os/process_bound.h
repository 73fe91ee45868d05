#ifndef LARDER_ENGINE_SRC_OS_PROCESS_BOUND_H_
#define LARDER_ENGINE_SRC_OS_PROCESS_BOUND_H_

#include <memory>
#include <utility>

#include "larder/engine/engine.h"

namespace larder {

/// What an engine hands out, bound to the process that asked for it. In a
/// forked child every call is kClosed and destruction leaves it alone: the
/// store, the sequence numbers of its log and the locks are the parent's, and a
/// commit beside the parent's would end in a log that nobody can read.
///
/// Lifetime: keeps `owner`, of whom it is a part, alive. Shared, as programs
///           destroy what they were given after the engine, too.
/// Cost:     an allocation, and two loads a call.
[[nodiscard]] std::unique_ptr<Scan> BoundToProcess(
    std::unique_ptr<Scan> scan, std::shared_ptr<const void> owner);
[[nodiscard]] std::unique_ptr<ValueWriter> BoundToProcess(
    std::unique_ptr<ValueWriter> writer, std::shared_ptr<const void> owner);
/// nullptr (a miss) stays nullptr.
[[nodiscard]] std::unique_ptr<ValueReader> BoundToProcess(
    std::unique_ptr<ValueReader> reader, std::shared_ptr<const void> owner);

/// The same for a result, whose error it passes on.
template <typename T>
[[nodiscard]] Result<std::unique_ptr<T>> BoundToProcess(
    Result<std::unique_ptr<T>> opened, std::shared_ptr<const void> owner) {
  if (!opened) return opened;
  return BoundToProcess(std::move(*opened), std::move(owner));
}

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_PROCESS_BOUND_H_
