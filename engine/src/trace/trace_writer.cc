#include "trace/trace_writer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <random>
#include <utility>

#include <xxhash.h>

#include "os/start_thread.h"

// Rows are formatted by the recording threads into a block under one mutex; a
// full block goes to a queue that the writer's thread empties.
//
// Invariants:
// 1. Rows are whole and in the order in which they were recorded, but for
//    misses that nothing filled, which come late, with their own times.
// 2. Memory is bounded: kQueueBlockCountMax + 2 blocks and
//    kPendingMissCountMax misses. A miss whose place in the table is taken by
//    another is written as unfilled.

namespace larder {
namespace {

constexpr std::string_view kHeader = "time_ms,key,size,op,ttl_s\n";

constexpr std::string_view kGetText = "get";
constexpr std::string_view kSetText = "set";
constexpr std::string_view kDeleteText = "delete";

void AppendNumber(std::string& text, std::uint64_t number) {
  std::array<char, 20> digits;
  const auto end =
      std::to_chars(digits.data(), digits.data() + digits.size(), number);
  text.append(digits.data(), end.ptr);
}

void AppendHex(std::string& text, std::uint64_t number, int digit_count) {
  for (int shift = 4 * (digit_count - 1); shift >= 0; shift -= 4) {
    text += "0123456789abcdef"[number >> shift & 15];
  }
}

bool IsPlain(char c) noexcept {
  return c > 0x20 && c < 0x7F && c != ',' && c != '"' && c != '%';
}

}  // namespace

Result<std::unique_ptr<TraceWriter>> TraceWriter::Open(
    const std::string& path, TraceWriterOptions options) {
  Result<std::unique_ptr<TraceSink>> sink = OpenTraceSink(path);
  if (!sink) return Fail(std::move(sink.error()));
  if (options.clock == nullptr) options.clock = Clock::System();
  if (options.hash_seed == 0) {
    std::random_device device;
    options.hash_seed = (std::uint64_t{device()} << 32) | device();
  }
  std::unique_ptr<TraceWriter> writer(
      new TraceWriter(std::move(*sink), options));
  auto thread = StartThread([raw = writer.get()] { raw->WriteBlocks(); });
  if (!thread) {
    writer->closed_ = true;  // Nobody else knows it.
    return Fail(std::move(thread.error()));
  }
  writer->thread_ = *std::move(thread);
  return writer;
}

TraceWriter::TraceWriter(std::unique_ptr<TraceSink> sink,
                         TraceWriterOptions options)
    : options_(options),
      hash_max_(options.key_share < 1.0
                    ? static_cast<std::uint64_t>(
                          options.key_share *
                          static_cast<double>(std::uint64_t{1} << 63)) *
                          2
                    : ~std::uint64_t{0}),
      sink_(std::move(sink)),
      pending_(kPendingMissCountMax) {
  block_.text.reserve(kBlockSizeBytes);
  block_.text = kHeader;
}

TraceWriter::~TraceWriter() {
  Close().IgnoreError();  // Whoever cares calls Close.
}

std::uint64_t TraceWriter::NowMs() noexcept {
  const std::int64_t now =
      std::chrono::duration_cast<std::chrono::milliseconds>(
          options_.clock->Now().time_since_epoch())
          .count();
  if (start_ms_ < 0) start_ms_ = std::max<std::int64_t>(now, 0);
  return static_cast<std::uint64_t>(std::max(now, start_ms_) - start_ms_);
}

std::uint64_t TraceWriter::HashOf(std::string_view key) const noexcept {
  return XXH3_64bits_withSeed(key.data(), key.size(), options_.hash_seed);
}

std::string TraceWriter::KeyText(std::string_view key,
                                 std::uint64_t hash) const {
  std::string text;
  if (options_.keys == TraceKeys::kHashed) {
    AppendHex(text, hash, 16);
    return text;
  }
  text.reserve(key.size());
  for (const char c : key) {
    if (IsPlain(c)) {
      text += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      text +=
          {'%', "0123456789ABCDEF"[byte >> 4], "0123456789ABCDEF"[byte & 15]};
    }
  }
  return text;
}

void TraceWriter::RecordHit(std::string_view key,
                            std::uint64_t size_bytes) noexcept {
  const std::uint64_t hash = HashOf(key);
  if (!IsSampled(hash)) return;
  const std::string text = KeyText(key, hash);
  const std::lock_guard lock(mutex_);
  Append(NowMs(), text, size_bytes, kGetText, 0);
}

void TraceWriter::RecordMiss(std::string_view key) noexcept {
  const std::uint64_t hash = HashOf(key);
  if (!IsSampled(hash)) return;
  std::string text = KeyText(key, hash);
  const std::lock_guard lock(mutex_);
  PendingMiss& miss = pending_[hash % pending_.size()];
  SettleMiss(miss);
  miss = {
      .key = std::move(text), .hash = hash, .time_ms = NowMs(), .used = true};
}

void TraceWriter::RecordSet(std::string_view key, std::uint64_t size_bytes,
                            Duration ttl) noexcept {
  const std::uint64_t hash = HashOf(key);
  if (!IsSampled(hash)) return;
  const std::string text = KeyText(key, hash);
  const auto ttl_s = std::chrono::ceil<std::chrono::seconds>(ttl).count();
  const std::lock_guard lock(mutex_);
  PendingMiss& miss = pending_[hash % pending_.size()];
  const bool fills = miss.used && miss.hash == hash;
  if (fills) miss.used = false;
  Append(NowMs(), text, size_bytes, fills ? kGetText : kSetText,
         static_cast<std::uint64_t>(std::max<std::int64_t>(ttl_s, 0)));
}

void TraceWriter::RecordDelete(std::string_view key) noexcept {
  const std::uint64_t hash = HashOf(key);
  if (!IsSampled(hash)) return;
  const std::string text = KeyText(key, hash);
  const std::lock_guard lock(mutex_);
  Append(NowMs(), text, 0, kDeleteText, 0);
}

void TraceWriter::SettleMiss(PendingMiss& miss) {
  if (!miss.used) return;
  Append(miss.time_ms, miss.key, 0, kGetText, 0);
  miss.used = false;
}

void TraceWriter::Append(std::uint64_t time_ms, std::string_view key,
                         std::uint64_t size_bytes, std::string_view op,
                         std::uint64_t ttl_s) {
  if (closed_) return;
  std::string& text = block_.text;
  AppendNumber(text, time_ms);
  (text += ',').append(key) += ',';
  AppendNumber(text, size_bytes);
  (text += ',').append(op) += ',';
  AppendNumber(text, ttl_s);
  text += '\n';
  ++block_.rows;
  ++row_count_;
  if (block_.text.size() >= kBlockSizeBytes) HandOver();
}

void TraceWriter::HandOver() {
  if (block_.text.empty()) return;
  if (queue_.size() >= kQueueBlockCountMax || !error_.ok()) {
    dropped_row_count_ += block_.rows;
    row_count_ -= block_.rows;
    block_.text.clear();
    block_.rows = 0;
    return;
  }
  queue_.push_back(std::exchange(block_, {}));
  block_.text.reserve(kBlockSizeBytes);
  queue_changed_.notify_one();
}

void TraceWriter::WriteBlocks() {
  std::unique_lock lock(mutex_);
  for (;;) {
    queue_changed_.wait(lock, [this] { return closed_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const Block block = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    Status written = sink_->Write(block.text);
    lock.lock();
    if (!written.ok()) {
      dropped_row_count_ += block.rows;
      row_count_ -= block.rows;
      if (error_.ok()) error_ = std::move(written);
    }
  }
}

Status TraceWriter::Close() noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return error_;
    std::ranges::sort(pending_, {}, &PendingMiss::time_ms);
    for (PendingMiss& miss : pending_) SettleMiss(miss);
    HandOver();
    closed_ = true;
  }
  queue_changed_.notify_one();
  thread_.join();
  const Status closed = sink_->Close();
  const std::lock_guard lock(mutex_);
  if (error_.ok()) error_ = closed;
  return error_;
}

}  // namespace larder
