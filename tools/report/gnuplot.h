#ifndef LARDER_TOOLS_REPORT_GNUPLOT_H_
#define LARDER_TOOLS_REPORT_GNUPLOT_H_

#include <string>
#include <string_view>

#include "larder/engine/status.h"

namespace larder::report {

/// Has gnuplot execute `script`, which contains its data.
/// Errors: kNotFound (gnuplot is not installed), kIoError (it failed; what it
///         said is on standard error).
Status RunGnuplot(std::string_view script);

/// `text` as a gnuplot string that is not interpreted.
std::string QuoteForGnuplot(std::string_view text);

}  // namespace larder::report

#endif  // LARDER_TOOLS_REPORT_GNUPLOT_H_
