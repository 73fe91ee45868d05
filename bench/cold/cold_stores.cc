// The adapters of larder_bench do not fit: they are for one thread, and are set
// up for stores that fit into memory.

#include "cold/cold_stores.h"

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <lmdb.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <unistd.h>

#include "larder/cache/cache.h"

#include "stores/workload.h"

namespace larder::bench {

namespace {

constexpr std::size_t kFillBytesPerCommit = 1U << 20;

/// What all have in common: which items there are.
class Base : public ColdStore {
 public:
  explicit Base(const ColdOptions& options)
      : options_(options), pool_(options.value_size, options.seed) {}

  Result<std::size_t> MultiGet(std::span<const std::uint64_t> indexes,
                               ValueVisitor& visitor) override {
    std::size_t hits = 0;
    for (const std::uint64_t index : indexes) {
      const auto hit = Get(index, visitor);
      if (!hit) return Fail(hit.error());
      hits += *hit ? 1 : 0;
    }
    return hits;
  }

 protected:
  [[nodiscard]] std::string Key(std::uint64_t index) const {
    return KeyOf(index, options_.seed);
  }
  [[nodiscard]] std::string_view Value(std::uint64_t index) const {
    return pool_.Of(index, options_.value_size);
  }
  [[nodiscard]] std::uint64_t ItemsPerCommit() const {
    return std::max<std::uint64_t>(1,
                                   kFillBytesPerCommit / options_.value_size);
  }

  const ColdOptions options_;

 private:
  const ValuePool pool_;
};

class ColdLarder final : public Base {
 public:
  explicit ColdLarder(const ColdOptions& options) : Base(options) {}

  Status Open() {
    CacheOptions options;
    // Twice: nothing is evicted nor cleaned.
    options.settings = {
        {"size_limit",
         std::to_string(2 * options_.count * (options_.value_size + 512))}};
    auto cache = Cache::Open(options_.path, std::move(options));
    if (!cache) return cache.error();
    cache_ = std::move(*cache);
    return Status::Ok();
  }

  Status Fill() override {
    std::vector<std::string> keys;
    std::vector<SetItem> items;
    for (std::uint64_t first = 0; first < options_.count;) {
      const std::uint64_t end =
          std::min(first + ItemsPerCommit(), options_.count);
      keys.clear();
      items.clear();
      for (std::uint64_t i = first; i < end; ++i) keys.push_back(Key(i));
      for (std::uint64_t i = first; i < end; ++i) {
        items.push_back({keys[i - first], Value(i)});
      }
      LARDER_RETURN_IF_ERROR(cache_->SetMany(items));
      first = end;
    }
    return cache_->Close();
  }

  Result<bool> Get(std::uint64_t index, ValueVisitor& visitor) override {
    const auto value = cache_->Get(Key(index));
    if (!value) return Fail(value.error());
    if (*value) visitor.Visit((*value)->bytes());
    return value->has_value();
  }

  Result<std::size_t> MultiGet(std::span<const std::uint64_t> indexes,
                               ValueVisitor& visitor) override {
    std::vector<std::string> keys;
    keys.reserve(indexes.size());
    for (const std::uint64_t index : indexes) keys.push_back(Key(index));
    const std::vector<std::string_view> views(keys.begin(), keys.end());
    const auto values = cache_->MultiGet(views);
    if (!values) return Fail(values.error());
    std::size_t hits = 0;
    for (const std::optional<larder::Value>& value : *values) {
      if (!value) continue;
      visitor.Visit(value->bytes());
      ++hits;
    }
    return hits;
  }

 private:
  std::unique_ptr<Cache> cache_;
};

Status FromRocksDb(const rocksdb::Status& status) {
  return status.ok() ? Status::Ok()
                     : Status::IoError("rocksdb: " + status.ToString());
}

class ColdBlobDb final : public Base {
 public:
  explicit ColdBlobDb(const ColdOptions& options) : Base(options) {}

  Status Open() {
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(kMemoryBudgetBytes);
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10.0));
    rocksdb::Options options;
    options.create_if_missing = true;
    options.enable_blob_files = true;
    options.compression = rocksdb::kNoCompression;
    options.stats_dump_period_sec = 0;
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    rocksdb::DB* db = nullptr;
    LARDER_RETURN_IF_ERROR(
        FromRocksDb(rocksdb::DB::Open(options, options_.path.string(), &db)));
    db_.reset(db);
    return Status::Ok();
  }

