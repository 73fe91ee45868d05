#include "many_processes/round_trips.h"

#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

#include "forked_process.h"
#include "seat/client_channel.h"
#include "seat/seat.h"
#include "seat/seat_server.h"
#include "temporary_directory.h"

namespace larder::bench {
namespace {

using testing::ForkedProcess;
using testing::TemporaryDirectory;

class EchoHandler final : public RequestHandler {
 public:
  void Execute(std::span<ServedRequest> requests) noexcept override {
    for (ServedRequest& request : requests) request.reply = request.message;
  }
  void ClientGone(std::uint64_t) noexcept override {}
};

SeatOptions OptionsFor(const TemporaryDirectory& directory) {
  return {.directory = directory.path(),
          .region_directory = std::string(kRegionDirectoryDefault),
          .id = {},
          .attach_timeout = std::chrono::seconds(10)};
}

class RingEcho final : public Echo {
 public:
  explicit RingEcho(std::size_t size_bytes)
      : holder_([this](const ForkedProcess::Pipe& pipe) -> int {
          const auto seat = std::move(*Seat::Attach(OptionsFor(directory_)));
          EchoHandler handler;
          if (!seat->TryTake().value()) return 1;
          const auto server = std::move(*SeatServer::Start(*seat, handler));
          pipe.Send(1);
          for (;;) ::pause();
        }),
        message_(size_bytes, 'm') {
    if (holder_.Receive() != 1U) std::abort();
    seat_ = std::move(*Seat::Attach(OptionsFor(directory_)));
    channel_ = ClientChannel::Open(*seat_);
  }
  bool RoundTrip() override {
    const auto reply = channel_->Call(
        message_, std::chrono::steady_clock::now() + std::chrono::seconds(5),
        {});
    return reply.has_value() && reply->size() == message_.size();
  }

 private:
  const TemporaryDirectory directory_;
  const ForkedProcess holder_;
  const std::string message_;
  std::unique_ptr<Seat> seat_;
  std::unique_ptr<ClientChannel> channel_;
};

bool TransferAll(int fd, char* bytes, std::size_t size, bool sending) {
  while (size > 0) {
    const ssize_t done =
        sending ? ::write(fd, bytes, size) : ::read(fd, bytes, size);
    if (done <= 0) return false;
    bytes += done;
    size -= static_cast<std::size_t>(done);
  }
  return true;
}

struct SocketPair {
  int fds[2];
  SocketPair() {
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) std::abort();
  }
  ~SocketPair() {
    ::close(fds[0]);
    ::close(fds[1]);
  }
};

class SocketEcho final : public Echo {
 public:
  explicit SocketEcho(std::size_t size_bytes)
      : message_(size_bytes, 'm'), server_([this](const ForkedProcess::Pipe&) {
          ::close(sockets_.fds[0]);
          while (TransferAll(sockets_.fds[1], message_.data(), message_.size(),
                             false) &&
                 TransferAll(sockets_.fds[1], message_.data(), message_.size(),
                             true)) {
          }
          return 0;
        }) {}
  bool RoundTrip() override {
    return TransferAll(sockets_.fds[0], message_.data(), message_.size(),
                       true) &&
           TransferAll(sockets_.fds[0], message_.data(), message_.size(),
                       false);
  }

 private:
  SocketPair sockets_;
  std::string message_;
  const ForkedProcess server_;
};

}  // namespace

std::unique_ptr<Echo> MakeRingEcho(std::size_t size_bytes) {
  return std::make_unique<RingEcho>(size_bytes);
}

std::unique_ptr<Echo> MakeSocketEcho(std::size_t size_bytes) {
  return std::make_unique<SocketEcho>(size_bytes);
}

}  // namespace larder::bench
