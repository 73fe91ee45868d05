#include "crash/operation_stream.h"

#include <chrono>
#include <optional>
#include <vector>

namespace larder::testing {
namespace {

using std::chrono::hours;

template <typename T>
Status StatusOf(const Result<T>& result) {
  return result ? Status() : result.error();
}

}  // namespace

OperationStream::OperationStream(const WriterPlan& plan, int thread)
    : plan_(plan),
      prefix_(PrefixOf(thread)),
      tags_{prefix_ + "red", prefix_ + "blue", ""},
      random_(plan.seed * 1000003 + static_cast<std::uint64_t>(thread)) {}

std::string OperationStream::PrefixOf(int thread) {
  return "thread" + std::to_string(thread) + "/";
}

Status OperationStream::ApplyNext(Cache& cache) {
  const std::uint64_t draw = random_.Below(100);
  if (plan_.with_eviction) {
    if (draw < 55) return ApplySet(cache);
    if (draw < 65) return ApplyStream(cache);
    if (draw < 80) return ApplySetMany(cache);
    return ApplyDeletes(cache);
  }
  if (draw < 28) return ApplySet(cache);
  if (draw < 33) return ApplyAdd(cache);
  if (draw < 38) return ApplyCompareAndSet(cache);
  if (draw < 53) {
    const std::string key = DrawCounter();
    return StatusOf(
        cache.Incr(key, static_cast<std::int64_t>(random_.Below(1000)) - 300));
  }
  if (draw < 59) return ApplySetMany(cache);
  if (draw < 72) return ApplyBatch(cache);
  if (draw < 77) return ApplyStream(cache);
  if (draw < 90) return ApplyDeletes(cache);
  if (draw < 95) return ApplyTouch(cache);
  return ApplyWholeCache(cache);
}

Status OperationStream::ApplySet(Cache& cache) {
  const std::string key = DrawKey();
  const std::string value = DrawValue();
  return cache.Set(key, value, DrawOptions());
}

Status OperationStream::ApplyAdd(Cache& cache) {
  const std::string key = DrawKey();
  const std::string value = DrawValue();
  return StatusOf(cache.Add(key, value, DrawOptions()));
}

Status OperationStream::ApplyCompareAndSet(Cache& cache) {
  const std::string key = DrawKey();
  const std::string value = DrawValue();
  const SetOptions options = DrawOptions();
  const Result<std::optional<ItemInfo>> info = cache.Inspect(key);
  if (!info) return info.error();
  const std::uint64_t version = *info ? (*info)->version : 0;
  return StatusOf(cache.CompareAndSet(key, version, value, options));
}

Status OperationStream::ApplySetMany(Cache& cache) {
  std::vector<std::string> keys;
  std::vector<std::string> values;
  const std::uint64_t count = 2 + random_.Below(12);
  for (std::uint64_t i = 0; i < count; ++i) {
    keys.push_back(DrawKey());
    values.push_back(DrawValue());
  }
  std::vector<SetItem> items;
  for (std::size_t i = 0; i < count; ++i) items.push_back({keys[i], values[i]});
  return cache.SetMany(items, DrawOptions());
}

Status OperationStream::ApplyBatch(Cache& cache) {
  WriteBatch batch;
  const std::uint64_t count = 2 + random_.Below(20);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t draw = random_.Below(10);
    const std::string key = draw < 3 ? DrawCounter() : DrawKey();
    if (draw < 3) {
      batch.Incr(key, static_cast<std::int64_t>(random_.Below(50)), 7);
    } else if (draw < 8) {
      const std::string value = DrawValue();
      batch.Set(key, value, DrawOptions());
    } else if (draw < 9) {
      batch.Delete(key);
    } else {
      batch.Touch(key, hours(5));
    }
  }
  return cache.Write(batch);
}

Status OperationStream::ApplyStream(Cache& cache) {
  const std::string key = DrawKey();
  const std::string value = DrawValue();
  const SetOptions options = DrawOptions();
  const std::size_t piece_size = 1000 + random_.Below(100'000);
  const bool given_up = random_.OneIn(4);
  Result<std::unique_ptr<ValueWriter>> writer = cache.OpenWriter(key, options);
  if (!writer) return writer.error();
  for (std::string_view rest = value; !rest.empty();
       rest.remove_prefix(std::min(piece_size, rest.size()))) {
    LARDER_RETURN_IF_ERROR((*writer)->Append(rest.substr(0, piece_size)));
  }
  return given_up ? Status() : (*writer)->Commit().status;
}

Status OperationStream::ApplyDeletes(Cache& cache) {
  const std::string key = DrawKey();
  const std::string second = DrawKey();
  switch (random_.Below(3)) {
    case 0:
      return StatusOf(cache.Delete(key));
    case 1:
      return StatusOf(cache.Pop(key));
    default: {
      const std::vector<std::string_view> keys = {key, second};
      return StatusOf(cache.DeleteMany(keys));
    }
  }
}

Status OperationStream::ApplyTouch(Cache& cache) {
  const std::string key = DrawKey();
  std::optional<Duration> ttl;
  if (!random_.OneIn(3)) ttl = random_.OneIn(4) ? Duration(0) : hours(3);
  return StatusOf(cache.Touch(key, ttl));
}

Status OperationStream::ApplyWholeCache(Cache& cache) {
  const std::uint64_t draw = random_.Below(10);
  if (!plan_.whole_cache || draw < 7) {
    return StatusOf(cache.Evict(tags_[random_.Below(2)]));
  }
  return draw < 9 ? StatusOf(cache.Expire()) : StatusOf(cache.Clear());
}

std::string OperationStream::DrawKey() {
  return prefix_ + "key" +
         std::to_string(random_.Below(plan_.with_eviction ? 400 : 60));
}

std::string OperationStream::DrawCounter() {
  return prefix_ + "counter" + std::to_string(random_.Below(5));
}

std::string OperationStream::DrawValue() {
  const std::uint64_t draw = random_.Below(1000);
  std::uint64_t size = random_.Below(140);
  if (plan_.with_eviction) {
    size = draw < 500 ? random_.Below(5000) : random_.Below(300'000);
  } else if (draw >= 990) {
    size = (1 << 20) - 5 + random_.Below(2 << 20);
  } else if (draw >= 850) {
    size = 16'000 + random_.Below(80'000);
  } else if (draw >= 400) {
    size = random_.Below(8000);
  }
  return MakeValue(random_.Next(), size);
}

SetOptions OperationStream::DrawOptions() {
  SetOptions options;
  options.tag = tags_[random_.Below(3)];
  const std::uint64_t draw = random_.Below(10);
  if (draw == 0) options.ttl = Duration(0);
  if (draw < 4 && draw > 0) options.ttl = hours(2);
  return options;
}

}  // namespace larder::testing
