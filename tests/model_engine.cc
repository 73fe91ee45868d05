#include "model_engine.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

// Invariants:
// 1. The lock of the disk is held over a whole Execute, so batches are atomic
//    and each command sees the ones before it.
// 2. A command that fails, or whose condition does not hold, changes nothing.
// 3. An item is live iff expires_at > now; nothing else looks at an item.

namespace larder::testing {
namespace {

constexpr std::uint64_t kItemOverheadBytes = 64;

std::uint64_t Cost(std::string_view key, const ModelItem& item) {
  return key.size() + item.value->size() + kItemOverheadBytes;
}

TimePoint ExpiryOf(std::optional<Duration> ttl, TimePoint now) {
  if (!ttl) return kNeverExpires;
  if (*ttl <= Duration::zero()) return now;
  return *ttl >= kNeverExpires - now ? kNeverExpires : now + *ttl;
}

std::int64_t DecodeInt64(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof value; ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return std::bit_cast<std::int64_t>(value);
}

std::string EncodeInt64(std::int64_t number) {
  const auto value = std::bit_cast<std::uint64_t>(number);
  std::string bytes(sizeof value, '\0');
  for (std::size_t i = 0; i < sizeof value; ++i) {
    bytes[i] = static_cast<char>(value >> (8 * i));
  }
  return bytes;
}

struct SharedPin final : ValuePin {
  explicit SharedPin(std::shared_ptr<const std::string> bytes)
      : value(std::move(bytes)) {}
  const std::shared_ptr<const std::string> value;
};

ValueHandle Pin(const std::shared_ptr<const std::string>& value) {
  return {*value, std::make_unique<SharedPin>(value)};
}

Status CheckKey(std::string_view key) {
  if (key.size() <= kKeySizeBytesMax) return {};
  return {StatusCode::kKeyTooLarge, "key of " + std::to_string(key.size()) +
                                        " bytes; the most is " +
                                        std::to_string(kKeySizeBytesMax)};
}

Status CheckTag(std::string_view tag) {
  if (tag.size() <= kTagSizeBytesMax) return {};
  return Status::InvalidArgument("tag of " + std::to_string(tag.size()) +
                                 " bytes");
}

Status CheckCost(float cost) {
  if (cost >= 0 && cost <= std::numeric_limits<float>::max()) return {};
  return Status::InvalidArgument("cost " + std::to_string(cost));
}

Status CheckValueSize(std::uint64_t size, const Settings& settings) {
  const std::uint64_t limit = settings.item_size_limit != 0
                                  ? settings.item_size_limit
                                  : settings.size_limit;
  if (size <= std::min(limit, settings.size_limit)) return {};
  return Status::TooLarge("value of " + std::to_string(size) + " bytes");
}

/// Carries out commands on a disk whose lock is held.
class Executor {
 public:
  Executor(ModelDisk& disk, TimePoint now) : disk_(disk), now_(now) {}

  Reply operator()(const SetCommand& c) {
    return Store(c, std::make_shared<const std::string>(c.value));
  }

  Reply Store(const SetCommand& c, std::shared_ptr<const std::string> value) {
    if (Status s = CheckKey(c.key); !s.ok()) return {.status = std::move(s)};
    if (Status s = CheckTag(c.tag); !s.ok()) return {.status = std::move(s)};
    if (Status s = CheckCost(c.cost); !s.ok()) return {.status = std::move(s)};
    const ModelItem* live = Find(c.key);
    const std::uint64_t version_now = live != nullptr ? live->info.version : 0;
    if ((c.condition == SetCondition::kIfAbsent && live != nullptr) ||
        (c.condition == SetCondition::kIfVersion &&
         version_now != c.version_expected)) {
      return NotApplied(live);
    }
    if (Status s = CheckValueSize(value->size(), disk_.settings); !s.ok()) {
      return {.status = std::move(s)};
    }
    std::optional<Duration> ttl = c.ttl;
    if (!ttl && disk_.settings.default_ttl > Duration::zero()) {
      ttl = disk_.settings.default_ttl;
    }
    ModelItem item{std::move(value), {}};
    item.info.codec = c.codec;
    item.info.expires_at = ExpiryOf(ttl, now_);
    item.info.tag = c.tag;
    item.info.pinned = c.pinned;
    if (c.pinned && PinnedBytes(c.key) + Cost(c.key, item) >
                        disk_.settings.size_limit / 2) {
      return {.status = Status::NoSpace("pinned items hold half of the limit")};
    }
    ++disk_.totals.sets;
    return Put(c.key, std::move(item));
  }

