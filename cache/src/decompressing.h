#ifndef LARDER_CACHE_SRC_DECOMPRESSING_H_
#define LARDER_CACHE_SRC_DECOMPRESSING_H_

#include <memory>

#include "larder/engine/engine.h"
#include "larder/engine/status.h"
#include "larder/engine/value_handle.h"

/// What turns stored values back into what was given to Set, where an engine
/// hands them out.

namespace larder::internal {

/// Replaces a compressed value by its original; `info.codec` then describes
/// the original. Errors: kCorruption.
[[nodiscard]] Status DecompressInPlace(ValueHandle& handle,
                                       ItemInfo& info) noexcept;

/// A scan whose values come decompressed.
[[nodiscard]] std::unique_ptr<Scan> DecompressingScan(
    std::unique_ptr<Scan> scan) noexcept;

/// A reader of the original of a compressed value, which it reads and
/// decompresses at once. Errors: those of reading, kCorruption.
[[nodiscard]] Result<std::unique_ptr<ValueReader>> DecompressingReader(
    ValueReader& stored) noexcept;

}  // namespace larder::internal

#endif  // LARDER_CACHE_SRC_DECOMPRESSING_H_
