#include "rocks_threads.h"

#include <utility>

#include <rocksdb/threadpool.h>

#include "open_file.h"
#include "rocks.h"
#include "signal_mask.h"

namespace larder {
namespace {

class OwnThreadsEnv final : public rocksdb::EnvWrapper {
 public:
  explicit OwnThreadsEnv(rocksdb::Env* base)
      : EnvWrapper(base), flushes_(NewPool()), compactions_(NewPool()) {}
  ~OwnThreadsEnv() override {
    flushes_->WaitForJobsAndJoinAllThreads();
    compactions_->WaitForJobsAndJoinAllThreads();
  }
  [[nodiscard]] const char* Name() const override { return "larder.threads"; }

  void Schedule(void (*function)(void*), void* argument, Priority priority,
                void* /*tag*/, void (* /*unschedule*/)(void*)) override {
    const StandardDescriptorsTaken taken;  // It may start a thread.
    Pool(priority).SubmitJob([function, argument] {
      const UncountedScope uncounted;
      function(argument);
    });
  }
  // Whatever was submitted runs: RocksDB's jobs end at once when it closes.
  int UnSchedule(void* /*tag*/, Priority /*priority*/) override { return 0; }
  void StartThread(void (*function)(void*), void* argument) override {
    const StandardDescriptorsTaken taken;
    flushes_->SubmitJob([function, argument] { function(argument); });
  }
  void WaitForJoin() override {}
  [[nodiscard]] unsigned int GetThreadPoolQueueLen(
      Priority priority) const override {
    return Pool(priority).GetQueueLen();
  }
  void SetBackgroundThreads(int /*count*/, Priority /*priority*/) override {}
  int GetBackgroundThreads(Priority /*priority*/) override { return 1; }
  void IncBackgroundThreadsIfNeeded(int /*count*/,
                                    Priority /*priority*/) override {}
  void LowerThreadPoolIOPriority(Priority /*priority*/) override {}
  void LowerThreadPoolCPUPriority(Priority /*priority*/) override {}
  rocksdb::Status LowerThreadPoolCPUPriority(
      Priority /*priority*/, rocksdb::CpuPriority /*to*/) override {
    return rocksdb::Status::OK();
  }

 private:
  // RocksDB gives its threads names by way of /proc.
  static rocksdb::ThreadPool* NewPool() {
    const SignalsBlocked blocked;
    const StandardDescriptorsTaken taken;
    return rocksdb::NewThreadPool(1);
  }
  [[nodiscard]] rocksdb::ThreadPool& Pool(Priority priority) const {
    return priority == HIGH ? *flushes_ : *compactions_;
  }

  const std::unique_ptr<rocksdb::ThreadPool> flushes_;
  const std::unique_ptr<rocksdb::ThreadPool> compactions_;
};

}  // namespace

std::unique_ptr<rocksdb::Env> NewOwnThreadsEnv(rocksdb::Env* base) {
  return std::make_unique<OwnThreadsEnv>(base);
}

}  // namespace larder
