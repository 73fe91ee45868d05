#include "bench_bars.h"

#include <fmt/format.h>

#include "bench_text.h"

namespace larder::report {

namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = kKiB * kKiB;
constexpr std::uint64_t kOpenItemCount = 1'000'000;

std::vector<Bar> MakeBars() {
  std::vector<Bar> bars;
  const auto time = [&](const char* operation, std::uint64_t size,
                        double bound) {
    bars.push_back({BarKind::kTimeRatioMax,
                    {operation, "larder", size},
                    {operation, "rocksdb", size},
                    bound});
  };
  const auto throughput = [&](const char* operation, const char* peer,
                              const char* peer_operation, std::uint64_t size,
                              double bound) {
    bars.push_back({BarKind::kThroughputRatioMin,
                    {operation, "larder", size},
                    {peer_operation, peer, size},
                    bound});
  };
  time("Set", 100, 2.0);
  time("Set", kKiB, 1.7);
  time("Set", 64 * kKiB, 0.6);
  time("Get", 100, 1.6);
  time("Get", 64 * kKiB, 1.1);
  for (const std::uint64_t size : {64 * kKiB, kMiB}) {
    // Batches, too, are held against single Puts.
    throughput("Set", "rocksdb", "Set", size, 1.8);
    throughput("SetMany", "rocksdb", "Set", size, 1.8);
    throughput("Set", "sqlite", "Set", size, 2.0);
    throughput("Get", "sqlite", "Get", size, 2.0);
  }
  for (const auto& [operation, bound] :
       {std::pair{"Open", 50.0}, std::pair{"Recover", 500.0}}) {
    bars.push_back({BarKind::kMillisecondsMax,
                    {operation, "larder", kOpenItemCount},
                    {},
                    bound});
  }
  return bars;
}

std::optional<double> Measure(const Bar& bar, const BenchResults& results) {
  const CaseResult* larder = results.Find(bar.larder);
  if (larder == nullptr) {
    return std::nullopt;
  }
  if (bar.kind == BarKind::kMillisecondsMax) {
    return Median(larder->seconds) * 1e3;
  }
  const CaseResult* peer = results.Find(bar.peer);
  if (peer == nullptr) {
    return std::nullopt;
  }
  if (bar.kind == BarKind::kTimeRatioMax) {
    return Median(larder->seconds) / Median(peer->seconds);
  }
  if (larder->bytes_per_second.empty() || peer->bytes_per_second.empty()) {
    return std::nullopt;
  }
  return Median(larder->bytes_per_second) / Median(peer->bytes_per_second);
}

}  // namespace

bool BarResult::met() const noexcept {
  if (!measured) {
    return false;
  }
  return bar.kind == BarKind::kThroughputRatioMin ? *measured >= bar.bound
                                                  : *measured <= bar.bound;
}

std::string BarResult::Describe() const {
  const char* verdict = !measured ? "not measured" : met() ? "ok" : "MISSED";
  const std::string value =
      measured ? fmt::format("{:.2f}", *measured) : std::string("-");
  if (bar.kind == BarKind::kMillisecondsMax) {
    return fmt::format("{} of {} items: {} ms, at most {:g} ms: {}",
                       bar.larder.operation, bar.larder.size, value, bar.bound,
                       verdict);
  }
  const bool is_time = bar.kind == BarKind::kTimeRatioMax;
  return fmt::format("{} {}: {} x the {} of {} {}, at {} {:g}: {}",
                     bar.larder.operation, FormatSize(bar.larder.size), value,
                     is_time ? "time" : "bytes/s", bar.peer.engine,
                     bar.peer.operation, is_time ? "most" : "least", bar.bound,
                     verdict);
}

const std::vector<Bar>& AllBars() {
  static const std::vector<Bar> bars = MakeBars();
  return bars;
}

std::vector<BarResult> CheckBars(const BenchResults& results) {
  std::vector<BarResult> checked;
  for (const Bar& bar : AllBars()) {
    checked.push_back({bar, Measure(bar, results)});
  }
  return checked;
}

}  // namespace larder::report
