#include "operations/fixtures.h"

#include <algorithm>
#include <cmath>

namespace larder::bench {

namespace {

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kValueSizeMax = kKiB * kKiB;
/// Most bytes and items of one batch when a store is filled.
constexpr std::size_t kFillBatchBytes = 4 * kKiB * kKiB;
constexpr std::size_t kFillBatchCount = 1000;
/// Fewer operations than this say nothing.
constexpr std::uint64_t kCountMin = 64;

// At most 512 MiB are written or read for one measurement.
constexpr SizeCase kFullCases[] = {
    {100, 200'000, 200'000, 200'000, 32},
    {kKiB, 200'000, 200'000, 200'000, 32},
    {16 * kKiB, 16'384, 16'384, 16'384, 32},
    {64 * kKiB, 8'192, 4'096, 8'192, 32},
    {1024 * kKiB, 512, 256, 512, 8},
};

}  // namespace

Fixtures::Fixtures(Options options)
    : options_(std::move(options)), pool_(kValueSizeMax, options_.seed) {
  for (SizeCase size_case : kFullCases) {
    // Whole batches, so that SetMany and MultiGet do as much as Set and Get.
    const auto scaled = [&](std::uint64_t count) {
      const std::uint64_t batch = size_case.batch_count;
      return (Scaled(count) + batch - 1) / batch * batch;
    };
    size_case.write_count = scaled(size_case.write_count);
    size_case.resident_count = scaled(size_case.resident_count);
    size_case.read_count = scaled(size_case.read_count);
    cases_.push_back(size_case);
  }
}

std::uint64_t Fixtures::Scaled(std::uint64_t count) const noexcept {
  const double scaled = std::round(static_cast<double>(count) * options_.scale);
  return std::max(std::min(count, kCountMin),
                  static_cast<std::uint64_t>(scaled));
}

void Fixtures::MakeKeysUpTo(std::uint64_t count) {
  while (keys_.size() < count) {
    keys_.push_back(KeyOf(keys_.size(), options_.seed));
  }
}

Status Fixtures::Fill(KeyValueStore& store, std::uint64_t count,
                      std::size_t size) {
  const std::size_t batch_count =
      std::clamp<std::size_t>(kFillBatchBytes / size, 1, kFillBatchCount);
  MakeKeysUpTo(count);
  std::vector<KeyValue> batch;
  for (std::uint64_t index = 0; index < count; ++index) {
    batch.push_back({Key(index), Value(index, size)});
    if (batch.size() == batch_count || index + 1 == count) {
      LARDER_RETURN_IF_ERROR(store.SetMany(batch));
      batch.clear();
    }
  }
  return Status::Ok();
}

Result<ResidentStore*> Fixtures::Resident(EngineKind kind,
                                          const SizeCase& size_case) {
  const auto id = std::make_pair(kind, size_case.value_size);
  if (const auto found = residents_.find(id); found != residents_.end()) {
    return &found->second;
  }
  auto directory = WorkDirectory::Make(options_.parent_directory);
  if (!directory) {
    return Fail(std::move(directory.error()));
  }
  auto store = OpenStore(kind, directory->path(), store_options_);
  if (!store) {
    return Fail(std::move(store.error()));
  }
  LARDER_FAIL_IF_ERROR(
      Fill(**store, size_case.resident_count, size_case.value_size));
  LARDER_FAIL_IF_ERROR((*store)->Settle());
  ResidentStore resident{std::move(*directory), std::move(*store), {}, {}};
  resident.counters.assign(kCounterCount, 0);
  // Also warms the caches, as the first repetition must not differ.
  for (std::uint64_t i = 0; i < size_case.resident_count; ++i) {
    FoldVisitor seen;
    const auto hit = resident.store->Get(Key(i), seen);
    if (!hit || !*hit) {
      return Fail(hit ? Status::Internal("an item is missing after the fill")
                      : hit.error());
    }
    resident.folds.push_back(Fold(Value(i, size_case.value_size)));
    if (seen.fold != resident.folds.back()) {
      return Fail(Status::Corruption("an item has wrong bytes"));
    }
  }
  return &residents_.emplace(id, std::move(resident)).first->second;
}

Result<std::filesystem::path> Fixtures::ClosedStore(EngineKind kind,
                                                    std::uint64_t count) {
  if (const auto found = closed_.find(kind); found != closed_.end()) {
    return found->second.path();
  }
  auto directory = WorkDirectory::Make(options_.parent_directory);
  if (!directory) {
    return Fail(std::move(directory.error()));
  }
  auto store = OpenStore(kind, directory->path(), store_options_);
  if (!store) {
    return Fail(std::move(store.error()));
  }
  LARDER_FAIL_IF_ERROR(Fill(**store, count, kOpenValueSize));
  LARDER_FAIL_IF_ERROR((*store)->Close());
  return closed_.emplace(kind, std::move(*directory)).first->second.path();
}

void Fixtures::Clear() {
  for (auto& [id, resident] : residents_) {
    // The directory goes next, whatever Close says.
    resident.store->Close().IgnoreError();
    resident.store.reset();
  }
  residents_.clear();
  closed_.clear();
}

}  // namespace larder::bench
