// larder through its public face, as a program would use it: Cache, with its
// default settings but for the limit, the policy and the memory. No back door
// into the engine.

#include <string>
#include <utility>
#include <vector>

#include "larder/cache/cache.h"

#include "stores/store_adapter.h"

namespace larder::bench {

namespace {

class LarderStore final : public KeyValueStore {
 public:
  explicit LarderStore(std::unique_ptr<Cache> cache)
      : cache_(std::move(cache)) {}

  Status Set(std::string_view key, std::string_view value) override {
    return cache_->Set(key, value);
  }

  Result<bool> Get(std::string_view key, ValueVisitor& visitor) override {
    auto value = cache_->Get(key);
    if (!value) {
      return Fail(std::move(value.error()));
    }
    if (!value->has_value()) {
      return false;
    }
    visitor.Visit((*value)->bytes());
    return true;
  }

  Result<bool> Delete(std::string_view key) override {
    return cache_->Delete(key);
  }

  Result<std::size_t> MultiGet(std::span<const std::string_view> keys,
                               ValueVisitor& visitor) override {
    auto values = cache_->MultiGet(keys);
    if (!values) {
      return Fail(std::move(values.error()));
    }
    std::size_t hit_count = 0;
    for (const std::optional<Value>& value : *values) {
      if (value) {
        visitor.Visit(value->bytes());
        ++hit_count;
      }
    }
    return hit_count;
  }

  Status SetMany(std::span<const KeyValue> items) override {
    items_.clear();
    for (const KeyValue& item : items) {
      items_.push_back({item.key, item.value});
    }
    return cache_->SetMany(items_);
  }

  Result<std::int64_t> Incr(std::string_view key, std::int64_t delta) override {
    return cache_->Incr(key, delta);
  }

  Status Settle() override { return cache_->Sync(); }
  Status Close() override { return cache_->Close(); }

  Result<LiveTotals> Live() override {
    const auto stats = cache_->Stats();
    if (!stats) {
      return Fail(stats.error());
    }
    return LiveTotals{stats->count, stats->live_bytes};
  }

  Status ForEachItem(const std::function<void(std::string_view, std::uint64_t)>&
                         visit) override {
    auto scan = cache_->OpenScan();
    if (!scan) {
      return std::move(scan.error());
    }
    for (;;) {
      const auto page = (*scan)->Next(kScanPageCountMax);
      if (!page) {
        return page.error();
      }
      if (page->empty()) {
        return Status::Ok();
      }
      for (const ScanItem& item : *page) {
        visit(item.key, item.info.size_bytes);
      }
    }
  }

 private:
  std::unique_ptr<Cache> cache_;
  std::vector<SetItem> items_;
};

}  // namespace

Result<std::unique_ptr<KeyValueStore>> OpenLarder(
    const std::filesystem::path& path, const StoreOptions& options) {
  CacheOptions cache_options;
  cache_options.settings = {
      {"size_limit", std::to_string(options.size_limit_bytes)}};
  if (!options.policy.empty()) {
    cache_options.settings.emplace_back("policy", options.policy);
  }
  cache_options.memory_budget_bytes = options.memory_budget_bytes;
  auto cache = Cache::Open(path, std::move(cache_options));
  if (!cache) {
    return Fail(std::move(cache.error()));
  }
  return std::make_unique<LarderStore>(std::move(*cache));
}

}  // namespace larder::bench
