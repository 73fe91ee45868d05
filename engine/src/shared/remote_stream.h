#ifndef LARDER_ENGINE_SRC_SHARED_REMOTE_STREAM_H_
#define LARDER_ENGINE_SRC_SHARED_REMOTE_STREAM_H_

#include <cstdint>
#include <memory>

#include "larder/engine/engine.h"

#include "shared/remote_engine.h"

/// Scans and streams of a store in another process. `number` is what the
/// holder calls it; it is given back when the object dies. Shared: they may
/// outlive the engine that opened them.

namespace larder {

[[nodiscard]] std::unique_ptr<Scan> MakeRemoteScan(
    std::shared_ptr<RemoteCaller> caller, std::uint64_t number);
[[nodiscard]] std::unique_ptr<ValueWriter> MakeRemoteWriter(
    std::shared_ptr<RemoteCaller> caller, std::uint64_t number);
[[nodiscard]] std::unique_ptr<ValueReader> MakeRemoteReader(
    std::shared_ptr<RemoteCaller> caller, std::uint64_t number, ItemInfo info);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SHARED_REMOTE_STREAM_H_
