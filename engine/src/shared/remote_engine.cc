#include "shared/remote_engine.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "larder/engine/limits.h"

#include "base/check.h"
#include "base/coding.h"
#include "base/stored_setting.h"
#include "base/text_units.h"
#include "messages/message_codec.h"
#include "messages/session_store.h"
#include "policy/running_policy.h"
#include "shared/remote_stream.h"

namespace larder {
namespace {

// A single value from this size goes piece by piece.
constexpr std::size_t kStreamValueMin = 8U << 20;
// Scans and streams that could not be closed at once; more stay with the lane.
constexpr std::size_t kLeftMax = 1024;

bool IsWholeCache(const Command& command) {
  return std::holds_alternative<EvictTagCommand>(command) ||
         std::holds_alternative<ClearCommand>(command) ||
         std::holds_alternative<ExpireCommand>(command) ||
         std::holds_alternative<CullCommand>(command);
}

std::string BodyOf(std::uint64_t number) {
  std::string body;
  EncodeNumber(body, number);
  return body;
}

}  // namespace

Result<RemoteAnswer> RemoteCaller::Ask(MessageKind kind, std::string_view body,
                                       Patience patience, Effect effect,
                                       ClientChannel::Lease* lease) noexcept {
  std::string message;
  message.reserve(body.size() + 4);
  PutMessageHead(message, kind);
  message += body;
  const auto timeout = patience == Patience::kLong    ? options_.long_timeout
                       : patience == Patience::kShort ? options_.short_timeout
                                                      : options_.timeout;
  auto reply =
      channel_.Call(message, std::chrono::steady_clock::now() + timeout,
                    options_.run_here, effect, lease);
  if (!reply) return Fail(std::move(reply.error()));
  auto bytes = std::make_shared<const std::string>(std::move(*reply));
  auto decoded = DecodeOutcome(*bytes);
  if (!decoded) return Fail(std::move(decoded.error()));
  return RemoteAnswer{std::move(bytes), *decoded};
}

void RemoteCaller::CloseHandle(MessageKind kind,
                               std::uint64_t number) noexcept {
  if (TryClose({kind, number})) return;
  const std::lock_guard lock(left_mutex_);
  if (left_.size() >= kLeftMax) return;
  left_.push_back({kind, number});
  any_left_ = true;
}

bool RemoteCaller::TryClose(const Left& handle) noexcept {
  const auto answer = Ask(handle.kind, BodyOf(handle.number), Patience::kShort);
  if (answer) return true;
  switch (answer.error().code()) {
    case StatusCode::kTimedOut:
    case StatusCode::kHolderNotResponding:
    case StatusCode::kSeatUnavailable:
    case StatusCode::kAborted:
      return false;
    default:  // Nobody has it open any more.
      return true;
  }
}

void RemoteCaller::CloseLeft() noexcept {
  if (!any_left_.load(std::memory_order_relaxed)) return;
  std::vector<Left> left;
  {
    const std::lock_guard lock(left_mutex_);
    left.swap(left_);
    any_left_ = false;
  }
  while (!left.empty() && TryClose(left.back())) left.pop_back();
  if (left.empty()) return;
  const std::lock_guard lock(left_mutex_);
  left_.insert(left_.end(), left.begin(), left.end());
  any_left_ = true;
}

RemoteEngine::RemoteEngine(Seat& seat, ClientChannel& channel,
                           RemoteCaller::Options options) noexcept
    : seat_(seat),
      caller_(std::make_shared<RemoteCaller>(channel, std::move(options))),
      places_(seat.anchor()) {}

Result<ValueHandle> RemoteEngine::ReadPlaced(
    std::string_view key, std::uint64_t version,
    const SegmentPlace& place) noexcept {
  return places_.Read(key, version, place, verify_reads(), read_mode());
}

std::size_t RemoteEngine::ReadAheadPlaced(
    std::span<WantedRecord> wanted) noexcept {
  return places_.ReadAhead(wanted, read_mode());
}

Result<EvictionNotices> RemoteEngine::TakeEvictions(
    std::uint64_t subscriber) noexcept {
  const auto answer = caller_->Ask(MessageKind::kEvictions, BodyOf(subscriber),
                                   RemoteCaller::Patience::kShort);
  if (!answer) return Fail(answer.error());
  return DecodeEvictions(answer->body);
}

VerifyReads RemoteEngine::verify_reads() const noexcept {
  // Acquire pairs with the release below. Unknown: the stricter one.
  return verify_settings_.load(std::memory_order_acquire) == settings_version()
             ? verify_reads_.load(std::memory_order_relaxed)
             : VerifyReads::kAlways;
}

ReadMode RemoteEngine::read_mode() const noexcept {
  // Relaxed: it orders nothing. Whatever it says, one of the two.
  return seat_.main().read_mode.load(std::memory_order_relaxed) ==
                 static_cast<std::uint64_t>(ReadMode::kMap)
             ? ReadMode::kMap
             : ReadMode::kPread;
}

void RemoteEngine::RefreshVerifyReads() noexcept {
  const std::uint64_t version = settings_version();
  if (verify_settings_.load(std::memory_order_relaxed) == version) return;
  verify_reads_.store(CurrentSettings().verify_reads,
                      std::memory_order_relaxed);
  verify_settings_.store(version, std::memory_order_release);
}

Capabilities RemoteEngine::capabilities() const noexcept {
  return {.holds_store = false, .writable = true, .streams = true};
}

Status RemoteEngine::CheckOpen() const noexcept {
  if (!closed_.load(std::memory_order_relaxed)) return {};
  return Status::Closed("the cache was closed");
}

Status RemoteEngine::Execute(std::span<const Command> commands,
                             std::span<Reply> replies,
                             const ExecuteOptions& options) noexcept {
  LARDER_RETURN_IF_ERROR(CheckOpen());
  LARDER_ASSERT(commands.size() == replies.size());
  if (commands.size() > kBatchCommandCountMax) {
    return Status::InvalidArgument(std::to_string(commands.size()) +
                                   " commands in one call, at most " +
                                   std::to_string(kBatchCommandCountMax));
  }
  ReplyOffer::Clear(replies);
  if (commands.size() == 1) {
    auto status = SetInPlace(commands[0], ReplyOffer(replies), options);
    if (!status) {
      status = GetInPlace(commands[0], ReplyOffer(replies), options);
    }
    if (status) return *std::move(status);
    const auto* pop = std::get_if<DeleteCommand>(&commands[0]);
    if (pop != nullptr && pop->with_value) {
      return Pop(*pop, ReplyOffer(replies), options);
    }
    const auto* set = std::get_if<SetCommand>(&commands[0]);
    if (set != nullptr && set->value.size() >= kStreamValueMin) {
      return ExecuteLarge(*set, replies[0], options);
    }
  }
  const bool is_long =
      std::any_of(commands.begin(), commands.end(), IsWholeCache);
  auto decoded = AskFor(
      commands, replies,
      is_long ? RemoteCaller::Patience::kLong : RemoteCaller::Patience::kNormal,
      options);
  if (!decoded) return std::move(decoded.error());
  return std::move(decoded->status);
}

std::optional<Status> RemoteEngine::SetInPlace(
    const Command& command, ReplyOffer offer,
    const ExecuteOptions& options) noexcept {
  const auto* set = std::get_if<SetCommand>(&command);
  // One that may not be stored is not worth writing.
  if (set == nullptr || set->value.size() < kPlacedValueSizeMin ||
      set->condition != SetCondition::kAlways) {
    return std::nullopt;
  }
  std::string body;
  const GrantRequest wanted[] = {
      {.key_size = static_cast<std::uint32_t>(set->key.size()),
       .value_size = set->value.size()}};
  EncodeGrantRequest(body, wanted);
  // Space is granted to a lane.
  ClientChannel::Lease lease;
  const auto granted = AskForGrant(body, lease);
  if (!granted) return std::nullopt;
  const auto grants = DecodeGrants(granted->body);
  if (!grants || grants->size() != 1) return std::nullopt;
  const Grant& grant = (*grants)[0];
  body.clear();
  if (!places_.Write(*set, grant, seat_.main().log_generation).ok()) {
    EncodeGrants(body, *grants);
    // If it does not get there, the grant ends a few seconds later.
    static_cast<void>(caller_->Ask(MessageKind::kGrantDrop, body,
                                   RemoteCaller::Patience::kNormal,
                                   RemoteCaller::Effect::kNone, &lease));
    return std::nullopt;
  }
  const PlacedValue placed[] = {{.value_size = set->value.size(),
                                 .version = grant.version,
                                 .chunks = grant.chunks}};
  SetCommand elsewhere = *set;  // Its bytes are in the file.
  elsewhere.value = {};
  const Command message = elsewhere;
  if (!EncodeCommands(body, {&message, 1}, placed, options).ok()) {
    return std::nullopt;
  }
  auto answer =
      caller_->Ask(MessageKind::kExecute, body, RemoteCaller::Patience::kNormal,
                   RemoteCaller::Effect::kChange, &lease);
  if (!answer) return std::move(answer.error());
  auto decoded = DecodeReplies(answer->bytes, answer->body, {&offer[0], 1});
  if (!decoded) return std::move(decoded.error());
  // The holder has changed, or does not find the value there.
  if (decoded->status.code() == StatusCode::kGone ||
      decoded->status.code() == StatusCode::kCorruption) {
    return std::nullopt;
  }
  offer.Accept();
  return std::move(decoded->status);
}

Result<RemoteAnswer> RemoteEngine::AskForGrant(
    std::string_view body, ClientChannel::Lease& lease) noexcept {
  constexpr auto kPause = std::chrono::milliseconds(2);
  const auto until = std::chrono::steady_clock::now() + caller_->timeout();
  for (;;) {
    auto granted =
        caller_->Ask(MessageKind::kGrant, body, RemoteCaller::Patience::kNormal,
                     RemoteCaller::Effect::kNone, &lease);
    if (granted || granted.error().code() != StatusCode::kAborted ||
        std::chrono::steady_clock::now() >= until) {
      return granted;
    }
    lease.End();
    std::this_thread::sleep_for(kPause);
  }
}

std::optional<Status> RemoteEngine::GetInPlace(
    const Command& command, ReplyOffer offer,
    const ExecuteOptions& options) noexcept {
  const auto* get = std::get_if<GetCommand>(&command);
  if (get == nullptr || !get->with_value) return std::nullopt;
  std::string body;
  LARDER_RETURN_IF_ERROR(EncodeCommands(body, {&command, 1}, {}, options));
  auto answer = caller_->Ask(MessageKind::kExecutePlaced, body);
  if (!answer) return std::move(answer.error());
  auto decoded = DecodeReplies(answer->bytes, answer->body, {&offer[0], 1});
  if (!decoded) return std::move(decoded.error());
  if (!decoded->placed.empty()) {
    RefreshVerifyReads();
    auto value =
        places_.Read(get->key, decoded->placed[0], verify_reads(), read_mode());
    if (!value) return std::nullopt;
    offer[0].value = std::move(*value);
  }
  offer.Accept();
  return std::move(decoded->status);
}

Result<DecodedReplies> RemoteEngine::AskFor(
    std::span<const Command> commands, std::span<Reply> replies,
    RemoteCaller::Patience patience, const ExecuteOptions& options) noexcept {
  std::string body;
  LARDER_FAIL_IF_ERROR(EncodeCommands(body, commands, {}, options));
  auto answer =
      caller_->Ask(MessageKind::kExecute, body, patience,
                   std::any_of(commands.begin(), commands.end(), IsMutation)
                       ? RemoteCaller::Effect::kChange
                       : RemoteCaller::Effect::kNone);
  if (!answer) return Fail(std::move(answer.error()));
  return DecodeReplies(answer->bytes, answer->body, replies);
}

Status RemoteEngine::Pop(const DeleteCommand& command, ReplyOffer offer,
                         const ExecuteOptions& options) noexcept {
  const Command pop = command;
  for (;;) {
    auto popped = AskFor({&pop, 1}, {&offer[0], 1},
                         RemoteCaller::Patience::kNormal, options);
    if (!popped) return std::move(popped.error());
    if (popped->placed.empty()) {
      offer.Accept();
      return std::move(popped->status);
    }
    const PlacedValue& placed = popped->placed[0];
    auto value = ReadUnpopped(command.key, placed, options);
    if (!value) return std::move(value.error());
    if (!*value) continue;
    const Command erase =
        DeleteCommand{.key = command.key, .version_expected = placed.version};
    Reply erased;
    auto deleted = AskFor({&erase, 1}, {&erased, 1},
                          RemoteCaller::Patience::kNormal, options);
    if (!deleted) return std::move(deleted.error());
    // Else somebody was faster: each time around it is another value.
    if (!erased.applied && erased.status.ok() && deleted->status.ok()) continue;
    offer[0].status = erased.status;
    offer[0].applied = erased.applied;
    if (erased.applied) offer[0].value = *std::move(*value);
    offer.Accept();
    return std::move(deleted->status);
  }
}

Result<std::optional<ValueHandle>> RemoteEngine::ReadUnpopped(
    std::string_view key, const PlacedValue& placed,
    const ExecuteOptions& options) noexcept {
  using Value = std::optional<ValueHandle>;
  RefreshVerifyReads();
  if (!placed.chunks.empty() && placed.value_size <= kValueInMemoryBytesMax) {
    auto value = places_.Read(key, placed, verify_reads(), read_mode());
    if (value) return Value(*std::move(value));
  }
  // It has moved, is not in a segment, or is damaged, which the holder sees to.
  const Command get = GetCommand{.key = key};
  Reply got;
  auto decoded =
      AskFor({&get, 1}, {&got, 1}, RemoteCaller::Patience::kNormal, options);
  if (!decoded) return Fail(std::move(decoded.error()));
  LARDER_FAIL_IF_ERROR(decoded->status);
  LARDER_FAIL_IF_ERROR(got.status);
  if (!got.applied || got.info.version != placed.version) return Value();
  return Value(std::move(got.value));
}

// A value that is too large for one message.
Status RemoteEngine::ExecuteLarge(const SetCommand& command, Reply& reply,
                                  const ExecuteOptions& options) noexcept {
  reply = Reply();
  auto writer = OpenWriter(command, command.value.size(), options);
  if (!writer) {
    reply.status = std::move(writer.error());
    return options.all_or_nothing ? reply.status : Status();
  }
  reply.status = (*writer)->Append(command.value);
  if (reply.status.ok()) reply = (*writer)->Commit();
  return options.all_or_nothing ? reply.status : Status();
}

Result<std::unique_ptr<Scan>> RemoteEngine::OpenScan(
    const ScanOptions& options) noexcept {
  LARDER_FAIL_IF_ERROR(CheckOpen());
  std::string body;
  EncodeScanOptions(body, options);
  const auto answer = caller_->Ask(MessageKind::kScanOpen, body);
  if (!answer) return Fail(answer.error());
  const auto number = DecodeNumber(answer->body);
  if (!number) return Fail(number.error());
  return MakeRemoteScan(caller_, *number);
}

Result<std::unique_ptr<ValueWriter>> RemoteEngine::OpenWriter(
    const SetCommand& command, std::uint64_t size_expected,
    const ExecuteOptions& options) noexcept {
  LARDER_FAIL_IF_ERROR(CheckOpen());
  std::string body;
  EncodeWriterOpen(body, {command, size_expected, options});
  const auto answer = caller_->Ask(MessageKind::kWriterOpen, body);
  if (!answer) return Fail(answer.error());
  const auto number = DecodeNumber(answer->body);
  if (!number) return Fail(number.error());
  return MakeRemoteWriter(caller_, *number);
}

Result<std::unique_ptr<ValueReader>> RemoteEngine::OpenReader(
    std::string_view key) noexcept {
  LARDER_FAIL_IF_ERROR(CheckOpen());
  const auto answer = caller_->Ask(MessageKind::kReaderOpen, key);
  if (!answer) return Fail(answer.error());
  auto opened = DecodeReaderOpened(answer->body);
  if (!opened) return Fail(std::move(opened.error()));
  if (opened->stream == 0) return nullptr;
  return MakeRemoteReader(caller_, opened->stream, std::move(opened->info));
}

Result<std::uint64_t> RemoteEngine::Count() noexcept {
  LARDER_FAIL_IF_ERROR(CheckOpen());
  const auto answer = caller_->Ask(MessageKind::kCount, {});
  if (!answer) return Fail(answer.error());
  return DecodeNumber(answer->body);
}

Result<EngineStats> RemoteEngine::Stats() noexcept {
  LARDER_FAIL_IF_ERROR(CheckOpen());
  const auto answer = caller_->Ask(MessageKind::kStats, {});
  if (!answer) return Fail(answer.error());
  return DecodeStats(answer->body);
}

Result<CheckReport> RemoteEngine::Check(bool repair) noexcept {
  LARDER_FAIL_IF_ERROR(CheckOpen());
  const auto answer = caller_->Ask(MessageKind::kCheck, BodyOf(repair ? 1 : 0),
                                   RemoteCaller::Patience::kLong);
  if (!answer) return Fail(answer.error());
  return DecodeCheckReport(answer->body);
}

Result<Settings> RemoteEngine::AskSettings(
    std::uint64_t& version) const noexcept {
  const auto answer = caller_->Ask(MessageKind::kSettings, {});
  if (!answer) return Fail(answer.error());
  ByteReader in(answer->body);
  version = in.Varint();
  const auto list = DecodeSettings(in.rest());
  if (!list) return Fail(list.error());
  Settings settings;
  for (const auto& [name, value] : *list) {
    auto changed = WithStoredSetting(settings, name, value);
    // A holder of another version may have settings that we do not know.
    if (changed) settings = std::move(*changed);
  }
  return settings;
}

Settings RemoteEngine::CurrentSettings() const noexcept {
  const std::uint64_t published = settings_version();
  {
    const std::lock_guard lock(settings_mutex_);
    if (published != 0 && settings_known_ == published) return settings_;
  }
  std::uint64_t version = 0;
  auto asked = AskSettings(version);
  const std::lock_guard lock(settings_mutex_);
  if (!asked) return settings_;
  settings_ = std::move(*asked);
  // What was published before the question was asked may be older than the
  // answer, never newer: at worst it is asked again.
  settings_known_ = published;
  return settings_;
}

std::uint64_t RemoteEngine::settings_version() const noexcept {
  // Acquire: the settings asked for afterwards are at least as new.
  return seat_.main().settings_version.load(std::memory_order_acquire);
}

Status RemoteEngine::Reset(std::string_view name,
                           std::string_view value) noexcept {
  LARDER_RETURN_IF_ERROR(CheckOpen());
  std::string body;
  EncodeSettings(body, {{std::string(name), std::string(value)}});
  // The holder may lack a policy that this process can run.
  const bool vouch =
      name == "policy" && IsPolicyRegistered(internal::TrimSpaces(value));
  const auto answer = caller_->Ask(
      vouch ? MessageKind::kResetPolicy : MessageKind::kReset, body,
      RemoteCaller::Patience::kLong, RemoteCaller::Effect::kChange);
  return answer ? Status() : answer.error();
}

Status RemoteEngine::Sync() noexcept {
  LARDER_RETURN_IF_ERROR(CheckOpen());
  const auto answer =
      caller_->Ask(MessageKind::kSync, {}, RemoteCaller::Patience::kLong);
  return answer ? Status() : answer.error();
}

Status RemoteEngine::Close() noexcept {
  closed_.store(true, std::memory_order_relaxed);
  return {};
}

}  // namespace larder