  Reply operator()(const GetCommand& c) {
    if (Status s = CheckKey(c.key); !s.ok()) return {.status = std::move(s)};
    ModelItem* live = Find(c.key);
    if (c.with_value) {
      ++(live != nullptr ? disk_.totals.hits : disk_.totals.misses);
    }
    if (live == nullptr) return {};
    Reply reply;
    reply.applied = true;
    reply.info = live->info;
    if (c.with_value) {
      ++live->info.frequency;
      reply.value = Pin(live->value);
    }
    return reply;
  }

  Reply operator()(const IncrCommand& c) {
    if (Status s = CheckKey(c.key); !s.ok()) return {.status = std::move(s)};
    if (Status s = CheckTag(c.tag); !s.ok()) return {.status = std::move(s)};
    const ModelItem* live = Find(c.key);
    std::int64_t number = c.initial;
    ModelItem item;
    if (live != nullptr) {
      if (live->info.codec != kCodecInt64 || live->value->size() != 8) {
        return {.status = Status::TypeMismatch("not an integer")};
      }
      number = DecodeInt64(*live->value);
      item = *live;
    } else {
      item.info.codec = kCodecInt64;
      item.info.tag = c.tag;
      std::optional<Duration> ttl = c.ttl;
      if (!ttl && disk_.settings.default_ttl > Duration::zero()) {
        ttl = disk_.settings.default_ttl;
      }
      item.info.expires_at = ExpiryOf(ttl, now_);
    }
    if (__builtin_add_overflow(number, c.delta, &number)) {
      return {.status = Status::OutOfRange("the sum does not fit 64 bits")};
    }
    item.value = std::make_shared<const std::string>(EncodeInt64(number));
    Reply reply = Put(c.key, std::move(item));
    reply.integer = number;
    return reply;
  }

  Reply operator()(const TouchCommand& c) {
    if (Status s = CheckKey(c.key); !s.ok()) return {.status = std::move(s)};
    ModelItem* live = Find(c.key);
    if (live == nullptr) return {};
    live->info.expires_at = ExpiryOf(c.ttl, now_);
    Reply reply;
    reply.applied = true;
    reply.info = live->info;
    return reply;
  }

  Reply operator()(const DeleteCommand& c) {
    if (Status s = CheckKey(c.key); !s.ok()) return {.status = std::move(s)};
    const auto found = disk_.items.find(c.key);
    if (found == disk_.items.end()) return {};
    if (!IsLive(found->second)) {
      disk_.items.erase(found);
      ++disk_.totals.expirations;
      return {};
    }
    if (c.version_expected != 0 &&
        c.version_expected != found->second.info.version) {
      return NotApplied(&found->second);
    }
    Reply reply;
    reply.applied = true;
    reply.info = found->second.info;
    if (c.with_value) reply.value = Pin(found->second.value);
    disk_.items.erase(found);
    ++disk_.totals.deletes;
    return reply;
  }

  Reply operator()(const EvictTagCommand& c) {
    if (Status s = CheckTag(c.tag); !s.ok()) return {.status = std::move(s)};
    Settle(now_);
    Reply reply;
    reply.applied = true;
    std::erase_if(disk_.items, [&](const auto& entry) {
      const std::string& tag = entry.second.info.tag;
      if (tag.empty() || tag != c.tag) return false;
      reply.count += IsLive(entry.second) ? 1 : 0;
      return true;
    });
    disk_.totals.evictions += reply.count;
    return reply;
  }

  Reply operator()(const ClearCommand&) {
    Settle(now_);
    Reply reply;
    reply.applied = true;
    reply.count = CountLive();
    disk_.items.clear();
    return reply;
  }

  Reply operator()(const ExpireCommand& c) {
    Settle(c.now.value_or(now_));
    Reply reply;
    reply.applied = true;
    reply.count =
        disk_.totals.expirations -
        std::exchange(disk_.expirations_told, disk_.totals.expirations);
    return reply;
  }

  void Settle(TimePoint now) {
    disk_.totals.expirations += std::erase_if(
        disk_.items,
        [&](const auto& entry) { return entry.second.info.expires_at <= now; });
  }

