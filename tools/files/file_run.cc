#include "files/file_run.h"

#include <thread>
#include <utility>

#include <fmt/format.h>

#include "commands/output.h"
#include "files/work_queue.h"

namespace larder::tools {
namespace {

/// Files travel in packs: a lock per pack instead of one per file.
constexpr std::size_t kPackFileCountMax = 32;
constexpr std::size_t kQueuePackCountMax = 64;

using FilePack = std::vector<FoundFile>;

Status Work(WorkQueue<FilePack>& queue, FileWorker& worker) {
  while (const std::optional<FilePack> pack = queue.Pop()) {
    for (const FoundFile& file : *pack) {
      LARDER_RETURN_IF_ERROR(worker.Handle(file));
    }
  }
  return worker.Finish();
}

void DealFiles(const FileRunOptions& options, WorkQueue<FilePack>& queue,
               FileProblems& problems) {
  FilePack pack;
  bool open = true;
  const auto deal = [&] {
    if (!pack.empty()) {
      open = queue.Push(std::exchange(pack, {}));
    }
    return open;
  };
  WalkCallbacks callbacks;
  callbacks.on_file = [&](FoundFile file) {
    pack.push_back(std::move(file));
    return pack.size() < kPackFileCountMax || deal();
  };
  callbacks.on_problem = [&](const Status& problem) { problems.Add(problem); };
  WalkFiles(options.paths, options.excluded, callbacks);
  if (open) {
    deal();
  }
  queue.Close();
}

}  // namespace

void FileProblems::Add(const Status& problem) {
  const std::lock_guard lock(mutex_);
  ++(problem.code() == StatusCode::kNotFound ? vanished_ : unreadable_);
  if (lines_.size() < kLineCountMax) {
    lines_.push_back(problem.message());
  }
}

std::uint64_t FileProblems::vanished() const {
  const std::lock_guard lock(mutex_);
  return vanished_;
}

std::uint64_t FileProblems::unreadable() const {
  const std::lock_guard lock(mutex_);
  return unreadable_;
}

void FileProblems::Report(const std::string& title) const {
  const std::lock_guard lock(mutex_);
  for (const std::string& line : lines_) {
    Note(fmt::format("{}: left out {}", title, line));
  }
  if (const std::uint64_t count = vanished_ + unreadable_;
      count > lines_.size()) {
    Note(fmt::format("{}: left out {} more", title, count - lines_.size()));
  }
}

Status RunOnFiles(const FileRunOptions& options,
                  const std::vector<FileWorker*>& workers,
                  FileProblems& problems) {
  WorkQueue<FilePack> queue(kQueuePackCountMax);
  std::mutex mutex;  // Guards `failure`.
  Status failure;
  {
    std::vector<std::jthread> threads;
    threads.reserve(workers.size());
    for (FileWorker* worker : workers) {
      threads.emplace_back([&, worker] {
        Status status = Work(queue, *worker);
        if (status.ok()) {
          return;
        }
        queue.Close();
        const std::lock_guard lock(mutex);
        if (failure.ok()) {
          failure = std::move(status);
        }
      });
    }
    DealFiles(options, queue, problems);
  }
  return failure;
}

}  // namespace larder::tools
