#include "measure/bench_run.h"

#include <algorithm>
#include <barrier>
#include <charconv>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "measure/random_keys.h"

namespace larder::tools {
namespace {

using BenchClock = std::chrono::steady_clock;

std::int64_t Nanoseconds(BenchClock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             time.time_since_epoch())
      .count();
}

class CacheTarget final : public BenchTarget {
 public:
  explicit CacheTarget(Cache& cache) : cache_(cache) {}
  // Closes it at the end.
  explicit CacheTarget(std::unique_ptr<Cache> owned)
      : owned_(std::move(owned)), cache_(*owned_) {}
  Result<bool> Get(std::string_view key) override {
    const auto found = cache_.Get(key);
    if (!found) return Fail(found.error());
    return found->has_value();
  }
  Status Set(std::string_view key, std::string_view value) override {
    return cache_.Set(key, value);
  }
  Result<bool> Delete(std::string_view key) override {
    return cache_.Delete(key);
  }
  Status Close() override { return cache_.Close(); }

 private:
  const std::unique_ptr<Cache> owned_;
  Cache& cache_;
};

// One thread's load.
class BenchThread {
 public:
  BenchThread(BenchTarget& target, const BenchOptions& options,
              KeyChooser chooser, std::uint64_t seed)
      : target_(target), options_(options), chooser_(chooser), random_(seed) {
    bytes_.resize(2 * options.value_size_bytes_max + 1);
    for (char& byte : bytes_) {
      byte = static_cast<char>(random_.Next());
    }
  }

  Status WarmUp() {
    BenchResult discarded;
    for (std::uint64_t i = 0; i < options_.warmup_operations; ++i) {
      LARDER_RETURN_IF_ERROR(CheckGoing());
      LARDER_RETURN_IF_ERROR(Step(discarded).status);
    }
    return Status::Ok();
  }

  Status Run() {
    const auto begin = BenchClock::now();
    result_.begin_ns = Nanoseconds(begin);
    result_.end_ns = result_.begin_ns;
    const auto end = options_.time_max == std::chrono::nanoseconds::max()
                         ? BenchClock::time_point::max()
                         : begin + options_.time_max;
    for (std::uint64_t i = 0; i < options_.operations; ++i) {
      LARDER_RETURN_IF_ERROR(CheckGoing());
      const Stepped stepped = Step(result_);
      LARDER_RETURN_IF_ERROR(stepped.status);
      result_.end_ns = Nanoseconds(stepped.end);
      if (stepped.end >= end) {
        break;
      }
    }
    return Status::Ok();
  }

  [[nodiscard]] const BenchResult& result() const { return result_; }

 private:
  struct Stepped {
    Status status;
    BenchClock::time_point end;
  };

  [[nodiscard]] Status CheckGoing() const {
    return options_.stopped == nullptr || options_.stopped->load() == 0
               ? Status::Ok()
               : Status(StatusCode::kAborted, "the benchmark was interrupted");
  }

  std::size_t ChooseOperation() {
    const auto& mix = options_.mix;
    std::uint64_t left = random_.Below(std::uint64_t{mix[0]} + mix[1] + mix[2]);
    std::size_t operation = 0;
    while (left >= mix[operation]) {
      left -= mix[operation];
      ++operation;
    }
    return operation;
  }

  std::string_view ChooseKey() {
    const auto written = std::to_chars(key_.data(), key_.data() + key_.size(),
                                       chooser_.Next(random_));
    return {key_.data(), static_cast<std::size_t>(written.ptr - key_.data())};
  }

  std::string_view ChooseValue() {
    const std::uint64_t size = options_.value_size_bytes_min +
                               random_.Below(options_.value_size_bytes_max -
                                             options_.value_size_bytes_min + 1);
    const std::uint64_t offset =
        random_.Below(options_.value_size_bytes_max + 1);
    return std::string_view(bytes_).substr(offset, size);
  }

  // One operation; the choices are made before the clock runs.
  Stepped Step(BenchResult& result) {
    const std::size_t index = ChooseOperation();
    const std::string_view key = ChooseKey();
    const std::string_view value =
        index == 1 ? ChooseValue() : std::string_view();
    BenchOperation& operation = result.operations[index];
    Stepped stepped;
    bool miss = false;
    const auto begin = BenchClock::now();
    if (index == 0) {
      const auto found = target_.Get(key);
      miss = found && !*found;
      stepped.status = found ? Status::Ok() : found.error();
    } else if (index == 1) {
      stepped.status = target_.Set(key, value);
    } else {
      const auto deleted = target_.Delete(key);
      miss = deleted && !*deleted;
      stepped.status = deleted ? Status::Ok() : deleted.error();
    }
    stepped.end = BenchClock::now();
    operation.times.Add(stepped.end - begin);
    operation.misses += miss ? 1 : 0;
    return stepped;
  }

  BenchTarget& target_;
  const BenchOptions& options_;
  KeyChooser chooser_;
  Random random_;
  std::string bytes_;
  std::array<char, 24> key_{};
  BenchResult result_;
};

}  // namespace

void BenchResult::Merge(const BenchResult& other) noexcept {
  for (std::size_t i = 0; i < operations.size(); ++i) {
    operations[i].times.Merge(other.operations[i].times);
    operations[i].misses += other.operations[i].misses;
  }
  begin_ns = std::min(begin_ns, other.begin_ns);
  end_ns = std::max(end_ns, other.end_ns);
}

BenchOperation BenchResult::Total() const noexcept {
  BenchOperation total;
  for (const BenchOperation& operation : operations) {
    total.times.Merge(operation.times);
    total.misses += operation.misses;
  }
  return total;
}

double BenchResult::operations_per_second() const noexcept {
  return seconds() > 0 ? static_cast<double>(Total().times.count()) / seconds()
                       : 0.0;
}

std::unique_ptr<BenchTarget> MakeCacheTarget(Cache& cache) {
  return std::make_unique<CacheTarget>(cache);
}

OpenBenchTarget CacheTargets(std::string directory, CacheOptions options) {
  return
      [directory = std::move(directory),
       options = std::move(options)]() -> Result<std::unique_ptr<BenchTarget>> {
        auto cache = Cache::Open(directory, options);
        if (!cache) return Fail(std::move(cache.error()));
        return std::make_unique<CacheTarget>(std::move(*cache));
      };
}

Result<BenchResult> RunBenchProcess(
    BenchTarget& target, const BenchOptions& options, unsigned process_index,
    const std::function<void()>& wait_for_start) {
  const auto chooser =
      KeyChooser::Parse(options.distribution, options.key_count);
  if (!chooser) {
    return Fail(chooser.error());
  }
  Random seeds(options.seed + process_index * 0x10001ULL);
  std::vector<std::unique_ptr<BenchThread>> loads;
  for (unsigned i = 0; i < options.threads; ++i) {
    loads.push_back(
        std::make_unique<BenchThread>(target, options, *chooser, seeds.Next()));
  }
  std::vector<Status> statuses(loads.size());
  std::barrier start(static_cast<std::ptrdiff_t>(loads.size()),
                     [&]() noexcept { wait_for_start(); });
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < loads.size(); ++i) {
      threads.emplace_back([&, i] {
        statuses[i] = loads[i]->WarmUp();
        start.arrive_and_wait();
        if (statuses[i].ok()) {
          statuses[i] = loads[i]->Run();
        }
      });
    }
  }
  BenchResult result;
  for (std::size_t i = 0; i < loads.size(); ++i) {
    LARDER_FAIL_IF_ERROR(statuses[i]);
    result.Merge(loads[i]->result());
  }
  return result;
}

}  // namespace larder::tools
