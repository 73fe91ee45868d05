#include "model/history_runner.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <sstream>
#include <utility>

#include "test_values.h"

// Versions differ between engines, so they are compared by what they say: an
// operation that expects "the current version" gets each engine's own, and a
// version of the engine under test must never be seen on two writes.

namespace larder::testing {
namespace {

constexpr std::uint8_t kKeyCountMax = 200;
constexpr TimePoint kStart{std::chrono::hours(24 * 365 * 50)};

/// A command with the bytes that it points at.
struct OwnedCommand {
  std::string key;
  std::string value;
  std::string tag;
  Command command;
};

std::string Difference(std::string_view what, const auto& model,
                       const auto& subject) {
  std::ostringstream out;
  out << what << ": expected " << model << ", got " << subject;
  return out.str();
}

std::string Short(std::string_view bytes) {
  std::ostringstream out;
  out << bytes.size() << " bytes [";
  for (const char c : bytes.substr(0, 12)) {
    out << std::hex << (static_cast<unsigned>(c) & 0xFFU) << ' ';
  }
  out << ']';
  return out.str();
}

/// What differs between two descriptions of the same item; empty if nothing.
std::string CompareInfo(const ItemInfo& model, const ItemInfo& subject) {
  if (model.size_bytes != subject.size_bytes) {
    return Difference("size", model.size_bytes, subject.size_bytes);
  }
  if (model.tag != subject.tag) {
    return Difference("tag", model.tag, subject.tag);
  }
  if (model.expires_at != subject.expires_at) {
    return Difference("expiry", model.expires_at.time_since_epoch().count(),
                      subject.expires_at.time_since_epoch().count());
  }
  if (model.codec != subject.codec) {
    return Difference("codec", int{model.codec}, int{subject.codec});
  }
  if (model.pinned != subject.pinned) {
    return Difference("pinned", model.pinned, subject.pinned);
  }
  if ((model.version == 0) != (subject.version == 0)) {
    return Difference("version", model.version, subject.version);
  }
  return {};
}

/// What differs between the answers to one command; empty if nothing.
std::string CompareReplies(const Command& command, const Reply& model,
                           const Reply& subject) {
  if (model.status.code() != subject.status.code()) {
    return Difference("status", model.status.ToString(),
                      subject.status.ToString());
  }
  if (!model.status.ok()) return {};
  if (model.applied != subject.applied) {
    return Difference("applied", model.applied, subject.applied);
  }
  if (model.integer != subject.integer) {
    return Difference("integer", model.integer, subject.integer);
  }
  if (model.value.bytes() != subject.value.bytes()) {
    return Difference("value", Short(model.value.bytes()),
                      Short(subject.value.bytes()));
  }
  if (std::holds_alternative<GetCommand>(command) && model.applied) {
    return CompareInfo(model.info, subject.info);
  }
  const bool counts = std::holds_alternative<EvictTagCommand>(command) ||
                      std::holds_alternative<ClearCommand>(command) ||
                      std::holds_alternative<ExpireCommand>(command) ||
                      std::holds_alternative<CullCommand>(command);
  if (counts && model.count != subject.count) {
    return Difference("count", model.count, subject.count);
  }
  return {};
}

class Runner {
 public:
  Runner(const EngineFactory& factory, const RunnerOptions& options)
      : options_(options), place_(factory.make_place()) {}

  std::optional<std::string> Run(const std::vector<Op>& history) {
    if (!Open(options_.settings)) return problem_;
    for (std::size_t i = 0; i < history.size(); ++i) {
      Step(history[i]);
      if (!problem_.empty()) {
        return "operation " + std::to_string(i) + " (" + Describe(history[i]) +
               "): " + problem_;
      }
    }
    CompareEverything();
    CheckCounters();
    held_.clear();
    if (!problem_.empty()) return "at the end: " + problem_;
    return std::nullopt;
  }

 private:
  struct Held {
    std::string expected;
    ValueHandle handle;
  };

