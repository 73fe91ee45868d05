// The operations of a store, one benchmark each. What is timed is the calls
// alone: stores are opened, filled, closed and removed outside.
//
// Set, SetMany and Delete begin with a fresh store each time, so that every
// repetition does the same. Get, MultiGet and Incr share one filled store per
// engine and size. A hit is read to its last byte by all engines: an answer
// that nobody looks at would flatter those that map files and do nothing.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "operations/benchmarks.h"

namespace larder::bench {

namespace {

/// A store of one repetition.
struct FreshStore {
  WorkDirectory directory;
  std::unique_ptr<KeyValueStore> store;
};

Result<FreshStore> MakeFreshStore(Fixtures& fixtures, EngineKind kind) {
  auto directory = WorkDirectory::Make(fixtures.parent_directory());
  if (!directory) {
    return Fail(std::move(directory.error()));
  }
  auto store = OpenStore(kind, directory->path(), fixtures.store_options());
  if (!store) {
    return Fail(std::move(store.error()));
  }
  return FreshStore{std::move(*directory), std::move(*store)};
}

void CountBytes(benchmark::State& state, std::uint64_t items,
                std::size_t value_size) {
  state.SetItemsProcessed(static_cast<std::int64_t>(items));
  state.SetBytesProcessed(static_cast<std::int64_t>(items * value_size));
}

/// Reads some of the items [0, count) back; outside of the timing.
Status CheckWritten(Fixtures& fixtures, KeyValueStore& store,
                    std::uint64_t count, std::size_t value_size) {
  constexpr std::uint64_t kSampleCount = 256;
  Random random(fixtures.seed());
  for (std::uint64_t i = 0; i < kSampleCount; ++i) {
    const std::uint64_t index = random.Below(count);
    FoldVisitor seen;
    const auto hit = store.Get(fixtures.Key(index), seen);
    if (!hit) {
      return hit.error();
    }
    if (!*hit || seen.fold != Fold(fixtures.Value(index, value_size))) {
      return Status::Corruption("item " + std::to_string(index) +
                                " is not what was written");
    }
  }
  return Status::Ok();
}

/// Runs `body(store)` on a fresh store, then closes it; any failure fails the
/// benchmark.
template <typename Body>
void WithFreshStore(benchmark::State& state, Fixtures& fixtures,
                    EngineKind kind, Body&& body) {
  auto fresh = MakeFreshStore(fixtures, kind);
  if (!fresh) {
    Skip(state, fresh.error());
    return;
  }
  Status status = body(*fresh->store);
  if (status.ok()) {
    status = fresh->store->Close();
  }
  if (!status.ok()) {
    Skip(state, status);
  }
}

void BenchSet(benchmark::State& state, Fixtures& fixtures, EngineKind kind,
              const SizeCase& size_case) {
  const std::size_t size = size_case.value_size;
  fixtures.MakeKeysUpTo(size_case.write_count);
  WithFreshStore(state, fixtures, kind, [&](KeyValueStore& store) -> Status {
    std::uint64_t index = 0;
    for (auto _ : state) {
      LARDER_RETURN_IF_ERROR(
          store.Set(fixtures.Key(index), fixtures.Value(index, size)));
      ++index;
    }
    CountBytes(state, index, size);
    return CheckWritten(fixtures, store, index, size);
  });
}

void BenchSetMany(benchmark::State& state, Fixtures& fixtures, EngineKind kind,
                  const SizeCase& size_case) {
  const std::size_t size = size_case.value_size;
  fixtures.MakeKeysUpTo(size_case.write_count);
  WithFreshStore(state, fixtures, kind, [&](KeyValueStore& store) -> Status {
    std::uint64_t index = 0;
    std::vector<KeyValue> batch(size_case.batch_count);
    for (auto _ : state) {
      for (KeyValue& item : batch) {
        item = {fixtures.Key(index), fixtures.Value(index, size)};
        ++index;
      }
      LARDER_RETURN_IF_ERROR(store.SetMany(batch));
    }
    CountBytes(state, index, size);
    return CheckWritten(fixtures, store, index, size);
  });
}

void BenchDelete(benchmark::State& state, Fixtures& fixtures, EngineKind kind,
                 const SizeCase& size_case) {
  const std::uint64_t count = size_case.write_count;
  const Shuffle order(count, fixtures.seed());
  WithFreshStore(state, fixtures, kind, [&](KeyValueStore& store) -> Status {
    LARDER_RETURN_IF_ERROR(fixtures.Fill(store, count, size_case.value_size));
    LARDER_RETURN_IF_ERROR(store.Settle());
    std::uint64_t done = 0;
    std::uint64_t hit_count = 0;
    for (auto _ : state) {
      const auto found = store.Delete(fixtures.Key(order.At(done)));
      if (!found) {
        return found.error();
      }
      hit_count += *found ? 1 : 0;
      ++done;
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(done));
    if (hit_count != done) {
      return Status::Internal("deleted keys that were not there");
    }
    FoldVisitor seen;
    const auto hit = store.Get(fixtures.Key(order.At(0)), seen);
    if (!hit) {
      return hit.error();
    }
    return *hit ? Status::Internal("a deleted key is there") : Status::Ok();
  });
}

void BenchGet(benchmark::State& state, Fixtures& fixtures, EngineKind kind,
              const SizeCase& size_case) {
  const auto resident = fixtures.Resident(kind, size_case);
  if (!resident) {
    return Skip(state, resident.error());
  }
  KeyValueStore& store = *(*resident)->store;
  const std::uint64_t count = size_case.resident_count;
  const Shuffle order(count, fixtures.seed());
  FoldVisitor seen;
  std::uint64_t done = 0;
  std::uint64_t hit_count = 0;
  for (auto _ : state) {
    const auto hit = store.Get(fixtures.Key(order.At(done % count)), seen);
    if (!hit) {
      return Skip(state, hit.error());
    }
    hit_count += *hit ? 1 : 0;
    ++done;
  }
  std::uint64_t expected = 0;
  for (std::uint64_t i = 0; i < done; ++i) {
    expected ^= (*resident)->folds[order.At(i % count)];
  }
  CountBytes(state, done, size_case.value_size);
  if (hit_count != done || seen.fold != expected) {
    Skip(state, Status::Corruption("misses or wrong bytes"));
  }
}

void BenchMultiGet(benchmark::State& state, Fixtures& fixtures, EngineKind kind,
                   const SizeCase& size_case) {
  const auto resident = fixtures.Resident(kind, size_case);
  if (!resident) {
    return Skip(state, resident.error());
  }
  KeyValueStore& store = *(*resident)->store;
  const std::uint64_t count = size_case.resident_count;
  const Shuffle order(count, fixtures.seed());
  std::vector<std::string_view> keys(size_case.batch_count);
  FoldVisitor seen;
  std::uint64_t done = 0;
  std::uint64_t hit_count = 0;
  for (auto _ : state) {
    for (std::string_view& key : keys) {
      key = fixtures.Key(order.At(done % count));
      ++done;
    }
    const auto hits = store.MultiGet(keys, seen);
    if (!hits) {
      return Skip(state, hits.error());
    }
    hit_count += *hits;
  }
  std::uint64_t expected = 0;
  for (std::uint64_t i = 0; i < done; ++i) {
    expected ^= (*resident)->folds[order.At(i % count)];
  }
  CountBytes(state, done, size_case.value_size);
  if (hit_count != done || seen.fold != expected) {
    Skip(state, Status::Corruption("misses or wrong bytes"));
  }
}

void BenchIncr(benchmark::State& state, Fixtures& fixtures, EngineKind kind,
               const SizeCase& size_case) {
  const auto resident = fixtures.Resident(kind, size_case);
  if (!resident) {
    return Skip(state, resident.error());
  }
  KeyValueStore& store = *(*resident)->store;
  std::vector<std::int64_t>& counters = (*resident)->counters;
  std::vector<std::string> keys;
  for (std::uint64_t i = 0; i < counters.size(); ++i) {
    keys.push_back("counter." + KeyOf(i, fixtures.seed()).substr(0, 16));
  }
  Random random(fixtures.seed());
  std::int64_t done = 0;
  for (auto _ : state) {
    const std::uint64_t index = random.Below(counters.size());
    const auto value = store.Incr(keys[index], 1);
    if (!value) {
      return Skip(state, value.error());
    }
    if (*value != ++counters[index]) {
      return Skip(state, Status::Corruption("a count was lost"));
    }
    ++done;
  }
  state.SetItemsProcessed(done);
}

using Operation = void (*)(benchmark::State&, Fixtures&, EngineKind,
                           const SizeCase&);

void Register(std::string_view operation, Operation run, Fixtures& fixtures,
              EngineKind kind, const SizeCase& size_case,
              std::uint64_t iterations) {
  const std::string name = "BM_" + std::string(operation) + "/" +
                           std::string(EngineName(kind)) + "/" +
                           std::to_string(size_case.value_size);
  benchmark::RegisterBenchmark(
      name.c_str(),
      [run, &fixtures, kind, size_case](benchmark::State& state) {
        run(state, fixtures, kind, size_case);
      })
      ->Iterations(static_cast<benchmark::IterationCount>(iterations))
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

}  // namespace

void RegisterOperations(Fixtures& fixtures,
                        std::span<const EngineKind> engines) {
  for (const SizeCase& size : fixtures.cases()) {
    const std::uint64_t batch = size.batch_count;
    for (const EngineKind kind : engines) {
      const auto add = [&](std::string_view operation, Operation run,
                           std::uint64_t iterations) {
        Register(operation, run, fixtures, kind, size, iterations);
      };
      add("Set", BenchSet, size.write_count);
      add("Get", BenchGet, size.read_count);
      add("Delete", BenchDelete, size.write_count);
      add("MultiGet", BenchMultiGet, size.read_count / batch);
      add("SetMany", BenchSetMany, size.write_count / batch);
      add("Incr", BenchIncr, fixtures.Scaled(kIncrCount));
    }
  }
}

}  // namespace larder::bench
