// A decorator rather than a part of the store: a process that is a client of
// another one's store, or is answered by the hot tier, records as well as the
// one that has the store, and a cache that records nothing pays nothing.
//
// In a forked child the writer's thread does not exist and its mutex may be
// held for ever: a child leaves the writer alone, and leaks it.

#include "trace/recording_engine.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>
#include <variant>

#include <unistd.h>

#include "os/exit_guard.h"
#include "os/fork_guard.h"
#include "trace/trace_writer.h"

namespace larder {
namespace {

void AddRows(const TraceWriter& writer, EngineStats& stats) noexcept {
  stats.rows_recorded += writer.row_count();
  stats.rows_recorded_dropped += writer.dropped_row_count();
}

/// The trace of one engine; knows what commands and replies mean in a trace.
///
/// Threads: thread-safe.
class Recorder {
 public:
  Recorder(std::shared_ptr<TraceWriter> writer, LogCallback log)
      : writer_(std::move(writer)), log_(std::move(log)) {}
  ~Recorder() {
    if (guard_.InChild()) {  // It is the parent's: never destroyed here.
      static_cast<void>(new std::shared_ptr<TraceWriter>(std::move(writer_)));
    } else {
      Close();
    }
  }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void Get(std::string_view key, bool hit, std::uint64_t size) noexcept {
    if (guard_.InChild()) return;
    hit ? writer_->RecordHit(key, size) : writer_->RecordMiss(key);
  }
  /// What is stored already expired is a delete to whoever asks next.
  void Set(std::string_view key, std::uint64_t size,
           std::optional<Duration> ttl, const Engine& engine) noexcept {
    if (guard_.InChild()) return;
    if (ttl && *ttl <= Duration::zero()) return writer_->RecordDelete(key);
    writer_->RecordSet(key, size, ttl ? *ttl : DefaultTtl(engine));
  }
  void Delete(std::string_view key) noexcept {
    if (!guard_.InChild()) writer_->RecordDelete(key);
  }

  void AddTo(EngineStats& stats) const noexcept { AddRows(*writer_, stats); }
  // By several threads: the first does it, the others wait for it.
  void Close() noexcept {
    if (guard_.InChild()) return;
    const std::lock_guard lock(close_mutex_);
    if (std::exchange(closed_, true)) return;
    const Status closed = writer_->Close();
    if (!closed.ok() && log_) {
      log_("recording is incomplete: " + closed.ToString() +
           ", rows lost: " + std::to_string(writer_->dropped_row_count()));
    }
  }

 private:
  Duration DefaultTtl(const Engine& engine) noexcept {
    const std::uint64_t version = engine.settings_version();
    // Acquire pairs with the release below: the figure belongs to the version.
    if (version == 0 ||
        settings_version_.load(std::memory_order_acquire) != version) {
      default_ttl_ = engine.CurrentSettings().default_ttl.count();
      settings_version_.store(version, std::memory_order_release);
    }
    return Duration(default_ttl_.load());
  }

  // Shared with the engine, which may still be closing when this has gone.
  std::shared_ptr<TraceWriter> writer_;
  const LogCallback log_;
  const ForkGuard guard_;
  std::mutex close_mutex_;
  bool closed_ = false;  // Guarded by close_mutex_.
  std::atomic<std::uint64_t> settings_version_{0};
  std::atomic<Duration::rep> default_ttl_{0};
};

class RecordingWriter final : public ValueWriter {
 public:
  RecordingWriter(std::unique_ptr<ValueWriter> writer,
                  const SetCommand& command, Recorder* recorder,
                  const Engine* engine)
      : writer_(std::move(writer)),
        key_(command.key),
        ttl_(command.ttl),
        recorder_(*recorder),
        engine_(*engine) {}
  Status Append(std::string_view bytes) noexcept override {
    Status appended = writer_->Append(bytes);
    if (appended.ok()) size_ += bytes.size();
    return appended;
  }
  Reply Commit() noexcept override {
    Reply reply = writer_->Commit();
    if (reply.status.ok() && reply.applied) {
      recorder_.Set(key_, size_, ttl_, engine_);
    }
    return reply;
  }

 private:
  std::unique_ptr<ValueWriter> writer_;
  const std::string key_;
  const std::optional<Duration> ttl_;
  std::uint64_t size_ = 0;
  Recorder& recorder_;
  const Engine& engine_;
};

class RecordingEngine final : public Engine {
 public:
  RecordingEngine(std::unique_ptr<Engine> engine,
                  std::shared_ptr<TraceWriter> writer, LogCallback log)
      : recorder_(std::move(writer), std::move(log)),
        engine_(std::move(engine)),
        at_exit_([this] { recorder_.Close(); }) {
    at_exit_.SetOpen();
  }
  ~RecordingEngine() override {
    at_exit_.BeginDestruction();
    engine_.reset();
    recorder_.Close();
  }
  RecordingEngine(const RecordingEngine&) = delete;
  RecordingEngine& operator=(const RecordingEngine&) = delete;

