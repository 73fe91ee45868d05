#include "files/fill_store.h"

#include <memory>
#include <mutex>

#include "files/source_file.h"

namespace larder::tools {
std::string_view FileTag(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos || dot == 0 ? std::string_view()
                                                   : name.substr(dot + 1);
}

FillWorker::FillWorker(FillShared& shared)
    : shared_(shared), batch_(shared.cache.engine()) {}

Status FillWorker::Handle(const FoundFile& file) {
  shared_.progress.Advance(1, 0);
  auto source = SourceFile::Open(file.path);
  if (!source) {
    shared_.problems.Add(source.error());
    return Status::Ok();
  }
  SetCommand command;
  command.key = file.path;
  command.tag = FileTag(file.path);
  // A value must be shorter than its room, or the file may have grown.
  return source->size_bytes() < SetBatch::kValueSizeBytesMax
             ? StoreBatched(command, source->size_bytes(), *source)
             : StoreStreamed(command, *source);
}

Status FillWorker::StoreBatched(const SetCommand& command,
                                std::size_t size_expected, SourceFile& source) {
  const auto room = [&] {
    const std::shared_lock lock(shared_.stream_mutex);
    return batch_.Reserve(size_expected + 1);
  }();
  if (!room) {
    return room.error();
  }
  const auto size = source.Read(*room);
  if (!size) {
    shared_.problems.Add(size.error());
    return Status::Ok();
  }
  if (*size == room->size()) {  // It has grown since.
    if (const Status rewound = source.Rewind(); !rewound.ok()) {
      shared_.problems.Add(rewound);
      return Status::Ok();
    }
    return StoreStreamed(command, source);
  }
  SetCommand filled = command;
  filled.value = std::string_view(room->data(), *size);
  batch_.Add(filled);
  shared_.progress.Advance(0, *size);
  return Status::Ok();
}

Status FillWorker::StoreStreamed(const SetCommand& command,
                                 SourceFile& source) {
  if (source.size_bytes() < shared_.alone_size_bytes_min) {
    const std::shared_lock lock(shared_.stream_mutex);
    return Stream(command, source);
  }
  const std::unique_lock lock(shared_.stream_mutex);
  return Stream(command, source);
}

Status FillWorker::Stream(const SetCommand& command, SourceFile& source) {
  piece_.resize(kPieceSizeBytes);
  std::uint64_t size_bytes = 0;
  const auto settle = [&](const Status& status) {
    if (status.ok()) {
      ++streamed_.stored;
      streamed_.stored_bytes += size_bytes;
      return status;
    }
    return CountLeftOut(status.code(), source.size_bytes(), streamed_)
               ? Status::Ok()
               : status;
  };
  auto writer = shared_.cache.engine().OpenWriter(command, source.size_bytes());
  if (!writer) {
    return settle(writer.error());
  }
  for (;;) {
    const auto count = source.Read(piece_);
    if (!count) {
      shared_.problems.Add(count.error());
      return Status::Ok();
    }
    if (*count == 0) {
      return settle((*writer)->Commit().status);
    }
    const Status status =
        (*writer)->Append(std::string_view(piece_.data(), *count));
    if (!status.ok()) {
      return settle(status);
    }
    size_bytes += *count;
    shared_.progress.Advance(0, *count);
  }
}

Status FillWorker::Finish() {
  const std::shared_lock lock(shared_.stream_mutex);
  return batch_.Flush();
}

BatchCounts FillWorker::counts() const {
  BatchCounts counts = batch_.counts();
  counts += streamed_;
  return counts;
}

}  // namespace larder::tools
