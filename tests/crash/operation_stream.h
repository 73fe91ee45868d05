#ifndef LARDER_TESTS_CRASH_OPERATION_STREAM_H_
#define LARDER_TESTS_CRASH_OPERATION_STREAM_H_

#include <cstdint>
#include <string>

#include "larder/cache/cache.h"

#include "test_values.h"

namespace larder::testing {

/// What the threads of a writer do; the same for writer and checker.
struct WriterPlan {
  std::uint64_t seed = 1;
  int thread_count = 1;
  /// Clear and Expire too; only with one thread, as they concern all keys.
  bool whole_cache = false;
  /// Values add up to several times a limit of 16 MiB, and nothing depends on
  /// what was evicted.
  bool with_eviction = false;
};

/// The endless list of operations of one thread, made by a seed: applied by
/// the writer to a cache that is killed, and by the checker to a model. Each
/// operation is atomic: after a kill it has happened or it has not.
///
/// Threads: thread-compatible.
class OperationStream {
 public:
  OperationStream(const WriterPlan& plan, int thread);

  /// Applies the next operation to `cache`. What is drawn does not depend on
  /// what the cache answers.
  [[nodiscard]] Status ApplyNext(Cache& cache);

  /// All keys of a thread begin with this.
  [[nodiscard]] static std::string PrefixOf(int thread);

 private:
  Status ApplySet(Cache& cache);
  Status ApplyAdd(Cache& cache);
  Status ApplyCompareAndSet(Cache& cache);
  Status ApplySetMany(Cache& cache);
  Status ApplyBatch(Cache& cache);
  Status ApplyStream(Cache& cache);
  Status ApplyDeletes(Cache& cache);
  Status ApplyTouch(Cache& cache);
  Status ApplyWholeCache(Cache& cache);

  std::string DrawKey();
  std::string DrawValue();
  std::string DrawCounter();
  SetOptions DrawOptions();

  const WriterPlan plan_;
  const std::string prefix_;
  const std::string tags_[3];
  Random random_;
};

}  // namespace larder::testing

#endif  // LARDER_TESTS_CRASH_OPERATION_STREAM_H_
