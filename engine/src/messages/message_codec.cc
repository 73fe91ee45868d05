#include "messages/message_codec.h"

#include <algorithm>
#include <array>

#include "larder/engine/limits.h"

#include "base/check.h"
#include "messages/wire.h"

namespace larder {
namespace {

constexpr std::size_t kSettingCountMax = 1024;
constexpr std::size_t kStatsFieldCountMax = 1024;

Status MalformedMessage(std::string_view what) {
  return Status::Corruption("malformed " + std::string(what) +
                            " from another process");
}

constexpr std::uint8_t kHasBegin = 1;
constexpr std::uint8_t kHasEnd = 2;
constexpr std::uint8_t kReverse = 4;
constexpr std::uint8_t kWithValues = 8;

// The numbers of EngineStats in the order in which they travel. New ones go
// to the end.
using StatsField = std::uint64_t EngineStats::*;
constexpr std::array<StatsField, 25> kStatsFields = {
    &EngineStats::count,
    &EngineStats::live_bytes,
    &EngineStats::pinned_bytes,
    &EngineStats::disk_bytes,
    &EngineStats::size_limit,
    &EngineStats::hits,
    &EngineStats::misses,
    &EngineStats::sets,
    &EngineStats::deletes,
    &EngineStats::evictions,
    &EngineStats::expirations,
    &EngineStats::corruptions,
    &EngineStats::restamps,
    &EngineStats::bytes_written_user,
    &EngineStats::bytes_written_disk,
    &EngineStats::segments,
    &EngineStats::segments_cleaned,
    &EngineStats::bytes_moved,
    &EngineStats::log_live_bytes,
    &EngineStats::log_bytes,
    &EngineStats::eviction_events_dropped,
    &EngineStats::rows_recorded,
    &EngineStats::rows_recorded_dropped,
    &EngineStats::callbacks_failed,
    &EngineStats::held_bytes,
};

using CheckField = std::uint64_t CheckReport::*;
constexpr std::array<CheckField, 10> kCheckFields = {
    &CheckReport::items_checked,       &CheckReport::bytes_checked,
    &CheckReport::values_damaged,      &CheckReport::values_missing,
    &CheckReport::index_entries_stale, &CheckReport::count_ledger,
    &CheckReport::count_recount,       &CheckReport::bytes_ledger,
    &CheckReport::bytes_recount,       &CheckReport::repaired,
};

// A field that is added to one of these has to travel too: each stops
// compiling then.
[[maybe_unused]] void CountFields(ScanOptions& o, EngineStats& s,
                                  CheckReport& r) {
  [[maybe_unused]] auto& [o1, o2, o3, o4, o5, o6] = o;
  [[maybe_unused]] auto& [s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12,
                          s13, s14, s15, s16, s17, s18, s19, s20, s21, s22, s23,
                          s24, s25, s26, s27] = s;
  [[maybe_unused]] auto& [r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12] =
      r;
}

void PutChunks(std::string& out, std::span<const SegmentPlace> chunks) {
  PutVarint(out, chunks.size());
  for (const SegmentPlace& chunk : chunks) {
    PutFixed(out, chunk.segment);
    PutFixed(out, chunk.offset);
    PutFixed(out, chunk.payload_size);
  }
}

std::vector<SegmentPlace> ReadChunks(WireReader& in) {
  std::vector<SegmentPlace> chunks(in.Count(kPlacedChunkCountMax, 12));
  for (SegmentPlace& chunk : chunks) {
    chunk.segment = in.Fixed<std::uint32_t>();
    chunk.offset = in.Fixed<std::uint32_t>();
    chunk.payload_size = in.Fixed<std::uint32_t>();
  }
  return chunks;
}

}  // namespace

void EncodeNumber(std::string& out, std::uint64_t number) {
  PutVarint(out, number);
}

Result<std::uint64_t> DecodeNumber(std::string_view body) noexcept {
  WireReader in(body);
  const std::uint64_t number = in.Varint();
  if (!in.AtEnd()) return Fail(MalformedMessage("number"));
  return number;
}

void EncodeScanOptions(std::string& out, const ScanOptions& options) {
  out.push_back(static_cast<char>((options.begin ? kHasBegin : 0) |
                                  (options.end ? kHasEnd : 0) |
                                  (options.reverse ? kReverse : 0) |
                                  (options.with_values ? kWithValues : 0)));
  PutString(out, options.prefix);
  PutString(out, options.tag);
  if (options.begin) PutString(out, *options.begin);
  if (options.end) PutString(out, *options.end);
}

Result<ScanOptions> DecodeScanOptions(std::string_view body) noexcept {
  WireReader in(body);
  ScanOptions options;
  const std::uint8_t flags =
      in.Flags(kHasBegin | kHasEnd | kReverse | kWithValues);
  options.reverse = (flags & kReverse) != 0;
  options.with_values = (flags & kWithValues) != 0;
  options.prefix = in.String();
  options.tag = in.String();
  if ((flags & kHasBegin) != 0) options.begin = std::string(in.String());
  if ((flags & kHasEnd) != 0) options.end = std::string(in.String());
  if (!in.AtEnd()) return Fail(MalformedMessage("scan options"));
  return options;
}

void EncodeScanNext(std::string& out, const ScanNextRequest& request) {
  PutVarint(out, request.scan);
  PutVarint(out, request.count_max);
}

Result<ScanNextRequest> DecodeScanNext(std::string_view body) noexcept {
  WireReader in(body);
  ScanNextRequest request;
  request.scan = in.Varint();
  request.count_max = in.Varint();
  if (!in.AtEnd() || request.count_max == 0 ||
      request.count_max > kScanPageCountMax) {
    return Fail(MalformedMessage("scan request"));
  }
  return request;
}

void EncodeScanPage(std::string& out, std::span<const ScanItem> items,
                    std::span<const PlacedValue> placed) {
  // A page is a run of successful replies, each with its key before it.
  PutVarint(out, items.size());
  const PlacedValue* next = placed.data();
  const PlacedValue* const end = next + placed.size();
  for (std::size_t i = 0; i < items.size(); ++i) {
    const bool is_placed = next != end && next->index == i;
    PutString(out, items[i].key);
    PutItemInfo(out, items[i].info);
    PutString(out, is_placed ? std::string_view() : items[i].value.bytes());
    PutVarint(out, is_placed ? 1 : 0);
    if (!is_placed) continue;
    PutVarint(out, next->value_size);
    PutVarint(out, next->version);
    PutChunks(out, next->chunks);
    ++next;
  }
  LARDER_ASSERT(next == end);
}

Result<ScanPage> DecodeScanPage(
    const std::shared_ptr<const std::string>& message,
    std::string_view body) noexcept {
  WireReader in(body);
  ScanPage page;
  // An item takes at least its lengths, numbers and times: 23 bytes.
  const std::size_t count = in.Count(kScanPageCountMax, 23);
  page.items.reserve(count);
  for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
    ScanItem item;
    item.key = in.String();
    item.info = ReadItemInfo(in);
    item.value = ShareBytes(message, in.String());
    const std::uint64_t is_placed = in.Varint();
    if (is_placed > 1) in.Refuse();
    if (is_placed == 1) {
      PlacedValue value;
      value.index = i;
      value.value_size = in.Varint();
      value.version = in.Varint();
      value.chunks = ReadChunks(in);
      page.placed.push_back(std::move(value));
    }
    page.items.push_back(std::move(item));
  }
  if (!in.AtEnd()) return Fail(MalformedMessage("scan page"));
  return page;
}

