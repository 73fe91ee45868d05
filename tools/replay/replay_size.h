#ifndef LARDER_TOOLS_REPLAY_REPLAY_SIZE_H_
#define LARDER_TOOLS_REPLAY_REPLAY_SIZE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "larder/engine/status.h"

#include "trace.h"

namespace larder::replay {

/// A cache size as the user gave it.
struct ReplaySize {
  std::string text;
  /// Of the footprint, 0..1; 0 = absolute.
  double fraction = 0;
  /// Bytes or items, if `fraction` is 0.
  std::uint64_t amount = 0;
};

/// "64MiB", "5000", "5%". Errors: kParseError, kInvalidArgument (0; more than
/// 100 %).
[[nodiscard]] Result<ReplaySize> ParseReplaySize(std::string_view text);

/// The capacity that `size` means for a trace. Errors: kInvalidArgument (it is
/// less than 1: says the minimum for this trace).
[[nodiscard]] Result<std::uint64_t> CapacityOf(const ReplaySize& size,
                                               const Trace& trace,
                                               bool ignore_size);

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_REPLAY_SIZE_H_
