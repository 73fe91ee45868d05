#ifndef LARDER_TESTS_SESSION_MODEL_H_
#define LARDER_TESTS_SESSION_MODEL_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "hot/hot_writer.h"
#include "messages/session_store.h"
#include "model_engine.h"

namespace larder::testing {

/// What outlives a SessionModel: the items and the session records.
struct SessionDisk {
  std::shared_ptr<ModelDisk> items = std::make_shared<ModelDisk>();
  std::mutex mutex;
  std::map<std::uint64_t, std::pair<std::uint64_t, std::string>> records;
  std::uint64_t hot_hits = 0;  ///< Answered by tiers that are closed.
  std::uint64_t hot_misses = 0;
  std::string policy;  ///< That is set; guarded by `mutex`.
};

/// A model engine that can serve other processes: the contract of SessionStore
/// and of the hot tier in its simplest form. One mutex makes a change, its
/// record and its publication one step.
class SessionModel final : public SessionStore {
 public:
  static Result<std::unique_ptr<SessionStore>> Open(
      std::shared_ptr<SessionDisk> disk, const EngineOptions& options);

  Status ExecuteAs(const Session& session, std::span<const Command> commands,
                   std::span<Reply> replies, const ExecuteOptions& options,
                   PlacedValues& placed) noexcept override;
  std::optional<std::string> FindReply(
      const Session& session) noexcept override;
  void ForgetClient(std::uint64_t uid) noexcept override;
  void SetHotTier(HotWriter* hot) noexcept override;

  Capabilities capabilities() const noexcept override {
    return inner_->capabilities();
  }
  Status Execute(std::span<const Command> commands, std::span<Reply> replies,
                 const ExecuteOptions& options) noexcept override;
  Result<std::unique_ptr<Scan>> OpenScan(
      const ScanOptions& options) noexcept override {
    return inner_->OpenScan(options);
  }
  Result<std::unique_ptr<ValueWriter>> OpenWriter(
      const SetCommand& command, std::uint64_t size_expected,
      const ExecuteOptions& options) noexcept override;
  Result<std::unique_ptr<ValueReader>> OpenReader(
      std::string_view key) noexcept override {
    return inner_->OpenReader(key);
  }
  Result<std::uint64_t> Count() noexcept override { return inner_->Count(); }
  Result<EngineStats> Stats() noexcept override;
  Result<CheckReport> Check(bool repair) noexcept override {
    return inner_->Check(repair);
  }
  Settings CurrentSettings() const noexcept override {
    return inner_->CurrentSettings();
  }
  std::uint64_t settings_version() const noexcept override {
    return inner_->settings_version();
  }
  Status Reset(std::string_view name,
               std::string_view value) noexcept override {
    return inner_->Reset(name, value);
  }
  Status Sync() noexcept override { return inner_->Sync(); }
  Status Close() noexcept override { return inner_->Close(); }
  /// Runs it if `policies` names it, else "adaptive".
  void SetPolicies(std::vector<std::string> policies) {
    policies_ = std::move(policies);
  }
  PolicyInForce policy() const noexcept override;
  /// As a store that has failed.
  void SetMayBeGivenAway(bool may) { may_be_given_away_ = may; }
  bool MayBeGivenAway() noexcept override { return may_be_given_away_; }
  const std::filesystem::path& directory() const noexcept override {
    return inner_->directory();
  }

 private:
  friend class SessionModelWriter;
  SessionModel(std::shared_ptr<SessionDisk> disk, std::unique_ptr<Engine> inner)
      : disk_(std::move(disk)), inner_(std::move(inner)) {}
  Status ExecuteLocked(std::span<const Command> commands,
                       std::span<Reply> replies,
                       const ExecuteOptions& options) noexcept;
  Status Change(std::span<const Command> commands, std::span<Reply> replies,
                const ExecuteOptions& options) noexcept;
  Status ChangeAll(std::span<const Command> commands, std::span<Reply> replies,
                   const ExecuteOptions& options) noexcept;
  Status Read(std::span<const Command> commands, std::span<Reply> replies,
              const ExecuteOptions& options) noexcept;
  Reply Look(std::string_view key) noexcept;

  const std::shared_ptr<SessionDisk> disk_;
  const std::unique_ptr<Engine> inner_;
  std::vector<std::string> policies_;
  std::atomic<bool> may_be_given_away_{true};
  HotWriter* hot_ = nullptr;  // Guarded by disk_->mutex, as below.
  std::uint64_t hot_hits_seen_ = 0;
  std::uint64_t hot_misses_seen_ = 0;
};

}  // namespace larder::testing

#endif  // LARDER_TESTS_SESSION_MODEL_H_
