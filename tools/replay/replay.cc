#include "replay.h"

#include <algorithm>
#include <optional>
#include <ostream>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "commands/interruption.h"
#include "engine_run.h"
#include "replay_advice.h"
#include "replay_progress.h"
#include "replay_report.h"
#include "replay_run.h"
#include "replay_size.h"
#include "run_pool.h"

// The order of things: everything that can be wrong with the request itself
// is found before a trace is read (exit code 2); traces are then loaded one
// after another, and the runs over one share it and the machine's threads.

namespace larder::replay {
namespace {

constexpr std::string_view kBound = "bound";

/// What remains of the options once they are understood.
struct Plan {
  std::vector<std::string> policies;
  std::vector<ReplaySize> sizes;
};

std::vector<std::string> KnownPolicies(ReplayVia via) {
  if (via == ReplayVia::kEngine) return PolicyNames();
  std::vector<std::string> names = SimulatorPolicyNames();
  names.emplace_back(kBound);
  return names;
}

void AddOnce(std::vector<std::string>& names, const std::string& name) {
  if (std::ranges::find(names, name) == names.end()) names.push_back(name);
}

Result<std::vector<std::string>> ExpandPolicies(const ReplayOptions& options) {
  const std::vector<std::string> known = KnownPolicies(options.via);
  const std::vector<std::string> own = PolicyNames();
  std::vector<std::string> names;
  for (const std::string& name : options.policies) {
    if (name == "all") {
      for (const std::string& each : own) AddOnce(names, each);
    } else if (name == "baselines" && options.via == ReplayVia::kSimulator) {
      for (const std::string& each : known) {
        if (std::ranges::find(own, each) == own.end()) AddOnce(names, each);
      }
    } else {
      LARDER_FAIL_IF_ERROR(CheckPolicyName(name, known));
      AddOnce(names, name);
    }
  }
  if (!options.plot_path.empty() && options.via == ReplayVia::kSimulator) {
    AddOnce(names, std::string(kBound));
  }
  return names;
}

Result<Plan> MakePlan(const ReplayOptions& options) {
  const auto usage = [](std::string text) {
    return Fail(Status::InvalidArgument(std::move(text)));
  };
  if (options.traces.empty()) return usage("expected at least one trace");
  if (options.policies.empty()) return usage("expected at least one policy");
  if (options.sizes.empty()) return usage("expected at least one size");
  if (options.bucket_count == 0) return usage("expected at least one bucket");
  if (!options.load.columns.empty() &&
      options.load.format != TraceFormat::kDetect &&
      options.load.format != TraceFormat::kCsv) {
    return usage("--columns: not with --format " +
                 std::string(TraceFormatName(options.load.format)));
  }
  if (!(options.tolerance >= 0)) return usage("tolerance: expected 0 or more");
  Result<std::vector<std::string>> policies = ExpandPolicies(options);
  if (!policies) return Fail(std::move(policies.error()));
  Plan plan{.policies = std::move(*policies), .sizes = {}};
  for (const std::string& text : options.sizes) {
    Result<ReplaySize> size = ParseReplaySize(text);
    if (!size) return Fail(std::move(size.error()));
    plan.sizes.push_back(std::move(*size));
  }
  if (!options.plot_path.empty() || !options.plot_time_path.empty()) {
    LARDER_FAIL_IF_ERROR(CheckGnuplot());
  }
  return plan;
}

bool NeedsFuture(const std::string& policy) {
  return policy == kBound || policy.starts_with("belady");
}

/// All runs over one trace.
class TraceRuns {
 public:
  TraceRuns(const ReplayOptions& options, const Plan& plan, Trace trace)
      : options_(options), plan_(plan), trace_(std::move(trace)) {}

  /// Lists the runs. Errors: kInvalidArgument (a size is too small).
  Status Prepare() {
    bool needs_future = false;
    for (const std::string& policy : plan_.policies) {
      for (const Objective objective : ObjectivesOf(policy)) {
        for (const ReplaySize& size : plan_.sizes) {
          const Result<std::uint64_t> capacity =
              CapacityOf(size, trace_, options_.ignore_size);
          if (!capacity) return capacity.error();
          rows_.push_back(
              {.trace = trace_.name,
               .policy = policy,
               .objective = objective,
               .via = options_.via,
               .size_text = size.text,
               .capacity = *capacity,
               .counts_bytes = trace_.has_sizes && !options_.ignore_size,
               .run = {}});
        }
      }
      needs_future |= NeedsFuture(policy);
    }
    if (needs_future) next_accesses_ = NextAccesses(trace_);
    return Status::Ok();
  }

