#ifndef LARDER_TOOLS_COMMANDS_ATTACHED_RATES_H_
#define LARDER_TOOLS_COMMANDS_ATTACHED_RATES_H_

#include <optional>

#include "larder/engine/attached.h"

namespace larder::tools {

/// What happened between two views of a cache directory, per second.
struct AttachedRates {
  /// Gets, sets and deletes of all processes, from the store's own figures;
  /// nullopt until it has published them twice.
  std::optional<double> operations_per_second;
  /// Of all gets, those that found something; nullopt without gets.
  std::optional<double> hit_ratio;
  /// Of all gets, those that the hot tier answered, "absent" included.
  std::optional<double> hot_ratio;
  double hot_reads_per_second = 0;  ///< Answered without a message.
  double requests_per_second = 0;   ///< Messages to the holder.
  /// Time of a request in the holder; nullopt without requests. From buckets
  /// of powers of two.
  std::optional<double> service_p50_us;
  std::optional<double> service_p99_us;
};

/// Follows one cache directory from view to view.
///
/// Threads: thread-compatible.
class AttachedRateMeter {
 public:
  /// The rates since the last call; `seconds` is the time since then. What the
  /// store has not published again keeps its last rate.
  AttachedRates Update(const AttachedFigures& now, double seconds);

 private:
  void UpdateFromStore(const AttachedFigures& now, AttachedRates& rates);

  std::optional<AttachedFigures> last_;       // The view before.
  std::optional<AttachedFigures> published_;  // When the store published last.
  AttachedRates store_rates_;                 // From these.
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_COMMANDS_ATTACHED_RATES_H_
