// From a path to an engine: what can be refused is refused first, then the
// process joins those that use the directory, and whoever of them gets the
// seat opens the store.

#include <mutex>
#include <utility>

#include "base/forks_held.h"
#include "directory/directory.h"
#include "index/rocks_forks.h"
#include "os/exit_guard.h"
#include "os/user_callbacks.h"
#include "shared/shared_engine.h"
#include "store/store.h"
#include "store/view_engine.h"
#include "trace/recording_engine.h"

namespace larder {
namespace {

Status CheckSettings(const EngineOptions& options) {
  Settings settings;
  for (const auto& [name, value] : options.settings) {
    Result<Settings> next = WithSetting(settings, name, value);
    if (!next) return next.error();
    settings = *std::move(next);
  }
  return {};
}

Result<std::unique_ptr<SessionStore>> OpenStore(
    EngineOptions options, const SharedEngine::StoreOpening& opening,
    const RecordingFigures& figures) {
  if (!opening.by_open) {
    options.mode = OpenMode::kExisting;
    options.settings.clear();
  }
  auto store = Store::Open(opening.directory, std::move(options));
  if (store) (*store)->SetMoreFigures(figures);
  return store;
}

// What exit destroys is made first: then it comes to our handler before. By a
// client, too, which comes to the seat, and to RocksDB, at any time.
void MakeRocksStaticsOnce() noexcept {
  static std::once_flag once;
  std::call_once(once, [] {
    {
      const ForksHeld forks;
      MakeRocksStatics();
    }
    CloseBeforeStaticsOfNow();
  });
}

Result<std::unique_ptr<Engine>> OpenUnrecorded(
    const std::filesystem::path& path, EngineOptions options,
    const RecordingFigures& recorded,
    const std::shared_ptr<UserCallbacks>& callbacks) noexcept {
  const RecordingFigures figures = [recorded, callbacks](EngineStats& stats) {
    if (recorded) recorded(stats);
    stats.callbacks_failed += callbacks->failed();
  };
  LARDER_FAIL_IF_ERROR(CheckSettings(options));
  LARDER_FAIL_IF_ERROR(ForksAreWatched());
  // Before, too: who tries again and again must not keep exit waiting.
  if (ExitHasClosed()) return Fail(ExitHasClosedStatus());
  const ExitHeld held;
  MakeRocksStaticsOnce();
  if (ExitHasClosed()) return Fail(ExitHasClosedStatus());
  if (options.mode == OpenMode::kReadOnly) {
    return OpenViewEngine(
        [path, options = std::move(options), figures, callbacks] {
          auto store = Store::Open(path, options);
          if (store) {
            (*store)->SetMoreFigures(figures);
            (*store)->SetCallbacks(callbacks);
          }
          return store;
        },
        callbacks);
  }
  PreparedDirectory prepared;  // What was made goes again with it.
  LARDER_FAIL_IF_ERROR(PrepareDirectory(
      path, options.mode, options.allow_network_file_system,
      options.when_damaged == WhenDamaged::kFail ? BadStamp::kRefused
                                                 : BadStamp::kRestored,
      options.log, prepared));
  SharedEngine::Options shared;
  shared.seat.directory = prepared.root;
  shared.seat.region_directory = options.region_directory;
  shared.seat.attach_timeout = options.attach_timeout;
  shared.settings = options.settings;
  if (options.clock != nullptr) shared.clock = options.clock;
  shared.log = options.log;
  shared.callbacks = callbacks;
  shared.on_eviction = options.on_eviction;
  shared.timeout = options.timeout;
  // Without a background thread nobody collects what readers touch; and who
  // replays a trace wants every access to reach the policy.
  const bool exact = !options.background || options.logical_capacity != 0;
  shared.hot_tier_bytes = exact ? 0 : options.hot_tier_bytes;
  shared.open_store = [options = std::move(options),
                       figures](const SharedEngine::StoreOpening& opening) {
    return OpenStore(options, opening, figures);
  };
  auto engine = SharedEngine::Open(std::move(shared));
  if (engine) prepared.undo.Keep();
  return engine;
}

}  // namespace

Result<std::unique_ptr<Engine>> OpenEngine(const std::filesystem::path& path,
                                           EngineOptions options) noexcept {
  const auto callbacks = UserCallbacks::Guard(options);
  const RecordOptions record = RecordOptionsFor(path, options.record);
  const auto open = [&](const RecordingFigures& figures) {
    return OpenUnrecorded(path, std::move(options), figures, callbacks);
  };
  if (record.file.empty()) return open({});
  const Clock* const clock = options.clock;
  LogCallback log = options.log;
  return OpenRecordingEngine(record, clock, std::move(log), open);
}

Status ResetCache(const std::filesystem::path& path,
                  const EngineOptions& options) noexcept {
  LARDER_RETURN_IF_ERROR(ForksAreWatched());
  const ExitHeld held;
  MakeRocksStaticsOnce();
  if (ExitHasClosed()) return ExitHasClosedStatus();
  PreparedDirectory prepared;
  LARDER_RETURN_IF_ERROR(PrepareDirectory(
      path, OpenMode::kExisting, options.allow_network_file_system,
      BadStamp::kReplaced, options.log, prepared));
  SeatOptions seat_options;
  seat_options.directory = prepared.root;
  seat_options.region_directory = options.region_directory;
  seat_options.attach_timeout = options.attach_timeout;
  auto seat = Seat::Attach(seat_options);
  if (!seat) return seat.error();
  const Result<bool> taken = (*seat)->TryTake();
  if (!taken) return taken.error();
  if (!*taken) {
    return {StatusCode::kSeatUnavailable,
            prepared.root.string() + " is open in another process (pid " +
                std::to_string((*seat)->main().holder().pid) +
                "): close it there first"};
  }
  Status status = Store::ResetAt(prepared.anchor, options);
  const Status released = (*seat)->Release();
  return status.ok() ? released : status;
}

}  // namespace larder
