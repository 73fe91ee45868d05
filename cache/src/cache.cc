#include "larder/cache/cache.h"

#include <limits>
#include <string>
#include <utility>

#include "cache_temporary_directory.h"
#include "commands.h"
#include "compression_choice.h"
#include "decompressing.h"

// The facade: each call builds commands on the stack, has the engine execute
// them and maps the replies. It keeps no state of its own but the choice of
// compression, so a cache is as thread-safe as its engine.
//
// Invariants:
// 1. What is stored with kCodecIdCompressedFlag is a frame of compression.h;
//    no frame leaves through the facade but through engine() and Inspect.
// 2. A value of codec int64 is never compressed, as the engine's Incr reads
//    it.

namespace larder {

using internal::CheckKey;
using internal::CompressCommand;
using internal::MakeSet;

namespace {

/// The answer to a command that gives a value.
Result<std::optional<Value>> ToValue(Reply reply) noexcept {
  Result<std::optional<Value>> value;
  if (!reply.status.ok()) {
    value = Fail(std::move(reply.status));
  } else if (reply.applied) {
    Value& found = value->emplace();
    found.handle = std::move(reply.value);
    found.info = std::move(reply.info);
  }
  return value;
}

/// Puts the original in the place of a compressed value.
void Decompress(Result<std::optional<Value>>& value) noexcept {
  if (!value || !*value || !IsCompressed((*value)->info.codec)) return;
  Status status = internal::DecompressInPlace((*value)->handle, (*value)->info);
  if (!status.ok()) value = Fail(std::move(status));
}

}  // namespace

Cache::Cache(std::unique_ptr<Engine> engine) noexcept
    : engine_(std::move(engine)),
      compression_(std::make_unique<CompressionChoice>(*engine_)) {}

std::unique_ptr<Cache> Cache::OnEngine(
    std::unique_ptr<Engine> engine) noexcept {
  return std::unique_ptr<Cache>(new Cache(std::move(engine)));
}

Cache::~Cache() {
  Close().IgnoreError();  // Closed before, or nobody is left to be told.
}

Status Cache::Close() noexcept {
  Status status = engine_->Close();
  if (status.code() != StatusCode::kDeadlock && temporary_ != nullptr) {
    temporary_->Remove();
  }
  return status;
}

Reply Cache::Execute(std::string_view key, const Command& command,
                     std::optional<Durability> durability) noexcept {
  Reply reply;
  if (Status status = CheckKey(key); !status.ok()) [[unlikely]] {
    reply.status = std::move(status);
    return reply;
  }
  Status status =
      engine_->Execute({&command, 1}, {&reply, 1}, {.durability = durability});
  if (!status.ok()) [[unlikely]] {
    reply.status = std::move(status);
  }
  return reply;
}

// Single items ---------------------------------------------------------------

Reply Cache::Store(SetCommand command,
                   std::optional<Durability> durability) noexcept {
  std::optional<std::string> frame;
  const Compression compression = compression_->For(command.value.size());
  if (compression != Compression::kNone) {
    CompressCommand(compression, command, frame);
  }
  return Execute(command.key, command, durability);
}

Status Cache::Set(std::string_view key, std::string_view value,
                  const SetOptions& options) noexcept {
  return SetEncoded(key, value, kCodecIdBytes, options);
}

Status Cache::SetEncoded(std::string_view key, std::string_view bytes,
                         CodecId codec, const SetOptions& options) noexcept {
  return Store(MakeSet(key, bytes, codec, options), options.durability).status;
}

Result<bool> Cache::Add(std::string_view key, std::string_view value,
                        const SetOptions& options) noexcept {
  return AddEncoded(key, value, kCodecIdBytes, options);
}

Result<bool> Cache::AddEncoded(std::string_view key, std::string_view bytes,
                               CodecId codec,
                               const SetOptions& options) noexcept {
  SetCommand command = MakeSet(key, bytes, codec, options);
  command.condition = SetCondition::kIfAbsent;
  Reply reply = Store(command, options.durability);
  if (!reply.status.ok()) return Fail(std::move(reply.status));
  return reply.applied;
}

Result<std::optional<std::uint64_t>> Cache::CompareAndSet(
    std::string_view key, std::uint64_t version, std::string_view value,
    const SetOptions& options) noexcept {
  return CompareAndSetEncoded(key, version, value, kCodecIdBytes, options);
}

Result<std::optional<std::uint64_t>> Cache::CompareAndSetEncoded(
    std::string_view key, std::uint64_t version, std::string_view bytes,
    CodecId codec, const SetOptions& options) noexcept {
  SetCommand command = MakeSet(key, bytes, codec, options);
  command.condition = SetCondition::kIfVersion;
  command.version_expected = version;
  Reply reply = Store(command, options.durability);
  if (!reply.status.ok()) return Fail(std::move(reply.status));
  if (!reply.applied) return std::optional<std::uint64_t>();
  return std::optional(reply.info.version);
}

Result<std::optional<Value>> Cache::GetStored(std::string_view key) noexcept {
  return ToValue(Execute(key, GetCommand{.key = key}));
}

Result<std::optional<Value>> Cache::Get(std::string_view key) noexcept {
  Result<std::optional<Value>> value = GetStored(key);
  Decompress(value);
  return value;
}

Result<std::optional<Value>> Cache::PopStored(std::string_view key) noexcept {
  return ToValue(Execute(key, DeleteCommand{.key = key, .with_value = true}));
}

Result<std::optional<Value>> Cache::Pop(std::string_view key) noexcept {
  Result<std::optional<Value>> value = PopStored(key);
  Decompress(value);
  return value;
}

Result<std::int64_t> Cache::Incr(std::string_view key, std::int64_t delta,
                                 std::int64_t initial,
                                 const SetOptions& options) noexcept {
  Reply reply = Execute(key,
                        IncrCommand{.key = key,
                                    .delta = delta,
                                    .initial = initial,
                                    .ttl = options.ttl,
                                    .tag = options.tag},
                        options.durability);
  if (!reply.status.ok()) return Fail(std::move(reply.status));
  return reply.integer;
}

Result<std::int64_t> Cache::Decr(std::string_view key, std::int64_t delta,
                                 std::int64_t initial,
                                 const SetOptions& options) noexcept {
  if (delta == std::numeric_limits<std::int64_t>::min()) {
    return Fail(Status::OutOfRange("decrement by the smallest integer"));
  }
  return Incr(key, -delta, initial, options);
}

Result<bool> Cache::IsApplied(std::string_view key,
                              const Command& command) noexcept {
  Reply reply = Execute(key, command);
  if (!reply.status.ok()) return Fail(std::move(reply.status));
  return reply.applied;
}

Result<bool> Cache::Touch(std::string_view key,
                          std::optional<Duration> ttl) noexcept {
  return IsApplied(key, TouchCommand{.key = key, .ttl = ttl});
}

Result<bool> Cache::Delete(std::string_view key) noexcept {
  return IsApplied(key, DeleteCommand{.key = key});
}

Result<bool> Cache::Contains(std::string_view key) noexcept {
  return IsApplied(key, GetCommand{.key = key, .with_value = false});
}

Result<std::optional<ItemInfo>> Cache::Inspect(std::string_view key) noexcept {
  Reply reply = Execute(key, GetCommand{.key = key, .with_value = false});
  if (!reply.status.ok()) return Fail(std::move(reply.status));
  if (!reply.applied) return std::optional<ItemInfo>();
  return std::optional<ItemInfo>(std::move(reply.info));
}

// Streams and scans ----------------------------------------------------------

Result<std::unique_ptr<ValueWriter>> Cache::OpenWriter(
    std::string_view key, const SetOptions& options,
    std::uint64_t size_expected) noexcept {
  LARDER_FAIL_IF_ERROR(CheckKey(key));
  return engine_->OpenWriter(MakeSet(key, {}, kCodecIdBytes, options),
                             size_expected, {.durability = options.durability});
}

Result<std::unique_ptr<ValueReader>> Cache::OpenReader(
    std::string_view key) noexcept {
  LARDER_FAIL_IF_ERROR(CheckKey(key));
  Result<std::unique_ptr<ValueReader>> reader = engine_->OpenReader(key);
  if (!reader || *reader == nullptr || !IsCompressed((*reader)->info().codec)) {
    return reader;
  }
  return internal::DecompressingReader(**reader);
}

Result<std::unique_ptr<Scan>> Cache::OpenScan(
    const ScanOptions& options) noexcept {
  Result<std::unique_ptr<Scan>> scan = engine_->OpenScan(options);
  if (!scan || !options.with_values) return scan;
  return internal::DecompressingScan(*std::move(scan));
}

Result<std::optional<ScanItem>> Cache::FirstOf(
    const ScanOptions& options) noexcept {
  const Result<std::unique_ptr<Scan>> scan = OpenScan(options);
  if (!scan) return Fail(scan.error());
  Result<std::vector<ScanItem>> page = (*scan)->Next(1);
  if (!page) return Fail(page.error());
  if (page->empty()) return std::optional<ScanItem>();
  return std::optional<ScanItem>(std::move(page->front()));
}

Result<std::optional<ScanItem>> Cache::First() noexcept {
  return FirstOf({.with_values = true});
}

Result<std::optional<ScanItem>> Cache::Last() noexcept {
  return FirstOf({.reverse = true, .with_values = true});
}

// The whole cache ------------------------------------------------------------

Result<std::uint64_t> Cache::ExecuteForCount(const Command& command) noexcept {
  Reply reply = Execute({}, command);
  if (!reply.status.ok()) return Fail(std::move(reply.status));
  return reply.count;
}

Result<std::uint64_t> Cache::Count() noexcept { return engine_->Count(); }

Result<std::uint64_t> Cache::Evict(std::string_view tag) noexcept {
  return ExecuteForCount(EvictTagCommand{.tag = tag});
}

Result<std::uint64_t> Cache::Expire(std::optional<TimePoint> now) noexcept {
  return ExecuteForCount(ExpireCommand{.now = now});
}

Result<std::uint64_t> Cache::Cull(
    std::optional<std::uint64_t> live_bytes_target) noexcept {
  return ExecuteForCount(CullCommand{.live_bytes_target = live_bytes_target});
}

Result<std::uint64_t> Cache::Clear() noexcept {
  return ExecuteForCount(ClearCommand{});
}

Result<EngineStats> Cache::Stats() noexcept { return engine_->Stats(); }

Result<CheckReport> Cache::Check(bool repair) noexcept {
  return engine_->Check(repair);
}

Settings Cache::CurrentSettings() const noexcept {
  return engine_->CurrentSettings();
}

Status Cache::Reset(std::string_view name, std::string_view value) noexcept {
  return engine_->Reset(name, value);
}

Status Cache::Sync() noexcept { return engine_->Sync(); }

const std::filesystem::path& Cache::directory() const noexcept {
  return engine_->directory();
}

}  // namespace larder