void EncodeStats(std::string& out, const EngineStats& stats) {
  PutVarint(out, kStatsFields.size());
  for (const StatsField field : kStatsFields) PutVarint(out, stats.*field);
  PutString(out, stats.policy);
  PutString(out, stats.policy_running);
}

Result<EngineStats> DecodeStats(std::string_view body) noexcept {
  WireReader in(body);
  EngineStats stats;
  const std::size_t count = in.Count(kStatsFieldCountMax, 1);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t value = in.Varint();
    if (i < kStatsFields.size()) stats.*kStatsFields[i] = value;
  }
  stats.policy = in.String();
  stats.policy_running = in.String();
  if (!in.AtEnd()) return Fail(MalformedMessage("statistics"));
  return stats;
}

void EncodeCheckReport(std::string& out, const CheckReport& report) {
  PutVarint(out, report.counters_match ? 1 : 0);
  for (const CheckField field : kCheckFields) PutVarint(out, report.*field);
  const std::size_t count = std::min(report.problems.size(), kProblemCountMax);
  PutVarint(out, count);
  for (std::size_t i = 0; i < count; ++i) PutString(out, report.problems[i]);
}

Result<CheckReport> DecodeCheckReport(std::string_view body) noexcept {
  WireReader in(body);
  CheckReport report;
  const std::uint64_t counters_match = in.Varint();
  if (counters_match > 1) in.Refuse();
  report.counters_match = counters_match == 1;
  for (const CheckField field : kCheckFields) report.*field = in.Varint();
  const std::size_t count = in.Count(kProblemCountMax, 1);
  for (std::size_t i = 0; i < count && in.ok(); ++i) {
    report.problems.emplace_back(in.String());
  }
  if (!in.AtEnd()) return Fail(MalformedMessage("check report"));
  return report;
}

void EncodeSettings(std::string& out, const SettingList& settings) {
  PutVarint(out, settings.size());
  for (const auto& [name, value] : settings) {
    PutString(out, name);
    PutString(out, value);
  }
}

Result<SettingList> DecodeSettings(std::string_view body) noexcept {
  WireReader in(body);
  SettingList settings;
  const std::size_t count = in.Count(kSettingCountMax, 2);
  for (std::size_t i = 0; i < count && in.ok(); ++i) {
    std::string name(in.String());
    settings.emplace_back(std::move(name), std::string(in.String()));
  }
  if (!in.AtEnd()) return Fail(MalformedMessage("settings"));
  return settings;
}

void EncodeGrantRequest(std::string& out,
                        std::span<const GrantRequest> wanted) {
  LARDER_ASSERT(wanted.size() <= kGrantCountMax);
  PutVarint(out, wanted.size());
  for (const GrantRequest& request : wanted) {
    PutVarint(out, request.key_size);
    PutVarint(out, request.value_size);
  }
}

