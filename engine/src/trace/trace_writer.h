#ifndef LARDER_ENGINE_SRC_TRACE_TRACE_WRITER_H_
#define LARDER_ENGINE_SRC_TRACE_TRACE_WRITER_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "larder/engine/clock.h"
#include "larder/engine/status.h"

namespace larder {

/// How keys appear in a recorded trace.
enum class TraceKeys : std::uint8_t {
  /// 16 hexadecimal digits of a seeded hash: the trace tells nothing of them.
  kHashed = 0,
  /// As they are; bytes other than printable ASCII, comma, quote and per cent
  /// as "%XX".
  kPlain = 1,
};

struct TraceWriterOptions {
  TraceKeys keys = TraceKeys::kHashed;
  /// Of the hashes; 0 = from the machine, so that they differ in each file.
  std::uint64_t hash_seed = 0;
  /// Share of the keys that is written, chosen by hash: all rows of a key, or
  /// none. In (0, 1].
  double key_share = 1.0;
  /// Borrowed; nullptr = Clock::System().
  const Clock* clock = nullptr;
};

/// Where compressed or plain bytes of a trace go.
class TraceSink {
 public:
  virtual ~TraceSink() = default;
  [[nodiscard]] virtual Status Write(std::string_view bytes) noexcept = 0;
  [[nodiscard]] virtual Status Close() noexcept = 0;
};

/// Writes what a live cache is asked as a CSV trace (docs/replay.md), for
/// replaying it later; zstd-compressed if the file's name ends in ".zst".
///
/// A miss is not written at once: the set that fills it makes it one row, a
/// get with the size and time to live of the set, which is what a replay takes
/// a get for. A miss that nothing fills becomes a get of size 0.
///
/// Threads: thread-safe; the calls append to memory and a thread of the writer
///          compresses and writes. When that lags by kQueueBlockCountMax
///          blocks, rows are dropped and counted rather than calls delayed.
/// Errors:  of the file are kept and returned by Close.
class TraceWriter {
 public:
  static constexpr std::size_t kBlockSizeBytes = 256 * 1024;
  static constexpr std::size_t kQueueBlockCountMax = 64;
  static constexpr std::size_t kPendingMissCountMax = 16 * 1024;

  /// Creates or truncates `path`. Errors: those of open(2).
  [[nodiscard]] static Result<std::unique_ptr<TraceWriter>> Open(
      const std::string& path, TraceWriterOptions options = {});
  /// Closes, if Close was not called.
  ~TraceWriter();
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  /// A get found a value of `size_bytes`.
  void RecordHit(std::string_view key, std::uint64_t size_bytes) noexcept;
  /// A get found nothing.
  void RecordMiss(std::string_view key) noexcept;
  /// A value was stored; zero `ttl` = for ever.
  void RecordSet(std::string_view key, std::uint64_t size_bytes,
                 Duration ttl) noexcept;
  /// An item was deleted by its owner.
  void RecordDelete(std::string_view key) noexcept;

  /// Writes out the rest; later calls record nothing. Errors: the first that
  /// the file gave (kIoError, kNoSpace).
  [[nodiscard]] Status Close() noexcept;

  [[nodiscard]] std::uint64_t row_count() const noexcept { return row_count_; }
  /// Rows lost because the file could not be written fast enough, or at all.
  [[nodiscard]] std::uint64_t dropped_row_count() const noexcept {
    return dropped_row_count_;
  }

 private:
  struct PendingMiss {
    std::string key;
    std::uint64_t hash = 0;
    std::uint64_t time_ms = 0;
    bool used = false;
  };
  struct Block {
    std::string text;
    std::uint64_t rows = 0;
  };

  TraceWriter(std::unique_ptr<TraceSink> sink, TraceWriterOptions options);
  [[nodiscard]] std::uint64_t NowMs() noexcept;
  [[nodiscard]] std::uint64_t HashOf(std::string_view key) const noexcept;
  [[nodiscard]] std::string KeyText(std::string_view key,
                                    std::uint64_t hash) const;
  // These REQUIRE mutex_ to be held.
  void Append(std::uint64_t time_ms, std::string_view key,
              std::uint64_t size_bytes, std::string_view op,
              std::uint64_t ttl_s);
  void SettleMiss(PendingMiss& miss);
  void HandOver();
  void WriteBlocks();

  [[nodiscard]] bool IsSampled(std::uint64_t hash) const noexcept {
    return hash <= hash_max_;
  }

  TraceWriterOptions options_;
  std::uint64_t hash_max_;           // Of the keys that are written.
  std::unique_ptr<TraceSink> sink_;  // Of the writing thread.
  std::atomic<std::uint64_t> row_count_{0};
  std::atomic<std::uint64_t> dropped_row_count_{0};

  std::mutex mutex_;  // Guards what follows; taken last by every caller.
  std::condition_variable queue_changed_;
  std::int64_t start_ms_ = -1;  // Of the first row; -1 = none yet.
  Block block_;
  std::deque<Block> queue_;
  std::vector<PendingMiss> pending_;
  bool closed_ = false;
  Status error_;
  std::thread thread_;
};

/// Opens a file for a trace; `path` decides about compression.
[[nodiscard]] Result<std::unique_ptr<TraceSink>> OpenTraceSink(
    const std::string& path);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_TRACE_TRACE_WRITER_H_
