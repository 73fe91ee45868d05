// Sending, waiting, and sending again.
//
// 1. At most one request of a lane is under way; its sequence is larger than
//    any before it.
// 2. "Not applied" is said of a change only if no holder ever claimed it;
//    else it is kOutcomeUnknown.
// 3. A place that was lost between two calls is noticed before anything is sent
//    on it: the first step of a request is to declare it under way.
// 4. The rings are made afresh for each holder, by the client, while no holder
//    looks at them (ring_generation is another one until they are ready).

#include "seat/client_channel.h"

#include <algorithm>
#include <limits>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/test_point.h"
#include "messages/command_codec.h"
#include "os/spsc_ring.h"

namespace larder {

struct ClientChannel::Lane {
  std::size_t slot = 0;
  std::uint64_t uid = 0;
  std::uint64_t sequence = 0;
  std::unique_ptr<SharedRegion> region;
  ClientRegion* shared = nullptr;
  std::uint32_t generation = 0;  // For which the rings are made.
  RingProducer requests;
  RingConsumer replies;
  MessageAssembler assembler;
  AdaptiveSpin spin;
  bool evicted = false;  // Its place is lost.
  // This request was claimed by a holder that is gone.
  bool maybe_applied = false;
  ClientChannel::Effect effect = ClientChannel::Effect::kChange;
};

namespace {

constexpr std::string_view kNotApplied = "not applied";
constexpr std::string_view kUnknown = "outcome unknown";
constexpr std::string_view kNoPlace =
    "all places for calls were in use; not applied";
// How often one looks who finds even the queue full.
constexpr std::chrono::milliseconds kQueueFullPause{5};

Status ClosedStatus(std::string_view outcome) {
  return Status::Closed("the cache was closed; " + std::string(outcome));
}

}  // namespace

std::unique_ptr<ClientChannel> ClientChannel::Open(Seat& seat) noexcept {
  return std::unique_ptr<ClientChannel>(new ClientChannel(seat));
}

ClientChannel::ClientChannel(Seat& seat) noexcept : seat_(seat) {}

ClientChannel::~ClientChannel() { Close(); }

Result<ClientChannel::Lane*> ClientChannel::TakeLane(
    SteadyTime deadline) noexcept {
  std::unique_lock lock(mutex_);
  while (free_.empty()) {
    if (closed_.load(std::memory_order_relaxed)) {
      return Fail(ClosedStatus(kNotApplied));
    }
    if (lanes_.size() + attaching_ < kLaneCountMax) {
      ++attaching_;
      lock.unlock();
      Lane* freed = nullptr;
      auto lane = AttachLane(deadline, freed);
      lock.lock();
      --attaching_;
      if (freed != nullptr) {
        lane_free_.notify_all();  // Another one may be attached.
        return freed;
      }
      if (!lane || *lane == nullptr) {
        CloseLockFileIfIdle();
        lane_free_.notify_all();
        if (!lane) return Fail(std::move(lane.error()));
        return nullptr;
      }
      lanes_.push_back(std::move(*lane));
      if (closed_.load(std::memory_order_relaxed)) {
        DropLane(lanes_.back().get());
        lane_free_.notify_all();
        return Fail(ClosedStatus(kNotApplied));
      }
      return lanes_.back().get();
    }
    if (lane_free_.wait_until(lock, deadline) == std::cv_status::timeout &&
        free_.empty()) {
      return Fail(seat_.DescribeTimeout(kNotApplied));
    }
  }
  Lane* lane = free_.back();
  free_.pop_back();
  return lane;
}

void ClientChannel::GiveLane(Lane* lane) noexcept {
  const std::lock_guard lock(mutex_);
  // Relaxed: written before the answer that was read.
  if (lane->evicted ||
      lane->shared->recalled.load(std::memory_order_relaxed) != 0 ||
      seat_is_here_.load(std::memory_order_relaxed) ||
      closed_.load(std::memory_order_relaxed)) {
    DropLane(lane);
  } else {
    free_.push_back(lane);
    if (!queued_.empty()) LaneQueue::Wake(*queued_.front());
  }
  lane_free_.notify_all();  // Close waits for all of them.
}

ClientChannel::Lane* ClientChannel::TakeFreeLane() noexcept {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) return nullptr;
  Lane* const lane = free_.back();
  free_.pop_back();
  return lane;
}

void ClientChannel::Lease::End() noexcept {
  if (lane_ != nullptr) channel_->GiveLane(std::exchange(lane_, nullptr));
}

