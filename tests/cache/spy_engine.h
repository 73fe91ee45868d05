#ifndef LARDER_TESTS_CACHE_SPY_ENGINE_H_
#define LARDER_TESTS_CACHE_SPY_ENGINE_H_

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "larder/engine/engine.h"

namespace larder::testing {

/// Passes everything on to another engine, remembers what was executed and
/// fails when told to.
class SpyEngine final : public Engine {
 public:
  struct Call {
    std::size_t command_count = 0;
    ExecuteOptions options;
    /// The sets among the commands, without their bytes.
    std::vector<SetCommand> sets;
    std::vector<std::size_t> value_sizes;
  };

  explicit SpyEngine(std::unique_ptr<Engine> engine)
      : engine_(std::move(engine)) {}

  std::vector<Call> calls;
  /// What the next Execute returns, without executing anything.
  std::optional<Status> fail_next_call;
  /// What the reply at this index gets after the next Execute.
  std::optional<std::pair<std::size_t, Status>> fail_next_reply;
  /// False: settings_version is 0, as in an engine that does not track it.
  bool tracks_settings = true;

  Capabilities capabilities() const noexcept override {
    return engine_->capabilities();
  }
  Status Execute(std::span<const Command> commands, std::span<Reply> replies,
                 const ExecuteOptions& options) noexcept override {
    Call& call = calls.emplace_back();
    call.command_count = commands.size();
    call.options = options;
    for (const Command& command : commands) {
      if (const auto* set = std::get_if<SetCommand>(&command)) {
        call.value_sizes.push_back(set->value.size());
        call.sets.push_back(*set);
        call.sets.back().key = call.sets.back().value = {};
        call.sets.back().tag = {};
      }
    }
    if (fail_next_call) {
      return *std::exchange(fail_next_call, std::nullopt);
    }
    Status status = engine_->Execute(commands, replies, options);
    if (fail_next_reply) {
      auto [index, failure] = *std::exchange(fail_next_reply, std::nullopt);
      replies[index] = Reply{.status = std::move(failure)};
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
    return engine_->OpenWriter(command, size_expected, options);
  }
  Result<std::unique_ptr<ValueReader>> OpenReader(
      std::string_view key) noexcept override {
    return engine_->OpenReader(key);
  }
  Result<std::uint64_t> Count() noexcept override { return engine_->Count(); }
  Result<EngineStats> Stats() noexcept override { return engine_->Stats(); }
  Result<CheckReport> Check(bool repair) noexcept override {
    return engine_->Check(repair);
  }
  Settings CurrentSettings() const noexcept override {
    return engine_->CurrentSettings();
  }
  std::uint64_t settings_version() const noexcept override {
    return tracks_settings ? engine_->settings_version() : 0;
  }
  Status Reset(std::string_view name,
               std::string_view value) noexcept override {
    return engine_->Reset(name, value);
  }
  Status Sync() noexcept override { return engine_->Sync(); }
  Status Close() noexcept override { return engine_->Close(); }
  const std::filesystem::path& directory() const noexcept override {
    return engine_->directory();
  }

 private:
  const std::unique_ptr<Engine> engine_;
};

}  // namespace larder::testing

#endif  // LARDER_TESTS_CACHE_SPY_ENGINE_H_