Result<std::vector<GrantRequest>> DecodeGrantRequest(
    std::string_view body) noexcept {
  WireReader in(body);
  std::vector<GrantRequest> wanted(in.Count(kGrantCountMax, 2));
  for (GrantRequest& request : wanted) {
    request.key_size = in.Varint32();
    request.value_size = in.Varint();
    if (request.key_size > kKeySizeBytesMax ||
        request.value_size > kValueInMemoryBytesMax) {
      in.Refuse();
    }
  }
  if (!in.AtEnd()) return Fail(MalformedMessage("request for space"));
  return wanted;
}

void EncodeGrants(std::string& out, std::span<const Grant> grants) {
  PutVarint(out, grants.size());
  for (const Grant& grant : grants) {
    PutVarint(out, grant.version);
    PutFixed(out, grant.generation);
    PutChunks(out, grant.chunks);
  }
}

Result<std::vector<Grant>> DecodeGrants(std::string_view body) noexcept {
  WireReader in(body);
  std::vector<Grant> grants(in.Count(kGrantCountMax, 10));
  for (Grant& grant : grants) {
    grant.version = in.Varint();
    grant.generation = in.Fixed<std::uint64_t>();
    grant.chunks = ReadChunks(in);
  }
  if (!in.AtEnd()) return Fail(MalformedMessage("grant of space"));
  return grants;
}

void EncodeWriterOpen(std::string& out, const WriterOpenRequest& request) {
  PutVarint(out, request.size_expected);
  SetCommand command = request.command;
  command.value = {};
  const Command commands[] = {command};
  // One command without a value is never too large.
  EncodeCommands(out, commands, {}, request.options).IgnoreError();
}

Result<WriterOpenRequest> DecodeWriterOpen(std::string_view body) noexcept {
  WireReader in(body);
  WriterOpenRequest request;
  request.size_expected = in.Varint();
  if (!in.ok()) return Fail(MalformedMessage("stream"));
  auto commands = DecodeCommands(in.rest());
  if (!commands) return Fail(std::move(commands.error()));
  if (commands->commands.size() != 1 || !commands->placed.empty() ||
      !std::holds_alternative<SetCommand>(commands->commands[0])) {
    return Fail(MalformedMessage("stream"));
  }
  request.command = std::get<SetCommand>(commands->commands[0]);
  request.options = commands->options;
  return request;
}

void EncodeStreamBytes(std::string& out, const StreamBytes& bytes) {
  PutVarint(out, bytes.stream);
  out.append(bytes.bytes);
}

Result<StreamBytes> DecodeStreamBytes(std::string_view body) noexcept {
  WireReader in(body);
  StreamBytes bytes;
  bytes.stream = in.Varint();
  if (!in.ok()) return Fail(MalformedMessage("stream bytes"));
  bytes.bytes = in.rest();
  return bytes;
}

void EncodeReaderOpened(std::string& out, const ReaderOpened& opened) {
  PutVarint(out, opened.stream);
  PutItemInfo(out, opened.info);
}

Result<ReaderOpened> DecodeReaderOpened(std::string_view body) noexcept {
  WireReader in(body);
  ReaderOpened opened;
  opened.stream = in.Varint();
  opened.info = ReadItemInfo(in);
  if (!in.AtEnd()) return Fail(MalformedMessage("stream"));
  return opened;
}

void EncodeReaderRead(std::string& out, const ReaderReadRequest& request) {
  PutVarint(out, request.stream);
  PutVarint(out, request.size_max);
}

Result<ReaderReadRequest> DecodeReaderRead(std::string_view body) noexcept {
  WireReader in(body);
  ReaderReadRequest request;
  request.stream = in.Varint();
  request.size_max = in.Varint();
  if (!in.AtEnd() || request.size_max == 0 ||
      request.size_max > kStreamPieceSize) {
    return Fail(MalformedMessage("read of a stream"));
  }
  return request;
}

void EncodeEvictions(std::string& out, const EvictionNotices& evictions) {
  PutVarint(out, evictions.dropped);
  PutVarint(out, evictions.notices.size());
  for (const EvictionNotice& notice : evictions.notices) {
    PutString(out, notice.key);
    PutVarint(out, notice.size_bytes);
    out.push_back(static_cast<char>(notice.reason));
  }
}

Result<EvictionNotices> DecodeEvictions(std::string_view body) noexcept {
  constexpr std::uint8_t kReasonEnd = 3;
  WireReader in(body);
  EvictionNotices evictions;
  evictions.dropped = in.Varint();
  evictions.notices.resize(in.Count(EvictionBoard::kNoticeCountMax, 3));
  for (EvictionNotice& notice : evictions.notices) {
    notice.key = in.String();
    notice.size_bytes = in.Varint();
    notice.reason = static_cast<EvictionReason>(in.Enumerator(kReasonEnd));
  }
  if (!in.AtEnd()) return Fail(MalformedMessage("evictions"));
  return evictions;
}

}  // namespace larder