// REQUIRES: attaching_ counts the caller.
Status ClientChannel::OpenLockFile() noexcept {
  const std::lock_guard lock(mutex_);
  if (lock_fd_) return {};
  auto fd = seat_.ReopenLockFile();
  if (!fd) return std::move(fd.error());
  lock_fd_ = ForkSafeFd(std::move(*fd));
  return {};
}

// REQUIRES: mutex_.
void ClientChannel::CloseLockFileIfIdle() noexcept {
  if (lanes_.empty() && attaching_ == 0) lock_fd_.Reset();
}

// Whether a call that has no place yet may go on; ok if so.
Status ClientChannel::MayWait(SteadyTime deadline) const noexcept {
  if (closed_.load(std::memory_order_seq_cst)) return ClosedStatus(kNotApplied);
  if (std::chrono::steady_clock::now() >= deadline) {
    return seat_.DescribeTimeout(kNoPlace);
  }
  return {};
}

// A place that is ours, but for the region. If nobody waits it is a free one.
Result<std::size_t> ClientChannel::ClaimSlot(std::uint64_t uid,
                                             SteadyTime deadline,
                                             Lane*& freed) noexcept {
  MainRegion& main = seat_.main();
  if (main.lane_queue.wanted()) return AwaitSlot(uid, deadline, freed);
  for (std::size_t slot = 0; slot < kSlotCountMax; ++slot) {
    std::uint64_t free = 0;
    if (main.slots[slot].uid.load(std::memory_order_relaxed) == 0 &&
        main.slots[slot].uid.compare_exchange_strong(
            free, Marked(uid, LaneMark::kBegun))) {
      return slot;
    }
  }
  return AwaitSlot(uid, deadline, freed);
}

// The holder gives us one when it is our turn. kSlotCountMax: the seat is here,
// or a lane that has a place.
Result<std::size_t> ClientChannel::AwaitSlot(std::uint64_t uid,
                                             SteadyTime deadline,
                                             Lane*& freed) noexcept {
  MainRegion& main = seat_.main();
  for (;;) {
    if (seat_is_here_.load(std::memory_order_seq_cst)) return kSlotCountMax;
    LARDER_FAIL_IF_ERROR(MayWait(deadline));
    LaneWaiter* const entry = main.lane_queue.Enter(uid, deadline);
    if (entry == nullptr) {
      std::this_thread::sleep_for(kQueueFullPause);
      continue;
    }
    main.doorbell.Nudge();
    TestPoint("lane.waiting");
    SleepInQueue(*entry, uid, deadline, freed);
    const bool granted = !LaneQueue::Leave(*entry, uid);
    for (std::size_t slot = 0; granted && slot < kSlotCountMax; ++slot) {
      if (main.slots[slot].uid.load(std::memory_order_seq_cst) ==
          Marked(uid, LaneMark::kBegun)) {
        if (freed != nullptr) GiveLane(std::exchange(freed, nullptr));
        return slot;
      }
    }
    if (freed != nullptr) return kSlotCountMax;
  }
}

void ClientChannel::SleepInQueue(LaneWaiter& entry, std::uint64_t uid,
                                 SteadyTime deadline, Lane*& freed) noexcept {
  MainRegion& main = seat_.main();
  {
    const std::lock_guard lock(mutex_);
    queued_.push_back(&entry);
  }
  SteadyTime next_nudge = std::chrono::steady_clock::now() + kWaitSlice;
  for (;;) {
    freed = TakeFreeLane();
    if (freed != nullptr || seat_is_here_.load(std::memory_order_seq_cst) ||
        !MayWait(deadline).ok()) {
      break;
    }
    const SteadyTime now = std::chrono::steady_clock::now();
    if (!LaneQueue::Sleep(
            entry, uid,
            std::min<SteadyTime::duration>(deadline - now, kWaitSlice))) {
      break;
    }
    if (now < next_nudge) continue;
    // A holder that was killed may have believed that nobody waits.
    next_nudge = now + kWaitSlice;
    main.lane_queue.Want();
    main.doorbell.Nudge();
  }
  const std::lock_guard lock(mutex_);
  std::erase(queued_, &entry);
}

