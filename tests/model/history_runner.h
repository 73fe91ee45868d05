#ifndef LARDER_TESTS_MODEL_HISTORY_RUNNER_H_
#define LARDER_TESTS_MODEL_HISTORY_RUNNER_H_

#include <optional>
#include <string>
#include <vector>

#include "engine_places.h"
#include "model/history.h"

namespace larder::testing {

struct RunnerOptions {
  /// Settings of the engine under test.
  std::vector<std::pair<std::string, std::string>> settings;
  /// The engine under test may evict: what it lost, the model then forgets
  /// too. What it still has must be what the model has.
  bool with_eviction = false;
};

/// Runs `history` on a fresh engine of `factory` and on the model, and compares
/// every answer, and at the end everything there is. What went wrong first, or
/// nullopt.
[[nodiscard]] std::optional<std::string> RunHistory(
    const std::vector<Op>& history, const EngineFactory& factory,
    const RunnerOptions& options);

/// A smaller part of `history` that fails too (with at most `run_count_max`
/// tries), and how.
struct SmallFailure {
  std::vector<Op> history;
  std::string problem;
};
[[nodiscard]] SmallFailure Shrink(std::vector<Op> history, std::string problem,
                                  const EngineFactory& factory,
                                  const RunnerOptions& options,
                                  int run_count_max = 400);

}  // namespace larder::testing

#endif  // LARDER_TESTS_MODEL_HISTORY_RUNNER_H_
