#include "torture/torture_writer.h"

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/core.h>

#include "torture/torture_journal.h"

namespace larder::tools {
namespace {

constexpr std::chrono::milliseconds kPauseAfterError{5};
// Of set get delete add pop incr pair, shared set get incr.
constexpr std::array<std::uint32_t, kTortureOpCount> kWeights = {
    30, 18, 6, 6, 6, 10, 6, 7, 7, 4};

TortureOp ChooseOp(Random& random) {
  std::uint64_t left = random.Below(100);
  std::size_t op = 0;
  while (left >= kWeights[op]) {
    left -= kWeights[op];
    ++op;
  }
  return static_cast<TortureOp>(op);
}

std::uint32_t KeyCount(TortureOp op) {
  switch (op) {
    case TortureOp::kIncr:
      return kTortureOwnCounters;
    case TortureOp::kPair:
      return kTorturePairs;
    case TortureOp::kSharedSet:
    case TortureOp::kSharedGet:
      return kTortureSharedKeys;
    case TortureOp::kSharedIncr:
      return kTortureSharedCounters;
    default:
      return kTortureOwnKeys;
  }
}

template <typename T, typename Convert>
Status Take(const Result<T>& answer, std::uint64_t& result, Convert convert) {
  if (!answer) return answer.error();
  result = convert(*answer);
  return Status::Ok();
}

std::uint64_t StampOf(const std::optional<Value>& value) {
  return value ? ReadTortureValue(value->bytes()) : kTortureAbsent;
}

class Writer {
 public:
  Writer(const TortureWriterOptions& options, Cache& cache,
         TortureJournal journal, TortureState& state)
      : life_(options.life),
        cache_(cache),
        journal_(std::move(journal)),
        state_(state),
        random_(options.seed * 0x9E3779B97F4A7C15ULL +
                TortureStamp(options.life, 0)) {}

  Status Run() {
    while (state_.stop.load() == 0) {
      LARDER_RETURN_IF_ERROR(CallOnce());
      state_.progress.fetch_add(1);
      state_.has_store.store(cache_.engine().capabilities().holds_store ? 1
                                                                        : 0);
    }
    return Status::Ok();
  }

 private:
  // Errors: of the journal only.
  Status CallOnce() {
    TortureRecord record;
    record.number = ++number_;
    record.stamp = TortureStamp(life_, number_);
    record.op = ChooseOp(random_);
    record.index =
        static_cast<std::uint32_t>(random_.Below(KeyCount(record.op)));
    const std::size_t size = ChooseTortureSize(random_);
    record.begin_ns = MonotonicNanoseconds();
    LARDER_RETURN_IF_ERROR(journal_.Append(record));
    const Status status = Call(record, size);
    record.end_ns = MonotonicNanoseconds();
    record.code = static_cast<std::uint8_t>(status.code());
    record.outcome = OutcomeOf(status);
    if (!status.ok()) {
      fmt::print(stderr, "call {}: {}\n", number_, status.ToString());
      std::this_thread::sleep_for(kPauseAfterError);
    }
    return journal_.Append(record);
  }

  static TortureOutcome OutcomeOf(const Status& status) {
    if (status.ok()) return TortureOutcome::kAcknowledged;
    return status.code() == StatusCode::kOutcomeUnknown
               ? TortureOutcome::kUnknown
               : TortureOutcome::kNotApplied;
  }

  Status Call(TortureRecord& record, std::size_t size) {
    const std::string key = TortureKey(life_, record.op, record.index);
    const auto value = [&] { return TortureValue(record.stamp, size); };
    switch (record.op) {
      case TortureOp::kSet:
      case TortureOp::kSharedSet:
        return cache_.Set(key, value());
      case TortureOp::kGet:
      case TortureOp::kSharedGet:
        return Take(cache_.Get(key), record.result, StampOf);
      case TortureOp::kDelete:
        return Take(cache_.Delete(key), record.result,
                    [](bool was) { return was ? 1 : 0; });
      case TortureOp::kAdd:
        return Take(cache_.Add(key, value()), record.result,
                    [](bool added) { return added ? 1 : 0; });
      case TortureOp::kPop:
        return Take(cache_.Pop(key), record.result, StampOf);
      case TortureOp::kIncr:
      case TortureOp::kSharedIncr:
        return Take(cache_.Incr(key), record.result, [](std::int64_t sum) {
          return static_cast<std::uint64_t>(sum);
        });
      case TortureOp::kPair: {
        WriteBatch batch;
        batch.Set(key, value());
        batch.Set(TortureKey(life_, record.op, record.index, 1), value());
        return cache_.Write(batch);
      }
    }
    return Status::Internal("no such call");
  }

  const TortureLife life_;
  Cache& cache_;
  const TortureJournal journal_;
  TortureState& state_;
  Random random_;
  std::uint32_t number_ = 0;
};

}  // namespace

Status RunTortureWriter(const TortureWriterOptions& options,
                        CacheOptions cache_options) {
  auto states = TortureStates::Open(options.work + "/states");
  if (!states) return states.error();
  TortureState& state = (*states)[options.life.writer];
  auto journal =
      TortureJournal::Create(TortureJournalPath(options.work, options.life));
  if (!journal) return journal.error();
  auto cache = Cache::Open(options.directory, std::move(cache_options));
  if (!cache) return cache.error();
  state.progress.fetch_add(1);
  Writer writer(options, **cache, std::move(*journal), state);
  const Status ran = writer.Run();
  const Status closed = (*cache)->Close();
  return ran.ok() ? closed : ran;
}

}  // namespace larder::tools
