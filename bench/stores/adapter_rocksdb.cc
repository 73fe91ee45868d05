// Raw RocksDB as somebody would use it who wants a fast cache without limits:
// one column family, one Put or Get for each operation, and the settings that
// larder gives its own column families (see RawRocksDbOptions).
//
// Its Delete is blind. Its Incr is a Get and a Put: a merge operator would not
// return the new value.

#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <rocksdb/write_buffer_manager.h>

#include "stores/store_adapter.h"

namespace larder::bench {

namespace {

constexpr std::size_t kWriteBufferBytes = 4 << 20;
constexpr int kWriteBufferCount = 3;
constexpr int kBackgroundJobs = 2;
constexpr double kBloomBitsPerKey = 10.0;
constexpr std::chrono::seconds kSettleTimeMax{120};
constexpr std::chrono::milliseconds kSettlePoll{2};

Status FromRocksDb(const rocksdb::Status& status) {
  if (status.ok()) {
    return Status::Ok();
  }
  return Status::IoError("rocksdb: " + status.ToString());
}

std::size_t BlockCacheBytes(const StoreOptions& options) {
  return options.memory_budget_bytes > 0 ? options.memory_budget_bytes
                                         : kMemoryBudgetBytes;
}

// What larder gives its families at a large limit (engine/src/index/rocks.cc),
// for one family that holds keys and values: as larder's, the write buffers are
// charged to the block cache.
rocksdb::Options RawRocksDbOptions(const StoreOptions& options) {
  const std::shared_ptr<rocksdb::Cache> cache =
      rocksdb::NewLRUCache(BlockCacheBytes(options), 4);
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(kBloomBitsPerKey));
  table.format_version = 5;
  table.checksum = rocksdb::kXXH3;
  table.data_block_index_type =
      rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
  rocksdb::Options result;
  result.create_if_missing = true;
  result.write_buffer_size = kWriteBufferBytes;
  result.max_write_buffer_number = kWriteBufferCount;
  result.write_buffer_manager = std::make_shared<rocksdb::WriteBufferManager>(
      6 * kWriteBufferBytes, cache);
  result.max_total_wal_size = kWriteBufferBytes;
  result.max_background_jobs = kBackgroundJobs;
  result.compression = rocksdb::kNoCompression;
  result.bytes_per_sync = std::uint64_t{1} << 20;
  result.level_compaction_dynamic_level_bytes = true;
  result.avoid_flush_during_shutdown = true;
  result.allow_fallocate = false;
  result.stats_dump_period_sec = 0;
  result.stats_persist_period_sec = 0;
  result.keep_log_file_num = 1;
  result.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return result;
}

class RocksDbStore final : public KeyValueStore {
 public:
  explicit RocksDbStore(std::unique_ptr<rocksdb::DB> db) : db_(std::move(db)) {}

  Status Set(std::string_view key, std::string_view value) override {
    return FromRocksDb(db_->Put(write_options_, key, value));
  }

  Result<bool> Get(std::string_view key, ValueVisitor& visitor) override {
    rocksdb::PinnableSlice value;
    const rocksdb::Status status =
        db_->Get(read_options_, db_->DefaultColumnFamily(), key, &value);
    if (status.IsNotFound()) {
      return false;
    }
    LARDER_FAIL_IF_ERROR(FromRocksDb(status));
    visitor.Visit({value.data(), value.size()});
    return true;
  }

  Result<bool> Delete(std::string_view key) override {
    LARDER_FAIL_IF_ERROR(FromRocksDb(db_->Delete(write_options_, key)));
    return true;
  }

  Result<std::size_t> MultiGet(std::span<const std::string_view> keys,
                               ValueVisitor& visitor) override {
    slices_.assign(keys.begin(), keys.end());
    std::vector<rocksdb::PinnableSlice> values(keys.size());
    std::vector<rocksdb::Status> statuses(keys.size());
    db_->MultiGet(read_options_, db_->DefaultColumnFamily(), keys.size(),
                  slices_.data(), values.data(), statuses.data());
    std::size_t hit_count = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (statuses[i].IsNotFound()) {
        continue;
      }
      LARDER_FAIL_IF_ERROR(FromRocksDb(statuses[i]));
      visitor.Visit({values[i].data(), values[i].size()});
      ++hit_count;
    }
    return hit_count;
  }

  Status SetMany(std::span<const KeyValue> items) override {
    rocksdb::WriteBatch batch;
    for (const KeyValue& item : items) {
      LARDER_RETURN_IF_ERROR(FromRocksDb(batch.Put(item.key, item.value)));
    }
    return FromRocksDb(db_->Write(write_options_, &batch));
  }

  Result<std::int64_t> Incr(std::string_view key, std::int64_t delta) override {
    std::string text;
    const rocksdb::Status status = db_->Get(read_options_, key, &text);
    std::int64_t value = 0;
    if (!status.IsNotFound()) {
      LARDER_FAIL_IF_ERROR(FromRocksDb(status));
      if (text.size() != sizeof(value)) {
        return Fail(Status::TypeMismatch("not an integer"));
      }
      std::memcpy(&value, text.data(), sizeof(value));
    }
    value += delta;
    text.assign(sizeof(value), 0);
    std::memcpy(text.data(), &value, sizeof(value));
    LARDER_FAIL_IF_ERROR(FromRocksDb(db_->Put(write_options_, key, text)));
    return value;
  }

  Status Settle() override {
    LARDER_RETURN_IF_ERROR(FromRocksDb(db_->Flush({})));
    // RocksDB 7.8 has no call that waits for compactions: ask until idle.
    const auto deadline = std::chrono::steady_clock::now() + kSettleTimeMax;
    while (IsBusy()) {
      if (std::chrono::steady_clock::now() > deadline) {
        return Status(StatusCode::kTimedOut, "rocksdb: compactions go on");
      }
      std::this_thread::sleep_for(kSettlePoll);
    }
    return Status::Ok();
  }

  Status Close() override { return FromRocksDb(db_->Close()); }

 private:
  [[nodiscard]] bool IsBusy() {
    for (const std::string* property :
         {&rocksdb::DB::Properties::kMemTableFlushPending,
          &rocksdb::DB::Properties::kNumRunningFlushes,
          &rocksdb::DB::Properties::kCompactionPending,
          &rocksdb::DB::Properties::kNumRunningCompactions}) {
      std::uint64_t count = 0;
      if (db_->GetIntProperty(*property, &count) && count > 0) {
        return true;
      }
    }
    return false;
  }

  std::unique_ptr<rocksdb::DB> db_;
  const rocksdb::WriteOptions write_options_;  // WAL on, no sync.
  const rocksdb::ReadOptions read_options_;
  std::vector<rocksdb::Slice> slices_;
};

}  // namespace

Result<std::unique_ptr<KeyValueStore>> OpenRocksDb(
    const std::filesystem::path& path, const StoreOptions& options) {
  rocksdb::DB* db = nullptr;
  LARDER_FAIL_IF_ERROR(FromRocksDb(
      rocksdb::DB::Open(RawRocksDbOptions(options), path.string(), &db)));
  return std::make_unique<RocksDbStore>(std::unique_ptr<rocksdb::DB>(db));
}

std::string DescribeRocksDb(const StoreOptions& options) {
  return fmt::format(
      "one column family, write buffers up to {} x {} MiB charged to a block "
      "cache of {} MiB, bloom {} bits, no compression, WAL on, no sync, {} "
      "background jobs",
      kWriteBufferCount, kWriteBufferBytes >> 20,
      BlockCacheBytes(options) >> 20, kBloomBitsPerKey, kBackgroundJobs);
}

}  // namespace larder::bench