// nullptr: the seat is here, or `freed`.
Result<std::unique_ptr<ClientChannel::Lane>> ClientChannel::AttachLane(
    SteadyTime deadline, Lane*& freed) noexcept {
  LARDER_FAIL_IF_ERROR(OpenLockFile());
  const auto random = CacheId::Random();
  if (!random) return Fail(random.error());
  auto lane = std::make_unique<Lane>();
  lane->uid = Marked(random->low, LaneMark::kReady);
  // As long as it is ours, so is every place and entry that names the lane.
  const Result<bool> locked =
      TryOfdLock(lock_fd_.get(), LaneByte(lane->uid), OfdLock::kExclusive);
  if (!locked) return Fail(locked.error());
  if (!*locked) return Fail(Status::Internal("a lane's number was not random"));
  Status filled = FillLane(*lane, deadline, freed);
  if (!filled.ok() || lane->region == nullptr) DetachLane(*lane);
  if (!filled.ok()) return Fail(std::move(filled));
  return lane->region == nullptr ? nullptr : std::move(lane);
}

// Without a region: the seat is here, or `freed`.
Status ClientChannel::FillLane(Lane& lane, SteadyTime deadline,
                               Lane*& freed) noexcept {
  const Result<std::size_t> slot = ClaimSlot(lane.uid, deadline, freed);
  if (!slot) return slot.error();
  if (*slot == kSlotCountMax) return {};
  lane.slot = *slot;
  TestPoint("lane.slot_claimed");
  auto region = seat_.CreateClientRegion(lane.uid);
  if (!region) return std::move(region.error());
  TestPoint("lane.region_created");
  ClientSlot& shared = seat_.main().slots[*slot];
  const ProcessIdentity self = ProcessIdentity::Self();
  shared.pid.store(self.pid, std::memory_order_relaxed);
  shared.start_time.store(self.start_time, std::memory_order_relaxed);
  shared.pid_namespace.store(self.pid_namespace, std::memory_order_relaxed);
  shared.requests.store(0, std::memory_order_relaxed);
  shared.bytes.store(0, std::memory_order_relaxed);
  // Release pairs with the holder's acquire: the region is there.
  std::uint64_t begun = Marked(lane.uid, LaneMark::kBegun);
  if (!shared.uid.compare_exchange_strong(begun, lane.uid)) {
    return Status::Internal("place " + std::to_string(*slot) +
                            " was given to two clients");
  }
  TestPoint("lane.published");
  lane.shared = (*region)->At<ClientRegion>(0);
  lane.region = std::move(*region);
  return {};
}

// Gives up whatever it has, and its place, if it has one still.
void ClientChannel::DetachLane(Lane& lane) noexcept {
  MainRegion& main = seat_.main();
  for (const LaneMark mark : {LaneMark::kReady, LaneMark::kBegun}) {
    std::uint64_t uid = Marked(lane.uid, mark);
    main.slots[lane.slot].uid.compare_exchange_strong(uid, 0);
  }
  seat_.UnlinkClientRegion(lane.uid);
  static_cast<void>(
      TryOfdLock(lock_fd_.get(), LaneByte(lane.uid), OfdLock::kNone));
  main.doorbell.Ring(lane.slot);
}

void ClientChannel::SetSeatIsHere(bool here) noexcept {
  const std::lock_guard lock(mutex_);
  seat_is_here_.store(here, std::memory_order_seq_cst);
  if (!here) return;
  for (Lane* lane : std::exchange(free_, {})) DropLane(lane);
  for (const auto& lane : lanes_) lane->shared->client.WakeIfAsleep();
}

void ClientChannel::DropTaken() noexcept {
  if (guard_.InChild()) return;
  const std::lock_guard lock(mutex_);
  const auto taken = std::stable_partition(
      free_.begin(), free_.end(),
      [](const Lane* lane) { return !lane->shared->request_state.IsTaken(); });
  const std::vector<Lane*> gone(taken, free_.end());
  free_.erase(taken, free_.end());
  for (Lane* lane : gone) DropLane(lane);
}

void ClientChannel::DropLane(Lane* lane) noexcept {
  DetachLane(*lane);
  std::erase_if(lanes_, [lane](const auto& l) { return l.get() == lane; });
  CloseLockFileIfIdle();
}

void ClientChannel::Close() noexcept {
  if (guard_.InChild()) return;
  std::unique_lock lock(mutex_);
  closed_.store(true, std::memory_order_seq_cst);
  for (Lane* lane : std::exchange(free_, {})) DropLane(lane);
  for (const auto& lane : lanes_) lane->shared->client.WakeIfAsleep();
  lane_free_.wait(lock, [this] { return lanes_.empty() && attaching_ == 0; });
}

