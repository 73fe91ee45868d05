// One workload against one store: the sets and gets on this thread, the
// directory watched by another, then a scan for what is alive.
//
// A store that kept its directory small by keeping little, or that answered
// with the wrong bytes, would pass the first half: so the payload of the live
// items is counted by a scan, and a sample of the values is read back.

#include "cap/cap_run.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "cap/cap_driver.h"
#include "cap/cap_exact.h"
#include "stores/work_directory.h"
#include "stores/workload.h"

namespace larder::bench {

namespace {

/// Bytes that an item can cost beyond its payload at most.
constexpr double kOverheadMax = 256;

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
  if (*verified_count == 0) {
    return Status::Corruption("none of the items is there");
  }
  result.verified_count = *verified_count;
  result.samples = sampler.Stop();
  result.written_bytes = driver.written_bytes();
  result.speed = driver.TakeSpeed();
  SummarizeSamples(result);
  return Status::Ok();
}

Status RunTimed(const CapOptions& options, CapResult& result) {
  const CapWorkload& workload = *result.workload;
  const ValuePool pool(CapValueSizeMax(workload, result.limit_bytes),
                       options.seed);
  if (options.with_raw) {
    auto raw = RunRaw(workload, pool, result.limit_bytes, options);
    if (!raw) {
      return raw.error();
    }
    result.raw = *raw;
  }
  const auto directory = WorkDirectory::Make(options.parent_directory);
  if (!directory) {
    return directory.error();
  }
  auto store = OpenStore(options.engine, directory->path(),
                         CapStoreOptions(workload, result.limit_bytes));
  if (!store) {
    return store.error();
  }
  LARDER_RETURN_IF_ERROR(
      RunStore(**store, directory->path(), pool, options, result));
  return (*store)->Close();
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
  CapResult result;
  result.workload = &workload;
  result.limit_bytes = limit_bytes;
  result.engine = options.engine;
  if (workload.is_timed) {
    LARDER_FAIL_IF_ERROR(RunTimed(options, result));
  }
  if (options.with_exact && options.engine == EngineKind::kLarder) {
    auto exact = RunExact(workload, limit_bytes,
                          {.parent_directory = options.parent_directory,
                           .factor = options.factor,
                           .seed = options.seed});
    if (!exact) {
      return Fail(std::move(exact.error()));
    }
    result.exact = *exact;
    result.directory_ratio_max =
        std::max(result.directory_ratio_max, exact->directory_ratio_max);
    result.live_share_end = workload.is_timed ? std::min(result.live_share_end,
                                                         exact->live_share_end)
                                              : exact->live_share_end;
  }
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
  if (result.exact) {
    if (result.exact->over_count > 0) {
      add("samples over the limit",
          static_cast<double>(result.exact->over_count), "at most", 0);
    }
    if (result.exact->refused_count > 0) {
      add("refused sets", static_cast<double>(result.exact->refused_count),
          "at most", 0);
    }
  }
  if ((result.workload->is_timed || result.exact) &&
      result.live_share_end < bars.live_share_min) {
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