  bool Open(const std::vector<std::pair<std::string, std::string>>& settings) {
    EngineOptions options;
    options.clock = &clock_;
    options.background = false;
    options.random_seed = 1;
    options.settings = settings;
    options.serve_evicted = false;
    Result<std::unique_ptr<Engine>> opened = place_->Open(options);
    if (!opened) {
      problem_ = "Open: " + opened.error().ToString();
      return false;
    }
    subject_ = *std::move(opened);
    options.settings = {{"size_limit", "1TiB"}};
    model_ = *ModelEngine::Open(model_disk_, options);
    return true;
  }

  void Step(const Op& op) {
    switch (op.kind) {
      case OpKind::kBatch:
        RunBatch(op);
        break;
      case OpKind::kStreamIn:
        RunStreamIn(op);
        break;
      case OpKind::kStreamOut:
        RunStreamOut(op);
        break;
      case OpKind::kHold:
        RunHold(op);
        break;
      case OpKind::kScan:
        RunScan(op);
        break;
      case OpKind::kCount:
        CompareCounts();
        break;
      case OpKind::kAdvance:
        clock_.Advance(*op.ttl);
        break;
      case OpKind::kReopen:
        Reopen(op.flag);
        break;
      default:
        RunAll({&op, 1}, false, op.durability);
    }
  }

  // Commands -----------------------------------------------------------------

  void RunBatch(const Op& op) { RunAll(op.batch, op.flag, op.durability); }

  void RunAll(std::span<const Op> ops, bool all_or_nothing,
              Durability durability) {
    for (const Op& op : ops) {
      ForgetIfEvicted(op.key);
      if (op.kind == OpKind::kEvictTag || op.kind == OpKind::kClear) {
        ForgetAllEvicted();
      }
    }
    const Executed model = Execute(*model_, ops, all_or_nothing, durability);
    const Executed subject =
        Execute(*subject_, ops, all_or_nothing, durability);
    if (model.status.code() != subject.status.code()) {
      problem_ = Difference("Execute", model.status.ToString(),
                            subject.status.ToString());
      return;
    }
    if (!model.status.ok()) return;
    for (std::size_t i = 0; i < ops.size(); ++i) {
      problem_ = CompareReplies(model.commands[i], model.replies[i],
                                subject.replies[i]);
      if (!problem_.empty()) {
        problem_ = "command " + std::to_string(i) + ": " + problem_;
        return;
      }
      NoteVersion(subject.commands[i], subject.replies[i]);
    }
  }

  struct Executed {
    std::vector<std::unique_ptr<OwnedCommand>> owned;
    std::vector<Command> commands;  ///< Their bytes are in `owned`.
    std::vector<Reply> replies;
    Status status;
  };

  Executed Execute(Engine& engine, std::span<const Op> ops, bool all_or_nothing,
                   Durability durability) {
    Executed executed;
    for (const Op& op : ops) {
      executed.owned.push_back(MakeCommand(engine, op));
      executed.commands.push_back(executed.owned.back()->command);
    }
    executed.replies.resize(ops.size());
    executed.status = engine.Execute(
        executed.commands, executed.replies,
        {.durability = durability, .all_or_nothing = all_or_nothing});
    return executed;
  }

