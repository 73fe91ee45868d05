#ifndef LARDER_TESTS_MODEL_ENGINE_H_
#define LARDER_TESTS_MODEL_ENGINE_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "larder/engine/engine.h"

namespace larder::testing {

/// An item of the model. Value bytes are shared and never change, so that
/// handles, scans and readers keep what they have seen.
struct ModelItem {
  std::shared_ptr<const std::string> value;
  ItemInfo info;
};
using ModelItems = std::map<std::string, ModelItem, std::less<>>;

/// What outlives a model engine: the "directory" of ModelEngine::Open.
struct ModelDisk {
  std::mutex mutex;  ///< Guards all fields below.
  ModelItems items;  ///< Expired ones stay until something settles them.
  std::uint64_t version_last = 0;
  Settings settings;
  EngineStats totals;
  std::uint64_t expirations_told = 0;  ///< By Expire, of those in `totals`.
};

/// The contract of Engine in its simplest form: a std::map under one mutex.
/// It is what the real engines are compared with. It differ from them in
/// three ways, all of them allowed: it never evicts unless a command says so,
/// keeps nothing on a disk, and calls no eviction callback.
///
/// Threads: thread-safe.
class ModelEngine final : public Engine {
 public:
  /// An engine on what `disk` holds. Errors: those of its settings.
  static Result<std::unique_ptr<Engine>> Open(std::shared_ptr<ModelDisk> disk,
                                              const EngineOptions& options);
  /// An engine on nothing, with default settings.
  static std::unique_ptr<Engine> Make(const Clock* clock = nullptr);

  Capabilities capabilities() const noexcept override;
  Status Execute(std::span<const Command> commands, std::span<Reply> replies,
                 const ExecuteOptions& options) noexcept override;
  Result<std::unique_ptr<Scan>> OpenScan(
      const ScanOptions& options) noexcept override;
  Result<std::unique_ptr<ValueWriter>> OpenWriter(
      const SetCommand& command, std::uint64_t size_expected,
      const ExecuteOptions& options) noexcept override;
  Result<std::unique_ptr<ValueReader>> OpenReader(
      std::string_view key) noexcept override;
  Result<std::uint64_t> Count() noexcept override;
  Result<EngineStats> Stats() noexcept override;
  Result<CheckReport> Check(bool repair) noexcept override;
  Settings CurrentSettings() const noexcept override;
  std::uint64_t settings_version() const noexcept override;
  Status Reset(std::string_view name, std::string_view value) noexcept override;
  Status Sync() noexcept override;
  Status Close() noexcept override;
  const std::filesystem::path& directory() const noexcept override;

 private:
  ModelEngine(std::shared_ptr<ModelDisk> disk, const EngineOptions& options);
  Status Usable() const;

  const std::shared_ptr<ModelDisk> disk_;
  const Clock* const clock_;
  const bool writable_;
  const std::filesystem::path directory_ = "model";
  bool closed_ = false;                 // Guarded by disk_->mutex.
  std::uint64_t settings_version_ = 1;  // Guarded by disk_->mutex.
};

}  // namespace larder::testing

#endif  // LARDER_TESTS_MODEL_ENGINE_H_
