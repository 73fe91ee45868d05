#include "trace_writer.h"

#include <algorithm>
#include <random>
#include <utility>

#include <fmt/format.h>
#include <xxhash.h>

// Rows are formatted by the recording threads into a block under one mutex; a
// full block goes to a queue that the writer's thread empties.
//
// Invariants:
// 1. Rows are whole and in the order in which they were recorded, but for
//    misses that nothing filled, which come late, with their own times.
// 2. Memory is bounded: kQueueBlockCountMax + 2 blocks and
//    kPendingMissCountMax misses. A miss whose place in the table is taken by
//    another is written as unfilled.

namespace larder::replay {
namespace {

constexpr std::string_view kHeader = "time_ms,key,size,op,ttl_s\n";

std::string_view OpName(TraceOp op) noexcept {
  if (op == TraceOp::kGet) return "get";
  return op == TraceOp::kSet ? "set" : "delete";
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
  return std::unique_ptr<TraceWriter>(
      new TraceWriter(std::move(*sink), options));
}

TraceWriter::TraceWriter(std::unique_ptr<TraceSink> sink,
                         TraceWriterOptions options)
    : options_(options),
      sink_(std::move(sink)),
      pending_(kPendingMissCountMax) {
  block_.text.reserve(kBlockSizeBytes);
  block_.text = kHeader;
  thread_ = std::thread([this] { WriteBlocks(); });
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
  if (options_.keys == TraceKeys::kHashed) return fmt::format("{:016x}", hash);
  std::string text;
  text.reserve(key.size());
  for (const char c : key) {
    if (IsPlain(c)) {
      text += c;
    } else {
      text += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return text;
}

void TraceWriter::RecordHit(std::string_view key,
                            std::uint64_t size_bytes) noexcept {
  const std::string text = KeyText(key, HashOf(key));
  const std::lock_guard lock(mutex_);
  Append(NowMs(), text, size_bytes, TraceOp::kGet, 0);
}

void TraceWriter::RecordMiss(std::string_view key) noexcept {
  const std::uint64_t hash = HashOf(key);
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
  const std::string text = KeyText(key, hash);
  const auto ttl_s = std::chrono::ceil<std::chrono::seconds>(ttl).count();
  const std::lock_guard lock(mutex_);
  PendingMiss& miss = pending_[hash % pending_.size()];
  const bool fills = miss.used && miss.hash == hash;
  if (fills) miss.used = false;
  Append(NowMs(), text, size_bytes, fills ? TraceOp::kGet : TraceOp::kSet,
         static_cast<std::uint64_t>(std::max<std::int64_t>(ttl_s, 0)));
}

void TraceWriter::RecordDelete(std::string_view key) noexcept {
  const std::string text = KeyText(key, HashOf(key));
  const std::lock_guard lock(mutex_);
  Append(NowMs(), text, 0, TraceOp::kDelete, 0);
}

void TraceWriter::SettleMiss(PendingMiss& miss) {
  if (!miss.used) return;
  Append(miss.time_ms, miss.key, 0, TraceOp::kGet, 0);
  miss.used = false;
}

void TraceWriter::Append(std::uint64_t time_ms, const std::string& key,
                         std::uint64_t size_bytes, TraceOp op,
                         std::uint64_t ttl_s) {
  if (closed_) return;
  fmt::format_to(std::back_inserter(block_.text), "{},{},{},{},{}\n", time_ms,
                 key, size_bytes, OpName(op), ttl_s);
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

}  // namespace larder::replay