  Capabilities capabilities() const noexcept override {
    return engine_->capabilities();
  }
  Status Execute(std::span<const Command> commands, std::span<Reply> replies,
                 const ExecuteOptions& options) noexcept override {
    Status status = engine_->Execute(commands, replies, options);
    if (!status.ok()) return status;
    for (std::size_t i = 0; i < commands.size(); ++i) {
      if (!replies[i].status.ok()) continue;
      std::visit([&](const auto& command) { Record(command, replies[i]); },
                 commands[i]);
    }
    return status;
  }
  Result<std::unique_ptr<Scan>> OpenScan(
      const ScanOptions& options) noexcept override {
    return engine_->OpenScan(options);
  }
  Result<std::unique_ptr<ValueWriter>> OpenWriter(
      const SetCommand& command, std::uint64_t size_expected,
      const ExecuteOptions& options) noexcept override {
    auto writer = engine_->OpenWriter(command, size_expected, options);
    if (!writer) return writer;
    return std::make_unique<RecordingWriter>(std::move(*writer), command,
                                             &recorder_, engine_.get());
  }
  Result<std::unique_ptr<ValueReader>> OpenReader(
      std::string_view key) noexcept override {
    auto reader = engine_->OpenReader(key);
    if (reader) {
      const bool hit = *reader != nullptr;
      recorder_.Get(key, hit, hit ? (*reader)->info().size_bytes : 0);
    }
    return reader;
  }
  Result<std::uint64_t> Count() noexcept override { return engine_->Count(); }
  Result<EngineStats> Stats() noexcept override {
    Result<EngineStats> stats = engine_->Stats();
    // A store in this process has added them itself.
    if (stats && !engine_->capabilities().holds_store) recorder_.AddTo(*stats);
    return stats;
  }
  Result<CheckReport> Check(bool repair) noexcept override {
    return engine_->Check(repair);
  }
  Settings CurrentSettings() const noexcept override {
    return engine_->CurrentSettings();
  }
  std::uint64_t settings_version() const noexcept override {
    return engine_->settings_version();
  }
  Status Reset(std::string_view name,
               std::string_view value) noexcept override {
    return engine_->Reset(name, value);
  }
  Status Sync() noexcept override { return engine_->Sync(); }
  Status Close() noexcept override {
    Status closed = engine_->Close();
    if (closed.code() == StatusCode::kDeadlock) return closed;
    const ClosedAtExit::Busy closing(at_exit_);
    recorder_.Close();
    return closed;
  }
  const std::filesystem::path& directory() const noexcept override {
    return engine_->directory();
  }

 private:
  void Record(const GetCommand& command, const Reply& reply) noexcept {
    if (!command.with_value) return;  // No policy notices it.
    recorder_.Get(command.key, reply.applied, reply.info.size_bytes);
  }
  void Record(const SetCommand& command, const Reply& reply) noexcept {
    if (!reply.applied) return;
    recorder_.Set(command.key, command.value.size(), command.ttl, *engine_);
  }
  void Record(const IncrCommand& command, const Reply& reply) noexcept {
    if (!reply.applied) return;
    recorder_.Set(command.key, sizeof(std::int64_t), command.ttl, *engine_);
  }
  void Record(const DeleteCommand& command, const Reply& reply) noexcept {
    if (reply.applied) recorder_.Delete(command.key);
  }
  template <typename Other>
  void Record(const Other&, const Reply&) noexcept {}

  Recorder recorder_;  // Outlives the engine, whose threads may log.
  std::unique_ptr<Engine> engine_;
  ClosedAtExit at_exit_;  // The last: it may close this.
};

std::string WithProcessNumber(std::string file) {
  const std::string number = std::to_string(::getpid());
  for (std::size_t at = 0; (at = file.find("%p", at)) != std::string::npos;) {
    file.replace(at, 2, number);
    at += number.size();
  }
  return file;
}

}  // namespace

RecordOptions RecordOptionsFor(const std::filesystem::path& path,
                               RecordOptions asked) {
  if (!asked.file.empty()) return asked;
  // Not for a program that runs with another user's rights.
  const char* file = ::secure_getenv("LARDER_RECORD");
  if (file == nullptr || *file == '\0') return asked;
  const char* only = ::secure_getenv("LARDER_RECORD_DIRECTORY");
  if (only != nullptr) {
    std::error_code error;
    const auto here = std::filesystem::weakly_canonical(path, error);
    if (error || here != std::filesystem::weakly_canonical(only, error)) {
      return asked;
    }
  }
  asked.file = file;
  return asked;
}

Result<std::unique_ptr<Engine>> OpenRecordingEngine(
    const RecordOptions& options, const Clock* clock, LogCallback log,
    const EngineOpening& open) {
  if (!(options.key_share > 0.0 && options.key_share <= 1.0)) {
    return Fail(Status::InvalidArgument(
        "record.key_share " + std::to_string(options.key_share) +
        ": expected a share above 0, at most 1"));
  }
  auto opened = TraceWriter::Open(
      WithProcessNumber(options.file),
      {.keys = options.plain_keys ? TraceKeys::kPlain : TraceKeys::kHashed,
       .key_share = options.key_share,
       .clock = clock});
  if (!opened) return Fail(std::move(opened.error()));
  const std::shared_ptr<TraceWriter> writer = *std::move(opened);
  Result<std::unique_ptr<Engine>> engine =
      open([writer](EngineStats& stats) { AddRows(*writer, stats); });
  if (!engine) return engine;
  return std::make_unique<RecordingEngine>(std::move(*engine), writer,
                                           std::move(log));
}

}  // namespace larder