  Reply operator()(const CullCommand& c) {
    Settle(now_);
    Reply reply;
    reply.applied = true;
    if (!c.live_bytes_target) return reply;
    while (LiveBytes() > *c.live_bytes_target) {
      const auto oldest = std::min_element(
          disk_.items.begin(), disk_.items.end(),
          [](const auto& a, const auto& b) {
            return std::pair(a.second.info.pinned, a.second.info.version) <
                   std::pair(b.second.info.pinned, b.second.info.version);
          });
      if (oldest->second.info.pinned) break;
      disk_.items.erase(oldest);
      ++reply.count;
    }
    disk_.totals.evictions += reply.count;
    return reply;
  }

  [[nodiscard]] bool IsLive(const ModelItem& item) const {
    return item.info.expires_at > now_;
  }
  [[nodiscard]] std::uint64_t CountLive() const {
    return static_cast<std::uint64_t>(
        std::count_if(disk_.items.begin(), disk_.items.end(),
                      [this](const auto& e) { return IsLive(e.second); }));
  }
  [[nodiscard]] std::uint64_t LiveBytes() const {
    std::uint64_t bytes = 0;
    for (const auto& [key, item] : disk_.items) {
      if (IsLive(item)) bytes += Cost(key, item);
    }
    return bytes;
  }
  /// Bytes of live pinned items but for that of `key_left_out`.
  [[nodiscard]] std::uint64_t PinnedBytes(
      std::optional<std::string_view> key_left_out = {}) const {
    std::uint64_t bytes = 0;
    for (const auto& [key, item] : disk_.items) {
      if (IsLive(item) && item.info.pinned && key != key_left_out) {
        bytes += Cost(key, item);
      }
    }
    return bytes;
  }

 private:
  ModelItem* Find(std::string_view key) {
    const auto found = disk_.items.find(key);
    return found != disk_.items.end() && IsLive(found->second) ? &found->second
                                                               : nullptr;
  }

  static Reply NotApplied(const ModelItem* live) {
    Reply reply;
    if (live != nullptr) reply.info = live->info;
    return reply;
  }

  Reply Put(std::string_view key, ModelItem item) {
    item.info.version = ++disk_.version_last;
    item.info.size_bytes = item.value->size();
    item.info.stored_at = now_;
    Reply reply;
    reply.applied = true;
    reply.info = item.info;
    const auto old = disk_.items.find(key);
    if (old != disk_.items.end() && !IsLive(old->second)) {
      ++disk_.totals.expirations;
    }
    disk_.items.insert_or_assign(std::string(key), std::move(item));
    return reply;
  }

  ModelDisk& disk_;
  const TimePoint now_;
};

bool Mutates(const Command& command) {
  return !std::holds_alternative<GetCommand>(command);
}

bool MustBeAlone(const Command& command) {
  return std::holds_alternative<EvictTagCommand>(command) ||
         std::holds_alternative<ClearCommand>(command) ||
         std::holds_alternative<ExpireCommand>(command) ||
         std::holds_alternative<CullCommand>(command);
}

class ModelScan final : public Scan {
 public:
  explicit ModelScan(std::vector<ScanItem> items) : items_(std::move(items)) {}

  Result<std::vector<ScanItem>> Next(std::size_t count_max) noexcept override {
    if (count_max == 0 || count_max > kScanPageCountMax) {
      return Fail(
          Status::InvalidArgument("page of " + std::to_string(count_max)));
    }
    std::vector<ScanItem> page;
    while (page.size() < count_max && next_ < items_.size()) {
      page.push_back(std::move(items_[next_++]));
    }
    return page;
  }

 private:
  std::vector<ScanItem> items_;
  std::size_t next_ = 0;
};

class ModelWriter final : public ValueWriter {
 public:
  ModelWriter(std::shared_ptr<ModelDisk> disk, const Clock* clock,
              const SetCommand& command)
      : disk_(std::move(disk)),
        clock_(clock),
        key_(command.key),
        tag_(command.tag),
        command_(command) {
    command_.key = key_;
    command_.tag = tag_;
  }

  Status Append(std::string_view bytes) noexcept override {
    if (done_) return Status::Closed("the writer has ended");
    const std::lock_guard lock(disk_->mutex);
    Status status =
        CheckValueSize(value_.size() + bytes.size(), disk_->settings);
    done_ = !status.ok();
    if (status.ok()) value_ += bytes;
    return status;
  }

