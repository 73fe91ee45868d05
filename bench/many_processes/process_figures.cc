#include "many_processes/process_figures.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace larder::bench {
namespace {

constexpr std::size_t kBarWidth = 48;

// Three digits are what a run is worth.
std::string Rounded(double value) {
  if (value >= 1000) return fmt::format("{:.0f}", value);
  return fmt::format("{:.3g}", value);
}

std::string Wanted(const Figure& figure) {
  const char* const times = figure.peer.empty() ? "" : "x";
  if (figure.at_least) {
    return fmt::format(">= {}{}", Rounded(*figure.at_least), times);
  }
  if (figure.at_most) {
    return fmt::format("<= {}{}", Rounded(*figure.at_most), times);
  }
  return "";
}

std::string FigureLine(const Figure& figure) {
  const std::string value = Rounded(figure.value) + " " + figure.unit;
  const std::string peer =
      figure.peer.empty()
          ? ""
          : fmt::format("{}: {}", figure.peer, Rounded(figure.peer_value));
  const std::string ratio =
      figure.peer.empty() ? "" : Rounded(figure.compared()) + "x";
  const std::string wanted = Wanted(figure);
  return fmt::format("{:<44} {:>16} {:>24} {:>8} {:>10} {}\n", figure.name,
                     value, peer, ratio, wanted,
                     wanted.empty() ? ""
                     : figure.met() ? "yes"
                                    : "NO");
}

std::string Bars(const BarGroup& group) {
  double largest = 0;
  for (const auto& [name, value] : group.bars) {
    largest = std::max(largest, value);
  }
  std::string text = "\n" + group.title + "\n";
  for (const auto& [name, value] : group.bars) {
    const auto width = static_cast<std::size_t>(
        largest > 0 ? value / largest * static_cast<double>(kBarWidth) + 0.5
                    : 0);
    text += fmt::format("{:>12} {:<{}} {}\n", name, std::string(width, '#'),
                        kBarWidth, Rounded(value));
  }
  return text;
}

}  // namespace

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::string FormatReport(const Report& report) {
  std::string text = fmt::format("{:<44} {:>16} {:>24} {:>8} {:>10} {}\n", "",
                                 "larder", "beside", "ratio", "wanted", "met");
  for (const Figure& figure : report.figures) text += FigureLine(figure);
  for (const BarGroup& group : report.bars) text += Bars(group);
  for (const std::string& line : report.left_out) {
    text += "left out: " + line + "\n";
  }
  return text;
}

std::string ReportJson(const Report& report) {
  using Json = nlohmann::ordered_json;
  Json figures = Json::array();
  for (const Figure& figure : report.figures) {
    Json line = {
        {"name", figure.name}, {"value", figure.value}, {"unit", figure.unit}};
    if (!figure.peer.empty()) {
      line["peer"] = figure.peer;
      line["peer_value"] = figure.peer_value;
      line["ratio"] = figure.compared();
    }
    if (figure.at_least) line["at_least"] = *figure.at_least;
    if (figure.at_most) line["at_most"] = *figure.at_most;
    line["met"] = figure.met();
    figures.push_back(std::move(line));
  }
  return Json({{"figures", figures}, {"left_out", report.left_out}}).dump(1) +
         "\n";
}

}  // namespace larder::bench
