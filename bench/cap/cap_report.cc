#include "cap/cap_report.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "gnuplot.h"

namespace larder::bench {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kPlotPointCountMax = 300;
constexpr int kPanelWidth = 420;
constexpr int kPanelHeight = 260;
constexpr int kPanelsPerRow = 3;

std::string ShareOrDash(double share) {
  return share > 0 ? fmt::format("{:.3f}", share) : std::string("-");
}

double RawRatio(const CapResult& result) {
  return result.raw ? result.speed.sets_per_second / result.raw->sets_per_second
                    : 0.0;
}

Json SpeedJson(const CapSpeed& speed) {
  return Json{{"seconds", speed.seconds},
              {"sets", speed.set_count},
              {"gets", speed.get_count},
              {"get_hits", speed.get_hit_count},
              {"sets_per_second", speed.sets_per_second},
              {"payload_bytes_per_second", speed.payload_bytes_per_second},
              {"set_p50_ms", speed.latency.p50},
              {"set_p99_ms", speed.latency.p99},
              {"set_p999_ms", speed.latency.p999},
              {"set_max_ms", speed.latency.max}};
}

Json ResultJson(const CapResult& result) {
  const CapBars& bars = result.workload->bars;
  Json json{{"workload", result.workload->name},
            {"description", result.workload->description},
            {"policy", result.workload->policy},
            {"engine", EngineName(result.engine)},
            {"limit", result.limit_bytes},
            {"written_bytes", result.written_bytes},
            {"sample_count", result.samples.size()},
            {"sample_gap_seconds_max", result.sample_gap_seconds_max},
            {"directory_ratio_max", result.directory_ratio_max},
            {"live_share_end", result.live_share_end},
            {"live_share_mean", result.live_share_mean},
            {"live_share_min", result.live_share_min},
            {"items_end", result.item_count_end},
            {"values_verified", result.verified_count},
            {"overhead_bytes_per_item", result.overhead_bytes_per_item},
            {"speed", SpeedJson(result.speed)}};
  if (result.exact) {
    json["exact"] = {{"samples", result.exact->sample_count},
                     {"samples_over_limit", result.exact->over_count},
                     {"directory_ratio_max", result.exact->directory_ratio_max},
                     {"live_share_end", result.exact->live_share_end},
                     {"sets", result.exact->set_count},
                     {"sets_refused", result.exact->refused_count},
                     {"values_verified", result.exact->verified_count}};
  }
  if (result.raw) {
    json["raw_speed"] = SpeedJson(*result.raw);
    json["raw_speed_ratio"] = RawRatio(result);
  }
  json["bars"] = {{"directory_ratio_max", bars.directory_ratio_max},
                  {"live_share_min", bars.live_share_min},
                  {"raw_speed_ratio_min", bars.raw_speed_ratio_min},
                  {"set_milliseconds_max", bars.set_milliseconds_max}};
  json["missed"] = MissedBars(result);
  Json samples = Json::array();
  for (const DiskSample& sample : result.samples) {
    samples.push_back({{"seconds", sample.seconds},
                       {"written_bytes", sample.written_bytes},
                       {"directory_bytes", sample.directory_bytes},
                       {"live_items", sample.live.item_count},
                       {"live_payload_bytes", result.LivePayload(sample)}});
  }
  json["samples"] = std::move(samples);
  return json;
}

/// Lines "written directory live", relative to the limit. Where samples are
/// many, one line stands for several: the largest directory and the least
/// live payload of them, so that no peak is lost.
std::string PlotBlock(const CapResult& result) {
  const auto limit = static_cast<double>(result.limit_bytes);
  const std::size_t step = result.samples.size() / kPlotPointCountMax + 1;
  std::string lines;
  for (std::size_t at = 0; at < result.samples.size(); at += step) {
    const std::size_t end = std::min(at + step, result.samples.size());
    double directory = 0;
    double live = result.LivePayload(result.samples[at]);
    for (std::size_t i = at; i < end; ++i) {
      directory = std::max(
          directory, static_cast<double>(result.samples[i].directory_bytes));
      live = std::min(live, result.LivePayload(result.samples[i]));
    }
    lines += fmt::format(
        "{:.4f} {:.4f} {:.4f}\n",
        static_cast<double>(result.samples[at].written_bytes) / limit,
        directory / limit, live / limit);
  }
  return lines;
}

}  // namespace

