#ifndef LARDER_ENGINE_SRC_SHARED_ENGINE_SERVICE_H_
#define LARDER_ENGINE_SRC_SHARED_ENGINE_SERVICE_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "messages/command_codec.h"
#include "messages/message_codec.h"
#include "messages/session_store.h"
#include "seat/seat_server.h"
#include "shared/change_combiner.h"

namespace larder {

/// Most scans and streams that one client may have open.
inline constexpr std::size_t kHandlesPerClientMax = 64;

/// Executes the messages of clients on a store. What may take long (checks,
/// clearing, culling, counting while there is something to settle) runs on
/// threads of its own, so that it does not hold up the others.
///
/// Threads: thread-safe.
/// Errors:  whatever is wrong with a message is answered with a status.
class EngineService final : public RequestHandler {
 public:
  /// Both must outlive it.
  EngineService(SessionStore& store, MainRegion& main) noexcept;
  ~EngineService() override;
  /// Where answers of long work go, which is not begun before. nullptr: the
  /// server has stopped; what waits is left to the next holder.
  void SetServer(SeatServer* server) noexcept;

  void Execute(std::span<ServedRequest> requests) noexcept override;
  void ClientGone(std::uint64_t uid) noexcept override;
  bool NeedsPlace(std::uint64_t uid,
                  SteadyTime::duration idle) noexcept override;
  void Unwanted(std::uint64_t uid, std::uint64_t sequence) noexcept override;
  /// Publishes the store's figures for whoever looks.
  bool Tick() noexcept override;
  void SetPolling(bool polling) noexcept override {
    combiner_.SetCollecting(polling);
  }
  void Poll() noexcept override { combiner_.Poll(); }

  /// Changes a setting and tells all processes that something has changed.
  Status Reset(std::string_view name, std::string_view value) noexcept;
  /// The same of `policy`, for a client that has registered `name`.
  Status ResetPolicy(std::string_view name) noexcept;

  /// As ResetPolicy, of a policy that is set and was registered since; writes
  /// no setting.
  Status RunSetPolicy() noexcept;
  /// Tells all processes what the settings are, if that has changed.
  void PublishSettings() noexcept;

  /// Nothing is open or under way that would be lost or waited for if another
  /// process took over now.
  [[nodiscard]] bool IsIdle() noexcept;
  /// From now on what clients ask for that would make it not idle waits: for
  /// the next holder, or for Resume.
  void Hold() noexcept;
  void Resume() noexcept;

  /// Executes one command of this process that changes one key, maybe together
  /// with those of clients.
  Status Execute(const Command& command, Reply& reply,
                 const ExecuteOptions& options) noexcept;

  /// Executes one message and returns the answer; uid 0: of this process,
  /// never sent to anybody, no record needed.
  std::string Answer(std::string_view message, const Session& session) noexcept;

 private:
  using Handle =
      std::variant<std::unique_ptr<Scan>, std::unique_ptr<ValueWriter>,
                   std::unique_ptr<ValueReader>>;
  struct OpenHandle {
    Session opener;
    Handle handle;  // Empty while a call uses it.
  };
  struct LongTask {
    Session session;
    std::string message;  // Empty: the figures are to be published.
  };

  void AnswerCommands(const Message& message, const Session& session,
                      std::string& out);
  /// Answers those that change one key each, together; they have a reply then.
  void AnswerGroup(std::span<ServedRequest> requests);
  void AnswerGrant(const Message& message, const Session& session,
                   std::string& out);
  void AnswerStore(const Message& message, std::string& out);
  void AnswerScan(const Message& message, const Session& session,
                  std::string& out);
  void AnswerWriter(const Message& message, const Session& session,
                    std::string& out);
  void AnswerReader(const Message& message, const Session& session,
                    std::string& out);
  // Whether a message opens what lives on.
  [[nodiscard]] static bool Opens(std::string_view bytes) noexcept;
  void ExecuteAlone(ServedRequest& request) noexcept;
  // Of what opens something or becomes a task. False: Resume executes it.
  [[nodiscard]] bool BeginLasting(LongTask task) noexcept;
  void EndLasting() noexcept;
  void AnswerHeld(const LongTask& task) noexcept;
  // One of what the client has under way is done. If it has gone meanwhile,
  // all that is left of it goes.
  void Finished(std::uint64_t uid) noexcept;
  Result<std::uint64_t> KeepHandle(const Session& session,
                                   Handle handle) noexcept;
  // Takes it out, so that nobody else uses it meanwhile. Any lane of the
  // process that opened it may use it; the number is the proof. Errors: kGone.
  template <typename T>
  Result<std::unique_ptr<T>> TakeHandle(std::uint64_t number) noexcept;
  // Unless its client has gone meanwhile.
  void PutHandleBack(std::uint64_t number, Handle handle) noexcept;
  void DropHandle(std::uint64_t number) noexcept;
  // All of the client's, or those that one request of it has opened.
  void DropHandles(std::uint64_t uid,
                   std::optional<std::uint64_t> sequence) noexcept;
  // REQUIRES: handles_mutex_.
  void Uncount(std::uint64_t uid) noexcept;
  // Whether a message may take so long that others should not wait for it.
  [[nodiscard]] bool IsLong(std::string_view bytes) noexcept;
  // False: there is no thread for long tasks.
  bool Defer(LongTask task) noexcept;
  void RunLongTasks() noexcept;
  // True if they are others than before.
  bool PublishFigures() noexcept;

  SessionStore& store_;
  MainRegion& main_;
  ChangeCombiner combiner_;
  std::mutex handles_mutex_;
  std::map<std::uint64_t, OpenHandle> handles_;  // Guarded by handles_mutex_.
  // How many of each client, if any. Guarded by handles_mutex_, as the next
  // four.
  std::unordered_map<std::uint64_t, std::size_t> handle_counts_;
  std::mt19937_64 random_;
  bool holding_ = false;
  std::vector<LongTask> held_;
  std::size_t beginning_ = 0;  // Opens something, or is becoming a task.

  std::mutex publish_mutex_;  // From a look at the settings to all told.

  std::mutex tasks_mutex_;
  std::condition_variable tasks_changed_;
  std::deque<LongTask> tasks_;  // Guarded by tasks_mutex_, as the next five.
  std::unordered_map<std::uint64_t, std::size_t> unfinished_;  // By client.
  // Those of them that have gone: their records go when the tasks are done.
  std::unordered_set<std::uint64_t> gone_;
  SeatServer* server_ = nullptr;
  bool stop_ = false;
  std::size_t idle_workers_ = 0;
  std::size_t busy_workers_ = 0;  // Guarded by tasks_mutex_, too.
  std::mutex workers_mutex_;      // Before tasks_mutex_.
  // So that one long task does not hold up the next. Started as they are
  // needed. Guarded by workers_mutex_.
  std::vector<std::thread> workers_;
  std::atomic<bool> figures_asked_{false};  // A task will publish them.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SHARED_ENGINE_SERVICE_H_
