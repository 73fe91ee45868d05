#ifndef LARDER_BENCH_CAP_CAP_REPORT_H_
#define LARDER_BENCH_CAP_CAP_REPORT_H_

#include <string>
#include <string_view>
#include <vector>

#include "cap/cap_run.h"

namespace larder::bench {

/// The head of the table, as Markdown.
std::string CapTableHead();
/// One line of it.
std::string CapTableRow(const CapResult& result);

/// {"results": [...]}: every figure of every result, its samples and its bars.
std::string CapJson(const std::vector<CapResult>& results);

/// A gnuplot script that draws `path` (SVG): per result, directory and live
/// payload over what was written, all relative to the limit.
std::string CapPlotScript(const std::vector<CapResult>& results,
                          std::string_view path);

}  // namespace larder::bench

#endif  // LARDER_BENCH_CAP_CAP_REPORT_H_
