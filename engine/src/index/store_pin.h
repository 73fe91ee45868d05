#ifndef LARDER_ENGINE_SRC_INDEX_STORE_PIN_H_
#define LARDER_ENGINE_SRC_INDEX_STORE_PIN_H_

#include <rocksdb/slice.h>

#include "larder/engine/value_handle.h"

#include "os/fork_guard.h"

namespace larder {

/// Bytes that RocksDB handed out, pinned in its block cache or owned.
struct EntryPin final : ValuePin {
  ~EntryPin() override {
    // The block is the parent's, and so may be the thread that had the lock of
    // its cache at the fork. The bytes stay where they are until the child
    // ends.
    if (guard.InChild()) slice.DelegateCleanupsTo(new rocksdb::Cleanable);
  }
  rocksdb::PinnableSlice slice;
  const ForkGuard guard;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_STORE_PIN_H_
