#ifndef LARDER_ENGINE_SRC_INDEX_VERSION_MEMTABLE_H_
#define LARDER_ENGINE_SRC_INDEX_VERSION_MEMTABLE_H_

#include <atomic>
#include <cstddef>

#include <rocksdb/memtablerep.h>

namespace larder {

/// Memtables for a family whose keys are looked up one by one and written again
/// and again, as a cache's index is: each key is once in a skip list (Pugh,
/// 1990) and once in a hash table, and has a chain of its versions, newest
/// first. Writing a known key again and looking a key up are O(1), whatever
/// else is in the memtable; a new key costs a search of the skip list, which
/// compares the first 8 bytes of keys as integers. RocksDB's own memtable
/// searches among all versions each time, twice or more for a Set.
///
/// Versions are found by sequence number in O(log n), over jump pointers
/// (Myers, "An applicative random-access stack", 1983).
///
/// Threads:   thread-safe; its memtables as RocksDB asks: any number read,
///            without locks, while one or, with the concurrent calls, several
///            insert.
/// Bounds:    needs keys in bytewise order.
/// Cost:      24 bytes a version and about 50 a key, over the encoded entry;
///            8 bytes for each 128 of the buffer.
class VersionMemTableFactory final : public rocksdb::MemTableRepFactory {
 public:
  explicit VersionMemTableFactory(std::size_t write_buffer_bytes) noexcept {
    SetWriteBuffer(write_buffer_bytes);
  }

  /// How large memtables will be: their hash tables do not grow.
  void SetWriteBuffer(std::size_t bytes) noexcept;

  [[nodiscard]] const char* Name() const override {
    return "larder.VersionMemTable";
  }
  using MemTableRepFactory::CreateMemTableRep;
  rocksdb::MemTableRep* CreateMemTableRep(
      const rocksdb::MemTableRep::KeyComparator& comparator,
      rocksdb::Allocator* allocator, const rocksdb::SliceTransform* prefix,
      rocksdb::Logger* logger) override;
  [[nodiscard]] bool IsInsertConcurrentlySupported() const override {
    return true;
  }
  [[nodiscard]] bool CanHandleDuplicatedKey() const override { return true; }

 private:
  std::atomic<std::size_t> bucket_count_{0};
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_VERSION_MEMTABLE_H_
