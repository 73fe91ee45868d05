#ifndef LARDER_BENCH_OPERATIONS_BENCHMARKS_H_
#define LARDER_BENCH_OPERATIONS_BENCHMARKS_H_

#include <span>
#include <string>

#include <benchmark/benchmark.h>

#include "larder/engine/status.h"

#include "operations/fixtures.h"
#include "stores/store_adapter.h"

namespace larder::bench {

/// Ends a benchmark that cannot be run.
inline void Skip(benchmark::State& state, const Status& status) {
  state.SkipWithError(status.ToString().c_str());
}

/// Registers BM_{Set,Get,Delete,MultiGet,SetMany,Incr}/<engine>/<size>.
/// `fixtures` outlives the run.
void RegisterOperations(Fixtures& fixtures,
                        std::span<const EngineKind> engines);

/// Registers BM_{Open,Recover}/<engine>/<items>. `program` is this program:
/// Recover starts it again as the writer that is killed.
void RegisterOpening(Fixtures& fixtures, std::span<const EngineKind> engines,
                     const std::string& program);

/// The flag that makes larder_bench such a writer, before its arguments
/// (engine, directory, items, generation, seed).
inline constexpr const char* kWriterFlag = "--run-writer-until-killed";

/// What it then does; returns only if something fails.
int RunWriterUntilKilled(std::span<char* const> arguments);

}  // namespace larder::bench

#endif  // LARDER_BENCH_OPERATIONS_BENCHMARKS_H_