  Status Fill() override {
    for (std::uint64_t first = 0; first < options_.count;) {
      const std::uint64_t end =
          std::min(first + ItemsPerCommit(), options_.count);
      rocksdb::WriteBatch batch;
      for (std::uint64_t i = first; i < end; ++i) {
        LARDER_RETURN_IF_ERROR(FromRocksDb(batch.Put(Key(i), Value(i))));
      }
      LARDER_RETURN_IF_ERROR(FromRocksDb(db_->Write({}, &batch)));
      first = end;
    }
    LARDER_RETURN_IF_ERROR(FromRocksDb(db_->Flush({})));
    LARDER_RETURN_IF_ERROR(
        FromRocksDb(db_->CompactRange({}, nullptr, nullptr)));
    return FromRocksDb(db_->Close());
  }

  Result<bool> Get(std::uint64_t index, ValueVisitor& visitor) override {
    rocksdb::PinnableSlice value;
    const rocksdb::Status status =
        db_->Get({}, db_->DefaultColumnFamily(), Key(index), &value);
    if (status.IsNotFound()) return false;
    LARDER_FAIL_IF_ERROR(FromRocksDb(status));
    visitor.Visit({value.data(), value.size()});
    return true;
  }

  Result<std::size_t> MultiGet(std::span<const std::uint64_t> indexes,
                               ValueVisitor& visitor) override {
    std::vector<std::string> keys;
    keys.reserve(indexes.size());
    for (const std::uint64_t index : indexes) keys.push_back(Key(index));
    const std::vector<rocksdb::Slice> slices(keys.begin(), keys.end());
    std::vector<rocksdb::PinnableSlice> values(keys.size());
    std::vector<rocksdb::Status> statuses(keys.size());
    db_->MultiGet({}, db_->DefaultColumnFamily(), keys.size(), slices.data(),
                  values.data(), statuses.data());
    std::size_t hits = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (statuses[i].IsNotFound()) continue;
      LARDER_FAIL_IF_ERROR(FromRocksDb(statuses[i]));
      visitor.Visit({values[i].data(), values[i].size()});
      ++hits;
    }
    return hits;
  }

 private:
  std::unique_ptr<rocksdb::DB> db_;
};

Status FromLmdb(int code) {
  return code == MDB_SUCCESS
             ? Status::Ok()
             : Status::IoError(std::string("lmdb: ") + mdb_strerror(code));
}

class ColdLmdb final : public Base {
 public:
  explicit ColdLmdb(const ColdOptions& options) : Base(options) {}
  ColdLmdb(const ColdLmdb&) = delete;
  ColdLmdb& operator=(const ColdLmdb&) = delete;
  ~ColdLmdb() override { mdb_env_close(env_); }

  Status Open() {
    LARDER_RETURN_IF_ERROR(FromLmdb(mdb_env_create(&env_)));
    LARDER_RETURN_IF_ERROR(FromLmdb(mdb_env_set_mapsize(
        env_, 3 * options_.count * (options_.value_size + 512))));
    LARDER_RETURN_IF_ERROR(FromLmdb(mdb_env_open(
        env_, options_.path.c_str(), MDB_NOSYNC | MDB_NORDAHEAD, 0600)));
    MDB_txn* txn = nullptr;
    LARDER_RETURN_IF_ERROR(FromLmdb(mdb_txn_begin(env_, nullptr, 0, &txn)));
    LARDER_RETURN_IF_ERROR(FromLmdb(mdb_dbi_open(txn, nullptr, 0, &dbi_)));
    return FromLmdb(mdb_txn_commit(txn));
  }

  Status Fill() override {
    for (std::uint64_t first = 0; first < options_.count;) {
      const std::uint64_t end =
          std::min(first + ItemsPerCommit(), options_.count);
      MDB_txn* txn = nullptr;
      LARDER_RETURN_IF_ERROR(FromLmdb(mdb_txn_begin(env_, nullptr, 0, &txn)));
      for (std::uint64_t i = first; i < end; ++i) {
        const std::string key_bytes = Key(i);
        MDB_val key = ToValue(key_bytes);
        MDB_val value = ToValue(Value(i));
        LARDER_RETURN_IF_ERROR(FromLmdb(mdb_put(txn, dbi_, &key, &value, 0)));
      }
      LARDER_RETURN_IF_ERROR(FromLmdb(mdb_txn_commit(txn)));
      first = end;
    }
    return Status::Ok();
  }

