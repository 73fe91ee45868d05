#ifndef LARDER_TESTS_MODEL_DEFECTIVE_ENGINE_H_
#define LARDER_TESTS_MODEL_DEFECTIVE_ENGINE_H_

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine_places.h"

namespace larder::testing {

/// Defects that an engine might have. The model test must find each of them,
/// or it is worth nothing.
enum class Defect {
  kForgetsTags,
  kIgnoresTouch,
  kLivesTooLong,
  kCountsExpired,
  kKeepsTheFirstCommandOfAFailedBatch,
  kScanLeavesOutTheLast,
  kLosesTheLastWriteAtReopen,
  kServesTheValueBefore,
  kUsesVersionsAgain,
};
inline constexpr std::array kAllDefects = {
    Defect::kForgetsTags,
    Defect::kIgnoresTouch,
    Defect::kLivesTooLong,
    Defect::kCountsExpired,
    Defect::kKeepsTheFirstCommandOfAFailedBatch,
    Defect::kScanLeavesOutTheLast,
    Defect::kLosesTheLastWriteAtReopen,
    Defect::kServesTheValueBefore,
    Defect::kUsesVersionsAgain};

/// A model engine with one defect.
class DefectiveEngine final : public Engine {
 public:
  DefectiveEngine(Defect defect, std::shared_ptr<ModelDisk> disk,
                  std::unique_ptr<Engine> engine)
      : defect_(defect), disk_(std::move(disk)), engine_(std::move(engine)) {}

  Capabilities capabilities() const noexcept override {
    return engine_->capabilities();
  }
  Status Execute(std::span<const Command> commands, std::span<Reply> replies,
                 const ExecuteOptions& options) noexcept override {
    std::vector<Command> changed(commands.begin(), commands.end());
    for (Command& command : changed) Change(command);
    if (defect_ == Defect::kServesTheValueBefore) RememberValues(commands);
    Status status = engine_->Execute(changed, replies, options);
    if (defect_ == Defect::kKeepsTheFirstCommandOfAFailedBatch &&
        !status.ok() && !changed.empty()) {
      engine_->Execute({&changed[0], 1}, replies.first(1), {}).IgnoreError();
    }
    if (defect_ == Defect::kIgnoresTouch) PretendTouched(commands, replies);
    if (defect_ == Defect::kServesTheValueBefore) {
      ServeBefore(commands, replies);
    }
    if (defect_ == Defect::kUsesVersionsAgain && disk_->version_last % 5 == 4) {
      disk_->version_last /= 2;
    }
    return status;
  }
  Result<std::unique_ptr<Scan>> OpenScan(
      const ScanOptions& options) noexcept override {
    auto scan = engine_->OpenScan(options);
    if (defect_ != Defect::kScanLeavesOutTheLast || !scan) return scan;
    auto all = (*scan)->Next(kScanPageCountMax);
    if (all->size() > 5) all->pop_back();
    return std::make_unique<FixedScan>(*std::move(all));
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
  Result<std::uint64_t> Count() noexcept override {
    if (defect_ == Defect::kCountsExpired) return disk_->items.size();
    return engine_->Count();
  }
  Result<EngineStats> Stats() noexcept override { return engine_->Stats(); }
  Result<CheckReport> Check(bool repair) noexcept override {
    return engine_->Check(repair);
  }
  Settings CurrentSettings() const noexcept override {
    return engine_->CurrentSettings();
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
  class FixedScan final : public Scan {
   public:
    explicit FixedScan(std::vector<ScanItem> items)
        : items_(std::move(items)) {}
    Result<std::vector<ScanItem>> Next(std::size_t) noexcept override {
      return std::exchange(items_, {});
    }

   private:
    std::vector<ScanItem> items_;
  };

  void Change(Command& command) const {
    if (auto* set = std::get_if<SetCommand>(&command)) {
      if (defect_ == Defect::kForgetsTags) set->tag = {};
      if (defect_ == Defect::kLivesTooLong && set->ttl) {
        *set->ttl += Duration(1);
      }
    }
    if (auto* touch = std::get_if<TouchCommand>(&command);
        touch != nullptr && defect_ == Defect::kIgnoresTouch) {
      command = GetCommand{.key = touch->key, .with_value = false};
    }
  }
  static void PretendTouched(std::span<const Command> commands,
                             std::span<Reply> replies) {
    for (std::size_t i = 0; i < commands.size(); ++i) {
      if (std::holds_alternative<TouchCommand>(commands[i])) {
        replies[i].info = {};
      }
    }
  }
  void RememberValues(std::span<const Command> commands) {
    for (const Command& command : commands) {
      if (const auto* set = std::get_if<SetCommand>(&command)) {
        const auto found = disk_->items.find(set->key);
        if (found != disk_->items.end()) before_ = found->second.value;
      }
    }
  }
  void ServeBefore(std::span<const Command> commands,
                   std::span<Reply> replies) {
    for (std::size_t i = 0; i < commands.size(); ++i) {
      if (before_ != nullptr && replies[i].applied &&
          replies[i].value.size() == before_->size() && !before_->empty()) {
        replies[i].value = ValueHandle::FromString(*before_);
      }
    }
  }

  const Defect defect_;
  const std::shared_ptr<ModelDisk> disk_;
  const std::unique_ptr<Engine> engine_;
  std::shared_ptr<const std::string> before_;
};

class DefectivePlace final : public EnginePlace {
 public:
  explicit DefectivePlace(Defect defect) : defect_(defect) {}
  Result<std::unique_ptr<Engine>> Open(const EngineOptions& options) override {
    if (defect_ == Defect::kLosesTheLastWriteAtReopen) {
      std::erase_if(disk_->items, [this](const auto& entry) {
        return entry.second.info.version == disk_->version_last;
      });
    }
    auto engine = ModelEngine::Open(disk_, options);
    if (!engine) return engine;
    return std::make_unique<DefectiveEngine>(defect_, disk_,
                                             *std::move(engine));
  }

 private:
  const Defect defect_;
  const std::shared_ptr<ModelDisk> disk_ = std::make_shared<ModelDisk>();
};

}  // namespace larder::testing

#endif  // LARDER_TESTS_MODEL_DEFECTIVE_ENGINE_H_
