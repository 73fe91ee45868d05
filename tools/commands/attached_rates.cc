#include "commands/attached_rates.h"

#include <algorithm>
#include <cmath>

namespace larder::tools {
namespace {

// Counts begin anew when nobody was attached for a moment.
std::uint64_t Grown(std::uint64_t before, std::uint64_t now) {
  return now >= before ? now - before : now;
}

double PerSecond(std::uint64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

double Share(std::uint64_t part, std::uint64_t whole) {
  return std::min(1.0, static_cast<double>(part) / static_cast<double>(whole));
}

using Buckets = std::array<std::uint64_t, 40>;

// The time that `fraction` of the requests did not pass: within a bucket by
// the logarithm.
std::optional<double> Quantile(const Buckets& buckets, double fraction) {
  std::uint64_t count = 0;
  for (const std::uint64_t bucket : buckets) count += bucket;
  if (count == 0) return std::nullopt;
  const double rank = fraction * static_cast<double>(count);
  double below = 0;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    const auto in_bucket = static_cast<double>(buckets[i]);
    if (in_bucket > 0 && below + in_bucket >= rank) {
      const double within = (rank - below) / in_bucket;
      return std::exp2(static_cast<double>(i) + within) / 1e3;
    }
    below += in_bucket;
  }
  return std::nullopt;
}

}  // namespace

void AttachedRateMeter::UpdateFromStore(const AttachedFigures& now,
                                        AttachedRates& rates) {
  if (now.store) {
    if (published_ &&
        now.store->published_at > published_->store->published_at) {
      const StoreTotals& before = *published_->store;
      const double seconds = std::chrono::duration<double>(
                                 now.store->published_at - before.published_at)
                                 .count();
      const std::uint64_t hits = Grown(before.hits, now.store->hits);
      const std::uint64_t reads =
          hits + Grown(before.misses, now.store->misses);
      const std::uint64_t writes = Grown(before.sets, now.store->sets) +
                                   Grown(before.deletes, now.store->deletes);
      const std::uint64_t hot =
          Grown(published_->hot_hits + published_->hot_misses,
                now.hot_hits + now.hot_misses);
      store_rates_ = {};
      store_rates_.operations_per_second = PerSecond(reads + writes, seconds);
      if (reads != 0) {
        store_rates_.hit_ratio = Share(hits, reads);
        store_rates_.hot_ratio = Share(hot, reads);
      }
    }
    if (!published_ ||
        now.store->published_at != published_->store->published_at) {
      published_ = now;
    }
  }
  rates = store_rates_;
}

AttachedRates AttachedRateMeter::Update(const AttachedFigures& now,
                                        double seconds) {
  AttachedRates rates;
  UpdateFromStore(now, rates);
  if (last_) {
    rates.hot_reads_per_second =
        PerSecond(Grown(last_->hot_hits + last_->hot_misses,
                        now.hot_hits + now.hot_misses),
                  seconds);
    rates.requests_per_second =
        PerSecond(Grown(last_->requests, now.requests), seconds);
    Buckets buckets{};
    for (std::size_t i = 0; i < buckets.size(); ++i) {
      buckets[i] = Grown(last_->service_time[i], now.service_time[i]);
    }
    rates.service_p50_us = Quantile(buckets, 0.50);
    rates.service_p99_us = Quantile(buckets, 0.99);
  }
  last_ = now;
  return rates;
}

}  // namespace larder::tools