  /// The error of the first run that failed, by the order of rows().
  Status Run(std::ostream& err) {
    std::vector<Status> outcomes(rows_.size());
    std::atomic<bool> cancelled{false};
    const bool shown = options_.progress == ShowProgress::kWhenTerminal &&
                       ::isatty(STDERR_FILENO) == 1;
    ReplayProgress progress(shown, trace_.name,
                            trace_.requests.size() * rows_.size(), err);
    std::optional<tools::Interruption> interruption;
    if (options_.via == ReplayVia::kEngine) interruption.emplace();
    RunInParallel(rows_.size(), options_.thread_count, [&](std::size_t i) {
      RunSpec spec = SpecOf(rows_[i]);
      spec.progress = &progress.done();
      spec.cancelled = &cancelled;
      Result<RunResult> result = RunOne(spec);
      if (result) {
        rows_[i].run = std::move(*result);
      } else {
        outcomes[i] = std::move(result.error());
        cancelled = true;
      }
    });
    tools::Interruption::EndIfNoted();  // No directory of a run is left.
    return FirstFailure(outcomes);
  }

  [[nodiscard]] std::vector<ReplayRow>& rows() noexcept { return rows_; }
  [[nodiscard]] TraceSummary Summary() const {
    return {.name = trace_.name,
            .path = trace_.path,
            .content = trace_.content,
            .gets = trace_.CountOf(TraceOp::kGet),
            .sets = trace_.CountOf(TraceOp::kSet),
            .deletes = trace_.CountOf(TraceOp::kDelete),
            .keys = trace_.key_hashes.size(),
            .footprint_bytes = trace_.footprint_bytes,
            .skipped_rows = trace_.bad_row_count,
            .left_out_rows = trace_.left_out_row_count};
  }

 private:
  /// Baselines know no objective.
  [[nodiscard]] std::vector<Objective> ObjectivesOf(
      const std::string& policy) const {
    const std::vector<std::string> own = PolicyNames();
    if (std::ranges::find(own, policy) != own.end()) {
      return options_.objectives;
    }
    return {Objective::kObjects};
  }

  [[nodiscard]] RunSpec SpecOf(const ReplayRow& row) const {
    return {
        .policy = row.policy,
        .objective = row.objective,
        .capacity = row.capacity,
        .ignore_size = options_.ignore_size,
        .use_ttl = options_.use_ttl,
        .bucket_count = options_.bucket_count,
        .random_seed = options_.random_seed,
        .next_accesses = next_accesses_.empty() ? nullptr : &next_accesses_};
  }

  [[nodiscard]] Result<RunResult> RunOne(RunSpec spec) const {
    if (options_.via == ReplayVia::kEngine) {
      return RunThroughEngine(trace_, spec,
                              {.parent_directory = options_.directory,
                               .serve_evicted = options_.serve_evicted});
    }
    if (spec.policy != kBound) return RunInSimulator(trace_, spec);
    spec.policy = "belady-size-bypass";
    Result<RunResult> by_size = RunInSimulator(trace_, spec);
    if (!by_size) return by_size;
    spec.policy = "belady-bypass";
    spec.progress = nullptr;
    Result<RunResult> plain = RunInSimulator(trace_, spec);
    if (!plain) return plain;
    const double seconds = by_size->seconds + plain->seconds;
    RunResult& lower = by_size->hits > plain->hits ? *by_size : *plain;
    lower.seconds = seconds;
    return std::move(lower);
  }

  /// A run that was only cancelled hides the one that failed.
  static Status FirstFailure(const std::vector<Status>& outcomes) {
    Status first;
    for (const Status& status : outcomes) {
      if (status.ok()) continue;
      if (status.code() != StatusCode::kAborted) return status;
      if (first.ok()) first = status;
    }
    return first;
  }

