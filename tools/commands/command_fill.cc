// larder fill: cache every regular file below some paths, then read it all
// back and compare.

#include <algorithm>
#include <chrono>
#include <ctime>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "commands/cache_access.h"
#include "commands/command_line.h"
#include "commands/number_option.h"
#include "commands/option_types.h"
#include "commands/output.h"
#include "commands/progress.h"
#include "files/file_run.h"
#include "files/fill_store.h"
#include "files/fill_verify.h"

namespace larder::tools {
namespace {

constexpr unsigned kJobCountMax = 64;
/// Unfinished values of all threads may take a fourth of the limit.
constexpr std::uint64_t kStreamedShareInverse = 4;

struct FillOptions {
  std::string directory;
  PathsArgument paths;
  unsigned jobs = std::clamp(std::thread::hardware_concurrency(), 1U, 8U);
  bool verify = false;
  SettingList settings;
};

// All that the table shows.
struct Report {
  std::uint64_t found_files = 0;
  std::uint64_t found_bytes = 0;
  BatchCounts stored;
  std::uint64_t vanished = 0;
  std::uint64_t unreadable = 0;
  std::chrono::duration<double> fill_time{0};
  std::uint64_t evictions = 0;
  bool verify = false;
  VerifyCounts verified;
  std::chrono::duration<double> verify_time{0};
  unsigned jobs = 1;
  EngineStats stats;
};

double Rate(std::uint64_t bytes, std::chrono::duration<double> time) {
  return time.count() > 0 ? static_cast<double>(bytes) / 1e6 / time.count()
                          : 0.0;
}

// Of the cache alone: the threads read side by side.
double ReadRate(const Report& report) {
  return Rate(report.verified.hit_bytes,
              report.verified.read_time / report.jobs);
}

double HitRatio(const VerifyCounts& counts) {
  const std::uint64_t reads = counts.hits + counts.misses;
  return reads == 0
             ? 0.0
             : static_cast<double>(counts.hits) / static_cast<double>(reads);
}

Json FillReportJson(const Report& report) {
  Json json = {
      {"files", report.stored.stored},
      {"bytes", report.stored.stored_bytes},
      {"seconds_in", report.fill_time.count()},
      {"mb_per_second_in", Rate(report.stored.stored_bytes, report.fill_time)},
      {"too_large", report.stored.too_large},
      {"too_large_bytes", report.stored.too_large_bytes},
      {"no_room", report.stored.no_room},
      {"no_room_bytes", report.stored.no_room_bytes},
      {"vanished", report.vanished},
      {"unreadable", report.unreadable},
      {"evictions", report.evictions},
      {"count", report.stats.count},
      {"live_bytes", report.stats.live_bytes},
      {"disk_bytes", report.stats.disk_bytes},
      {"size_limit", report.stats.size_limit},
      {"policy", report.stats.policy},
  };
  if (report.verify) {
    json["verify"] = {
        {"hits", report.verified.hits},
        {"misses", report.verified.misses},
        {"hit_ratio", HitRatio(report.verified)},
        {"bytes", report.verified.hit_bytes},
        {"seconds", report.verify_time.count()},
        {"mb_per_second_out", ReadRate(report)},
        {"verified", report.verified.verified},
        {"changed", report.verified.changed},
        {"mismatched", report.verified.mismatched},
    };
  }
  return json;
}

std::string FillReportText(const Report& report) {
  std::string text;
  const auto line = [&text](std::string_view name, const std::string& value) {
    text += fmt::format("{:<16} {}\n", name, value);
  };
  line("files", fmt::format("{}", report.stored.stored));
  line("bytes", fmt::format("{} ({})", report.stored.stored_bytes,
                            FormatRoughBytes(report.stored.stored_bytes)));
  line("in", fmt::format("{:.0f} MB/s, read from the files and stored in "
                         "{:.1f} s by {} threads",
                         Rate(report.stored.stored_bytes, report.fill_time),
                         report.fill_time.count(), report.jobs));
  line("left out",
       fmt::format("{} too large, {} without room, {} vanished, {} unreadable",
                   report.stored.too_large, report.stored.no_room,
                   report.vanished, report.unreadable));
  if (report.verify) {
    const VerifyCounts& counts = report.verified;
    line("out",
         fmt::format("{:.0f} MB/s, {} read from the cache", ReadRate(report),
                     FormatRoughBytes(counts.hit_bytes)));
    line("hit ratio",
         fmt::format("{:.3f} ({} hits, {} misses)", HitRatio(counts),
                     counts.hits, counts.misses));
    line("verified",
         fmt::format("{} equal, {} changed meanwhile, {} WRONG",
                     counts.verified, counts.changed, counts.mismatched));
  }
  line("items", fmt::format("{}", report.stats.count));
  line("live bytes", FormatRoughBytes(report.stats.live_bytes));
  line(
      "directory size",
      fmt::format("{} of {} allowed", FormatRoughBytes(report.stats.disk_bytes),
                  FormatRoughBytes(report.stats.size_limit)));
  line("items evicted",
       fmt::format("{} ({})", report.evictions, report.stats.policy));
  return text;
}

// How much there is, for the progress bar. Its problems come up again.
void CountFiles(const FileRunOptions& files, Report& report) {
  WalkCallbacks callbacks;
  callbacks.on_file = [&](const FoundFile& file) {
    ++report.found_files;
    report.found_bytes += file.size_bytes;
    return true;
  };
  callbacks.on_problem = [](const Status&) {};
  WalkFiles(files.paths, files.excluded, callbacks);
}

// Runs one worker per job, made by `make_worker`, and leaves them to `collect`.
template <typename Worker, typename MakeWorker>
Result<std::vector<std::unique_ptr<Worker>>> RunWorkers(
    const FileRunOptions& files, unsigned jobs, FileProblems& problems,
    const MakeWorker& make_worker) {
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<FileWorker*> pointers;
  for (unsigned i = 0; i < jobs; ++i) {
    workers.push_back(make_worker());
    pointers.push_back(workers.back().get());
  }
  LARDER_FAIL_IF_ERROR(RunOnFiles(files, pointers, problems));
  return workers;
}

Status Fill(Cache& cache, const FileRunOptions& files, Report& report) {
  FileProblems problems;
  Progress progress("fill", report.found_bytes);
  FillShared shared{
      .cache = cache,
      .problems = problems,
      .progress = progress,
      .alone_size_bytes_min =
          report.stats.size_limit / (kStreamedShareInverse * report.jobs)};
  const auto begin = std::chrono::steady_clock::now();
  const auto workers = RunWorkers<FillWorker>(
      files, report.jobs, problems,
      [&] { return std::make_unique<FillWorker>(shared); });
  progress.Finish();
  problems.Report("fill");
  if (!workers) {
    return workers.error();
  }
  report.fill_time = std::chrono::steady_clock::now() - begin;
  for (const auto& worker : *workers) {
    report.stored += worker->counts();
  }
  report.vanished = problems.vanished();
  report.unreadable = problems.unreadable();
  return Status::Ok();
}

Status Verify(Cache& cache, const FileRunOptions& files,
              std::timespec filled_since, Report& report) {
  FileProblems problems;
  Progress progress("verify", report.found_bytes);
  const auto begin = std::chrono::steady_clock::now();
  const auto workers =
      RunWorkers<VerifyWorker>(files, report.jobs, problems, [&] {
        return std::make_unique<VerifyWorker>(cache, filled_since, problems,
                                              progress);
      });
  progress.Finish();
  if (!workers) {
    return workers.error();
  }
  report.verify_time = std::chrono::steady_clock::now() - begin;
  for (const auto& worker : *workers) {
    report.verified += worker->counts();
  }
  return Status::Ok();
}

Result<Report> FillAndVerify(Cache& cache, const FillOptions& options,
                             const std::vector<std::string>& paths) {
  Report report;
  report.jobs = options.jobs;
  report.verify = options.verify;
  const FileRunOptions files = {.paths = paths,
                                .excluded = cache.directory().string()};
  // The clock that stamps files is coarse: up to a tick behind.
  std::timespec filled_since{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &filled_since);
  CountFiles(files, report);
  const auto before = cache.Stats();
  if (!before) {
    return Fail(before.error());
  }
  report.stats = *before;
  LARDER_FAIL_IF_ERROR(Fill(cache, files, report));
  const auto after = cache.Stats();
  if (!after) {
    return Fail(after.error());
  }
  report.stats = *after;
  report.evictions = after->evictions - before->evictions;
  if (options.verify) {
    LARDER_FAIL_IF_ERROR(Verify(cache, files, filled_since, report));
  }
  return report;
}

// A file that vanished is no failure; no path that is there at all is one.
Status RequireOnePath(const std::vector<std::string>& paths) {
  Status problem;
  WalkCallbacks callbacks;
  callbacks.on_file = [](const FoundFile&) { return false; };
  callbacks.on_problem = [&](const Status& status) { problem = status; };
  for (const std::string& path : paths) {
    if (WalkFiles({path}, {}, callbacks) > 0) {
      return Status::Ok();
    }
  }
  return problem;
}

int RunFill(const FillOptions& options, const OutputFormat& format) {
  const auto paths = options.paths.paths();
  if (!paths) {
    return ReportUsage(paths.error().message(), "see 'larder fill --help'");
  }
  if (const Status status = RequireOnePath(*paths); !status.ok()) {
    return ReportError(
        Status(status.code(), "nothing to read, " + status.message()), "fill",
        "check the paths to read");
  }
  const auto fill = [&](Cache& cache) -> Result<int> {
    const auto report = FillAndVerify(cache, options, *paths);
    if (!report) {
      return Fail(report.error());
    }
    if (format.json) {
      PrintJson(FillReportJson(*report));
    } else {
      Print(FillReportText(*report));
    }
    if (report->verified.mismatched > 0) {
      return Fail(Status::Corruption(fmt::format(
          "{} values differ from their files", report->verified.mismatched)));
    }
    LARDER_FAIL_IF_ERROR(CheckRoom(report->stored));
    return kExitOk;
  };
  return CreateCache(options.directory, options.settings, format, fill);
}

}  // namespace

void AddFillCommand(CommandLine& line) {
  auto options = std::make_shared<FillOptions>();
  CLI::App* command =
      line.AddCommand("fill", "Cache every regular file below some paths",
                      [options](const OutputFormat& format) {
                        return RunFill(*options, format);
                      });
  AddDirectoryArgument(command, options->directory);
  options->paths.AddTo(command);
  AddNumberOption<unsigned>(command, "-j,--jobs", options->jobs,
                            {.min = 1, .max = kJobCountMax}, "Threads");
  command->add_flag("--verify", options->verify,
                    "Read everything back and compare it with the files");
  AddCreateOptions(command, options->settings);
}

}  // namespace larder::tools