Result<std::string> ClientChannel::Call(std::string_view message,
                                        SteadyTime deadline,
                                        const RunHere& run_here, Effect effect,
                                        Lease* lease) noexcept {
  if (guard_.InChild()) {
    return Fail(
        Status::Closed("a forked child does not share its parent's channel"));
  }
  LARDER_ASSERT(!message.empty() && message.size() <= kMessageSizeBytesMax);
  if (closed_.load(std::memory_order_seq_cst)) {
    return Fail(ClosedStatus(kNotApplied));
  }
  for (;;) {
    if (seat_is_here()) {
      if (auto reply = run_here(message, 0, 0)) return *std::move(reply);
    }
    Lane* lane =
        lease == nullptr ? nullptr : std::exchange(lease->lane_, nullptr);
    if (lane == nullptr) {
      const Result<Lane*> taken = TakeLane(deadline);
      if (!taken) return Fail(taken.error());
      if (*taken == nullptr) continue;  // The seat has come here.
      lane = *taken;
    }
    RequestState& state = lane->shared->request_state;
    if (!state.Begin(lane->sequence + 1)) {
      lane->evicted = true;
      GiveLane(lane);
      continue;
    }
    ++lane->sequence;
    TestPoint("call.begun");
    lane->effect = effect;
    auto reply = Run(*lane, message, deadline, run_here);
    // Not before run_here is done: with the place its session record goes.
    state.Finish(lane->sequence);
    if (lease != nullptr && reply) {
      lease->channel_ = this;
      lease->lane_ = lane;
    } else {
      GiveLane(lane);
    }
    return reply;
  }
}

Result<std::string> ClientChannel::Run(Lane& lane, std::string_view message,
                                       SteadyTime deadline,
                                       const RunHere& run_here) noexcept {
  lane.maybe_applied = false;
  std::string reply;
  for (;;) {
    std::uint32_t generation = 0;
    const bool served = AwaitHolder(generation, deadline);
    if (seat_is_here()) {
      auto here = run_here(message, lane.uid, lane.sequence);
      if (here) return *std::move(here);
      continue;
    }
    // The seat was here, and has been given away since.
    if (!served && !closed_.load(std::memory_order_seq_cst) &&
        std::chrono::steady_clock::now() < deadline) {
      continue;
    }
    Wait wait = Wait::kTimedOut;
    if (served) {
      if (lane.generation != generation) MakeRings(lane, generation);
      wait = Send(lane, message, deadline);
    }
    if (wait == Wait::kReady) wait = Receive(lane, deadline, reply);
    switch (wait) {
      case Wait::kReady:
        return reply;
      case Wait::kHolderChanged:
        break;
      case Wait::kTimedOut:
      case Wait::kEvicted:
      case Wait::kClosed:
        return Fail(GiveUp(lane, wait));
    }
  }
}

Status ClientChannel::GiveUp(Lane& lane, Wait why) noexcept {
  TestPoint("call.give_up");
  const bool cancelled = lane.shared->request_state.Cancel(lane.sequence);
  const bool unknown =
      lane.effect == Effect::kChange && (!cancelled || lane.maybe_applied);
  const std::string_view outcome = unknown ? kUnknown : kNotApplied;
  Status status;
  if (why == Wait::kClosed || closed_.load(std::memory_order_relaxed)) {
    status = ClosedStatus(outcome);
  } else if (why == Wait::kTimedOut) {
    status = seat_.DescribeTimeout(outcome);
  } else {
    lane.evicted = true;
    status = {StatusCode::kAborted,
              "the process that has " + seat_.directory().string() +
                  " open took this client off; " + std::string(outcome)};
  }
  return unknown ? Status::OutcomeUnknown(status.message()) : status;
}

// Waits until somebody serves; false: nobody did before the deadline, or the
// seat is here.
bool ClientChannel::AwaitHolder(std::uint32_t& generation,
                                SteadyTime deadline) noexcept {
  const Generation& shared = seat_.main().generation;
  for (;;) {
    if (seat_is_here_.load(std::memory_order_seq_cst) ||
        closed_.load(std::memory_order_seq_cst)) {
      return false;
    }
    generation = shared.Load();
    if (Generation::IsServing(generation)) return true;
    const auto rest = deadline - std::chrono::steady_clock::now();
    if (rest <= SteadyTime::duration(0)) return false;
    shared.WaitWhile(generation,
                     std::min<SteadyTime::duration>(rest, kWaitSlice));
  }
}