  const ReplayOptions& options_;
  const Plan& plan_;
  Trace trace_;
  std::vector<std::uint32_t> next_accesses_;
  std::vector<ReplayRow> rows_;
};

int Report(const Status& status, std::ostream& err, int exit_code) {
  err << "larder: " << status.ToString() << '\n';
  return exit_code;
}

void NoteSkipped(const Trace& trace, std::ostream& err) {
  if (trace.bad_row_count > 0) {
    err << fmt::format("larder: {}: skipped {} bad rows, the first: {}\n",
                       trace.path, trace.bad_row_count, trace.first_bad_row);
  }
  if (trace.left_out_row_count > 0) {
    err << fmt::format("larder: {}: left out {} records of size 0\n",
                       trace.path, trace.left_out_row_count);
  }
}

/// Whether times to live can be in force as the trace says.
Status CheckTimes(const Trace& trace) {
  if (!trace.has_ttls) return Status::Ok();
  if (!trace.content.has_times) {
    return Status::InvalidArgument(
        trace.path + ": --ttl: it has times to live, but no times");
  }
  if (!trace.content.knows_time_unit) {
    return Status::InvalidArgument(
        trace.path +
        ": --ttl: the header does not say in which unit times are: say "
        "time_s, time_ms, time_us or time_ns by --columns");
  }
  return Status::Ok();
}

/// What the trace was taken for, before anything comes of it.
void WriteSummary(const ReplayOptions& options, const TraceSummary& trace,
                  std::ostream& out, std::ostream& err) {
  if (options.output == ReplayOutput::kTable) {
    out << SummaryText(trace) << '\n' << std::flush;
  }
  if (options.output == ReplayOutput::kCsv) {
    err << "larder: " << SummaryText(trace) << '\n';
  }
}

/// Plots and comparison, once all rows are there.
int Finish(const ReplayOptions& options, const std::vector<ReplayRow>& rows,
           std::ostream& err) {
  if (!options.plot_path.empty()) {
    const Status drawn = DrawMissRatioCurves(rows, options.plot_path);
    if (!drawn.ok()) return Report(drawn, err, kReplayError);
  }
  if (!options.plot_time_path.empty()) {
    const Status drawn = DrawMissRatioOverTime(rows, options.plot_time_path);
    if (!drawn.ok()) return Report(drawn, err, kReplayError);
  }
  if (options.baseline_path.empty()) return kReplayOk;
  const Result<bool> same =
      CompareWithBaseline(rows, options.baseline_path, options.tolerance, err);
  if (!same) return Report(same.error(), err, kReplayError);
  return *same ? kReplayOk : kReplayDeviates;
}

}  // namespace

int RunReplay(const ReplayOptions& options, std::ostream& out,
              std::ostream& err) {
  const Result<Plan> plan = MakePlan(options);
  if (!plan) return Report(plan.error(), err, kReplayUsage);
  std::vector<ReplayRow> rows;
  std::vector<TraceSummary> traces;
  for (const std::string& path : options.traces) {
    Result<Trace> trace = LoadTrace(path, options.load);
    if (!trace) return Report(trace.error(), err, kReplayError);
    NoteSkipped(*trace, err);
    if (options.use_ttl) {
      const Status times = CheckTimes(*trace);
      if (!times.ok()) return Report(times, err, kReplayUsage);
    }
    TraceRuns runs(options, *plan, std::move(*trace));
    const Status prepared = runs.Prepare();
    if (!prepared.ok()) return Report(prepared, err, kReplayUsage);
    traces.push_back(runs.Summary());
    WriteSummary(options, traces.back(), out, err);
    const Status done = runs.Run(err);
    if (!done.ok()) return Report(done, err, kReplayError);
    std::ranges::move(runs.rows(), std::back_inserter(rows));
  }
  if (options.output == ReplayOutput::kTable) {
    WriteTable(rows, out);
    for (const ReplayAdvice& advice : AdviceFrom(rows)) {
      out << AdviceText(advice) << '\n';
    }
  }
  if (options.output == ReplayOutput::kJson) WriteJson(rows, traces, out);
  if (options.output == ReplayOutput::kCsv) WriteCsv(rows, out);
  out.flush();
  if (!out) {
    return Report(Status::IoError("standard output: cannot be written"), err,
                  kReplayError);
  }
  return Finish(options, rows, err);
}

}  // namespace larder::replay
