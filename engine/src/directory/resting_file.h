#ifndef LARDER_ENGINE_SRC_DIRECTORY_RESTING_FILE_H_
#define LARDER_ENGINE_SRC_DIRECTORY_RESTING_FILE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include <rocksdb/file_system.h>

namespace larder {

/// A file that RocksDB reads at random, and keeps open as long as the table may
/// be read: it has a descriptor only while it is used now and then.
///
/// Threads: thread-safe.
/// Cost:    two atomic additions for each read; after a rest the opening, some
///          microseconds. What cannot be opened then (EMFILE) is the read's
///          error.
class RestingFile final : public rocksdb::FSRandomAccessFile {
 public:
  using File = std::unique_ptr<rocksdb::FSRandomAccessFile>;
  using Opener = std::function<rocksdb::IOStatus(File*)>;
  using Moment = std::chrono::steady_clock::time_point;
  /// Called when it is destroyed.
  using OnEnd = std::function<void()>;

  /// `file` is what `open` has opened.
  RestingFile(File file, Opener open, OnEnd on_end);
  ~RestingFile() override { on_end_(); }

  /// Closes it if nobody has used it from `since` on, as far as these calls
  /// have seen. They are to come again and again.
  void RestIfUnused(Moment now, Moment since) noexcept;
  [[nodiscard]] bool is_open() const noexcept {
    return (state_.load(std::memory_order_relaxed) & kOpen) != 0;
  }

  rocksdb::IOStatus Read(std::uint64_t offset, std::size_t size,
                         const rocksdb::IOOptions& options,
                         rocksdb::Slice* result, char* scratch,
                         rocksdb::IODebugContext* context) const override;
  rocksdb::IOStatus MultiRead(rocksdb::FSReadRequest* requests,
                              std::size_t count,
                              const rocksdb::IOOptions& options,
                              rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus Prefetch(std::uint64_t offset, std::size_t size,
                             const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus InvalidateCache(std::size_t offset,
                                    std::size_t size) override;
  [[nodiscard]] std::size_t GetUniqueId(char* id,
                                        std::size_t size_max) const override;
  void Hint(AccessPattern pattern) override;
  [[nodiscard]] bool use_direct_io() const override { return direct_io_; }
  [[nodiscard]] std::size_t GetRequiredBufferAlignment() const override {
    return alignment_;
  }
  [[nodiscard]] rocksdb::Temperature GetTemperature() const override {
    return temperature_;
  }

 private:
  static constexpr std::uint32_t kOpen = std::uint32_t{1} << 31;
  template <typename Fn>  // Takes the file, returns IOStatus.
  rocksdb::IOStatus Use(Fn&& fn) const;
  rocksdb::IOStatus Wake() const;

  const Opener open_;
  const OnEnd on_end_;
  const bool direct_io_;
  const std::size_t alignment_;
  const rocksdb::Temperature temperature_;
  // kOpen, and how many are in Use. Nobody closes it while there is one; who
  // comes and finds it closed waits for the mutex.
  mutable std::atomic<std::uint32_t> state_{kOpen};
  mutable std::atomic<bool> used_{true};
  mutable std::mutex mutex_;  // A leaf. Guards opening and closing.
  mutable File file_;         // Not null while kOpen is set.
  Moment unused_since_{};     // Guarded by mutex_.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_DIRECTORY_RESTING_FILE_H_
