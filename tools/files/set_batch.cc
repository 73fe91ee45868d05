#include "files/set_batch.h"

#include <span>
#include <utility>

#include <fmt/format.h>

#include "larder/serializers/codec_id.h"
#include "larder/serializers/compression.h"

namespace larder::tools {

bool CountLeftOut(StatusCode code, std::uint64_t bytes, BatchCounts& counts) {
  if (code == StatusCode::kTooLarge || code == StatusCode::kKeyTooLarge) {
    ++counts.too_large;
    counts.too_large_bytes += bytes;
    return true;
  }
  if (code == StatusCode::kNoSpace) {
    ++counts.no_room;
    counts.no_room_bytes += bytes;
    return true;
  }
  return false;
}

Status CheckRoom(const BatchCounts& counts) {
  if (counts.no_room == 0) {
    return Status::Ok();
  }
  return Status::NoSpace(
      fmt::format("{} items found no room and are left out", counts.no_room));
}

SetBatch::SetBatch(Engine& engine)
    : engine_(engine), settings_(engine.CurrentSettings()) {}

Result<std::span<char>> SetBatch::Reserve(std::size_t size) {
  if (commands_.size() == kCommandCountMax ||
      buffer_.size() - buffer_used_ < size) {
    LARDER_FAIL_IF_ERROR(Flush());
  }
  return std::span(buffer_).subspan(buffer_used_, size);
}

void SetBatch::Add(const SetCommand& command) {
  SetCommand own = command;
  own.key = texts_.emplace_back(command.key);
  if (!command.tag.empty()) {
    own.tag = texts_.emplace_back(command.tag);
  }
  own.value =
      std::string_view(buffer_.data() + buffer_used_, command.value.size());
  buffer_used_ += command.value.size();
  value_sizes_.push_back(command.value.size());
  Compress(own);
  commands_.emplace_back(own);
}

void SetBatch::Compress(SetCommand& command) {
  if (settings_.compression == CompressionSetting::kNone ||
      command.codec != kCodecIdBytes ||
      command.value.size() < settings_.compression_min) {
    return;
  }
  auto frame = larder::Compress(static_cast<Compression>(settings_.compression),
                                command.value);
  if (frame) {
    command.value = compressed_.emplace_back(*std::move(frame));
    command.codec |= kCodecIdCompressedFlag;
  }
}

Status SetBatch::Execute() {
  const Status status = engine_.Execute(commands_, replies_);
  if (status.code() != StatusCode::kNoSpace) {
    return status;
  }
  for (std::size_t i = 0; i < commands_.size(); ++i) {
    replies_[i] = Reply();
    const Status alone = engine_.Execute(std::span(commands_).subspan(i, 1),
                                         std::span(replies_).subspan(i, 1));
    if (alone.code() == StatusCode::kNoSpace) {
      replies_[i].status = alone;
    } else if (!alone.ok()) {
      return alone;
    }
  }
  return Status::Ok();
}

Status SetBatch::Flush() {
  if (commands_.empty()) {
    return Status::Ok();
  }
  replies_.clear();
  replies_.resize(commands_.size());
  LARDER_RETURN_IF_ERROR(Execute());
  for (std::size_t i = 0; i < commands_.size(); ++i) {
    const Status& status = replies_[i].status;
    if (status.ok() && !replies_[i].applied) {
      ++counts_.not_applied;
    } else if (status.ok()) {
      ++counts_.stored;
      counts_.stored_bytes += value_sizes_[i];
    } else if (!CountLeftOut(status.code(), value_sizes_[i], counts_)) {
      return status;
    }
  }
  commands_.clear();
  value_sizes_.clear();
  texts_.clear();
  compressed_.clear();
  buffer_used_ = 0;
  return Status::Ok();
}

}  // namespace larder::tools
