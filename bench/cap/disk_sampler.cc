#include "cap/disk_sampler.h"

#include <array>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include <fts.h>
#include <sys/stat.h>

namespace larder::bench {

namespace {

constexpr std::uint64_t kStatBlockBytes = 512;

struct CloseFts {
  void operator()(FTS* fts) const noexcept { ::fts_close(fts); }
};

}  // namespace

std::uint64_t DirectoryBytes(const std::filesystem::path& directory) {
  std::string path = directory.string();
  std::array<char*, 2> roots{path.data(), nullptr};
  const std::unique_ptr<FTS, CloseFts> fts(
      ::fts_open(roots.data(), FTS_PHYSICAL | FTS_NOCHDIR, nullptr));
  if (fts == nullptr) {
    return 0;
  }
  std::uint64_t bytes = 0;
  std::set<ino_t> linked;  // Files with several names count once.
  while (FTSENT* entry = ::fts_read(fts.get())) {
    // FTS_D: a directory on the way down. FTS_DP is the same one on the way
    // up; FTS_NS and FTS_DNR have gone since they were listed.
    if (entry->fts_info != FTS_D && entry->fts_info != FTS_F &&
        entry->fts_info != FTS_SL && entry->fts_info != FTS_DEFAULT) {
      continue;
    }
    const struct stat& info = *entry->fts_statp;
    if (entry->fts_info != FTS_D && info.st_nlink > 1 &&
        !linked.insert(info.st_ino).second) {
      continue;
    }
    bytes += static_cast<std::uint64_t>(info.st_blocks) * kStatBlockBytes;
  }
  return bytes;
}

DiskSampler::DiskSampler(std::filesystem::path directory, KeyValueStore* store,
                         std::chrono::microseconds period)
    : directory_(std::move(directory)),
      store_(store),
      period_(period),
      begin_(std::chrono::steady_clock::now()),
      thread_([this] { Run(); }) {}

DiskSampler::~DiskSampler() {
  if (thread_.joinable()) {
    Stop();
  }
}

std::vector<DiskSample> DiskSampler::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stop_changed_.notify_all();
  thread_.join();
  TakeSample();
  return std::move(samples_);
}

void DiskSampler::Run() {
  auto next = begin_;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    lock.unlock();
    TakeSample();
    lock.lock();
    next += period_;
    stop_changed_.wait_until(lock, next, [this] { return stop_; });
  }
}

void DiskSampler::TakeSample() {
  DiskSample sample;
  const std::chrono::duration<double> since =
      std::chrono::steady_clock::now() - begin_;
  sample.seconds = since.count();
  sample.written_bytes = written_bytes_.load(std::memory_order_relaxed);
  sample.directory_bytes = DirectoryBytes(directory_);
  if (store_ != nullptr) {
    if (const auto live = store_->Live()) {
      sample.live = *live;
    }
  }
  samples_.push_back(sample);
}

}  // namespace larder::bench