  Reply Commit() noexcept override {
    if (done_) return {.status = Status::Closed("the writer has ended")};
    done_ = true;
    const std::lock_guard lock(disk_->mutex);
    return Executor(*disk_, clock_->Now())
        .Store(command_, std::make_shared<const std::string>(value_));
  }

 private:
  const std::shared_ptr<ModelDisk> disk_;
  const Clock* const clock_;
  const std::string key_;
  const std::string tag_;
  SetCommand command_;
  std::string value_;
  bool done_ = false;
};

class ModelReader final : public ValueReader {
 public:
  explicit ModelReader(ModelItem item) : item_(std::move(item)) {}

  const ItemInfo& info() const noexcept override { return item_.info; }
  Result<std::size_t> Read(std::span<char> buffer) noexcept override {
    const std::size_t size =
        std::min(buffer.size(), item_.value->size() - offset_);
    std::memcpy(buffer.data(), item_.value->data() + offset_, size);
    offset_ += size;
    return size;
  }

 private:
  const ModelItem item_;
  std::size_t offset_ = 0;
};

bool Selected(const ScanOptions& options, std::string_view key,
              const ModelItem& item) {
  return key.substr(0, options.prefix.size()) == options.prefix &&
         (!options.begin || key >= *options.begin) &&
         (!options.end || key < *options.end) &&
         (options.tag.empty() || item.info.tag == options.tag);
}

}  // namespace

ModelEngine::ModelEngine(std::shared_ptr<ModelDisk> disk,
                         const EngineOptions& options)
    : disk_(std::move(disk)),
      clock_(options.clock != nullptr ? options.clock : Clock::System()),
      writable_(options.mode != OpenMode::kReadOnly) {}

Result<std::unique_ptr<Engine>> ModelEngine::Open(
    std::shared_ptr<ModelDisk> disk, const EngineOptions& options) {
  Settings settings = disk->settings;
  for (const auto& [name, value] : options.settings) {
    Result<Settings> changed = WithSetting(settings, name, value);
    if (!changed) return Fail(changed.error());
    settings = *std::move(changed);
  }
  disk->settings = settings;
  return std::unique_ptr<Engine>(new ModelEngine(std::move(disk), options));
}

std::unique_ptr<Engine> ModelEngine::Make(const Clock* clock) {
  EngineOptions options;
  options.clock = clock;
  return std::unique_ptr<Engine>(
      new ModelEngine(std::make_shared<ModelDisk>(), options));
}

Capabilities ModelEngine::capabilities() const noexcept {
  return {.holds_store = true, .writable = writable_, .streams = true};
}

Status ModelEngine::Usable() const {
  return closed_ ? Status::Closed("the engine was closed") : Status();
}

Status ModelEngine::Execute(std::span<const Command> commands,
                            std::span<Reply> replies,
                            const ExecuteOptions& options) noexcept {
  const std::lock_guard lock(disk_->mutex);
  LARDER_RETURN_IF_ERROR(Usable());
  if (commands.size() > kBatchCommandCountMax ||
      replies.size() != commands.size()) {
    return Status::InvalidArgument("batch of " +
                                   std::to_string(commands.size()));
  }
  if (commands.size() > 1 && std::ranges::any_of(commands, MustBeAlone)) {
    return Status::InvalidArgument("a command that must be alone in its call");
  }
  if (!writable_ && std::ranges::any_of(commands, Mutates)) {
    return {StatusCode::kReadOnly, "opened read-only"};
  }
  const TimePoint now = clock_->Now();
  ModelItems before;
  if (options.all_or_nothing) before = disk_->items;
  const std::uint64_t expirations = disk_->totals.expirations;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    replies[i] = std::visit(Executor(*disk_, now), commands[i]);
  }
  if (!options.all_or_nothing) return {};
  const auto failed = std::ranges::find_if(
      replies, [](const Reply& reply) { return !reply.status.ok(); });
  if (failed == replies.end()) return {};
  disk_->items = std::move(before);
  disk_->totals.expirations = expirations;
  return failed->status;
}

Result<std::unique_ptr<Scan>> ModelEngine::OpenScan(
    const ScanOptions& options) noexcept {
  const std::lock_guard lock(disk_->mutex);
  LARDER_FAIL_IF_ERROR(Usable());
  const Executor executor(*disk_, clock_->Now());
  std::vector<ScanItem> items;
  for (const auto& [key, item] : disk_->items) {
    if (!executor.IsLive(item) || !Selected(options, key, item)) continue;
    items.push_back({key, item.info,
                     options.with_values ? Pin(item.value) : ValueHandle()});
  }
  if (options.reverse) std::ranges::reverse(items);
  return std::make_unique<ModelScan>(std::move(items));
}