// A new holder starts from empty rings. What an old one claimed and did not
// answer stays in doubt.
void ClientChannel::MakeRings(Lane& lane, std::uint32_t generation) noexcept {
  ClientRegion& shared = *lane.shared;
  if (shared.request_state.IsClaimed(lane.sequence)) lane.maybe_applied = true;
  shared.request_state.Offer(lane.sequence);
  for (RingWords* words : {&shared.request, &shared.reply}) {
    words->tail.store(0, std::memory_order_relaxed);
    words->head.store(0, std::memory_order_relaxed);
  }
  shared.holder_wants_space.store(0, std::memory_order_relaxed);
  lane.requests =
      RingProducer(&shared.request, shared.request_data, kRequestRingSize);
  lane.replies = RingConsumer(&shared.reply, shared.reply_data, kReplyRingSize);
  lane.assembler.Clear();
  lane.generation = generation;
  // Release pairs with the holder's acquire: the rings are as above.
  shared.ring_generation.store(generation, std::memory_order_release);
}

// Waits for `ready`, as long as the same holder serves.
template <typename Ready>
ClientChannel::Wait ClientChannel::WaitFor(Lane& lane, SteadyTime deadline,
                                           Ready&& ready) noexcept {
  const MainRegion& main = seat_.main();
  const auto changed = [&] {
    return main.generation.Load() != lane.generation ||
           seat_is_here_.load(std::memory_order_seq_cst) ||
           closed_.load(std::memory_order_seq_cst);
  };
  const auto due = [&] { return ready() || changed(); };
  lane.spin.Until(due);
  for (;;) {
    if (ready()) return Wait::kReady;
    if (closed_.load(std::memory_order_seq_cst)) return Wait::kClosed;
    if (changed()) {
      // The old one may have answered before it went.
      return ready() ? Wait::kReady : Wait::kHolderChanged;
    }
    if (main.slots[lane.slot].uid.load(std::memory_order_relaxed) != lane.uid) {
      return Wait::kEvicted;
    }
    const auto rest = deadline - std::chrono::steady_clock::now();
    if (rest <= SteadyTime::duration(0)) return Wait::kTimedOut;
    lane.shared->client.SleepUnless(
        due, std::min<SteadyTime::duration>(rest, kWaitSlice));
  }
}

ClientChannel::Wait ClientChannel::Send(Lane& lane, std::string_view message,
                                        SteadyTime deadline) noexcept {
  FrameHeader header;
  header.uid = lane.uid;
  header.sequence = lane.sequence;
  header.deadline_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                           deadline.time_since_epoch())
                           .count();
  for (std::size_t sent = 0;;) {
    const auto size = lane.requests.Write(header, message, sent);
    if (!size) return Wait::kEvicted;  // A broken holder; take another lane.
    sent += *size;
    if (*size != 0) seat_.main().doorbell.Ring(lane.slot);
    if (sent == message.size()) return Wait::kReady;
    const Wait wait =
        WaitFor(lane, deadline, [&lane] { return lane.requests.HasSpace(); });
    if (wait != Wait::kReady) return wait;
  }
}

ClientChannel::Wait ClientChannel::Receive(Lane& lane, SteadyTime deadline,
                                           std::string& reply) noexcept {
  ClientRegion& shared = *lane.shared;
  for (;;) {
    const Wait wait =
        WaitFor(lane, deadline, [&lane] { return lane.replies.HasData(); });
    if (wait != Wait::kReady) return wait;
    const auto frame = lane.replies.Take(lane.assembler.buffer());
    if (!frame) return Wait::kEvicted;
    if (!*frame) continue;
    // seq_cst, after the space was made; see SeatServer::SendRest.
    if (shared.holder_wants_space.load(std::memory_order_seq_cst) != 0) {
      shared.holder_wants_space.store(0, std::memory_order_seq_cst);
      seat_.main().doorbell.Ring(lane.slot);
    }
    const auto whole =
        lane.assembler.Add(**frame, std::numeric_limits<std::uint32_t>::max());
    if (!whole) return Wait::kEvicted;
    if (!*whole) continue;
    const std::uint64_t sequence = lane.assembler.first().sequence;
    reply = lane.assembler.Release();
    // Else the late answer to a request that we gave up.
    if (sequence == lane.sequence) return Wait::kReady;
  }
}

}  // namespace larder
