// The holder's loop.
//
// 1. A request is executed only after its state went from pending to claimed,
//    and each claim is executed at most once by this holder.
// 2. Rings are touched only while they are made for this generation.
// 3. Nothing a client does or omits makes the loop wait: an answer that does
//    not fit into its ring goes on when the client rings.
// 4. A client loses its place between two requests only: the change of its
//    request's state from idle to taken decides it, against the change from
//    idle to pending. Then it has a uid that nobody has any more, and nothing
//    under way.

#include "seat/seat_server.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "base/test_point.h"
#include "os/start_thread.h"

namespace larder {
namespace {

constexpr std::chrono::seconds kTick{1};
constexpr std::chrono::seconds kIdleTickMax{4};
// Answers longer than this are not kept for reuse of their memory.
constexpr std::size_t kBufferKeptMax = 1U << 20;
// A place changes hands if it was not used for so long; or after an answer, if
// its client has had it for a turn. Each change takes this thread about 0.2 ms,
// so turns of all places take half of its time.
constexpr std::chrono::milliseconds kIdleMin{5};
constexpr std::chrono::milliseconds kTurn{100};
// Between two looks while somebody waits, longer as long as there is nothing to
// lend; how many are lent at a time.
constexpr std::chrono::milliseconds kLendingPause{1};
constexpr std::chrono::milliseconds kLendingPauseMax{10};
constexpr int kLentAtOnceMax = 8;
// A client that was asked for its place and has not left it by then does not
// run: another one is asked.
constexpr std::chrono::milliseconds kRecallWait{50};
// How often the dead are looked for while somebody waits.
constexpr std::chrono::milliseconds kRescuePause{50};

}  // namespace

struct SeatServer::Client {
  std::size_t slot = 0;
  std::uint64_t uid = 0;
  std::unique_ptr<SharedRegion> region;
  ClientRegion* shared = nullptr;
  bool ready = false;  // The rings are made for this generation.
  RingConsumer requests;
  RingProducer replies;
  MessageAssembler assembler;
  FrameHeader answering;           // Head of the answer's frames.
  std::size_t answering_size = 0;  // Of the request; 0: it is answered.
  std::string outgoing;
  std::size_t outgoing_sent = 0;
  SteadyTime opened_at;
  SteadyTime used_at;      // Its last request was taken.
  SteadyTime recalled_at;  // Its place was asked for; 0: it is not.
  bool broken = false;
};

Result<std::unique_ptr<SeatServer>> SeatServer::Start(
    Seat& seat, RequestHandler& handler) noexcept {
  LARDER_CHECK(seat.held());
  // Figures are counted before what they tell of can be seen.
  seat.main().figures.takeovers.fetch_add(1, std::memory_order_relaxed);
  seat.Serve();
  std::unique_ptr<SeatServer> server(new SeatServer(seat, handler));
  auto thread = StartThread([raw = server.get()] { raw->Run(); });
  if (!thread) return Fail(std::move(thread.error()));
  server->thread_ = *std::move(thread);
  return server;
}

SeatServer::SeatServer(Seat& seat, RequestHandler& handler) noexcept
    : seat_(seat),
      handler_(handler),
      main_(seat.main()),
      generation_(seat.main().generation.Load()) {}

SeatServer::~SeatServer() { Stop(); }

void SeatServer::Stop() noexcept {
  if (!thread_.joinable()) return;
  if (seat_.InChild()) {
    thread_.detach();  // Threads are not forked: there is none to end.
    return;
  }
  stop_.store(true, std::memory_order_seq_cst);
  main_.doorbell.Nudge();
  thread_.join();
}

void SeatServer::Run() noexcept {
  again_.fill(~std::uint64_t{0});  // Whoever was here before may be waiting.
  main_.lane_queue.Want();         // For a place, too.
  std::chrono::seconds tick = kTick;
  SteadyTime next_tick = std::chrono::steady_clock::now() + tick;
  bool busy = true;  // Somebody rang since the last sleep.
  while (!stop_.load(std::memory_order_seq_cst)) {
    const bool worked = ServeOnce();
    const SteadyTime now = std::chrono::steady_clock::now();
    if (now >= next_tick) {
      SweepDead();
      main_.lane_queue.DropDead(
          now, [this](std::uint64_t uid) { return seat_.IsLaneAlive(uid); });
      tick = handler_.Tick() ? kTick : std::min(2 * tick, kIdleTickMax);
      next_tick = now + tick;
    }
    const bool anybody_waits = LendPlaces(now);
    busy = busy || worked;
    if (worked) continue;
    Doorbell& doorbell = main_.doorbell;
    // A tick of an idle holder is not worth the wait.
    if (std::exchange(busy, false) && spin_.Until([this, &doorbell] {
          handler_.Poll();
          return doorbell.Rung();
        })) {
      // A nudge alone would keep it rung.
      doorbell.Wait(std::chrono::nanoseconds(0));
    } else {
      handler_.SetPolling(false);
      doorbell.Wait(
          (anybody_waits ? std::min(next_tick, next_lending_) : next_tick) -
          now);
    }
  }
  handler_.SetPolling(false);
}

// Looks at clients that rang; true if any did.
bool SeatServer::ServeOnce() noexcept {
  Doorbell::Slots rang = main_.doorbell.Collect();
  const Doorbell::Slots first = std::exchange(again_, {});
  bool any = false;
  for (std::size_t i = 0; i < kSlotWordCount; ++i) {
    rang[i] &= ~first[i];
    any = any || first[i] != 0 || rang[i] != 0;
  }
  any = SendCompleted() || any;
  if (!any) return false;
  handler_.SetPolling(true);
  // While some wait for a common commit, the others go on to their next
  // request: all at once, they would all wait for all. Two thirds: 8 processes
  // on 2 cores do as much as without a bound, and half of their calls take 34
  // instead of 52 us.
  const std::size_t count_max = (2 * client_count() + 2) / 3;
  const auto visit = [this, count_max](std::size_t slot) {
    if (taken_.size() < std::max<std::size_t>(count_max, 1)) return Visit(slot);
    again_[slot / 64] |= std::uint64_t{1} << (slot % 64);
  };
  // Who had to wait comes first.
  Doorbell::ForEach(first, visit);
  Doorbell::ForEach(rang, visit);
  if (!taken_.empty()) ExecuteTaken();
  return true;
}

void SeatServer::Visit(std::size_t slot) noexcept {
  // Acquire pairs with the client's publication of its region.
  const std::uint64_t uid =
      main_.slots[slot].uid.load(std::memory_order_acquire);
  if (clients_[slot] != nullptr && clients_[slot]->uid != uid) DropClient(slot);
  if (uid == 0) next_lending_ = {};  // There is a free place.
  if (!IsMarked(uid, LaneMark::kReady)) return;
  if (clients_[slot] == nullptr) OpenClient(slot, uid);
  Client* client = clients_[slot].get();
  if (client == nullptr) return;
  // Acquire pairs with the client's release: the rings are empty and new.
  const std::uint32_t ring_generation =
      client->shared->ring_generation.load(std::memory_order_acquire);
  if (ring_generation != generation_) return;
  if (!client->ready) {
    ClientRegion& shared = *client->shared;
    client->requests =
        RingConsumer(&shared.request, shared.request_data, kRequestRingSize);
    client->replies =
        RingProducer(&shared.reply, shared.reply_data, kReplyRingSize);
    client->assembler.Clear();
    client->ready = true;
  }
  SendRest(*client);
  TakeRequests(*client);
  if (client->broken) EvictClient(slot);
}

void SeatServer::OpenClient(std::size_t slot, std::uint64_t uid) noexcept {
  // A slot that says it is another one's has been scribbled: with two readers
  // of one ring, each would see the other's half of it.
  if (FindClient(uid) != nullptr) {
    std::uint64_t expected = uid;
    main_.slots[slot].uid.compare_exchange_strong(expected, 0);
    return;
  }
  auto region = seat_.OpenClientRegion(uid);
  if (!region || (*region)->size() < sizeof(ClientRegion)) {
    // Gone already, or not a client: let its owner find out.
    std::uint64_t expected = uid;
    main_.slots[slot].uid.compare_exchange_strong(expected, 0);
    if (!region && region.error().code() == StatusCode::kNotFound) {
      ForgetLane(uid);
    }
    return;
  }
  if ((*region)->At<ClientRegion>(0)->request_state.IsTaken()) {
    // By a holder that died before it had lent the place.
    (*region)->Empty();
    std::uint64_t expected = uid;
    main_.slots[slot].uid.compare_exchange_strong(expected, 0);
    ForgetLane(uid);
    return;
  }
  auto client = std::make_unique<Client>();
  client->opened_at = std::chrono::steady_clock::now();
  client->slot = slot;
  client->uid = uid;
  client->shared = (*region)->At<ClientRegion>(0);
  client->region = std::move(*region);
  // It may be waiting for the answer of a holder that died.
  client->shared->client.WakeIfAsleep();
  clients_[slot] = std::move(client);
  client_count_.fetch_add(1, std::memory_order_relaxed);
}

SeatServer::Client* SeatServer::FindClient(std::uint64_t uid) const noexcept {
  for (const auto& client : clients_) {
    if (client != nullptr && client->uid == uid) return client.get();
  }
  return nullptr;
}

void SeatServer::DropClient(std::size_t slot) noexcept {
  const std::unique_ptr<Client> client = std::move(clients_[slot]);
  client_count_.fetch_sub(1, std::memory_order_relaxed);
  ForgetLane(client->uid);
}

// It never comes again, and may not have come before.
void SeatServer::ForgetLane(std::uint64_t word) noexcept {
  const std::uint64_t uid = Marked(word, LaneMark::kReady);
  seat_.UnlinkClientRegion(uid);
  handler_.ClientGone(uid);
}

void SeatServer::EvictClient(std::size_t slot) noexcept {
  Client& client = *clients_[slot];
  main_.figures.clients_evicted.fetch_add(1, std::memory_order_relaxed);
  std::uint64_t expected = client.uid;
  main_.slots[slot].uid.compare_exchange_strong(expected, 0);
  client.shared->client.WakeIfAsleep();
  DropClient(slot);
}

// Takes what is in the client's ring, up to one request to be executed.
void SeatServer::TakeRequests(Client& client) noexcept {
  bool any = false;
  while (!client.broken) {
    const Result<bool> whole = TakeFrame(client);
    if (!whole) {
      client.broken = true;
      return;
    }
    any = true;
    if (!*whole) {
      if (!client.requests.HasData()) break;
      continue;
    }
    const std::size_t before = taken_.size();
    Admit(client);
    if (taken_.size() == before) continue;
    // One request of each client at a time; look again later.
    if (client.requests.HasData()) {
      again_[client.slot / 64] |= std::uint64_t{1} << (client.slot % 64);
    }
    break;
  }
  // It may wait for space for the rest of a long request.
  if (any) client.shared->client.WakeIfAsleep();
}

// True: the assembler has a whole message. False: no frame, or not the last.
Result<bool> SeatServer::TakeFrame(Client& client) noexcept {
  if (!client.requests.HasData()) return false;
  auto frame = client.requests.Take(client.assembler.buffer());
  if (!frame) return Fail(std::move(frame.error()));
  if (!*frame) return false;
  if ((*frame)->uid != client.uid) {
    return Fail(Status::Corruption("frame of another client"));
  }
  return client.assembler.Add(**frame, kMessageSizeBytesMax);
}

// Claims the assembled message, unless its client gave up.
void SeatServer::Admit(Client& client) noexcept {
  const FrameHeader header = client.assembler.first();
  std::string message = client.assembler.Release();
  const SteadyTime deadline{std::chrono::nanoseconds(header.deadline_ns)};
  client.used_at = std::chrono::steady_clock::now();
  if (client.used_at >= deadline ||
      !client.shared->request_state.Claim(header.sequence)) {
    main_.figures.cancelled.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  TestPoint("server.claimed");
  client.answering = FrameHeader();
  client.answering.uid = client.uid;
  client.answering.sequence = header.sequence;
  client.answering_size = message.size();
  ServedRequest request;
  request.uid = client.uid;
  request.sequence = header.sequence;
  request.message = std::move(message);
  taken_.push_back(std::move(request));
  taken_slots_.push_back(client.slot);
}

void SeatServer::ExecuteTaken() noexcept {
  const SteadyTime start = std::chrono::steady_clock::now();
  handler_.Execute(taken_);
  TestPoint("server.executed");
  const auto took = static_cast<std::uint64_t>(
      (std::chrono::steady_clock::now() - start).count());
  ServerFigures& figures = main_.figures;
  const auto bucket = std::min<std::size_t>(
      static_cast<std::size_t>(std::bit_width(took | 1) - 1),
      figures.service_time.size() - 1);
  figures.requests.fetch_add(taken_.size(), std::memory_order_relaxed);
  figures.groups.fetch_add(1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < taken_.size(); ++i) {
    ServedRequest& request = taken_[i];
    Client& client = *clients_[taken_slots_[i]];
    LARDER_CHECK(request.deferred || !request.reply.empty());
    figures.bytes_in.fetch_add(client.answering_size,
                               std::memory_order_relaxed);
    figures.service_time[bucket].fetch_add(1, std::memory_order_relaxed);
    if (!request.deferred) Answer(client, std::move(request.reply));
  }
  taken_.clear();
  taken_slots_.clear();
  TestPoint("server.answered");
}

void SeatServer::Answer(Client& client, std::string reply) noexcept {
  ClientSlot& slot = main_.slots[client.slot];
  slot.requests.fetch_add(1, std::memory_order_relaxed);
  slot.bytes.fetch_add(client.answering_size + reply.size(),
                       std::memory_order_relaxed);
  main_.figures.bytes_out.fetch_add(reply.size(), std::memory_order_relaxed);
  client.outgoing = std::move(reply);
  client.outgoing_sent = 0;
  client.answering_size = 0;
  if (!client.shared->request_state.IsClaimed(client.answering.sequence)) {
    handler_.Unwanted(client.uid, client.answering.sequence);
  }
  Recall(client);
  SendRest(client);
  if (client.broken) EvictClient(client.slot);
}

// With the answer, asks for the place if somebody waits for it. What was said
// with an earlier one is not so any more: the client may have opened a scan.
void SeatServer::Recall(Client& client) noexcept {
  bool recalled = false;
  if (main_.lane_queue.wanted()) {
    const SteadyTime now = std::chrono::steady_clock::now();
    const bool again = now - client.recalled_at < kRecallWait;
    recalled = (again || recalls_left_ != 0) &&
               now - client.opened_at >= kTurn &&
               !handler_.NeedsPlace(client.uid, {});
    if (recalled && !again) {
      --recalls_left_;
      client.recalled_at = now;
    }
  }
  if (!recalled) client.recalled_at = {};
  // Relaxed: seen with the answer. A line that the client reads is left alone.
  std::atomic<std::uint32_t>& word = client.shared->recalled;
  const std::uint32_t said = recalled ? 1 : 0;
  if (word.load(std::memory_order_relaxed) != said) {
    word.store(said, std::memory_order_relaxed);
  }
}

void SeatServer::Complete(std::uint64_t uid, std::uint64_t sequence,
                          std::string reply) noexcept {
  LARDER_CHECK(!reply.empty());
  {
    const std::lock_guard lock(completed_mutex_);
    completed_.push_back({uid, sequence, std::move(reply)});
  }
  main_.doorbell.Nudge();
}

// Sends what Complete was given; true if there was anything.
bool SeatServer::SendCompleted() noexcept {
  std::vector<Completed> completed;
  {
    const std::lock_guard lock(completed_mutex_);
    completed.swap(completed_);
  }
  for (Completed& answer : completed) {
    Client* const client = FindClient(answer.uid);
    // Else it gave up, and its next request is under way.
    if (client != nullptr && client->ready &&
        client->answering.sequence == answer.sequence &&
        client->answering_size != 0) {
      Answer(*client, std::move(answer.reply));
    }
  }
  return !completed.empty();
}

// Sends as much of the answer as there is space for.
void SeatServer::SendRest(Client& client) noexcept {
  ClientRegion& shared = *client.shared;
  while (client.outgoing_sent < client.outgoing.size()) {
    const auto size = client.replies.Write(client.answering, client.outgoing,
                                           client.outgoing_sent);
    if (!size) {
      client.broken = true;
      return;
    }
    client.outgoing_sent += *size;
    if (*size != 0) {
      shared.client.WakeIfAsleep();
      continue;
    }
    // seq_cst, then look again: the client looks at this after it made space.
    shared.holder_wants_space.store(1, std::memory_order_seq_cst);
    if (!client.replies.HasSpace()) return;
  }
  client.outgoing.clear();
  if (client.outgoing.capacity() > kBufferKeptMax) {
    client.outgoing.shrink_to_fit();
  }
  client.outgoing_sent = 0;
}

void SeatServer::SweepDead() noexcept {
  for (std::size_t slot = 0; slot < kSlotCountMax; ++slot) {
    std::uint64_t uid = main_.slots[slot].uid.load(std::memory_order_acquire);
    if (uid == 0 && clients_[slot] == nullptr) continue;
    if (uid != 0 && seat_.IsLaneAlive(uid)) continue;
    // Its process is gone. If somebody takes the slot right now, the exchange
    // fails or the new uid is written after it.
    if (uid != 0 && main_.slots[slot].uid.compare_exchange_strong(uid, 0) &&
        FindClient(Marked(uid, LaneMark::kReady)) == nullptr) {
      ForgetLane(uid);
    }
    if (clients_[slot] != nullptr) DropClient(slot);
  }
}

// Gives places to those that wait for one; true if some go on waiting.
bool SeatServer::LendPlaces(SteadyTime now) noexcept {
  LaneQueue& queue = main_.lane_queue;
  if (!queue.wanted()) return false;
  if (now < next_lending_) return true;
  std::size_t waiting = 0;
  int lent = 0;
  for (const LaneQueue::Seen& waiter : queue.Waiting()) {
    // Of those that are not served now the dead are looked for less often.
    if (waiter.deadline <= now ||
        (waiting == 0 && !seat_.IsLaneAlive(waiter.uid))) {
      queue.Drop(waiter);
      continue;
    }
    const auto slot = waiting == 0 && lent < kLentAtOnceMax
                          ? LendPlace(waiter.uid, now)
                          : std::nullopt;
    if (!slot) {
      ++waiting;
      continue;
    }
    ++lent;
    TestPoint("server.place_lent");
    if (queue.Grant(waiter)) continue;
    // It has given up.
    std::uint64_t expected = Marked(waiter.uid, LaneMark::kBegun);
    main_.slots[*slot].uid.compare_exchange_strong(expected, 0);
  }
  const std::size_t under_way = RecallsUnderWay(now);
  recalls_left_ = waiting > under_way ? waiting - under_way : 0;
  lending_pause_ =
      lent != 0 || waiting == 0
          ? SteadyTime::duration(kLendingPause)
          : std::clamp<SteadyTime::duration>(2 * lending_pause_, kLendingPause,
                                             kLendingPauseMax);
  if (waiting == 0) queue.Settle();
  next_lending_ = waiting == 0 ? now : now + lending_pause_;
  return waiting != 0;
}

// Places that were asked for and will come.
std::size_t SeatServer::RecallsUnderWay(SteadyTime now) const noexcept {
  return static_cast<std::size_t>(
      std::count_if(clients_.begin(), clients_.end(), [now](const auto& c) {
        return c != nullptr && now - c->recalled_at < kRecallWait;
      }));
}

// A place that is the lane's now, but for the region.
std::optional<std::size_t> SeatServer::LendPlace(std::uint64_t uid,
                                                 SteadyTime now) noexcept {
  const std::uint64_t begun = Marked(uid, LaneMark::kBegun);
  for (std::size_t slot = 0; slot < kSlotCountMax; ++slot) {
    // A holder that died before it could say so.
    if (main_.slots[slot].uid.load(std::memory_order_relaxed) == begun) {
      return slot;
    }
  }
  const auto find_free = [&]() -> std::optional<std::size_t> {
    for (std::size_t slot = 0; slot < kSlotCountMax; ++slot) {
      if (TakePlace(slot, begun)) return slot;
    }
    return std::nullopt;
  };
  if (auto slot = find_free()) return slot;
  for (const std::size_t slot : IdleSince(now - kIdleMin)) {
    Client& client = *clients_[slot];
    if (handler_.NeedsPlace(client.uid, now - client.used_at) ||
        !client.shared->request_state.Take()) {
      continue;
    }
    TestPoint("server.place_taken");
    // Its process may not come by for long. Before the place is another's:
    // then nobody could find the region.
    client.region->Empty();
    seat_.UnlinkClientRegion(client.uid);
    std::uint64_t expected = client.uid;
    const bool taken =
        main_.slots[slot].uid.compare_exchange_strong(expected, begun);
    DropClient(slot);
    if (taken) return slot;
  }
  if (now < next_rescue_) return std::nullopt;
  next_rescue_ = now + kRescuePause;
  SweepDead();
  return find_free();
}

bool SeatServer::TakePlace(std::size_t slot, std::uint64_t uid) noexcept {
  std::uint64_t expected = 0;
  if (main_.slots[slot].uid.load(std::memory_order_relaxed) != 0 ||
      !main_.slots[slot].uid.compare_exchange_strong(expected, uid)) {
    return false;
  }
  if (clients_[slot] != nullptr) DropClient(slot);  // It has left.
  return true;
}

// The places of clients that have asked for nothing since, in any order: of
// more callers than places who take turns, the one that was idle the longest
// would always be the next to call.
std::vector<std::size_t> SeatServer::IdleSince(SteadyTime before) noexcept {
  std::vector<std::size_t> idle;
  for (const auto& client : clients_) {
    if (client != nullptr && client->used_at <= before &&
        client->answering_size == 0 && client->shared->request_state.IsIdle()) {
      idle.push_back(client->slot);
    }
  }
  std::shuffle(idle.begin(), idle.end(), random_);
  return idle;
}

}  // namespace larder
