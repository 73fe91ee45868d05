#include "stores/store_adapter.h"

#include <array>

namespace larder::bench {

namespace {

struct EngineEntry {
  EngineKind kind;
  std::string_view name;
};

constexpr std::array<EngineEntry, 4> kEngines{{
    {EngineKind::kLarder, "larder"},
    {EngineKind::kRocksDb, "rocksdb"},
    {EngineKind::kLmdb, "lmdb"},
    {EngineKind::kSqlite, "sqlite"},
}};

constexpr std::array<EngineKind, 4> kAllEngines{
    EngineKind::kLarder, EngineKind::kRocksDb, EngineKind::kLmdb,
    EngineKind::kSqlite};

}  // namespace

Result<LiveTotals> KeyValueStore::Live() {
  return Fail(Status::InvalidArgument("this engine has no live totals"));
}

Status KeyValueStore::ForEachItem(
    const std::function<void(std::string_view, std::uint64_t)>& /*visit*/) {
  return Status::InvalidArgument("this adapter has no scan");
}

std::string_view EngineName(EngineKind kind) noexcept {
  for (const EngineEntry& entry : kEngines) {
    if (entry.kind == kind) {
      return entry.name;
    }
  }
  return "unknown";
}

std::optional<EngineKind> EngineFromName(std::string_view name) noexcept {
  for (const EngineEntry& entry : kEngines) {
    if (entry.name == name) {
      return entry.kind;
    }
  }
  return std::nullopt;
}

std::span<const EngineKind> AllEngines() noexcept { return kAllEngines; }

Result<std::unique_ptr<KeyValueStore>> OpenStore(
    EngineKind kind, const std::filesystem::path& path,
    const StoreOptions& options) {
  switch (kind) {
    case EngineKind::kLarder:
      return OpenLarder(path, options);
    case EngineKind::kRocksDb:
      return OpenRocksDb(path, options);
    case EngineKind::kLmdb:
      return OpenLmdb(path, options);
    case EngineKind::kSqlite:
      return OpenSqlite(path, options);
  }
  return Fail(Status::InvalidArgument("no such engine"));
}

}  // namespace larder::bench
