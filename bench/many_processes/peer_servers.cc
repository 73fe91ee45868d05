#include "many_processes/peer_servers.h"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if LARDER_HAVE_HIREDIS
#include <hiredis/hiredis.h>
#endif
#if LARDER_HAVE_MEMCACHED
#include <libmemcached/memcached.h>
#endif

namespace larder::bench {
namespace {

using tools::BenchTarget;
using tools::OpenBenchTarget;

constexpr std::chrono::seconds kStartTimeout{10};

[[maybe_unused]] Status NotBuilt(const std::string& what) {
  return Status::NotFound(what + " was not there when this was built");
}

// A program that runs until the object dies.
class Process {
 public:
  explicit Process(std::vector<std::string> words) {
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (const int fd : {0, 1, 2}) ::dup2(null, fd);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  // False: it has ended; it is not installed, most likely.
  [[nodiscard]] bool Runs() {
    if (pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
    return pid_ > 0;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

class Server final : public PeerServer {
 public:
  Server(std::unique_ptr<Process> process, OpenBenchTarget open)
      : process_(std::move(process)), open_(std::move(open)) {}
  [[nodiscard]] OpenBenchTarget Targets() const override { return open_; }
  [[nodiscard]] double cpu_seconds() const override {
    return ProcessCpuSeconds(process_->pid());
  }

 private:
  const std::unique_ptr<Process> process_;
  const OpenBenchTarget open_;
};

// Waits until a target can be opened and answers.
[[maybe_unused]] Result<std::unique_ptr<PeerServer>> Start(
    std::vector<std::string> words, OpenBenchTarget open) {
  const std::string program = words[0];
  auto process = std::make_unique<Process>(std::move(words));
  const auto deadline = std::chrono::steady_clock::now() + kStartTimeout;
  while (std::chrono::steady_clock::now() < deadline) {
    if (!process->Runs()) {
      return Fail(Status::NotFound(program + " does not start"));
    }
    const auto target = open();
    if (target && (*target)->Set("ready", "yes").ok()) {
      return std::make_unique<Server>(std::move(process), std::move(open));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return Fail(Status(StatusCode::kTimedOut, program + " does not answer"));
}

#if LARDER_HAVE_HIREDIS
class RedisTarget final : public BenchTarget {
 public:
  static Result<std::unique_ptr<BenchTarget>> Open(const std::string& socket) {
    std::unique_ptr<redisContext, Free> context(
        ::redisConnectUnix(socket.c_str()));
    if (context == nullptr || context->err != 0) {
      return Fail(Status::IoError("cannot connect to Redis"));
    }
    return std::unique_ptr<BenchTarget>(new RedisTarget(std::move(context)));
  }
  Result<bool> Get(std::string_view key) override {
    const Reply reply = Ask("GET %b", key.data(), key.size());
    if (reply == nullptr) return Fail(Broken());
    return reply->type == REDIS_REPLY_STRING;
  }
  Status Set(std::string_view key, std::string_view value) override {
    const Reply reply =
        Ask("SET %b %b", key.data(), key.size(), value.data(), value.size());
    return reply != nullptr && reply->type == REDIS_REPLY_STATUS ? Status::Ok()
                                                                 : Broken();
  }
  Result<bool> Delete(std::string_view key) override {
    const Reply reply = Ask("DEL %b", key.data(), key.size());
    if (reply == nullptr) return Fail(Broken());
    return reply->integer == 1;
  }

 private:
  struct Free {
    void operator()(redisContext* context) const { ::redisFree(context); }
    void operator()(redisReply* reply) const { ::freeReplyObject(reply); }
  };
  using Reply = std::unique_ptr<redisReply, Free>;
  explicit RedisTarget(std::unique_ptr<redisContext, Free> context)
      : context_(std::move(context)) {}
  template <typename... Arguments>
  Reply Ask(const char* format, Arguments... arguments) {
    return Reply(static_cast<redisReply*>(
        ::redisCommand(context_.get(), format, arguments...)));
  }
  [[nodiscard]] Status Broken() const {
    return Status::IoError(std::string("Redis: ") + context_->errstr);
  }
  const std::unique_ptr<redisContext, Free> context_;
};
#endif

#if LARDER_HAVE_MEMCACHED
class MemcachedTarget final : public BenchTarget {
 public:
  static Result<std::unique_ptr<BenchTarget>> Open(const std::string& socket) {
    std::unique_ptr<memcached_st, Free> client(::memcached_create(nullptr));
    if (client == nullptr ||
        ::memcached_server_add_unix_socket(client.get(), socket.c_str()) !=
            MEMCACHED_SUCCESS) {
      return Fail(Status::IoError("cannot connect to memcached"));
    }
    ::memcached_behavior_set(client.get(), MEMCACHED_BEHAVIOR_BINARY_PROTOCOL,
                             1);
    return std::unique_ptr<BenchTarget>(new MemcachedTarget(std::move(client)));
  }
  Result<bool> Get(std::string_view key) override {
    std::size_t size = 0;
    std::uint32_t flags = 0;
    memcached_return_t status = MEMCACHED_FAILURE;
    char* const value = ::memcached_get(client_.get(), key.data(), key.size(),
                                        &size, &flags, &status);
    std::free(value);  // As libmemcached wants it.
    if (status == MEMCACHED_NOTFOUND) return false;
    if (status != MEMCACHED_SUCCESS) return Fail(Broken(status));
    return true;
  }
  Status Set(std::string_view key, std::string_view value) override {
    const memcached_return_t status =
        ::memcached_set(client_.get(), key.data(), key.size(), value.data(),
                        value.size(), 0, 0);
    return status == MEMCACHED_SUCCESS ? Status::Ok() : Broken(status);
  }
  Result<bool> Delete(std::string_view key) override {
    const memcached_return_t status =
        ::memcached_delete(client_.get(), key.data(), key.size(), 0);
    if (status == MEMCACHED_NOTFOUND) return false;
    if (status != MEMCACHED_SUCCESS) return Fail(Broken(status));
    return true;
  }

 private:
  struct Free {
    void operator()(memcached_st* client) const { ::memcached_free(client); }
  };
  explicit MemcachedTarget(std::unique_ptr<memcached_st, Free> client)
      : client_(std::move(client)) {}
  [[nodiscard]] Status Broken(memcached_return_t status) const {
    return Status::IoError(std::string("memcached: ") +
                           ::memcached_strerror(client_.get(), status));
  }
  const std::unique_ptr<memcached_st, Free> client_;
};
#endif

}  // namespace

double ProcessCpuSeconds(pid_t pid) {
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(pid, &clock) != 0 ||
      ::clock_gettime(clock, &time) != 0) {
    return -1;
  }
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_nsec) / 1e9;
}

Result<std::unique_ptr<PeerServer>> StartRedis(const std::string& directory) {
#if LARDER_HAVE_HIREDIS
  const std::string socket = directory + "/redis.sock";
  return Start({"redis-server", "--port", "0", "--unixsocket", socket, "--save",
                "", "--appendonly", "no", "--dir", directory},
               [socket] { return RedisTarget::Open(socket); });
#else
  static_cast<void>(directory);
  return Fail(NotBuilt("hiredis (libhiredis-dev)"));
#endif
}

Result<std::unique_ptr<PeerServer>> StartMemcached(
    const std::string& directory) {
#if LARDER_HAVE_MEMCACHED
  const std::string socket = directory + "/memcached.sock";
  std::vector<std::string> words = {"memcached", "-s", socket, "-m", "256"};
  if (::geteuid() == 0) words.insert(words.end(), {"-u", "root"});
  return Start(std::move(words),
               [socket] { return MemcachedTarget::Open(socket); });
#else
  static_cast<void>(directory);
  return Fail(NotBuilt("libmemcached (libmemcached-dev)"));
#endif
}

}  // namespace larder::bench