Result<std::unique_ptr<ValueWriter>> ModelEngine::OpenWriter(
    const SetCommand& command, std::uint64_t size_expected,
    const ExecuteOptions& options) noexcept {
  static_cast<void>(options);
  const std::lock_guard lock(disk_->mutex);
  LARDER_FAIL_IF_ERROR(Usable());
  if (!writable_) {
    return Fail(Status{StatusCode::kReadOnly, "opened read-only"});
  }
  LARDER_FAIL_IF_ERROR(CheckKey(command.key));
  LARDER_FAIL_IF_ERROR(CheckTag(command.tag));
  LARDER_FAIL_IF_ERROR(CheckCost(command.cost));
  LARDER_FAIL_IF_ERROR(CheckValueSize(size_expected, disk_->settings));
  return std::make_unique<ModelWriter>(disk_, clock_, command);
}

Result<std::unique_ptr<ValueReader>> ModelEngine::OpenReader(
    std::string_view key) noexcept {
  const std::lock_guard lock(disk_->mutex);
  LARDER_FAIL_IF_ERROR(Usable());
  LARDER_FAIL_IF_ERROR(CheckKey(key));
  const Executor executor(*disk_, clock_->Now());
  const auto found = disk_->items.find(key);
  if (found == disk_->items.end() || !executor.IsLive(found->second)) {
    ++disk_->totals.misses;
    return std::unique_ptr<ValueReader>();
  }
  ++disk_->totals.hits;
  return std::make_unique<ModelReader>(found->second);
}

Result<std::uint64_t> ModelEngine::Count() noexcept {
  const std::lock_guard lock(disk_->mutex);
  LARDER_FAIL_IF_ERROR(Usable());
  return Executor(*disk_, clock_->Now()).CountLive();
}

Result<EngineStats> ModelEngine::Stats() noexcept {
  const std::lock_guard lock(disk_->mutex);
  LARDER_FAIL_IF_ERROR(Usable());
  Executor executor(*disk_, clock_->Now());
  executor.Settle(clock_->Now());
  EngineStats stats = disk_->totals;
  stats.count = executor.CountLive();
  stats.live_bytes = executor.LiveBytes();
  stats.pinned_bytes = executor.PinnedBytes();
  stats.size_limit = disk_->settings.size_limit;
  stats.policy = disk_->settings.policy;
  return stats;
}

Result<CheckReport> ModelEngine::Check(bool repair) noexcept {
  static_cast<void>(repair);  // The model cannot be damaged.
  const std::lock_guard lock(disk_->mutex);
  LARDER_FAIL_IF_ERROR(Usable());
  const Executor executor(*disk_, clock_->Now());
  CheckReport report;
  report.items_checked = executor.CountLive();
  report.count_ledger = report.count_recount = report.items_checked;
  report.bytes_ledger = report.bytes_recount = executor.LiveBytes();
  report.bytes_checked = report.bytes_recount;
  return report;
}

Settings ModelEngine::CurrentSettings() const noexcept {
  const std::lock_guard lock(disk_->mutex);
  return disk_->settings;
}

std::uint64_t ModelEngine::settings_version() const noexcept {
  const std::lock_guard lock(disk_->mutex);
  return settings_version_;
}

Status ModelEngine::Reset(std::string_view name,
                          std::string_view value) noexcept {
  const std::lock_guard lock(disk_->mutex);
  LARDER_RETURN_IF_ERROR(Usable());
  if (!writable_) return {StatusCode::kReadOnly, "opened read-only"};
  Result<Settings> changed = WithSetting(disk_->settings, name, value);
  if (!changed) return changed.error();
  disk_->settings = *std::move(changed);
  ++settings_version_;
  return {};
}

Status ModelEngine::Sync() noexcept {
  const std::lock_guard lock(disk_->mutex);
  return Usable();
}

Status ModelEngine::Close() noexcept {
  const std::lock_guard lock(disk_->mutex);
  closed_ = true;
  return {};
}

const std::filesystem::path& ModelEngine::directory() const noexcept {
  return directory_;
}

}  // namespace larder::testing
