#ifndef LARDER_TOOLS_REPORT_BENCH_TEXT_H_
#define LARDER_TOOLS_REPORT_BENCH_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "bench_results.h"

namespace larder::report {

/// "100 B", "64 KiB", "1 MiB".
std::string FormatSize(std::uint64_t bytes);
/// "1.23 us", "45.6 us", "1.23 ms".
std::string FormatSeconds(double seconds);

/// The table of ratios with the bars below it, as Markdown.
std::string RenderMarkdown(const BenchResults& results);

/// A gnuplot script that draws `path` (SVG): one panel per operation, time per
/// item over size of the values, one line per engine.
std::string RenderPlotScript(const BenchResults& results,
                             std::string_view path);

/// `document` with what stands between the lines `<!-- bench -->` and
/// `<!-- /bench -->` replaced by `section`.
/// Errors: kNotFound (no such lines, or in the wrong order).
Result<std::string> ReplaceSection(std::string_view document,
                                   std::string_view section);

}  // namespace larder::report

#endif  // LARDER_TOOLS_REPORT_BENCH_TEXT_H_
