#include "index/wal_writer.h"

#include <cstdint>

#include "base/coding.h"
#include "index/wal_reader.h"

namespace larder {
namespace {

void AppendFragment(std::string& log, WalFragment type,
                    std::string_view bytes) {
  std::string typed(1, static_cast<char>(type));
  typed += bytes;
  PutFixed(log, WalChecksum(typed));
  PutFixed(log, static_cast<std::uint16_t>(bytes.size()));
  log += typed;
}

}  // namespace

void AppendWalRecord(std::string& log, std::string_view record) {
  bool first = true;
  do {
    const std::size_t rest = kWalBlockSize - log.size() % kWalBlockSize;
    if (rest < kWalHeadSize) {
      log.append(rest, '\0');
      continue;
    }
    const std::string_view part = record.substr(0, rest - kWalHeadSize);
    record.remove_prefix(part.size());
    const WalFragment last = first ? WalFragment::kFull : WalFragment::kLast;
    const WalFragment other =
        first ? WalFragment::kFirst : WalFragment::kMiddle;
    AppendFragment(log, record.empty() ? last : other, part);
    first = false;
  } while (!record.empty());
}

}  // namespace larder
