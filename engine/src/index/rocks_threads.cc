#include "index/rocks_threads.h"

#include <memory>
#include <system_error>
#include <utility>

#include <rocksdb/threadpool.h>

#include "base/open_file.h"
#include "index/rocks.h"
#include "os/start_thread.h"

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
    PoolOf(priority).SubmitJob([function, argument] {
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
    return PoolOf(priority).GetQueueLen();
  }
  void SetBackgroundThreads(int /*count*/, Priority /*priority*/) override {}
  // Of BOTTOM none, or compactions are handed from one queue to another.
  int GetBackgroundThreads(Priority priority) override {
    return priority == BOTTOM ? 0 : 1;
  }
  void IncBackgroundThreadsIfNeeded(int /*count*/,
                                    Priority /*priority*/) override {}
  void LowerThreadPoolIOPriority(Priority /*priority*/) override {}
  void LowerThreadPoolCPUPriority(Priority /*priority*/) override {}
  rocksdb::Status LowerThreadPoolCPUPriority(
      Priority /*priority*/, rocksdb::CpuPriority /*to*/) override {
    return rocksdb::Status::OK();
  }

 private:
  // A pool whose threads are not joined ends the process.
  struct EndPool {
    void operator()(rocksdb::ThreadPool* pool) const {
      pool->JoinAllThreads();
      delete pool;
    }
  };
  using Pool = std::unique_ptr<rocksdb::ThreadPool, EndPool>;

  // RocksDB gives its threads names by way of /proc.
  static Pool NewPool() {
    const SignalsBlocked blocked;
    const StandardDescriptorsTaken taken;
    AskForThread();
    return Pool(rocksdb::NewThreadPool(1));
  }
  [[nodiscard]] rocksdb::ThreadPool& PoolOf(Priority priority) const {
    return priority == HIGH ? *flushes_ : *compactions_;
  }

  const Pool flushes_;
  const Pool compactions_;
};

}  // namespace

Result<std::unique_ptr<rocksdb::Env>> NewOwnThreadsEnv(
    rocksdb::Env* base) noexcept {
  try {
    return std::make_unique<OwnThreadsEnv>(base);
  } catch (const std::system_error& e) {
    return Fail(NoThread(e));
  }
}

}  // namespace larder
