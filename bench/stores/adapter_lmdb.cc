// LMDB with MDB_NOSYNC: a commit is with the operating system when it returns
// (safe from kill -9, not from a power cut), as with every engine here. One
// write transaction for each operation; one read transaction that is renewed,
// which is the cheapest way LMDB has.
//
// Values of 2 KiB and more lie in runs of overflow pages: a 1 MiB value needs
// 257 pages in a row.

#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include <lmdb.h>

#include "stores/store_adapter.h"

namespace larder::bench {

namespace {

constexpr mdb_mode_t kLmdbFileMode = 0600;

Status FromLmdb(int code) {
  switch (code) {
    case MDB_SUCCESS:
      return Status::Ok();
    case MDB_MAP_FULL:
      return Status::NoSpace("lmdb: the map is full");
    case MDB_BAD_VALSIZE:
      return Status::InvalidArgument("lmdb: key of a wrong size");
    default:
      return Status::IoError(std::string("lmdb: ") + mdb_strerror(code));
  }
}

/// What LMDB takes; it does not write through it.
MDB_val ToValue(std::string_view bytes) {
  return {bytes.size(), const_cast<char*>(bytes.data())};
}

std::string_view ToView(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

struct CloseEnvironment {
  void operator()(MDB_env* env) const noexcept { mdb_env_close(env); }
};
struct AbortTransaction {
  void operator()(MDB_txn* txn) const noexcept { mdb_txn_abort(txn); }
};
using Environment = std::unique_ptr<MDB_env, CloseEnvironment>;
using Transaction = std::unique_ptr<MDB_txn, AbortTransaction>;

class LmdbStore final : public KeyValueStore {
 public:
  LmdbStore(Environment env, MDB_dbi dbi) : env_(std::move(env)), dbi_(dbi) {}

  Status Set(std::string_view key, std::string_view value) override {
    const KeyValue item{key, value};
    return SetMany({&item, 1});
  }

  Result<bool> Get(std::string_view key, ValueVisitor& visitor) override {
    const auto hit_count = MultiGet({&key, 1}, visitor);
    if (!hit_count) {
      return Fail(hit_count.error());
    }
    return *hit_count == 1;
  }

  Result<bool> Delete(std::string_view key) override {
    auto txn = Begin();
    if (!txn) {
      return Fail(std::move(txn.error()));
    }
    MDB_val key_value = ToValue(key);
    const int code = mdb_del(txn->get(), dbi_, &key_value, nullptr);
    if (code == MDB_NOTFOUND) {
      return false;
    }
    LARDER_FAIL_IF_ERROR(FromLmdb(code));
    LARDER_FAIL_IF_ERROR(FromLmdb(mdb_txn_commit(txn->release())));
    return true;
  }

  Result<std::size_t> MultiGet(std::span<const std::string_view> keys,
                               ValueVisitor& visitor) override {
    LARDER_FAIL_IF_ERROR(BeginRead());
    std::size_t hit_count = 0;
    Status status;
    for (const std::string_view key : keys) {
      MDB_val key_value = ToValue(key);
      MDB_val value{};
      const int code = mdb_get(reader_.get(), dbi_, &key_value, &value);
      if (code == MDB_NOTFOUND) {
        continue;
      }
      status = FromLmdb(code);
      if (!status.ok()) {
        break;
      }
      visitor.Visit(ToView(value));
      ++hit_count;
    }
    mdb_txn_reset(reader_.get());
    LARDER_FAIL_IF_ERROR(std::move(status));
    return hit_count;
  }

  Status SetMany(std::span<const KeyValue> items) override {
    auto txn = Begin();
    if (!txn) {
      return std::move(txn.error());
    }
    for (const KeyValue& item : items) {
      MDB_val key_value = ToValue(item.key);
      MDB_val value = ToValue(item.value);
      LARDER_RETURN_IF_ERROR(
          FromLmdb(mdb_put(txn->get(), dbi_, &key_value, &value, 0)));
    }
    return FromLmdb(mdb_txn_commit(txn->release()));
  }

  Result<std::int64_t> Incr(std::string_view key, std::int64_t delta) override {
    auto txn = Begin();
    if (!txn) {
      return Fail(std::move(txn.error()));
    }
    MDB_val key_value = ToValue(key);
    MDB_val old{};
    std::int64_t integer = 0;
    const int code = mdb_get(txn->get(), dbi_, &key_value, &old);
    if (code != MDB_NOTFOUND) {
      LARDER_FAIL_IF_ERROR(FromLmdb(code));
      if (old.mv_size != sizeof(integer)) {
        return Fail(Status::TypeMismatch("not an integer"));
      }
      std::memcpy(&integer, old.mv_data, sizeof(integer));
    }
    integer += delta;
    MDB_val value{sizeof(integer), &integer};
    LARDER_FAIL_IF_ERROR(
        FromLmdb(mdb_put(txn->get(), dbi_, &key_value, &value, 0)));
    LARDER_FAIL_IF_ERROR(FromLmdb(mdb_txn_commit(txn->release())));
    return integer;
  }

  Status Settle() override { return Status::Ok(); }  // It has no background.

  Status Close() override {
    reader_.reset();
    env_.reset();
    return Status::Ok();
  }

 private:
  Result<Transaction> Begin() {
    MDB_txn* txn = nullptr;
    LARDER_FAIL_IF_ERROR(FromLmdb(mdb_txn_begin(env_.get(), nullptr, 0, &txn)));
    return Transaction(txn);
  }

  Status BeginRead() {
    if (reader_ != nullptr) {
      return FromLmdb(mdb_txn_renew(reader_.get()));
    }
    MDB_txn* txn = nullptr;
    LARDER_RETURN_IF_ERROR(
        FromLmdb(mdb_txn_begin(env_.get(), nullptr, MDB_RDONLY, &txn)));
    reader_.reset(txn);
    return Status::Ok();
  }

  Environment env_;
  MDB_dbi dbi_;
  Transaction reader_;  // Reset between reads; gone before env_.
};

}  // namespace

Result<std::unique_ptr<KeyValueStore>> OpenLmdb(
    const std::filesystem::path& path, const StoreOptions& options) {
  MDB_env* raw_env = nullptr;
  LARDER_FAIL_IF_ERROR(FromLmdb(mdb_env_create(&raw_env)));
  Environment env(raw_env);
  LARDER_FAIL_IF_ERROR(
      FromLmdb(mdb_env_set_mapsize(env.get(), options.size_limit_bytes)));
  // NORDAHEAD is left off: the data fits the page cache.
  LARDER_FAIL_IF_ERROR(FromLmdb(
      mdb_env_open(env.get(), path.c_str(), MDB_NOSYNC, kLmdbFileMode)));
  MDB_txn* raw_txn = nullptr;
  LARDER_FAIL_IF_ERROR(
      FromLmdb(mdb_txn_begin(env.get(), nullptr, 0, &raw_txn)));
  Transaction txn(raw_txn);
  MDB_dbi dbi = 0;
  LARDER_FAIL_IF_ERROR(FromLmdb(mdb_dbi_open(txn.get(), nullptr, 0, &dbi)));
  LARDER_FAIL_IF_ERROR(FromLmdb(mdb_txn_commit(txn.release())));
  return std::make_unique<LmdbStore>(std::move(env), dbi);
}

}  // namespace larder::bench
