#ifndef LARDER_ENGINE_SRC_TABLE_BLOCKS_H_
#define LARDER_ENGINE_SRC_TABLE_BLOCKS_H_

#include <cstdint>
#include <functional>
#include <string_view>

#include "larder/engine/status.h"

#include "open_file.h"

namespace larder {

/// What a table knows of a key. Another one may know something newer.
struct TablePair {
  std::string_view key = {};
  std::string_view value = {};
  std::uint64_t sequence = 0;  ///< Of the change; a newer one has a larger one.
  bool is_deletion = false;
};
/// An error ends the walk.
using VisitTablePair = std::function<Status(const TablePair& pair)>;

/// Visits the newest pair of each key in a table of RocksDB of which nothing is
/// relied upon but its data blocks: its index, filter, properties and footer
/// may be damaged or gone. Operands of merges are left out. A block counts if
/// its checksum is right; what is not in one is passed over, and a file that
/// cannot be read has none.
///
/// Cost: reads the table into memory.
[[nodiscard]] Status ScanTableBlocks(const FilePlace& table,
                                     const VisitTablePair& visit);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_TABLE_BLOCKS_H_
