#ifndef LARDER_TESTS_CACHE_NULL_ENGINE_H_
#define LARDER_TESTS_CACHE_NULL_ENGINE_H_

#include <memory>
#include <utility>
#include <variant>

#include "larder/engine/engine.h"

namespace larder::testing {

/// Does nothing and answers each command as if it had been applied: what is
/// left is the cost of the facade.
class NullEngine final : public Engine {
 public:
  Capabilities capabilities() const noexcept override { return {}; }
  Status Execute(std::span<const Command> commands, std::span<Reply> replies,
                 const ExecuteOptions&) noexcept override {
    for (std::size_t i = 0; i < commands.size(); ++i) {
      replies[i].applied = true;
      if (std::holds_alternative<GetCommand>(commands[i])) {
        replies[i].value = ValueHandle("some bytes", nullptr);
      }
    }
    return {};
  }
  Result<std::unique_ptr<Scan>> OpenScan(const ScanOptions&) noexcept override {
    return Fail(Status::NotFound("null engine"));
  }
  Result<std::unique_ptr<ValueWriter>> OpenWriter(
      const SetCommand&, std::uint64_t,
      const ExecuteOptions&) noexcept override {
    return Fail(Status::NotFound("null engine"));
  }
  Result<std::unique_ptr<ValueReader>> OpenReader(
      std::string_view) noexcept override {
    return std::unique_ptr<ValueReader>();
  }
  Result<std::uint64_t> Count() noexcept override { return 0; }
  Result<EngineStats> Stats() noexcept override { return EngineStats(); }
  Result<CheckReport> Check(bool) noexcept override { return CheckReport(); }
  Settings CurrentSettings() const noexcept override { return {}; }
  std::uint64_t settings_version() const noexcept override { return 1; }
  Status Reset(std::string_view, std::string_view) noexcept override {
    return {};
  }
  Status Sync() noexcept override { return {}; }
  Status Close() noexcept override { return {}; }
  const std::filesystem::path& directory() const noexcept override {
    return directory_;
  }

 private:
  const std::filesystem::path directory_;
};

}  // namespace larder::testing

#endif  // LARDER_TESTS_CACHE_NULL_ENGINE_H_
