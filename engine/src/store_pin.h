#ifndef LARDER_ENGINE_SRC_STORE_PIN_H_
#define LARDER_ENGINE_SRC_STORE_PIN_H_

#include <rocksdb/slice.h>

#include "larder/engine/value_handle.h"

namespace larder {

/// Bytes that RocksDB handed out, pinned in its block cache or owned.
struct EntryPin final : ValuePin {
  rocksdb::PinnableSlice slice;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_STORE_PIN_H_
