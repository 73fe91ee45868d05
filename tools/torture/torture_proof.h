#ifndef LARDER_TOOLS_TORTURE_TORTURE_PROOF_H_
#define LARDER_TOOLS_TORTURE_TORTURE_PROOF_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "larder/cache/cache.h"

#include "torture/torture_model.h"
#include "torture/torture_run.h"

namespace larder::tools {

/// What the journals of a run and the cache say together.
struct TortureProof {
  std::uint64_t acknowledged = 0;  ///< Writes.
  std::uint64_t reads = 0;
  std::uint64_t in_doubt = 0;  ///< Writes: their writer died in them, mostly.
  std::map<std::string, std::uint64_t> failed;  ///< Calls, by their code.
  /// Of those: with a code that no kill and no stop explains.
  std::uint64_t failed_unexpectedly = 0;
  TortureFaults faults;
  std::uint64_t evictions = 0;  ///< Since the cache was made; must be 0.
  CheckReport check;
  /// From the kill of a holder to the end of the first write that was begun
  /// after it; sorted.
  std::vector<double> takeover_ms;
  std::vector<std::string> problems;
  [[nodiscard]] bool ok() const noexcept;
};

/// Compares all journals with the cache, which nobody else has open.
/// Errors: those of the cache, kIoError, kCorruption (a journal).
Result<TortureProof> ProveTorture(const TortureOptions& options,
                                  const TortureEvents& events, Cache& cache);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_TORTURE_TORTURE_PROOF_H_
