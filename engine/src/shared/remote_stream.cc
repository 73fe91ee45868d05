#include "shared/remote_stream.h"

#include <algorithm>
#include <string>
#include <utility>

#include "larder/engine/limits.h"

#include "messages/message_codec.h"

namespace larder {
namespace {

// What the holder keeps for this process, given back at the end.
class RemoteHandle {
 public:
  RemoteHandle(std::shared_ptr<RemoteCaller> caller, std::uint64_t number,
               MessageKind close)
      : caller_(std::move(caller)), number_(number), close_(close) {}
  RemoteHandle(const RemoteHandle&) = delete;
  RemoteHandle& operator=(const RemoteHandle&) = delete;
  ~RemoteHandle() {
    if (number_ != 0) caller_->CloseHandle(close_, number_);
  }
  [[nodiscard]] RemoteCaller& caller() const noexcept { return *caller_; }
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
  /// The holder has let go of it.
  void Release() noexcept { number_ = 0; }

 private:
  std::shared_ptr<RemoteCaller> caller_;
  std::uint64_t number_;
  MessageKind close_;
};

class RemoteScan final : public Scan {
 public:
  RemoteScan(std::shared_ptr<RemoteCaller> caller, std::uint64_t number)
      : handle_(std::move(caller), number, MessageKind::kScanClose) {}

  Result<std::vector<ScanItem>> Next(std::size_t count_max) noexcept override {
    if (count_max == 0 || count_max > kScanPageCountMax) {
      return Fail(Status::InvalidArgument(
          "a scan page has 1 to " + std::to_string(kScanPageCountMax) +
          " items, not " + std::to_string(count_max)));
    }
    std::string body;
    EncodeScanNext(body, {.scan = handle_.number(), .count_max = count_max});
    const auto answer = handle_.caller().Ask(MessageKind::kScanNext, body);
    if (!answer) return Fail(answer.error());
    auto page = DecodeScanPage(answer->bytes, answer->body);
    if (!page) return Fail(std::move(page.error()));
    return std::move(page->items);
  }

 private:
  RemoteHandle handle_;
};

class RemoteWriter final : public ValueWriter {
 public:
  RemoteWriter(std::shared_ptr<RemoteCaller> caller, std::uint64_t number)
      : handle_(std::move(caller), number, MessageKind::kStreamClose) {}

  Status Append(std::string_view bytes) noexcept override {
    if (!failed_.ok()) return failed_;
    // Small pieces are gathered, so that each message is worth its way.
    while (!bytes.empty()) {
      const std::size_t size =
          std::min(bytes.size(), kStreamPieceSize - pending_.size());
      pending_ += bytes.substr(0, size);
      bytes.remove_prefix(size);
      if (pending_.size() == kStreamPieceSize) failed_ = Flush();
      if (!failed_.ok()) return failed_;
    }
    return {};
  }

  Reply Commit() noexcept override {
    Reply reply;
    if (failed_.ok()) failed_ = Flush();
    if (!failed_.ok()) {
      reply.status = failed_;
      return reply;
    }
    failed_ = Status::Closed("the stream was committed");
    std::string body;
    EncodeNumber(body, handle_.number());
    const auto answer = handle_.caller().Ask(MessageKind::kWriterCommit, body,
                                             RemoteCaller::Patience::kNormal,
                                             RemoteCaller::Effect::kChange);
    if (!answer) {
      // Lost before or after the commit, which is one moment for the holder.
      reply.status = answer.error().code() == StatusCode::kGone
                         ? Status::OutcomeUnknown(answer.error().message() +
                                                  "; outcome unknown")
                         : answer.error();
      return reply;
    }
    handle_.Release();
    auto decoded = DecodeReplies(answer->bytes, answer->body, {&reply, 1});
    if (!decoded) reply.status = std::move(decoded.error());
    return reply;
  }

 private:
  Status Flush() noexcept {
    if (pending_.empty()) return {};
    std::string body;
    EncodeStreamBytes(body, {.stream = handle_.number(), .bytes = pending_});
    pending_.clear();
    const auto answer = handle_.caller().Ask(MessageKind::kWriterAppend, body);
    return answer ? Status() : answer.error();
  }

  RemoteHandle handle_;
  std::string pending_;
  Status failed_;
};

class RemoteReader final : public ValueReader {
 public:
  RemoteReader(std::shared_ptr<RemoteCaller> caller, std::uint64_t number,
               ItemInfo info)
      : handle_(std::move(caller), number, MessageKind::kStreamClose),
        info_(std::move(info)) {}

  [[nodiscard]] const ItemInfo& info() const noexcept override { return info_; }

  Result<std::size_t> Read(std::span<char> buffer) noexcept override {
    std::size_t done = 0;
    while (done < buffer.size()) {
      if (rest_.empty() && !at_end_) {
        LARDER_FAIL_IF_ERROR(Fetch());
      }
      if (rest_.empty()) break;
      const std::size_t size = std::min(rest_.size(), buffer.size() - done);
      std::copy_n(rest_.data(), size, buffer.data() + done);
      rest_.remove_prefix(size);
      done += size;
    }
    return done;
  }

 private:
  // Large pieces, whatever the caller's buffer.
  Status Fetch() noexcept {
    std::string body;
    EncodeReaderRead(
        body, {.stream = handle_.number(), .size_max = kStreamPieceSize});
    auto answer = handle_.caller().Ask(MessageKind::kReaderRead, body);
    if (!answer) return std::move(answer.error());
    piece_ = std::move(answer->bytes);
    rest_ = answer->body;
    if (rest_.size() < kStreamPieceSize) at_end_ = true;
    return {};
  }

  RemoteHandle handle_;
  const ItemInfo info_;
  std::shared_ptr<const std::string> piece_;
  std::string_view rest_;  // Of piece_, not yet read.
  bool at_end_ = false;
};

}  // namespace

std::unique_ptr<Scan> MakeRemoteScan(std::shared_ptr<RemoteCaller> caller,
                                     std::uint64_t number) {
  return std::make_unique<RemoteScan>(std::move(caller), number);
}

std::unique_ptr<ValueWriter> MakeRemoteWriter(
    std::shared_ptr<RemoteCaller> caller, std::uint64_t number) {
  return std::make_unique<RemoteWriter>(std::move(caller), number);
}

std::unique_ptr<ValueReader> MakeRemoteReader(
    std::shared_ptr<RemoteCaller> caller, std::uint64_t number, ItemInfo info) {
  return std::make_unique<RemoteReader>(std::move(caller), number,
                                        std::move(info));
}

}  // namespace larder
