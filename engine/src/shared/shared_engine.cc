// One process's part in a shared directory.
//
// A member becomes the holder in this order: the seat; the store (which loads
// the session records); the hot tier; "the seat is here" for calls under way;
// then the generation becomes even. It leaves in the opposite order. A member
// that has become the holder stays it until it closes or dies, or gives the
// store to one that can run the policy that is set, which it cannot itself.
//
// 1. A call is in the store of this process only with a pass of the gate. Who
//    gives the store away shuts that, so a call is wholly here or, not begun,
//    the next holder's.
// 2. A store is given away only while nothing that it has handed out is open.

#include "shared/shared_engine.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/role_gate.h"
#include "base/test_point.h"
#include "base/text_units.h"
#include "commit/eviction_notifier.h"
#include "hot/hot_writer.h"
#include "os/fork_guard.h"
#include "os/process_bound.h"
#include "os/start_thread.h"
#include "seat/client_channel.h"
#include "seat/seat_server.h"
#include "shared/engine_service.h"
#include "shared/eviction_poller.h"
#include "shared/hot_view.h"
#include "shared/policy_offers.h"

namespace larder {
namespace {

// Of one key and without much to write: worth a common commit.
bool IsSmallChange(const Command& command) noexcept {
  const auto* const set = std::get_if<SetCommand>(&command);
  if (set != nullptr) return set->value.size() < kPlacedValueSizeMin;
  return std::holds_alternative<IncrCommand>(command) ||
         std::holds_alternative<TouchCommand>(command) ||
         std::holds_alternative<DeleteCommand>(command);
}

}  // namespace

// Two looks in a second, and some time for the answer.
constexpr std::chrono::milliseconds kWatchPeriod{400};
// How long calls may wait for others to end when the store is given away; each
// time that was too short, a little more.
constexpr std::chrono::milliseconds kShutTimeMin{20};
constexpr std::chrono::milliseconds kShutTimeStep{5};
constexpr std::chrono::milliseconds kShutTimeMax{50};
// Between two attempts that came to nothing, each time twice as long as before.
constexpr std::chrono::milliseconds kRetryPauseMax{10'000};
// Between two times that one member gives the store away, the same. Once is
// enough as a rule.
constexpr std::chrono::seconds kHandOverPauseMin{10};
constexpr std::chrono::seconds kHandOverPauseMax{640};

// Pauses, each twice as long as the one before.
class Backoff {
 public:
  Backoff(std::chrono::milliseconds min, std::chrono::milliseconds max) noexcept
      : min_(min), max_(max), pause_(min) {}
  [[nodiscard]] bool IsDue() const noexcept {
    return std::chrono::steady_clock::now() >= from_;
  }
  void Pause() noexcept {
    from_ = std::chrono::steady_clock::now() + pause_;
    pause_ = std::min(2 * pause_, max_);
  }
  void Reset() noexcept {
    from_ = {};
    pause_ = min_;
  }

 private:
  const std::chrono::milliseconds min_;
  const std::chrono::milliseconds max_;
  std::chrono::milliseconds pause_;
  SteadyTime from_{};
};

// A call that may take so long that the store is not given away meanwhile, nor
// others kept waiting for its end.
class LongCall {
 public:
  explicit LongCall(std::atomic<int>& count) noexcept : count_(count) {
    count_.fetch_add(1, std::memory_order_relaxed);
  }
  ~LongCall() { count_.fetch_sub(1, std::memory_order_relaxed); }
  LongCall(const LongCall&) = delete;
  LongCall& operator=(const LongCall&) = delete;

 private:
  std::atomic<int>& count_;
};

bool IsWholeCache(std::span<const Command> commands) noexcept {
  return std::any_of(commands.begin(), commands.end(), [](const Command& c) {
    return std::holds_alternative<EvictTagCommand>(c) ||
           std::holds_alternative<ClearCommand>(c) ||
           std::holds_alternative<ExpireCommand>(c) ||
           std::holds_alternative<CullCommand>(c);
  });
}

// Shared by what it has handed out. It keeps itself until its engine goes, as a
// forked child must not even give up its share of its parent's.
class SharedEngine::Member : public std::enable_shared_from_this<Member> {
 public:
  static Result<Member*> Make(const Options& options,
                              const std::optional<FileIdentity>& identity,
                              const SharedState& state) noexcept {
    auto member = std::make_shared<Member>(options, identity, state);
    LARDER_FAIL_IF_ERROR(member->Join());
    member->self_ = member;
    return member.get();
  }
  Member(const Options& options, const std::optional<FileIdentity>& identity,
         const SharedState& state) noexcept
      : options_(options), identity_(identity), state_(state) {}
  ~Member() { Leave().IgnoreError(); }  // Nobody is left to be told.

  // By several threads: the first does it, the others wait for it.
  Status Leave() noexcept {
    if (InChild()) return {};
    const std::lock_guard lock(leave_mutex_);
    return LeaveLocked();
  }
  // Unless another thread is at it.
  void TryLeave() noexcept {
    if (InChild()) return;
    const std::unique_lock lock(leave_mutex_, std::try_to_lock);
    if (lock) LeaveLocked().IgnoreError();  // Nobody is left to be told.
  }
  // Leaves, and is destroyed with the last that was handed out.
  void Drop() noexcept {
    Leave().IgnoreError();  // Nobody is left to be told.
    self_.reset();
  }
  [[nodiscard]] bool InChild() const noexcept { return guard_.InChild(); }
  // The store if this process has it open, else nullptr.
  [[nodiscard]] SessionStore* local() const noexcept {
    // Acquire pairs with the release in Take.
    return local_.load(std::memory_order_acquire);
  }
  [[nodiscard]] RemoteEngine& remote() noexcept { return *remote_; }
  // Calls `call` with the store, as long as this process has it.
  template <typename Call>
  auto WithLocal(Call&& call)
      -> std::optional<std::invoke_result_t<Call, SessionStore&>> {
    if (local() == nullptr) return std::nullopt;
    const auto pass = gate_.Enter();
    SessionStore* const store = local();
    if (store == nullptr) return std::nullopt;
    return call(*store);
  }
  // The same with whoever executes: the store, or the way to it.
  template <typename Call>
  std::invoke_result_t<Call, Engine&> WithTarget(Call&& call) {
    auto done = WithLocal([&call](SessionStore& store) {
      return call(static_cast<Engine&>(store));
    });
    return done ? *std::move(done) : call(static_cast<Engine&>(*remote_));
  }
  // Opens what lives on, and keeps what it is a part of.
  template <typename Open>
  auto OpenWithTarget(Open&& open) -> std::invoke_result_t<Open, Engine&> {
    auto opened = WithLocal([&](SessionStore& store) {
      return BoundToProcess(
          open(static_cast<Engine&>(store)),
          std::make_shared<Owners>(Owners{shared_from_this(), store_}));
    });
    if (opened) return *std::move(opened);
    return BoundToProcess(open(static_cast<Engine&>(*remote_)),
                          shared_from_this());
  }
  // The process's way to large values.
  [[nodiscard]] PlacedReader& places() noexcept { return places_; }
  [[nodiscard]] HotView& hot() noexcept { return *hot_view_; }
  [[nodiscard]] const FileIdentity& identity() const noexcept {
    return seat_->anchor()->identity();
  }
  // REQUIRES: in WithLocal, as the next one.
  [[nodiscard]] EngineService& service() noexcept { return *service_; }
  [[nodiscard]] bool HasClients() const noexcept {
    return server_->client_count() != 0;
  }
  [[nodiscard]] std::atomic<int>& long_calls() noexcept { return long_calls_; }

 private:
  // Of what a store has handed out; see invariant 2.
  struct Owners {
    std::shared_ptr<Member> member;
    std::shared_ptr<SessionStore> store;
  };
  class Places final : public PlacedReader {
   public:
    explicit Places(Member& member) noexcept : member_(member) {}
    Result<ValueHandle> ReadPlaced(
        std::string_view key, std::uint64_t version,
        const SegmentPlace& place) noexcept override {
      auto value = member_.WithLocal([&](SessionStore& store) {
        return store.ReadPlaced(key, version, place);
      });
      return value ? *std::move(value)
                   : member_.remote().ReadPlaced(key, version, place);
    }
    std::size_t ReadAheadPlaced(
        std::span<WantedRecord> wanted) noexcept override {
      const auto count = member_.WithLocal(
          [&](SessionStore& store) { return store.ReadAheadPlaced(wanted); });
      return count ? *count : member_.remote().ReadAheadPlaced(wanted);
    }

   private:
    Member& member_;
  };

  Status Join() noexcept;
  Status LeaveLocked() noexcept;
  Status StartMonitor() noexcept;
  Status Take(bool by_open) noexcept;
  Status OpenAndServe(bool by_open) noexcept;
  void LookForPolicy() noexcept;
  bool RunSetPolicy(const std::string& name) noexcept;
  void HandOver(std::size_t taker) noexcept;
  bool ShutOut() noexcept;
  [[nodiscard]] bool IsFree() noexcept;
  void GiveAway(std::size_t taker) noexcept;
  Status AwaitHolder(SteadyTime deadline) noexcept;
  void OpenHotTier() noexcept;
  void OpenHotTierSoon() noexcept;
  void StopHotOpener() noexcept;
  void RemoveHotTiersBut(std::uint64_t number) noexcept;
  void RetainClients() noexcept;
  void ListenToHolder() noexcept;
  void BeginWatch() noexcept;
  void Watch() noexcept;
  void EndWatch() noexcept;
  void Log(const std::string& line) const noexcept {
    if (options_.log) options_.log(line);
  }

  const Options options_;
  const std::optional<FileIdentity> identity_;
  const SharedState state_;  // The engine's.
  std::shared_ptr<Member> self_;
  const ForkGuard guard_;
  std::unique_ptr<Seat> seat_;
  std::unique_ptr<ClientChannel> channel_;
  std::unique_ptr<RemoteEngine> remote_;
  std::unique_ptr<HotView> hot_view_;
  std::unique_ptr<PolicyOffers> offers_;
  Places places_{*this};
  RoleGate gate_;
  // Of the holder. Written by the thread that takes the seat, before local_,
  // and by the watch, which gives it away. Shared: see Owners.
  std::shared_ptr<SessionStore> store_;
  std::unique_ptr<HotWriter> hot_writer_;
  std::unique_ptr<EngineService> service_;
  std::unique_ptr<SeatServer> server_;
  std::atomic<SessionStore*> local_{nullptr};
  std::atomic<bool> joined_{false};  // Somebody served; it is a cache.
  std::mutex leave_mutex_;
  bool left_ = false;  // Guarded by leave_mutex_.
  std::unique_ptr<EvictionPoller> poller_;
  // Makes a hot tier for a process that stays.
  std::thread hot_opener_;
  std::mutex hot_opener_mutex_;
  std::condition_variable hot_opener_wake_;
  bool hot_opener_stops_ = false;  // Guarded by hot_opener_mutex_.
  // Looks where the directory is, and for a hot tier that is not one any more.
  std::thread watch_;
  std::mutex watch_mutex_;
  std::condition_variable watch_wake_;
  bool watch_stops_ = false;  // Guarded by watch_mutex_.
  std::atomic<int> long_calls_{0};
  // Of the watch, then of Leave.
  Backoff hand_over_{kHandOverPauseMin, kHandOverPauseMax};
  Backoff attempt_{kWatchPeriod, kRetryPauseMax};
  std::chrono::milliseconds shut_time_{kShutTimeMin};
  Backoff run_policy_{kWatchPeriod, kRetryPauseMax};
  std::string run_policy_failure_;  // The last that was logged.
  // Tell what left stores that were given away.
  std::vector<std::shared_ptr<EvictionNotifier>> tellers_;
};

Status SharedEngine::Member::Join() noexcept {
  const SteadyTime deadline =
      std::chrono::steady_clock::now() + options_.seat.attach_timeout;
  SeatOptions seat_options = options_.seat;
  if (identity_) seat_options.identity = identity_;
  auto seat = Seat::Attach(seat_options);
  if (!seat) return std::move(seat.error());
  seat_ = std::move(*seat);
  channel_ = ClientChannel::Open(*seat_);
  RemoteCaller::Options remote;
  remote.timeout = options_.timeout;
  remote.run_here = [this](
                        std::string_view message, std::uint64_t uid,
                        std::uint64_t sequence) -> std::optional<std::string> {
    const auto pass = gate_.Enter();
    if (!channel_->seat_is_here()) return std::nullopt;
    return service_->Answer(message, {.uid = uid, .sequence = sequence});
  };
  remote_ =
      std::make_unique<RemoteEngine>(*seat_, *channel_, std::move(remote));
  hot_view_ = std::make_unique<HotView>(*seat_, *options_.clock);
  offers_ = std::make_unique<PolicyOffers>(*seat_, options_.policy_names);
  seat_->SetMayTake([this] { return !offers_->SeatIsForAnother(); });
  const Result<bool> taken = seat_->TryTake();
  if (!taken) return taken.error();
  if (*taken) {
    LARDER_RETURN_IF_ERROR(Take(/*by_open=*/true));
    BeginWatch();
    return {};
  }
  LARDER_RETURN_IF_ERROR(StartMonitor());
  LARDER_RETURN_IF_ERROR(AwaitHolder(deadline));
  joined_.store(true);
  offers_->Offer();
  // While somebody serves, what is there are the cache's parts.
  if (local() == nullptr) {
    LARDER_RETURN_IF_ERROR(seat_->anchor()->HoldParts());
  }
  if (options_.on_eviction) ListenToHolder();
  BeginWatch();
  return {};
}

Status SharedEngine::Member::StartMonitor() noexcept {
  return seat_->StartMonitor([this] {
    // Who made the cache may have died before it was one; then we make it.
    const Status status = Take(/*by_open=*/!joined_.load());
    if (!status.ok()) {
      Log("got the seat of " + seat_->directory().string() +
          " but cannot open it: " + status.ToString());
    }
    return status.ok();
  });
}

void SharedEngine::Member::BeginWatch() noexcept {
  auto watch = StartThread([this] { Watch(); });
  if (watch) {
    watch_ = *std::move(watch);
    return;
  }
  // Nothing else is touched without it either.
  Log("calls are not told if the directory is replaced: " +
      watch.error().ToString());
}

// By polling: a directory is also lost if one above it is moved, of which
// inotify says nothing. Goes on although it is lost: with another name it has
// clients perhaps, and loses its parts later.
void SharedEngine::Member::Watch() noexcept {
  std::unique_lock lock(watch_mutex_);
  while (!watch_wake_.wait_for(lock, kWatchPeriod,
                               [this] { return watch_stops_; })) {
    lock.unlock();
    hot_view_->LetOldGo();
    channel_->DropTaken();
    remote_->CloseLeft();
    const Status name = seat_->anchor()->CheckName();
    const Status parts = seat_->CheckParts();
    const bool parts_gone = parts.code() == StatusCode::kGone;
    if (parts_gone && local() != nullptr) local()->LookForDirectory();
    State open = State::kOpen;
    if ((parts_gone || name.code() == StatusCode::kGone) &&
        state_->compare_exchange_strong(open, State::kGone)) {
      Log((parts_gone ? parts : name).message());
    }
    offers_->Offer();
    LookForPolicy();
    std::erase_if(tellers_, [](const auto& teller) { return teller->ended(); });
    lock.lock();
  }
}

void SharedEngine::Member::EndWatch() noexcept {
  if (!watch_.joinable()) return;
  {
    const std::lock_guard lock(watch_mutex_);
    watch_stops_ = true;
  }
  watch_wake_.notify_all();
  watch_.join();
}

void SharedEngine::Member::ListenToHolder() noexcept {
  using Told = std::optional<Result<EvictionNotices>>;
  auto poller = EvictionPoller::Start(
      options_.on_eviction, [this](std::uint64_t subscriber) -> Told {
        if (local() != nullptr) return std::nullopt;
        return remote_->TakeEvictions(subscriber);
      });
  if (!poller) {
    return Log("evictions are not told: " + poller.error().ToString());
  }
  poller_ = *std::move(poller);
}

// Whoever waits here may become the holder meanwhile.
Status SharedEngine::Member::AwaitHolder(SteadyTime deadline) noexcept {
  const Generation& generation = seat_->main().generation;
  for (;;) {
    const std::uint32_t seen = generation.Load();
    if (Generation::IsServing(seen) || local() != nullptr) return {};
    if (ExitHasClosed()) return ExitHasClosedStatus();
    const auto rest = deadline - std::chrono::steady_clock::now();
    if (rest <= SteadyTime::duration(0)) {
      return seat_->DescribeTimeout("the cache was not opened");
    }
    generation.WaitWhile(seen,
                         std::min<SteadyTime::duration>(rest, kWaitSlice));
  }
}

// If this process cannot run the policy that is set: by now it may be
// registered, or somebody else can. As the holder's own thread, so that nobody
// else gives the store away.
void SharedEngine::Member::LookForPolicy() noexcept {
  if (local() == nullptr) return;
  service_->PublishSettings();  // Anybody may have written there.
  const PolicyInForce policy = local()->policy();
  if (policy.set == policy.running) {
    attempt_.Reset();
    return;
  }
  if (offers_->CanRun(policy.set) && RunSetPolicy(policy.set)) return;
  if (!hand_over_.IsDue() || !attempt_.IsDue()) return;
  if (const auto taker = offers_->FindTaker()) HandOver(*taker);
}

// True: it runs, or another one is set by now.
bool SharedEngine::Member::RunSetPolicy(const std::string& name) noexcept {
  if (!run_policy_.IsDue()) return false;
  const Status status = service_->RunSetPolicy();
  if (status.ok()) {
    run_policy_.Reset();
    run_policy_failure_.clear();
    return true;
  }
  run_policy_.Pause();
  std::string failure = "cannot run policy " + internal::QuoteForMessage(name) +
                        ": " + status.ToString();
  if (failure != run_policy_failure_) Log(failure);
  run_policy_failure_ = std::move(failure);
  return false;
}

void SharedEngine::Member::HandOver(std::size_t taker) noexcept {
  seat_->StopMonitor();  // It may still be about to end what Take began.
  if (!ShutOut()) return attempt_.Pause();
  attempt_.Reset();
  shut_time_ = kShutTimeMin;
  hand_over_.Pause();
  TestPoint("hand_over.shut");
  // Nobody of this process is inside. From here on its calls are a client's,
  // of the server as long as that runs, then of the next holder.
  local_.store(nullptr, std::memory_order_release);
  channel_->SetSeatIsHere(false);
  gate_.Open();
  server_->Stop();
  service_->SetServer(nullptr);
  GiveAway(taker);
  // Not before: whom the callback waits for may be waiting for a holder.
  Log("gave the store to a process that has registered its policy");
  const Status status = StartMonitor();
  if (!status.ok()) Log("never the holder again: " + status.ToString());
  if (!options_.on_eviction) return;
  if (poller_ == nullptr) {
    ListenToHolder();
  } else {
    poller_->Wake();
  }
}

// True: the gate is shut, the service holds, and nothing is lost if the store
// is given away.
bool SharedEngine::Member::ShutOut() noexcept {
  // Before anybody is kept waiting.
  if (long_calls_.load() != 0 || !IsFree()) return false;
  service_->Hold();
  if (!gate_.TryShut(shut_time_)) {
    shut_time_ = std::min(shut_time_ + kShutTimeStep, kShutTimeMax);
    service_->Resume();
    return false;
  }
  if (IsFree()) return true;
  gate_.Open();
  service_->Resume();
  return false;
}

bool SharedEngine::Member::IsFree() noexcept {
  return store_.use_count() == 1 && service_->IsIdle() &&
         store_->MayBeGivenAway();
}

void SharedEngine::Member::GiveAway(std::size_t taker) noexcept {
  StopHotOpener();
  hot_opener_stops_ = false;
  if (auto teller = store_->KeepTelling())
    tellers_.push_back(std::move(teller));
  TestPoint("hand_over.stopped");
  const Status closed = store_->Close();
  store_->SetHotTier(nullptr);
  if (closed.ok() && hot_writer_ != nullptr) hot_writer_->CloseCleanly();
  server_.reset();
  service_.reset();
  hot_writer_.reset();
  const std::shared_ptr<SessionStore> store = std::move(store_);
  // As for who opened as a client.
  joined_.store(true);
  seat_->anchor()->HoldParts().IgnoreError();  // They are held already.
  TestPoint("hand_over.closed");
  offers_->KeepSeatFor(taker);
  seat_->Release().IgnoreError();  // The lock goes with the process.
  TestPoint("hand_over.released");
  if (!closed.ok()) Log("closing the store: " + closed.ToString());
}

// The seat is ours.
Status SharedEngine::Member::Take(bool by_open) noexcept {
  Status status = OpenAndServe(by_open);
  offers_->SeatIsTaken();
  if (!status.ok()) offers_->Withdraw();
  return status;
}

// Opens the store and serves the others.
Status SharedEngine::Member::OpenAndServe(bool by_open) noexcept {
  TestPoint("member.seated");
  auto store =
      options_.open_store({.by_open = by_open, .directory = seat_->anchor()});
  if (!store) {
    seat_->Release().IgnoreError();  // The reason is the store's.
    return std::move(store.error());
  }
  store_ = std::move(*store);
  TestPoint("member.opened");
  RetainClients();
  // Readers may be using a tier of the last holder: it must be taken over, or
  // out of their sight, before anything changes.
  if (options_.hot_tier_delay.count() == 0 ||
      seat_->main().hot_number.load(std::memory_order_acquire) != 0) {
    OpenHotTier();
  }
  service_ = std::make_unique<EngineService>(*store_, seat_->main());
  channel_->SetSeatIsHere(true);
  RetainClients();  // Lanes of this process have been given back.
  auto server = SeatServer::Start(*seat_, *service_);
  if (!server) {
    channel_->SetSeatIsHere(false);
    gate_.AwaitLeaving();  // A call of this process may be in the service.
    store_->SetHotTier(nullptr);
    service_.reset();
    hot_writer_.reset();
    store_.reset();
    seat_->Release().IgnoreError();
    return std::move(server.error());
  }
  server_ = std::move(*server);
  service_->SetServer(server_.get());
  // Release pairs with local(): all of the above is visible.
  local_.store(store_.get(), std::memory_order_release);
  if (hot_writer_ == nullptr && options_.hot_tier_delay.count() != 0) {
    OpenHotTierSoon();
  }
  TestPoint("member.serving");
  return {};
}

// Of clients that died with the last holder nobody will tell us.
void SharedEngine::Member::RetainClients() noexcept {
  std::vector<std::uint64_t> uids;
  for (const ClientSlot& slot : seat_->main().slots) {
    const std::uint64_t uid = slot.uid.load(std::memory_order_acquire);
    if (IsMarked(uid, LaneMark::kReady)) uids.push_back(uid);
  }
  store_->RetainClients(uids);
}

// To make a tier costs 10-20 ms, which a process that opens the cache for a
// moment should not pay. Until then the store is asked.
void SharedEngine::Member::OpenHotTierSoon() noexcept {
  auto opener = StartThread([this] {
    std::unique_lock lock(hot_opener_mutex_);
    hot_opener_wake_.wait_for(lock, options_.hot_tier_delay,
                              [this] { return hot_opener_stops_; });
    if (!hot_opener_stops_) OpenHotTier();
  });
  if (!opener) {
    return Log("no hot tier, reads are slower: " + opener.error().ToString());
  }
  hot_opener_ = *std::move(opener);
}

void SharedEngine::Member::StopHotOpener() noexcept {
  if (!hot_opener_.joinable()) return;
  {
    const std::lock_guard lock(hot_opener_mutex_);
    hot_opener_stops_ = true;
  }
  hot_opener_wake_.notify_all();
  hot_opener_.join();
}

// Without one everything works, only slower.
void SharedEngine::Member::OpenHotTier() noexcept {
  MainRegion& main = seat_->main();
  // In the cache directory it would take space from the items.
  if (options_.hot_tier_bytes == 0 || seat_->RegionsAreInDirectory()) {
    if (options_.hot_tier_bytes != 0) {
      Log("no hot tier, reads are slower: there is no room for shared memory "
          "in " +
          options_.seat.region_directory.string());
    }
    main.hot_number.store(0, std::memory_order_release);
    RemoveHotTiersBut(0);
    return;
  }
  std::uint64_t number = main.hot_number.load(std::memory_order_acquire);
  HotWriter::Options hot;
  hot.hot = seat_->Address(RegionKind::kHot, number);
  hot.touch = seat_->Address(RegionKind::kTouch, number);
  hot.size_bytes = options_.hot_tier_bytes;
  auto writer = number == 0 ? Result<std::unique_ptr<HotWriter>>(Fail(Status()))
                            : HotWriter::TakeOver(hot);
  if (!writer) {
    // From here on nobody looks at the old one, nor at none that is half made.
    main.hot_number.store(0, std::memory_order_release);
    RemoveHotTiersBut(0);
    number = std::uint64_t{main.generation.Load()};
    hot.hot.number = number;
    hot.touch.number = number;
    hot.size_bytes = HotWriter::FittingSize(hot.hot.directory, hot.size_bytes);
    writer = hot.size_bytes == 0
                 ? Fail(Status::NoSpace("too little shared memory is free"))
                 : HotWriter::Create(hot);
  }
  if (!writer) {
    Log("no hot tier in " + hot.hot.directory.string() +
        ", reads of other processes are slower: " + writer.error().ToString());
    return;
  }
  hot_writer_ = std::move(*writer);
  store_->SetHotTier(hot_writer_.get());
  main.hot_number.store(number, std::memory_order_release);
}

// Also what a holder left that died while it made one.
void SharedEngine::Member::RemoveHotTiersBut(std::uint64_t number) noexcept {
  for (const RegionKind kind : {RegionKind::kHot, RegionKind::kTouch}) {
    SharedRegion::UnlinkKind(seat_->Address(kind, 0), number);
  }
}

// REQUIRES: leave_mutex_ is held.
Status SharedEngine::Member::LeaveLocked() noexcept {
  if (std::exchange(left_, true)) return {};
  if (seat_ == nullptr) return {};
  EndWatch();
  poller_.reset();
  tellers_.clear();
  seat_->StopMonitor();
  Status closed;
  if (store_ != nullptr) {
    server_->Stop();
    service_->SetServer(nullptr);
    StopHotOpener();
    TestPoint("member.stopped");
    closed = store_->Close();
    store_->SetHotTier(nullptr);
    // It is the next holder's word then.
    store_->SetLogGeneration(nullptr);
    if (closed.ok() && hot_writer_ != nullptr) hot_writer_->CloseCleanly();
    TestPoint("member.closed");
    Status released = seat_->Release();
    if (closed.ok()) closed = std::move(released);
  }
  if (channel_ != nullptr) channel_->Close();
  Status detached = seat_->Detach();
  return closed.ok() ? detached : closed;
}

SharedEngine::SharedEngine(Options options) noexcept
    : options_(std::move(options)),
      at_exit_(std::make_unique<ClosedAtExit>([this] { CloseAtExit(); })) {}

SharedEngine::~SharedEngine() {
  DropMine(member_, at_exit_, *options_.callbacks);
}

Result<std::unique_ptr<Engine>> SharedEngine::Open(Options options) noexcept {
  std::unique_ptr<SharedEngine> engine(new SharedEngine(std::move(options)));
  const Result<Member*> member =
      Member::Make(engine->options_, engine->identity_, engine->state_);
  if (!member) return Fail(member.error());
  engine->identity_ = (*member)->identity();
  engine->member_.Set(*member);
  Status settings = engine->ApplySettings();
  if (!settings.ok()) return Fail(std::move(settings));
  engine->at_exit_->SetOpen();
  if (ExitHasClosed()) return Fail(ExitHasClosedStatus());
  return engine;
}

// Whoever has the store may have others in force. What forbids evictions comes
// first: a lower limit must not evict what the next setting is to keep.
Status SharedEngine::ApplySettings() noexcept {
  if (options_.settings.empty()) return {};
  Settings wanted = CurrentSettings();
  std::vector<std::pair<std::string, std::string>> changed;
  for (const auto& [name, value] : options_.settings) {
    Result<Settings> next = WithSetting(wanted, name, value);
    if (!next) return next.error();
    const auto before = FormatSetting(wanted, name);
    const auto after = FormatSetting(*next, name);
    if (before && after && *before == *after) continue;
    changed.emplace_back(name, value);
    wanted = *std::move(next);
  }
  const auto forbids = [&wanted](const auto& setting) {
    return (setting.first == "when_full" &&
            wanted.when_full == WhenFull::kFail) ||
           (setting.first == "policy" && wanted.policy == "none");
  };
  std::stable_partition(changed.begin(), changed.end(), forbids);
  for (const auto& [name, value] : changed) {
    LARDER_RETURN_IF_ERROR(Reset(name, value));
  }
  return {};
}

Status SharedEngine::NotOpen(State state) const noexcept {
  if (state == State::kClosed) return Status::Closed("the cache was closed");
  return {StatusCode::kGone, directory().string() +
                                 " was removed, moved or replaced while the "
                                 "cache was open; close this cache and open "
                                 "it again"};
}

Result<SharedEngine::Member*> SharedEngine::Current() const noexcept {
  // Relaxed: it orders nothing.
  const State state = state_->load(std::memory_order_relaxed);
  if (state != State::kOpen) [[unlikely]] {
    return Fail(NotOpen(state));
  }
  // In a forked child.
  return member_.Get(
      [this] { return Member::Make(options_, identity_, state_); },
      [this] {
        const State now = state_->load();
        return now == State::kOpen ? Status() : NotOpen(now);
      });
}

Result<SharedEngine::Member*> SharedEngine::Callable() const noexcept {
  LARDER_FAIL_IF_ERROR(options_.callbacks->CheckMayCall());
  return Current();
}

Capabilities SharedEngine::capabilities() const noexcept {
  const Result<Member*> member = Callable();
  if (!member) return {};
  return (*member)->WithTarget(
      [](Engine& target) { return target.capabilities(); });
}

Status SharedEngine::Execute(std::span<const Command> commands,
                             std::span<Reply> replies,
                             const ExecuteOptions& options) noexcept {
  const Result<Member*> member = Current();
  if (!member) return member.error();
  if ((*member)->hot().Answer(commands, (*member)->places(),
                              ReplyOffer(replies))) {
    return {};
  }
  LARDER_RETURN_IF_ERROR(options_.callbacks->CheckMayCall());
  std::optional<LongCall> long_call;
  if (IsWholeCache(commands)) long_call.emplace((*member)->long_calls());
  auto status = (*member)->WithLocal([&](SessionStore& store) {
    if (commands.size() == 1 && (*member)->HasClients() &&
        IsSmallChange(commands[0])) {
      return (*member)->service().Execute(commands[0], replies[0], options);
    }
    return store.Execute(commands, replies, options);
  });
  if (status) return *std::move(status);
  return (*member)->remote().Execute(commands, replies, options);
}

Result<std::unique_ptr<Scan>> SharedEngine::OpenScan(
    const ScanOptions& options) noexcept {
  const Result<Member*> member = Current();
  if (!member) return Fail(member.error());
  return (*member)->OpenWithTarget(
      [&](Engine& target) { return target.OpenScan(options); });
}

Result<std::unique_ptr<ValueWriter>> SharedEngine::OpenWriter(
    const SetCommand& command, std::uint64_t size_expected,
    const ExecuteOptions& options) noexcept {
  const Result<Member*> member = Current();
  if (!member) return Fail(member.error());
  return (*member)->OpenWithTarget([&](Engine& target) {
    return target.OpenWriter(command, size_expected, options);
  });
}

Result<std::unique_ptr<ValueReader>> SharedEngine::OpenReader(
    std::string_view key) noexcept {
  const Result<Member*> member = Current();
  if (!member) return Fail(member.error());
  return (*member)->OpenWithTarget(
      [&](Engine& target) { return target.OpenReader(key); });
}

Result<std::uint64_t> SharedEngine::Count() noexcept {
  const Result<Member*> member = Callable();
  if (!member) return Fail(member.error());
  return (*member)->WithTarget([](Engine& target) { return target.Count(); });
}

Result<EngineStats> SharedEngine::Stats() noexcept {
  const Result<Member*> member = Callable();
  if (!member) return Fail(member.error());
  return (*member)->WithTarget([this](Engine& target) {
    Result<EngineStats> stats = target.Stats();
    // A store in this process has added them itself.
    if (stats && !target.capabilities().holds_store) {
      stats->callbacks_failed += options_.callbacks->failed();
    }
    return stats;
  });
}

Result<CheckReport> SharedEngine::Check(bool repair) noexcept {
  const Result<Member*> member = Callable();
  if (!member) return Fail(member.error());
  const LongCall long_call((*member)->long_calls());
  return (*member)->WithTarget(
      [repair](Engine& target) { return target.Check(repair); });
}

Settings SharedEngine::CurrentSettings() const noexcept {
  const Result<Member*> member = Callable();
  if (!member) return {};
  return (*member)->WithTarget(
      [](Engine& target) { return target.CurrentSettings(); });
}

std::uint64_t SharedEngine::settings_version() const noexcept {
  const Result<Member*> member = Current();
  // From the region in every process, so that it is one sequence of numbers
  // also for a process that becomes the holder.
  return member ? (*member)->remote().settings_version() : 0;
}

Status SharedEngine::Reset(std::string_view name,
                           std::string_view value) noexcept {
  LARDER_RETURN_IF_ERROR(options_.callbacks->CheckMayCall());
  const Result<Member*> member = Current();
  if (!member) return member.error();
  const LongCall long_call((*member)->long_calls());
  auto status = (*member)->WithLocal(
      [&](SessionStore&) { return (*member)->service().Reset(name, value); });
  return status ? *std::move(status) : (*member)->remote().Reset(name, value);
}

Status SharedEngine::Sync() noexcept {
  const Result<Member*> member = Callable();
  if (!member) return member.error();
  const LongCall long_call((*member)->long_calls());
  return (*member)->WithTarget([](Engine& target) { return target.Sync(); });
}

Status SharedEngine::Close() noexcept {
  LARDER_RETURN_IF_ERROR(options_.callbacks->CheckMayClose());
  const ExitHeld held;
  const ClosedAtExit::Busy closing(*at_exit_);
  // As often as one likes; the next one waits for the first.
  state_->store(State::kClosed);
  Member* const member = member_.Settled();
  return member->InChild() ? Status() : member->Leave();
}

void SharedEngine::CloseAtExit() noexcept {
  UserCallbacks& callbacks = *options_.callbacks;
  // An exit in the callback of the log does not come here.
  LARDER_ASSERT(callbacks.CheckMayCall().ok());
  const bool is_in_callback = !callbacks.CheckMayClose().ok();
  // In an eviction callback, which has no locks and does not go on: nobody has
  // to wait for it.
  if (is_in_callback) callbacks.Silence();
  state_->store(State::kClosed);
  Member* const member = member_.Settled();
  // In a child that was forked amid Open there is none.
  if (member == nullptr) return;
  if (is_in_callback) {
    member->TryLeave();  // Who is at it waits for the callback.
  } else {
    member->Leave().IgnoreError();  // Nobody is left to be told.
  }
}

}  // namespace larder
