#ifndef LARDER_ENGINE_SRC_STORE_VIEW_ENGINE_H_
#define LARDER_ENGINE_SRC_STORE_VIEW_ENGINE_H_

#include <functional>
#include <memory>

#include "larder/engine/engine.h"

#include "os/user_callbacks.h"
#include "store/store.h"

namespace larder {

/// A cache that is only read: a store of this process alone, closed at exit.
/// `callbacks` are those of the options that it is opened with.
///
/// Threads:   thread-safe.
/// Processes: a forked child opens a store of its own at its first call, and
///            sees what is in the files by then; the parent's is left alone.
using OpenView = std::function<Result<std::unique_ptr<Store>>()>;
[[nodiscard]] Result<std::unique_ptr<Engine>> OpenViewEngine(
    OpenView open, std::shared_ptr<UserCallbacks> callbacks) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_STORE_VIEW_ENGINE_H_
