#ifndef LARDER_TOOLS_REPLAY_TRACE_H_
#define LARDER_TOOLS_REPLAY_TRACE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "trace_content.h"

namespace larder::replay {

enum class TraceOp : std::uint8_t { kGet = 0, kSet = 1, kDelete = 2 };

/// Most requests of one trace in memory: a request's number fits 32 bits, and
/// the last one stands for "never" (NextAccesses).
inline constexpr std::uint64_t kTraceRequestCountMax = 0xFFFFFFFE;
/// Largest object of a trace.
inline constexpr std::uint64_t kTraceSizeBytesMax = 1ULL << 40;
/// Latest time of a trace: about 285,000 years.
inline constexpr std::uint64_t kTraceTimeMsMax = 1ULL << 53;
/// Longest time to live kept; longer ones are cut to it (34 years).
inline constexpr std::uint32_t kTraceTtlSecondsMax = (1U << 30) - 1;

/// One request of a trace in memory; 24 bytes.
struct TraceRequest {
  std::uint64_t time_ms = 0;
  std::uint64_t size_bytes = 0;
  /// Index into Trace::key_hashes: dense, in order of first appearance.
  std::uint32_t key = 0;
  /// 0 = lives for ever.
  std::uint32_t ttl_s : 30 = 0;
  std::uint32_t op_bits : 2 = 0;

  [[nodiscard]] TraceOp op() const noexcept {
    return static_cast<TraceOp>(op_bits);
  }
};
static_assert(sizeof(TraceRequest) == 24);

/// A trace in memory, shared read-only by all runs over it.
///
/// Threads: thread-compatible; not changed after LoadTrace.
struct Trace {
  /// The file's name without directory and what says how it is written.
  std::string name;
  std::string path;
  TraceContent content;
  std::vector<TraceRequest> requests;
  /// Of each distinct key, by TraceRequest::key.
  std::vector<std::uint64_t> key_hashes;
  /// What a miss of each request costs; empty = 1 each.
  std::vector<float> costs;
  /// False: every size is 1, so capacities are counts of items.
  bool has_sizes = false;
  bool has_ttls = false;
  /// Sum of the sizes at each key's first request.
  std::uint64_t footprint_bytes = 0;
  /// Sum of the sizes of all requests.
  std::uint64_t request_bytes = 0;
  /// Rows by TraceOp.
  std::array<std::uint64_t, 3> op_counts{};
  /// Rows that could not be read and were skipped (LoadOptions).
  std::uint64_t bad_row_count = 0;
  std::string first_bad_row;
  /// oracleGeneral records of size 0, which its own simulator ignores too.
  std::uint64_t left_out_row_count = 0;

  [[nodiscard]] std::uint64_t CountOf(TraceOp op) const noexcept {
    return op_counts[static_cast<std::size_t>(op)];
  }
  /// What "100 %" of the trace is: bytes, or items if sizes do not count.
  [[nodiscard]] std::uint64_t Footprint(bool ignore_size) const noexcept {
    return ignore_size ? key_hashes.size() : footprint_bytes;
  }
};

/// "No later access".
inline constexpr std::uint32_t kNeverAgain = 0xFFFFFFFF;

/// For each request the index of the next one of the same key, or kNeverAgain
/// (also if that next one deletes the key). What Belady's policy knows.
[[nodiscard]] std::vector<std::uint32_t> NextAccesses(const Trace& trace);

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_TRACE_H_