  std::unique_ptr<OwnedCommand> MakeCommand(Engine& engine, const Op& op) {
    auto made = std::make_unique<OwnedCommand>();
    made->key = KeyName(op.key);
    made->tag = TagName(op.tag);
    const std::string_view key = made->key;
    switch (op.kind) {
      case OpKind::kSet:
      case OpKind::kStreamIn:
        made->value = MakeValue(op.value_seed, op.size);
        made->command = SetCommand{.key = key,
                                   .value = made->value,
                                   .codec = op.codec,
                                   .ttl = op.ttl,
                                   .tag = made->tag,
                                   .condition = op.condition,
                                   .version_expected = Version(engine, op),
                                   .pinned = op.pinned};
        break;
      case OpKind::kInspect:
        made->command = GetCommand{.key = key, .with_value = false};
        break;
      case OpKind::kIncr:
        made->command = IncrCommand{.key = key,
                                    .delta = op.number,
                                    .initial = 5,
                                    .ttl = op.ttl,
                                    .tag = made->tag};
        break;
      case OpKind::kTouch:
        made->command = TouchCommand{.key = key, .ttl = op.ttl};
        break;
      case OpKind::kDelete:
        made->command = DeleteCommand{
            .key = key,
            .version_expected = op.condition == SetCondition::kIfVersion
                                    ? Version(engine, op)
                                    : 0};
        break;
      case OpKind::kPop:
        made->command = DeleteCommand{.key = key, .with_value = true};
        break;
      case OpKind::kEvictTag:
        made->command = EvictTagCommand{.tag = made->tag};
        break;
      case OpKind::kClear:
        made->command = ClearCommand{};
        break;
      case OpKind::kExpire:
        made->command = ExpireCommand{
            .now = op.flag ? std::optional(clock_.Now() + Duration(5'000'000))
                           : std::nullopt};
        break;
      case OpKind::kCull:
        made->command = CullCommand{
            .live_bytes_target =
                op.flag ? std::optional<std::uint64_t>(0) : std::nullopt};
        break;
      default:
        made->command = GetCommand{.key = key};
    }
    return made;
  }

  /// What `op` expects, in terms of the engine that is asked.
  std::uint64_t Version(Engine& engine, const Op& op) {
    const std::uint64_t current = Inspect(engine, op.key).info.version;
    switch (op.expected) {
      case Expected::kCurrent:
        return current;
      case Expected::kNone:
        return 0;
      default:
        return current + 1'000'000'007;  // Never given out by so few writes.
    }
  }

  static Reply Inspect(Engine& engine, std::uint8_t key) {
    const std::string name = KeyName(key);
    const Command command = GetCommand{.key = name, .with_value = false};
    Reply reply;
    Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
    if (!status.ok()) reply.status = std::move(status);
    return reply;
  }

  void NoteVersion(const Command& command, const Reply& reply) {
    if (!reply.applied || (!std::holds_alternative<SetCommand>(command) &&
                           !std::holds_alternative<IncrCommand>(command))) {
      return;
    }
    if (reply.info.version <= version_max_) {
      problem_ = Difference("version, which must be above all earlier ones",
                            version_max_ + 1, reply.info.version);
    }
    version_max_ = std::max(version_max_, reply.info.version);
  }

  /// With eviction: the model forgets what the engine under test has lost.
  void ForgetIfEvicted(std::uint8_t key) {
    if (!options_.with_eviction) return;
    if (Inspect(*subject_, key).applied || !Inspect(*model_, key).applied) {
      return;
    }
    if (subject_->Stats()->evictions == 0) {
      problem_ = "an item is gone, but none was evicted";
    }
    const std::string name = KeyName(key);
    const std::lock_guard lock(model_disk_->mutex);
    model_disk_->items.erase(name);
  }

  void ForgetAllEvicted() {
    for (std::uint8_t key = 0; key < kKeyCountMax; ++key) ForgetIfEvicted(key);
  }

  // Streams ------------------------------------------------------------------

  void RunStreamIn(const Op& op) {
    ForgetIfEvicted(op.key);
    const auto make = [&](Engine& engine) -> Reply {
      const auto owned = MakeCommand(engine, op);
      const auto& set = std::get<SetCommand>(owned->command);
      auto writer = engine.OpenWriter(set, op.flag ? op.size : 0,
                                      {.durability = op.durability});
      if (!writer) return {.status = writer.error()};
      std::string_view rest = owned->value;
      while (!rest.empty()) {
        const std::string_view piece = rest.substr(0, 1 + op.size / 3);
        if (Status s = (*writer)->Append(piece); !s.ok()) {
          return {.status = std::move(s)};
        }
        rest.remove_prefix(piece.size());
      }
      // One in two is given up, which must leave no trace.
      return op.with_values ? (*writer)->Commit() : Reply();
    };
    const Reply model = make(*model_);
    const Reply subject = make(*subject_);
    problem_ = CompareReplies(SetCommand{}, model, subject);
    if (problem_.empty()) NoteVersion(SetCommand{}, subject);
  }