std::string CapTableHead() {
  return "| workload | limit | max directory / limit | over the limit | "
         "refused "
         "| live at end | mean live | least live | sets/s | MB/s | / raw "
         "| p50 ms | p99 ms | max ms | raw max ms | hits | bars |\n"
         "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
         "\n";
}

std::string CapTableRow(const CapResult& result) {
  const CapSpeed& speed = result.speed;
  std::string row = fmt::format(
      "| {} | {} MiB | {:.3f} | {} | {} | {:.3f} | {} | {} ",
      result.workload->name, result.limit_bytes >> 20,
      result.directory_ratio_max,
      result.exact ? fmt::format("{} of {}", result.exact->over_count,
                                 result.exact->sample_count)
                   : "-",
      result.exact ? std::to_string(result.exact->refused_count) : "-",
      result.live_share_end, ShareOrDash(result.live_share_mean),
      ShareOrDash(result.live_share_min));
  const char* const bars = MissedBars(result).empty() ? "ok" : "MISSED";
  if (!result.workload->is_timed) {
    return row + fmt::format("| - | - | - | - | - | - | - | - | {} |\n", bars);
  }
  return row +
         fmt::format(
             "| {:.0f} | {:.0f} | {} | {:.3f} | {:.3f} | {:.1f} | {} | {} | {} "
             "|\n",
             speed.sets_per_second, speed.payload_bytes_per_second / 1e6,
             result.raw ? fmt::format("{:.2f}", RawRatio(result)) : "-",
             speed.latency.p50, speed.latency.p99, speed.latency.max,
             result.raw ? fmt::format("{:.1f}", result.raw->latency.max) : "-",
             speed.get_count > 0
                 ? fmt::format("{:.3f}",
                               static_cast<double>(speed.get_hit_count) /
                                   static_cast<double>(speed.get_count))
                 : "-",
             bars);
}

std::string CapJson(const std::vector<CapResult>& results) {
  Json list = Json::array();
  for (const CapResult& result : results) {
    list.push_back(ResultJson(result));
  }
  return Json{{"results", std::move(list)}}.dump(1) + "\n";
}

std::string CapPlotScript(const std::vector<CapResult>& results,
                          std::string_view path) {
  const int count = static_cast<int>(results.size());
  const int columns = std::max(1, std::min(count, kPanelsPerRow));
  const int rows = std::max(1, (count + columns - 1) / columns);
  std::string script = fmt::format(
      "set terminal svg size {},{} background '#ffffff' font 'sans,11'\n"
      "set output {}\n",
      columns * kPanelWidth, rows * kPanelHeight + 40,
      report::QuoteForGnuplot(path));
  for (int i = 0; i < count; ++i) {
    script += fmt::format("$data{} << EOD\n{}EOD\n", i,
                          PlotBlock(results[static_cast<std::size_t>(i)]));
  }
  script += fmt::format(
      "set multiplot layout {},{} title 'Directory and live payload, both over "
      "the limit, by what was written (in limits)'\n"
      "set yrange [0:1.1<*]\nset xrange [0:*]\nset grid lc rgb '#dddddd'\n"
      "set key bottom right\n",
      rows, columns);
  for (int i = 0; i < count; ++i) {
    const CapResult& result = results[static_cast<std::size_t>(i)];
    script += fmt::format(
        "set title {}\n"
        "plot $data{} using 1:2 with lines lc rgb '#c0392b' lw 1.5 title "
        "'directory', $data{} using 1:3 with lines lc rgb '#2c6fbb' lw 1.5 "
        "title 'live', 1.0 with lines lc rgb '#000000' dt 2 notitle\n",
        report::QuoteForGnuplot(fmt::format("{}, {} MiB", result.workload->name,
                                            result.limit_bytes >> 20)),
        i, i);
  }
  return script + "unset multiplot\n";
}

}  // namespace larder::bench