  Result<bool> Get(std::uint64_t index, ValueVisitor& visitor) override {
    MDB_txn* txn = nullptr;
    LARDER_FAIL_IF_ERROR(
        FromLmdb(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn)));
    const std::string key_bytes = Key(index);
    MDB_val key = ToValue(key_bytes);
    MDB_val value{};
    const int code = mdb_get(txn, dbi_, &key, &value);
    if (code == MDB_SUCCESS) {
      visitor.Visit({static_cast<const char*>(value.mv_data), value.mv_size});
    }
    mdb_txn_abort(txn);
    if (code == MDB_NOTFOUND) return false;
    LARDER_FAIL_IF_ERROR(FromLmdb(code));
    return true;
  }

 private:
  static MDB_val ToValue(std::string_view bytes) {
    return {bytes.size(), const_cast<char*>(bytes.data())};
  }
  MDB_env* env_ = nullptr;
  MDB_dbi dbi_ = 0;
};

class ColdPread final : public Base {
 public:
  explicit ColdPread(const ColdOptions& options) : Base(options) {}
  ColdPread(const ColdPread&) = delete;
  ColdPread& operator=(const ColdPread&) = delete;
  ~ColdPread() override {
    if (fd_ >= 0) ::close(fd_);
  }

  Status Open() {
    const std::string path = options_.path / "values";
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd_ < 0) return Status::FromErrno(errno, "opening " + path);
    const int error = ::posix_fadvise(fd_, 0, 0, POSIX_FADV_RANDOM);
    return error == 0 ? Status::Ok() : Status::FromErrno(error, "fadvise");
  }

  Status Fill() override {
    for (std::uint64_t i = 0; i < options_.count; ++i) {
      const std::string_view value = Value(i);
      if (::pwrite(fd_, value.data(), value.size(), OffsetOf(i)) !=
          static_cast<ssize_t>(value.size())) {
        return Status::FromErrno(errno, "writing values");
      }
    }
    return Status::Ok();
  }

  Result<bool> Get(std::uint64_t index, ValueVisitor& visitor) override {
    thread_local std::vector<char> buffer;
    buffer.resize(options_.value_size);
    if (::pread(fd_, buffer.data(), buffer.size(), OffsetOf(index)) !=
        static_cast<ssize_t>(buffer.size())) {
      return Fail(Status::FromErrno(errno, "reading values"));
    }
    visitor.Visit({buffer.data(), buffer.size()});
    return true;
  }

 private:
  [[nodiscard]] off_t OffsetOf(std::uint64_t index) const noexcept {
    return static_cast<off_t>(index * options_.value_size);
  }
  int fd_ = -1;
};

template <typename Store>
Result<std::unique_ptr<ColdStore>> OpenAs(const ColdOptions& options) {
  auto store = std::make_unique<Store>(options);
  LARDER_FAIL_IF_ERROR(store->Open());
  return store;
}

}  // namespace

std::string_view ColdName(ColdKind kind) noexcept {
  switch (kind) {
    case ColdKind::kLarder:
      return "larder";
    case ColdKind::kBlobDb:
      return "blobdb";
    case ColdKind::kLmdb:
      return "lmdb";
    case ColdKind::kPread:
      return "pread";
  }
  return "";
}

std::optional<ColdKind> ColdFromName(std::string_view name) noexcept {
  for (const ColdKind kind : kColdKinds) {
    if (ColdName(kind) == name) return kind;
  }
  return std::nullopt;
}

Result<std::unique_ptr<ColdStore>> OpenColdStore(ColdKind kind,
                                                 const ColdOptions& options) {
  switch (kind) {
    case ColdKind::kLarder:
      return OpenAs<ColdLarder>(options);
    case ColdKind::kBlobDb:
      return OpenAs<ColdBlobDb>(options);
    case ColdKind::kLmdb:
      return OpenAs<ColdLmdb>(options);
    case ColdKind::kPread:
      break;
  }
  return OpenAs<ColdPread>(options);
}

}  // namespace larder::bench
