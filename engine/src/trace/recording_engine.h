#ifndef LARDER_ENGINE_SRC_TRACE_RECORDING_ENGINE_H_
#define LARDER_ENGINE_SRC_TRACE_RECORDING_ENGINE_H_

#include <functional>
#include <memory>

#include "larder/engine/engine.h"

namespace larder {

/// What is to be recorded of the cache at `path`: `asked`, or if that names no
/// file, what the environment says (`larder record`): LARDER_RECORD names the
/// file, LARDER_RECORD_DIRECTORY the only cache that it is for, if given.
[[nodiscard]] RecordOptions RecordOptionsFor(const std::filesystem::path& path,
                                             RecordOptions asked);

/// Opens the file of `options` first, then an engine by `open`, and records
/// what the latter is asked. Neither settings, iteration, nor what concerns
/// many items at once (Clear, EvictTag, Expire, Cull) is in a trace.
///
/// The figures that `open` is given add what this process has recorded; they
/// may be called as long as the engine lives. A store of this process adds
/// them to its own, so that other processes are told of them, too.
///
/// Errors: kInvalidArgument (key_share), those of open(2), those of `open`.
/// Errors of the file later on are logged and counted: the cache goes on.
using RecordingFigures = std::function<void(EngineStats&)>;
using EngineOpening = std::function<Result<std::unique_ptr<Engine>>(
    const RecordingFigures& figures)>;
[[nodiscard]] Result<std::unique_ptr<Engine>> OpenRecordingEngine(
    const RecordOptions& options, const Clock* clock, LogCallback log,
    const EngineOpening& open);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_TRACE_RECORDING_ENGINE_H_
