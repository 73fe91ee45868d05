// The holder's loop.
//
// 1. A request is executed only after its state went from pending to claimed,
//    and each claim is executed at most once by this holder.
// 2. Rings are touched only while they are made for this generation.
// 3. Nothing a client does or omits makes the loop wait: an answer that does
//    not fit into its ring goes on when the client rings.

#include "seat_server.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "check.h"
#include "start_thread.h"
#include "test_point.h"

namespace larder {
namespace {

constexpr std::chrono::seconds kTick{1};
constexpr std::chrono::seconds kIdleTickMax{4};
// Answers longer than this are not kept for reuse of their memory.
constexpr std::size_t kBufferKeptMax = 1U << 20;

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
  std::chrono::seconds tick = kTick;
  SteadyTime next_tick = std::chrono::steady_clock::now() + tick;
  bool busy = true;  // Somebody rang since the last sleep.
  while (!stop_.load(std::memory_order_seq_cst)) {
    const bool worked = ServeOnce();
    const SteadyTime now = std::chrono::steady_clock::now();
    if (now >= next_tick) {
      SweepDead();
      tick = handler_.Tick() ? kTick : std::min(2 * tick, kIdleTickMax);
      next_tick = now + tick;
    }
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
      doorbell.Wait(next_tick - now);
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
  if (clients_[slot] == nullptr && uid != 0) OpenClient(slot, uid);
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
    return;
  }
  auto client = std::make_unique<Client>();
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
  seat_.UnlinkClientRegion(client->uid);
  client_count_.fetch_sub(1, std::memory_order_relaxed);
  handler_.ClientGone(client->uid);
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
  if (std::chrono::steady_clock::now() >= deadline ||
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
  SendRest(client);
  if (client.broken) EvictClient(client.slot);
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
    if (uid != 0 && seat_.IsSlotAlive(slot)) continue;
    // Its process is gone. If somebody takes the slot right now, the exchange
    // fails or the new uid is written after it.
    if (uid != 0) main_.slots[slot].uid.compare_exchange_strong(uid, 0);
    if (clients_[slot] != nullptr) DropClient(slot);
  }
}

}  // namespace larder