  void RunStreamOut(const Op& op) {
    ForgetIfEvicted(op.key);
    const auto read = [&](Engine& engine) -> std::string {
      auto reader = engine.OpenReader(KeyName(op.key));
      if (!reader) return reader.error().ToString();
      if (*reader == nullptr) return "(miss)";
      std::string bytes;
      std::string buffer(1000 + op.value_seed % 50'000, '\0');
      while (true) {
        const auto size = (*reader)->Read(buffer);
        if (!size) return size.error().ToString();
        bytes.append(buffer, 0, *size);
        if (*size < buffer.size()) return bytes;
      }
    };
    const std::string model = read(*model_);
    const std::string subject = read(*subject_);
    if (model != subject) {
      problem_ = Difference("stream", Short(model), Short(subject));
    }
  }

  void RunHold(const Op& op) {
    constexpr std::size_t kHeldCountMax = 4;
    Op get = op;
    get.kind = OpKind::kGet;
    ForgetIfEvicted(op.key);
    Executed subject =
        Execute(*subject_, {&get, 1}, false, Durability::kProcess);
    const Executed model =
        Execute(*model_, {&get, 1}, false, Durability::kProcess);
    Reply& reply = subject.replies[0];
    problem_ = CompareReplies(GetCommand{}, model.replies[0], reply);
    if (!reply.applied) return;
    held_.push_back(
        {model.replies[0].value.ToString(), std::move(reply.value)});
    if (held_.size() > kHeldCountMax) ReleaseOldest();
  }

  void ReleaseOldest() {
    if (held_.front().handle.bytes() != held_.front().expected) {
      problem_ = Difference("held value", Short(held_.front().expected),
                            Short(held_.front().handle.bytes()));
    }
    held_.pop_front();
  }

  // The whole ----------------------------------------------------------------

  void RunScan(const Op& op) {
    ScanOptions scan;
    scan.tag = TagName(op.tag);
    scan.reverse = op.flag;
    scan.with_values = op.with_values;
    if ((op.number & 1) != 0) scan.prefix = "key/" + std::to_string(op.key % 3);
    if ((op.number & 2) != 0) scan.begin = KeyName(op.key);
    if ((op.number & 4) != 0) {
      scan.end = KeyName(static_cast<std::uint8_t>((op.key + 7) % 20));
    }
    CompareScans(scan, op.size);
  }

  void CompareScans(const ScanOptions& options, std::size_t page_size) {
    ForgetAllEvicted();
    const auto model = ScanAll(*model_, options, kScanPageCountMax);
    const auto subject = ScanAll(*subject_, options, page_size);
    if (!problem_.empty()) return;
    for (std::size_t i = 0; i < std::max(model.size(), subject.size()); ++i) {
      const std::string at = "scan, item " + std::to_string(i) + ": ";
      if (i == model.size() || i == subject.size() ||
          model[i].key != subject[i].key) {
        problem_ =
            at +
            Difference("key", i < model.size() ? Short(model[i].key) : "none",
                       i < subject.size() ? Short(subject[i].key) : "none");
        return;
      }
      std::string difference = CompareInfo(model[i].info, subject[i].info);
      if (model[i].value.bytes() != subject[i].value.bytes()) {
        difference = Difference("value", Short(model[i].value.bytes()),
                                Short(subject[i].value.bytes()));
      }
      if (!difference.empty()) {
        problem_ = at + difference;
        return;
      }
    }
  }

  std::vector<ScanItem> ScanAll(Engine& engine, const ScanOptions& options,
                                std::size_t page_size) {
    std::vector<ScanItem> items;
    auto scan = engine.OpenScan(options);
    if (!scan) {
      problem_ = "OpenScan: " + scan.error().ToString();
      return items;
    }
    while (true) {
      auto page = (*scan)->Next(page_size);
      if (!page) {
        problem_ = "Next: " + page.error().ToString();
        return items;
      }
      if (page->empty()) return items;
      std::ranges::move(*page, std::back_inserter(items));
    }
  }

  void CompareCounts() {
    ForgetAllEvicted();
    const auto model = model_->Count();
    const auto subject = subject_->Count();
    if (!subject) {
      problem_ = "Count: " + subject.error().ToString();
    } else if (*model != *subject) {
      problem_ = Difference("Count", *model, *subject);
    }
  }

  void CompareEverything() {
    while (problem_.empty() && !held_.empty()) ReleaseOldest();
    if (problem_.empty()) CompareScans({.with_values = true}, 7);
    if (problem_.empty()) CompareCounts();
  }

  void CheckCounters() {
    if (!problem_.empty()) return;
    const Result<CheckReport> report = subject_->Check(false);
    if (!report) {
      problem_ = "Check: " + report.error().ToString();
    } else if (!report->ok() || !report->problems.empty()) {
      problem_ = "Check: counters " +
                 std::string(report->counters_match ? "match" : "differ") +
                 ", count " + std::to_string(report->count_ledger) +
                 " against " + std::to_string(report->count_recount) +
                 ", bytes " + std::to_string(report->bytes_ledger) +
                 " against " + std::to_string(report->bytes_recount) +
                 (report->problems.empty() ? "" : ", " + report->problems[0]);
    }
  }

  void Reopen(bool without_close) {
    while (problem_.empty() && !held_.empty()) ReleaseOldest();
    held_.clear();
    if (!without_close) {
      const Status status = subject_->Close();
      if (!status.ok()) problem_ = "Close: " + status.ToString();
    }
    subject_.reset();
    if (Open({})) CompareCounts();
  }

  const RunnerOptions options_;
  ManualClock clock_{kStart};
  const std::unique_ptr<EnginePlace> place_;
  const std::shared_ptr<ModelDisk> model_disk_ = std::make_shared<ModelDisk>();
  std::unique_ptr<Engine> model_;
  std::unique_ptr<Engine> subject_;
  std::deque<Held> held_;  ///< Released before the engine goes.
  std::uint64_t version_max_ = 0;
  std::string problem_;  ///< Empty: none so far.
};

}  // namespace

std::optional<std::string> RunHistory(const std::vector<Op>& history,
                                      const EngineFactory& factory,
                                      const RunnerOptions& options) {
  return Runner(factory, options).Run(history);
}

SmallFailure Shrink(std::vector<Op> history, std::string problem,
                    const EngineFactory& factory, const RunnerOptions& options,
                    int run_count_max) {
  SmallFailure smallest{std::move(history), std::move(problem)};
  int runs = 0;
  const auto fails = [&](std::vector<Op> shorter) {
    ++runs;
    std::optional<std::string> failure = RunHistory(shorter, factory, options);
    if (failure) smallest = {std::move(shorter), *std::move(failure)};
    return failure.has_value();
  };
  for (std::size_t part = smallest.history.size() / 2; part > 0; part /= 2) {
    for (std::size_t begin = 0;
         begin < smallest.history.size() && runs < run_count_max;) {
      std::vector<Op> shorter = smallest.history;
      const std::size_t end = std::min(begin + part, shorter.size());
      shorter.erase(shorter.begin() + static_cast<std::ptrdiff_t>(begin),
                    shorter.begin() + static_cast<std::ptrdiff_t>(end));
      if (!fails(std::move(shorter))) begin += part;
    }
  }
  for (std::size_t i = 0; i < smallest.history.size(); ++i) {
    for (std::size_t j = 0;
         j < smallest.history[i].batch.size() && runs < run_count_max;) {
      std::vector<Op> shorter = smallest.history;
      std::vector<Op>& batch = shorter[i].batch;
      batch.erase(batch.begin() + static_cast<std::ptrdiff_t>(j));
      if (!fails(std::move(shorter))) ++j;
    }
  }
  return smallest;
}

}  // namespace larder::testing
