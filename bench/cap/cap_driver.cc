#include "cap/cap_driver.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <string>

#include <fmt/format.h>

namespace larder::bench {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kVerifyCount = 3'000;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double Percentile(std::vector<float>& values, double share) {
  if (values.empty()) {
    return 0;
  }
  const auto at = static_cast<std::ptrdiff_t>(
      std::min(static_cast<double>(values.size()) - 1,
               std::floor(share * static_cast<double>(values.size()))));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

SetLatency Summarize(std::vector<float>& milliseconds) {
  SetLatency latency;
  latency.p50 = Percentile(milliseconds, 0.5);
  latency.p99 = Percentile(milliseconds, 0.99);
  latency.p999 = Percentile(milliseconds, 0.999);
  latency.max = Percentile(milliseconds, 1.0);
  return latency;
}

class IgnoreValue final : public ValueVisitor {
 public:
  void Visit(std::string_view value) override { fold ^= Fold(value); }
  std::uint64_t fold = 0;
};

}  // namespace

StoreOptions CapStoreOptions(const CapWorkload& workload,
                             std::uint64_t limit_bytes) {
  StoreOptions options;
  options.size_limit_bytes = limit_bytes;
  options.memory_budget_bytes = 0;  // What larder chooses by itself.
  options.policy = workload.policy;
  return options;
}

Status Driver::Set(const CapOperation& operation) {
  const std::string key = KeyFor(operation.key);
  const std::uint64_t value_index = speed_.set_count;
  const std::string_view value = pool_.Of(value_index, operation.size);
  const Clock::time_point begin = Clock::now();
  const Status status = store_.Set(key, value);
  const double milliseconds = SecondsSince(begin) * 1e3;
  if (status.code() == StatusCode::kNoSpace &&
      when_refused_ == WhenRefused::kCount) {
    ++refused_count_;
    return Status::Ok();
  }
  if (!status.ok()) {
    return Status(status.code(),
                  fmt::format("set {} of {} B: {}", speed_.set_count,
                              operation.size, status.message()));
  }
  set_milliseconds_.push_back(static_cast<float>(milliseconds));
  last_sets_[operation.key] = {value_index, operation.size};
  ++speed_.set_count;
  written_bytes_ += operation.size;
  return Status::Ok();
}

Status Driver::Get(const CapOperation& operation) {
  IgnoreValue seen;
  const auto hit = store_.Get(KeyFor(operation.key), seen);
  if (!hit) {
    return hit.error();
  }
  ++speed_.get_count;
  speed_.get_hit_count += *hit ? 1 : 0;
  return Status::Ok();
}

Status Driver::Run(const CapSource& source, DiskSampler* sampler) {
  const Clock::time_point begin = Clock::now();
  std::optional<Clock::time_point> full_at;
  std::uint64_t full_set_count = 0;
  std::uint64_t full_written_bytes = 0;
  while (const auto operation = source()) {
    if (operation->kind == CapOperation::Kind::kGet) {
      LARDER_RETURN_IF_ERROR(Get(*operation));
      continue;
    }
    LARDER_RETURN_IF_ERROR(Set(*operation));
    if (sampler != nullptr) {
      sampler->AddWritten(operation->size);
    }
    if (!full_at && written_bytes_ >= limit_bytes_) {
      full_at = Clock::now();
      full_set_count = speed_.set_count;
      full_written_bytes = written_bytes_;
    }
  }
  speed_.seconds = SecondsSince(begin);
  const double seconds = SecondsSince(full_at.value_or(begin));
  speed_.sets_per_second =
      static_cast<double>(speed_.set_count - full_set_count) / seconds;
  speed_.payload_bytes_per_second =
      static_cast<double>(written_bytes_ - full_written_bytes) / seconds;
  return Status::Ok();
}

Result<std::uint64_t> Driver::Verify() {
  std::uint64_t verified_count = 0;
  const std::uint64_t step =
      std::max<std::uint64_t>(1, last_sets_.size() / kVerifyCount);
  std::uint64_t position = 0;
  for (const auto& [key, last] : last_sets_) {
    if (position++ % step != 0) {
      continue;
    }
    IgnoreValue seen;
    const auto hit = store_.Get(KeyFor(key), seen);
    if (!hit) {
      return Fail(hit.error());
    }
    if (!*hit) {
      continue;  // Evicted.
    }
    if (seen.fold != Fold(pool_.Of(last.value_index, last.size))) {
      return Fail(Status::Corruption(
          fmt::format("item {} is not what was set last", key)));
    }
    ++verified_count;
  }
  return verified_count;
}

CapSpeed Driver::TakeSpeed() {
  speed_.latency = Summarize(set_milliseconds_);
  return speed_;
}

}  // namespace larder::bench
