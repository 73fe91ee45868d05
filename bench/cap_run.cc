// One workload against one store: the sets and gets on this thread, the
// directory watched by another, then a scan for what is alive.
//
// A store that kept its directory small by keeping little, or that answered
// with the wrong bytes, would pass the first half: so the payload of the live
// items is counted by a scan, and a sample of the values is read back.

#include "cap_run.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "work_directory.h"
#include "workload.h"

namespace larder::bench {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kVerifyCount = 3'000;
/// Bytes that an item can cost beyond its payload at most.
constexpr double kOverheadMax = 256;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double Percentile(std::vector<float>& values, double share) {
  if (values.empty()) {
    return 0;
  }
  const auto at = static_cast<std::ptrdiff_t>(
      std::min(static_cast<double>(values.size()) - 1,
               std::floor(share * static_cast<double>(values.size()))));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

SetLatency Summarize(std::vector<float>& milliseconds) {
  SetLatency latency;
  latency.p50 = Percentile(milliseconds, 0.5);
  latency.p99 = Percentile(milliseconds, 0.99);
  latency.p999 = Percentile(milliseconds, 0.999);
  latency.max = Percentile(milliseconds, 1.0);
  return latency;
}

class IgnoreValue final : public ValueVisitor {
 public:
  void Visit(std::string_view value) override { fold ^= Fold(value); }
  std::uint64_t fold = 0;
};

/// Which value each key has.
struct LastSet {
  std::uint64_t value_index = 0;
  std::uint32_t size = 0;
};

/// A run in progress.
class Driver {
 public:
  Driver(KeyValueStore& store, const ValuePool& pool, std::uint64_t seed,
         std::uint64_t limit_bytes)
      : store_(store), pool_(pool), seed_(seed), limit_bytes_(limit_bytes) {}

  /// `sampler` may be nullptr.
  Status Run(const CapSource& source, DiskSampler* sampler);
  /// Values that are there and right. Errors: kCorruption.
  Result<std::uint64_t> Verify();

  [[nodiscard]] CapSpeed TakeSpeed();
  [[nodiscard]] std::uint64_t written_bytes() const { return written_bytes_; }

 private:
  Status Set(const CapOperation& operation);
  Status Get(const CapOperation& operation);

  KeyValueStore& store_;
  const ValuePool& pool_;
  const std::uint64_t seed_;
  const std::uint64_t limit_bytes_;
  CapSpeed speed_;
  std::uint64_t written_bytes_ = 0;
  std::vector<float> set_milliseconds_;
  std::unordered_map<std::uint64_t, LastSet> last_sets_;
};

Status Driver::Set(const CapOperation& operation) {
  const std::string key = KeyOf(operation.key, seed_);
  const std::uint64_t value_index = speed_.set_count;
  const std::string_view value = pool_.Of(value_index, operation.size);
  const Clock::time_point begin = Clock::now();
  const Status status = store_.Set(key, value);
  const double milliseconds = SecondsSince(begin) * 1e3;
  if (!status.ok()) {
    return Status(status.code(),
                  fmt::format("set {} of {} B: {}", speed_.set_count,
                              operation.size, status.message()));
  }
  set_milliseconds_.push_back(static_cast<float>(milliseconds));
  last_sets_[operation.key] = {value_index, operation.size};
  ++speed_.set_count;
  written_bytes_ += operation.size;
  return Status::Ok();
}

Status Driver::Get(const CapOperation& operation) {
  IgnoreValue seen;
  const auto hit = store_.Get(KeyOf(operation.key, seed_), seen);
  if (!hit) {
    return hit.error();
  }
  ++speed_.get_count;
  speed_.get_hit_count += *hit ? 1 : 0;
  return Status::Ok();
}

Status Driver::Run(const CapSource& source, DiskSampler* sampler) {
  const Clock::time_point begin = Clock::now();
  std::optional<Clock::time_point> full_at;
  std::uint64_t full_set_count = 0;
  std::uint64_t full_written_bytes = 0;
  while (const auto operation = source()) {
    if (operation->kind == CapOperation::Kind::kGet) {
      LARDER_RETURN_IF_ERROR(Get(*operation));
      continue;
    }
    LARDER_RETURN_IF_ERROR(Set(*operation));
    if (sampler != nullptr) {
      sampler->AddWritten(operation->size);
    }
    if (!full_at && written_bytes_ >= limit_bytes_) {
      full_at = Clock::now();
      full_set_count = speed_.set_count;
      full_written_bytes = written_bytes_;
    }
  }
  speed_.seconds = SecondsSince(begin);
  const double seconds = SecondsSince(full_at.value_or(begin));
  speed_.sets_per_second =
      static_cast<double>(speed_.set_count - full_set_count) / seconds;
  speed_.payload_bytes_per_second =
      static_cast<double>(written_bytes_ - full_written_bytes) / seconds;
  return Status::Ok();
}

Result<std::uint64_t> Driver::Verify() {
  std::uint64_t verified_count = 0;
  const std::uint64_t step =
      std::max<std::uint64_t>(1, last_sets_.size() / kVerifyCount);
  std::uint64_t position = 0;
  for (const auto& [key, last] : last_sets_) {
    if (position++ % step != 0) {
      continue;
    }
    IgnoreValue seen;
    const auto hit = store_.Get(KeyOf(key, seed_), seen);
    if (!hit) {
      return Fail(hit.error());
    }
    if (!*hit) {
      continue;  // Evicted.
    }
    if (seen.fold != Fold(pool_.Of(last.value_index, last.size))) {
      return Fail(Status::Corruption(
          fmt::format("item {} is not what was set last", key)));
    }
    ++verified_count;
  }
  if (verified_count == 0) {
    return Fail(Status::Corruption("none of the items is there"));
  }
  return verified_count;
}

CapSpeed Driver::TakeSpeed() {
  speed_.latency = Summarize(set_milliseconds_);
  return speed_;
}

Status CountLive(KeyValueStore& store, CapResult& result) {
  std::uint64_t payload_bytes = 0;
  LARDER_RETURN_IF_ERROR(
      store.ForEachItem([&](std::string_view, std::uint64_t size) {
        payload_bytes += size;
        ++result.item_count_end;
      }));
  result.live_share_end = static_cast<double>(payload_bytes) /
                          static_cast<double>(result.limit_bytes);
  const auto live = store.Live();
  if (live && live->item_count > 0) {
    // Bounded, as the store may evict between the scan and the total.
    const double overhead = (static_cast<double>(live->bytes) -
                             static_cast<double>(payload_bytes)) /
                            static_cast<double>(live->item_count);
    result.overhead_bytes_per_item = std::clamp(overhead, 0.0, kOverheadMax);
  }
  return Status::Ok();
}

void SummarizeSamples(CapResult& result) {
  const auto limit = static_cast<double>(result.limit_bytes);
  double share_sum = 0;
  double last_seconds = 0;
  std::uint64_t share_count = 0;
  for (const DiskSample& sample : result.samples) {
    result.directory_ratio_max =
        std::max(result.directory_ratio_max,
                 static_cast<double>(sample.directory_bytes) / limit);
    result.sample_gap_seconds_max =
        std::max(result.sample_gap_seconds_max, sample.seconds - last_seconds);
    last_seconds = sample.seconds;
    if (sample.live.item_count == 0 ||
        sample.written_bytes < result.limit_bytes) {
      continue;
    }
    const double share = result.LivePayload(sample) / limit;
    result.live_share_min =
        share_count == 0 ? share : std::min(result.live_share_min, share);
    share_sum += share;
    ++share_count;
  }
  if (share_count > 0) {
    result.live_share_mean = share_sum / static_cast<double>(share_count);
  }
}

Result<CapSpeed> RunRaw(const CapWorkload& workload, const ValuePool& pool,
                        std::uint64_t limit_bytes, const CapOptions& options) {
  const auto directory = WorkDirectory::Make(options.parent_directory);
  if (!directory) {
    return Fail(directory.error());
  }
  StoreOptions store_options;
  auto store =
      OpenStore(EngineKind::kRocksDb, directory->path(), store_options);
  if (!store) {
    return Fail(std::move(store.error()));
  }
  Driver driver(**store, pool, options.seed, limit_bytes);
  LARDER_FAIL_IF_ERROR(driver.Run(
      workload.start(limit_bytes, options.factor, options.seed), nullptr));
  LARDER_FAIL_IF_ERROR((*store)->Close());
  return driver.TakeSpeed();
}

Status RunStore(KeyValueStore& store, const std::filesystem::path& directory,
                const ValuePool& pool, const CapOptions& options,
                CapResult& result) {
  DiskSampler sampler(directory, &store, options.sample_period);
  Driver driver(store, pool, options.seed, result.limit_bytes);
  LARDER_RETURN_IF_ERROR(driver.Run(
      result.workload->start(result.limit_bytes, options.factor, options.seed),
      &sampler));
  // Under watch, too: the background may still be at work.
  LARDER_RETURN_IF_ERROR(CountLive(store, result));
  const auto verified_count = driver.Verify();
  if (!verified_count) {
    return verified_count.error();
  }
  result.verified_count = *verified_count;
  result.samples = sampler.Stop();
  result.written_bytes = driver.written_bytes();
  result.speed = driver.TakeSpeed();
  SummarizeSamples(result);
  return Status::Ok();
}

}  // namespace

double CapResult::LivePayload(const DiskSample& sample) const {
  if (workload->value_size > 0) {
    return static_cast<double>(sample.live.item_count * workload->value_size);
  }
  return static_cast<double>(sample.live.bytes) -
         overhead_bytes_per_item * static_cast<double>(sample.live.item_count);
}

Result<CapResult> RunCap(const CapWorkload& workload, std::uint64_t limit_bytes,
                         const CapOptions& options) {
  const ValuePool pool(kCapValueSizeMax, options.seed);
  CapResult result;
  result.workload = &workload;
  result.limit_bytes = limit_bytes;
  result.engine = options.engine;
  if (options.with_raw) {
    auto raw = RunRaw(workload, pool, limit_bytes, options);
    if (!raw) {
      return Fail(std::move(raw.error()));
    }
    result.raw = *raw;
  }
  const auto directory = WorkDirectory::Make(options.parent_directory);
  if (!directory) {
    return Fail(directory.error());
  }
  StoreOptions store_options;
  store_options.size_limit_bytes = limit_bytes;
  store_options.memory_budget_bytes = 0;  // What larder chooses by itself.
  store_options.policy = workload.policy;
  auto store = OpenStore(options.engine, directory->path(), store_options);
  if (!store) {
    return Fail(std::move(store.error()));
  }
  Status status = RunStore(**store, directory->path(), pool, options, result);
  if (status.ok()) {
    status = (*store)->Close();
  }
  LARDER_FAIL_IF_ERROR(std::move(status));
  return result;
}

std::vector<std::string> MissedBars(const CapResult& result) {
  const CapBars& bars = result.workload->bars;
  std::vector<std::string> missed;
  const auto add = [&](std::string_view what, double measured,
                       std::string_view relation, double bound) {
    missed.push_back(fmt::format(
        "{} at {} MiB: {} {:.3g}, wanted {} {:g}", result.workload->name,
        result.limit_bytes >> 20, what, measured, relation, bound));
  };
  if (result.directory_ratio_max > bars.directory_ratio_max) {
    add("directory over limit", result.directory_ratio_max, "at most",
        bars.directory_ratio_max);
  }
  if (result.live_share_end < bars.live_share_min) {
    add("live payload at the end", result.live_share_end, "at least",
        bars.live_share_min);
  }
  if (result.live_share_mean > 0 &&
      result.live_share_mean < bars.live_share_min) {
    add("mean live payload", result.live_share_mean, "at least",
        bars.live_share_min);
  }
  if (result.raw) {
    const double ratio =
        result.speed.sets_per_second / result.raw->sets_per_second;
    if (ratio < bars.raw_speed_ratio_min) {
      add("sets per second over raw RocksDB's", ratio, "at least",
          bars.raw_speed_ratio_min);
    }
  }
  if (result.speed.latency.max > bars.set_milliseconds_max) {
    add("longest set in ms", result.speed.latency.max, "at most",
        bars.set_milliseconds_max);
  }
  return missed;
}

}  // namespace larder::bench
