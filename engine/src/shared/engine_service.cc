#include "shared/engine_service.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "larder/engine/limits.h"
#include "larder/engine/settings.h"

#include "messages/reply_offer.h"
#include "os/start_thread.h"
#include "shared/policy_offers.h"

namespace larder {
namespace {

// Items asked of a scan at once while a page is filled.
constexpr std::size_t kScanStep = 32;
// Long tasks that run at a time.
constexpr std::size_t kWorkersMax = 4;
// A client that does not use the space it was granted within that time sends
// the value instead, if it comes at all.
constexpr std::chrono::seconds kGrantIdleMax{3};

template <typename T, typename Encode>
void PutResult(std::string& out, const Result<T>& result, Encode&& encode) {
  PutOutcome(out, result ? Status() : result.error());
  if (result) encode(out, *result);
}

Status LostHandle() {
  return {StatusCode::kGone,
          "the scan or stream was lost when another process took over: open "
          "it again"};
}

}  // namespace

EngineService::EngineService(SessionStore& store, MainRegion& main) noexcept
    : store_(store), main_(main), combiner_(store) {
  // Numbers of another holder's handles must mean nothing here.
  std::random_device seed;
  random_.seed(std::uint64_t{seed()} << 32 | seed());
  store_.SetLogGeneration(&main_.log_generation);
  PublishSettings();
  Tick();
}

EngineService::~EngineService() {
  {
    const std::lock_guard lock(tasks_mutex_);
    stop_ = true;
  }
  tasks_changed_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  store_.SetLogGeneration(nullptr);
}

void EngineService::SetServer(SeatServer* server) noexcept {
  {
    const std::lock_guard lock(tasks_mutex_);
    server_ = server;
  }
  tasks_changed_.notify_all();
}

void EngineService::Execute(std::span<ServedRequest> requests) noexcept {
  AnswerGroup(requests);
  bool is_away = false;
  for (ServedRequest& request : requests) {
    if (!request.reply.empty()) continue;
    // Whatever else is asked for may take as long as it likes: meanwhile the
    // threads of this process do not leave their changes to this one.
    if (!std::exchange(is_away, true)) combiner_.SetCollecting(false);
    ExecuteAlone(request);
  }
}

void EngineService::ExecuteAlone(ServedRequest& request) noexcept {
  const Session session{.uid = request.uid, .sequence = request.sequence};
  const bool is_long = IsLong(request.message);
  const bool lasts = is_long || Opens(request.message);
  request.deferred = lasts && !BeginLasting({session, request.message});
  if (request.deferred) return;
  request.deferred = is_long && Defer({session, request.message});
  // Without a thread the others wait, but are answered.
  if (!request.deferred) request.reply = Answer(request.message, session);
  if (lasts) EndLasting();
}

bool EngineService::Opens(std::string_view bytes) noexcept {
  const auto message = DecodeMessage(bytes);
  return message && (message->kind == MessageKind::kScanOpen ||
                     message->kind == MessageKind::kWriterOpen ||
                     message->kind == MessageKind::kReaderOpen);
}

bool EngineService::IsLong(std::string_view bytes) noexcept {
  const auto message = DecodeMessage(bytes);
  if (!message) return false;
  switch (message->kind) {
    case MessageKind::kCheck:
    case MessageKind::kReset:
    case MessageKind::kResetPolicy:
    case MessageKind::kSync:
      return true;
    case MessageKind::kCount:
    case MessageKind::kStats:
      return !store_.CountsAtOnce();
    case MessageKind::kExecute:
    case MessageKind::kExecutePlaced:
      return SeemsWholeCache(message->body);
    default:
      return false;
  }
}

bool EngineService::Defer(LongTask task) noexcept {
  const std::lock_guard starting(workers_mutex_);
  std::unique_lock lock(tasks_mutex_);
  if (idle_workers_ <= tasks_.size() && workers_.size() < kWorkersMax) {
    lock.unlock();
    auto worker = StartThread([this] { RunLongTasks(); });
    if (worker) workers_.push_back(*std::move(worker));
    lock.lock();
  }
  if (workers_.empty()) return false;
  if (task.session.uid != 0) ++unfinished_[task.session.uid];
  tasks_.push_back(std::move(task));
  tasks_changed_.notify_one();
  return true;
}

void EngineService::AnswerGroup(std::span<ServedRequest> requests) {
  struct Member {
    ServedRequest* request = nullptr;
    DecodedCommands decoded;
    Reply reply;
  };
  std::vector<Member> members;
  members.reserve(requests.size());
  for (ServedRequest& request : requests) {
    const auto message = DecodeMessage(request.message);
    if (!message || message->kind != MessageKind::kExecute) continue;
    auto decoded = DecodeCommands(message->body);
    if (!decoded || decoded->commands.size() != 1 || !decoded->placed.empty() ||
        !IsMutation(decoded->commands[0]) || SeemsWholeCache(message->body) ||
        store_.FindReply({request.uid, request.sequence})) {
      continue;
    }
    members.push_back({&request, std::move(*decoded), {}});
  }
  if (members.empty()) return;
  std::vector<ClientChange> changes;
  changes.reserve(members.size());
  for (Member& member : members) {
    changes.push_back(
        {.session = {member.request->uid, member.request->sequence},
         .command = &member.decoded.commands[0],
         .reply = &member.reply,
         .options = member.decoded.options,
         .status = {},
         .found = {}});
  }
  // Relaxed: a figure.
  main_.figures.commands.fetch_add(members.size(), std::memory_order_relaxed);
  combiner_.Execute(changes);
  for (std::size_t i = 0; i < members.size(); ++i) {
    std::string& out = members[i].request->reply;
    PutOutcome(out, {});
    EncodeReplies(out, changes[i].status, {changes[i].reply, 1},
                  changes[i].found);
  }
}

Status EngineService::Execute(const Command& command, Reply& reply,
                              const ExecuteOptions& options) noexcept {
  ReplyOffer::Clear({&reply, 1});
  ClientChange change{.session = {},
                      .command = &command,
                      .reply = &reply,
                      .options = options,
                      .status = {},
                      .found = {}};
  combiner_.Execute(change);
  return std::move(change.status);
}

void EngineService::RunLongTasks() noexcept {
  std::unique_lock lock(tasks_mutex_);
  for (;;) {
    // The server's thread may be here before the server is known: an answer
    // that goes nowhere would leave its client waiting.
    ++idle_workers_;
    tasks_changed_.wait(lock, [this] {
      return stop_ || (server_ != nullptr && !tasks_.empty());
    });
    --idle_workers_;
    if (stop_) return;  // Their clients ask the next holder.
    const LongTask task = std::move(tasks_.front());
    tasks_.pop_front();
    ++busy_workers_;
    lock.unlock();
    if (task.message.empty()) {
      PublishFigures();
      figures_asked_ = false;
      lock.lock();
      --busy_workers_;
      continue;
    }
    const std::uint64_t uid = task.session.uid;
    std::string reply = Answer(task.message, task.session);
    lock.lock();
    --busy_workers_;
    if (server_ != nullptr) {
      server_->Complete(uid, task.session.sequence, std::move(reply));
    }
    lock.unlock();
    Finished(uid);
    lock.lock();
  }
}

void EngineService::Finished(std::uint64_t uid) noexcept {
  {
    const std::lock_guard lock(tasks_mutex_);
    const auto count = unfinished_.find(uid);
    if (count == unfinished_.end() || --count->second != 0) return;
    unfinished_.erase(count);
    if (gone_.erase(uid) == 0) return;
  }
  DropHandles(uid, std::nullopt);
  store_.ForgetClient(uid);
}

bool EngineService::IsIdle() noexcept {
  {
    const std::lock_guard lock(handles_mutex_);
    if (!handles_.empty() || beginning_ != 0) return false;
  }
  const std::lock_guard lock(tasks_mutex_);
  return tasks_.empty() && busy_workers_ == 0;
}

bool EngineService::BeginLasting(LongTask task) noexcept {
  const std::lock_guard lock(handles_mutex_);
  if (holding_) {
    held_.push_back(std::move(task));
    return false;
  }
  ++beginning_;
  return true;
}

void EngineService::EndLasting() noexcept {
  const std::lock_guard lock(handles_mutex_);
  --beginning_;
}

void EngineService::Hold() noexcept {
  const std::lock_guard lock(handles_mutex_);
  holding_ = true;
}

void EngineService::Resume() noexcept {
  std::vector<LongTask> held;
  {
    const std::lock_guard lock(handles_mutex_);
    holding_ = false;
    held.swap(held_);
    // From now on they are no longer found there if their client goes.
    const std::lock_guard tasks_lock(tasks_mutex_);
    for (const LongTask& task : held) ++unfinished_[task.session.uid];
  }
  for (const LongTask& task : held) {
    if (!Defer(task)) AnswerHeld(task);
    Finished(task.session.uid);
  }
}

void EngineService::AnswerHeld(const LongTask& task) noexcept {
  if (task.message.empty()) {
    figures_asked_ = false;  // The next tick asks.
    return;
  }
  std::string reply = Answer(task.message, task.session);
  const std::lock_guard lock(tasks_mutex_);
  if (server_ == nullptr) return;
  server_->Complete(task.session.uid, task.session.sequence, std::move(reply));
}

void EngineService::ClientGone(std::uint64_t uid) noexcept {
  DropHandles(uid, std::nullopt);
  {
    const std::lock_guard lock(handles_mutex_);
    std::erase_if(held_,
                  [uid](const LongTask& t) { return t.session.uid == uid; });
  }
  {
    const std::lock_guard lock(tasks_mutex_);
    if (unfinished_.contains(uid)) gone_.insert(uid);
  }
  store_.ForgetClient(uid);
}

bool EngineService::NeedsPlace(std::uint64_t uid,
                               SteadyTime::duration idle) noexcept {
  {
    const std::lock_guard lock(handles_mutex_);
    if (handle_counts_.contains(uid)) return true;
  }
  {
    // It will write a record of the client.
    const std::lock_guard lock(tasks_mutex_);
    if (unfinished_.contains(uid)) return true;
  }
  return idle < kGrantIdleMax && store_.HasGrants(uid);
}

void EngineService::Unwanted(std::uint64_t uid,
                             std::uint64_t sequence) noexcept {
  DropHandles(uid, sequence);
  store_.DropGrants(uid);
}

bool EngineService::Tick() noexcept {
  store_.CloseIdleFiles();
  if (store_.CountsAtOnce()) return PublishFigures();
  // Until then those of before are there, with their time.
  if (figures_asked_.exchange(true)) return true;
  if (!BeginLasting({})) return true;  // Resume does it.
  const bool deferred = Defer({});
  EndLasting();
  if (deferred) return true;
  figures_asked_ = false;
  return PublishFigures();
}

bool EngineService::PublishFigures() noexcept {
  const auto stats = store_.Stats();
  if (!stats) return false;  // The old ones stay, with their time.
  bool changed = false;
  const auto publish = [this, &changed](StoreTotal which,
                                        std::uint64_t figure) {
    changed |= main_.total(which).exchange(figure, std::memory_order_relaxed) !=
               figure;
  };
  publish(StoreTotal::kCount, stats->count);
  publish(StoreTotal::kLiveBytes, stats->live_bytes);
  publish(StoreTotal::kDiskBytes, stats->disk_bytes);
  publish(StoreTotal::kSizeLimit, stats->size_limit);
  publish(StoreTotal::kHits, stats->hits);
  publish(StoreTotal::kMisses, stats->misses);
  publish(StoreTotal::kSets, stats->sets);
  publish(StoreTotal::kDeletes, stats->deletes);
  publish(StoreTotal::kEvictions, stats->evictions);
  publish(StoreTotal::kExpirations, stats->expirations);
  const auto now = Clock::System()->Now().time_since_epoch().count();
  // Release pairs with the reader's acquire: they are all there.
  main_.total(StoreTotal::kPublishedAtUs)
      .store(static_cast<std::uint64_t>(now), std::memory_order_release);
  return changed;
}

std::string EngineService::Answer(std::string_view bytes,
                                  const Session& session) noexcept {
  std::string out;
  const auto message = DecodeMessage(bytes);
  if (!message) {
    PutOutcome(out, message.error());
    return out;
  }
  switch (message->kind) {
    case MessageKind::kExecute:
    case MessageKind::kExecutePlaced:
      AnswerCommands(*message, session, out);
      break;
    case MessageKind::kGrant:
    case MessageKind::kGrantDrop:
      AnswerGrant(*message, session, out);
      break;
    case MessageKind::kScanOpen:
    case MessageKind::kScanNext:
    case MessageKind::kScanClose:
      AnswerScan(*message, session, out);
      break;
    case MessageKind::kWriterOpen:
    case MessageKind::kWriterAppend:
    case MessageKind::kWriterCommit:
      AnswerWriter(*message, session, out);
      break;
    case MessageKind::kReaderOpen:
    case MessageKind::kReaderRead:
      AnswerReader(*message, session, out);
      break;
    case MessageKind::kStreamClose:
      if (const auto number = DecodeNumber(message->body)) DropHandle(*number);
      PutOutcome(out, {});
      break;
    default:
      AnswerStore(*message, out);
      break;
  }
  return out;
}

void EngineService::AnswerCommands(const Message& message,
                                   const Session& session, std::string& out) {
  const auto decoded = DecodeCommands(message.body);
  if (!decoded) return PutOutcome(out, decoded.error());
  PutOutcome(out, {});
  const bool mutates = std::any_of(decoded->commands.begin(),
                                   decoded->commands.end(), IsMutation);
  if (mutates && session.uid != 0) {
    if (const auto recorded = store_.FindReply(session)) {
      out += *recorded;
      return;
    }
  }
  // Relaxed: a figure.
  main_.figures.commands.fetch_add(decoded->commands.size(),
                                   std::memory_order_relaxed);
  std::vector<Reply> replies(decoded->commands.size());
  if (session.uid == 0 && !decoded->placed.empty()) {
    // The grant was another holder's, and the value is not in the message.
    return EncodeReplies(
        out, {StatusCode::kGone, "the holder has changed: send the value"},
        replies, {});
  }
  if (session.uid == 0) {  // Of this process itself.
    const Status status =
        store_.Execute(decoded->commands, replies, decoded->options);
    return EncodeReplies(out, status, replies, {});
  }
  PlacedValues placed{.written = decoded->placed,
                      .wanted = message.kind == MessageKind::kExecutePlaced};
  const Status status = store_.ExecuteAs(session, decoded->commands, replies,
                                         decoded->options, placed);
  EncodeReplies(out, status, replies, placed.found);
}

void EngineService::AnswerGrant(const Message& message, const Session& session,
                                std::string& out) {
  if (message.kind == MessageKind::kGrantDrop) {
    const auto grants = DecodeGrants(message.body);
    if (!grants) return PutOutcome(out, grants.error());
    for (const Grant& grant : *grants) {
      store_.DropGrant(session.uid, grant.version);
    }
    return PutOutcome(out, {});
  }
  const auto wanted = DecodeGrantRequest(message.body);
  if (!wanted) return PutOutcome(out, wanted.error());
  // It sets one value at a time: any other one is of a Set that was not made.
  store_.DropGrants(session.uid);
  std::vector<Grant> grants;
  for (const GrantRequest& request : *wanted) {
    auto grant = store_.GrantPlaces(session.uid, request);
    if (!grant) {
      for (const Grant& made : grants) {
        store_.DropGrant(session.uid, made.version);
      }
      return PutOutcome(out, grant.error());
    }
    grants.push_back(std::move(*grant));
  }
  PutOutcome(out, {});
  EncodeGrants(out, grants);
}

void EngineService::AnswerStore(const Message& message, std::string& out) {
  switch (message.kind) {
    case MessageKind::kCount:
      PutResult(out, store_.Count(), EncodeNumber);
      return;
    case MessageKind::kStats:
      PutResult(out, store_.Stats(), EncodeStats);
      return;
    case MessageKind::kCheck: {
      const auto repair = DecodeNumber(message.body);
      PutResult(out,
                repair ? store_.Check(*repair != 0)
                       : Result<CheckReport>(Fail(repair.error())),
                EncodeCheckReport);
      return;
    }
    case MessageKind::kSettings: {
      PutOutcome(out, {});
      EncodeNumber(out, store_.settings_version());
      SettingList list;
      for (SettingText& text : DescribeSettings(store_.CurrentSettings())) {
        list.emplace_back(std::move(text.name), std::move(text.value));
      }
      EncodeSettings(out, list);
      return;
    }
    case MessageKind::kReset:
    case MessageKind::kResetPolicy: {
      const auto list = DecodeSettings(message.body);
      if (!list || list->size() != 1) {
        PutOutcome(out, list ? Status::InvalidArgument("one setting at a time")
                             : list.error());
        return;
      }
      const auto& [name, value] = (*list)[0];
      PutOutcome(out, message.kind == MessageKind::kResetPolicy
                          ? ResetPolicy(value)
                          : Reset(name, value));
      return;
    }
    case MessageKind::kSync:
      PutOutcome(out, store_.Sync());
      return;
    case MessageKind::kEvictions: {
      const auto subscriber = DecodeNumber(message.body);
      if (!subscriber) return PutOutcome(out, subscriber.error());
      PutOutcome(out, {});
      return EncodeEvictions(out, store_.TakeEvictions(*subscriber));
    }
    default:
      PutOutcome(out, Status::InvalidArgument("this store does not take that "
                                              "message"));
      return;
  }
}

// Other than any that another holder published.
void EngineService::PublishSettings() noexcept {
  const std::lock_guard lock(publish_mutex_);
  main_.read_mode.store(
      static_cast<std::uint64_t>(store_.CurrentSettings().read_mode),
      std::memory_order_relaxed);
  PolicyOffers::Publish(main_, store_.policy());
  // The same before this holder serves and while it does.
  const std::uint64_t holder = (std::uint64_t{main_.generation.Load()} + 1) / 2;
  main_.settings_version.store(
      holder << 32 | (store_.settings_version() & 0xFFFFFFFF),
      std::memory_order_release);
}

Status EngineService::Reset(std::string_view name,
                            std::string_view value) noexcept {
  Status status = store_.Reset(name, value);
  PublishSettings();
  return status;
}

Status EngineService::ResetPolicy(std::string_view name) noexcept {
  Status status = store_.ResetPolicy(name);
  PublishSettings();
  return status;
}

Status EngineService::RunSetPolicy() noexcept {
  Status status = store_.RunSetPolicy();
  PublishSettings();
  return status;
}

Result<std::uint64_t> EngineService::KeepHandle(const Session& session,
                                                Handle handle) noexcept {
  const std::lock_guard lock(handles_mutex_);
  std::size_t& count = handle_counts_[session.uid];
  if (count >= kHandlesPerClientMax) {
    return Fail(Status::NoSpace("a client has " + std::to_string(count) +
                                " scans and streams open: close some"));
  }
  ++count;
  std::uint64_t number = 0;
  while (number == 0 || handles_.contains(number)) number = random_();
  handles_.emplace(number, OpenHandle{session, std::move(handle)});
  return number;
}

template <typename T>
Result<std::unique_ptr<T>> EngineService::TakeHandle(
    std::uint64_t number) noexcept {
  const std::lock_guard lock(handles_mutex_);
  const auto it = handles_.find(number);
  if (it == handles_.end()) return Fail(LostHandle());
  auto* handle = std::get_if<std::unique_ptr<T>>(&it->second.handle);
  if (handle == nullptr || *handle == nullptr) return Fail(LostHandle());
  return std::move(*handle);
}

void EngineService::PutHandleBack(std::uint64_t number,
                                  Handle handle) noexcept {
  const std::lock_guard lock(handles_mutex_);
  const auto it = handles_.find(number);
  if (it != handles_.end()) it->second.handle = std::move(handle);
}

void EngineService::DropHandle(std::uint64_t number) noexcept {
  const std::lock_guard lock(handles_mutex_);
  const auto it = handles_.find(number);
  if (it == handles_.end()) return;
  Uncount(it->second.opener.uid);
  handles_.erase(it);
}

void EngineService::DropHandles(
    std::uint64_t uid, std::optional<std::uint64_t> sequence) noexcept {
  const std::lock_guard lock(handles_mutex_);
  if (!handle_counts_.contains(uid)) return;
  std::erase_if(handles_, [this, uid, &sequence](const auto& entry) {
    const Session& opener = entry.second.opener;
    if (opener.uid != uid || (sequence && opener.sequence != *sequence)) {
      return false;
    }
    Uncount(uid);
    return true;
  });
}

void EngineService::Uncount(std::uint64_t uid) noexcept {
  const auto count = handle_counts_.find(uid);
  if (--count->second == 0) handle_counts_.erase(count);
}

void EngineService::AnswerScan(const Message& message, const Session& session,
                               std::string& out) {
  if (message.kind == MessageKind::kScanOpen) {
    const auto options = DecodeScanOptions(message.body);
    if (!options) return PutOutcome(out, options.error());
    auto scan = store_.OpenScan(*options);
    if (!scan) return PutOutcome(out, scan.error());
    return PutResult(out, KeepHandle(session, std::move(*scan)), EncodeNumber);
  }
  if (message.kind == MessageKind::kScanClose) {
    if (const auto number = DecodeNumber(message.body)) DropHandle(*number);
    return PutOutcome(out, {});
  }
  const auto request = DecodeScanNext(message.body);
  if (!request) return PutOutcome(out, request.error());
  auto scan = TakeHandle<Scan>(request->scan);
  if (!scan) return PutOutcome(out, scan.error());
  std::vector<ScanItem> items;
  std::size_t size = 0;
  Status status;
  while (items.size() < request->count_max && size < kScanPageSizeBytes) {
    auto some =
        (*scan)->Next(std::min(kScanStep, request->count_max - items.size()));
    if (!some) status = some.error();
    if (!some || some->empty()) break;
    for (ScanItem& item : *some) {
      size += item.key.size() + item.value.size() + item.info.tag.size();
      items.push_back(std::move(item));
    }
  }
  // What was read before a failure is delivered first; it fails again then.
  PutOutcome(out, items.empty() ? status : Status());
  if (status.ok() || !items.empty()) EncodeScanPage(out, items, {});
  PutHandleBack(request->scan, std::move(*scan));
}

void EngineService::AnswerWriter(const Message& message, const Session& session,
                                 std::string& out) {
  if (message.kind == MessageKind::kWriterOpen) {
    const auto request = DecodeWriterOpen(message.body);
    if (!request) return PutOutcome(out, request.error());
    auto writer = store_.OpenWriter(request->command, request->size_expected,
                                    request->options);
    if (!writer) return PutOutcome(out, writer.error());
    return PutResult(out, KeepHandle(session, std::move(*writer)),
                     EncodeNumber);
  }
  if (message.kind == MessageKind::kWriterAppend) {
    const auto piece = DecodeStreamBytes(message.body);
    if (!piece) return PutOutcome(out, piece.error());
    auto writer = TakeHandle<ValueWriter>(piece->stream);
    if (!writer) return PutOutcome(out, writer.error());
    PutOutcome(out, (*writer)->Append(piece->bytes));
    return PutHandleBack(piece->stream, std::move(*writer));
  }
  const auto number = DecodeNumber(message.body);
  if (!number) return PutOutcome(out, number.error());
  auto writer = TakeHandle<ValueWriter>(*number);
  if (!writer) return PutOutcome(out, writer.error());
  const Reply replies[] = {(*writer)->Commit()};
  PutOutcome(out, {});
  EncodeReplies(out, {}, replies, {});
  DropHandle(*number);
}

void EngineService::AnswerReader(const Message& message, const Session& session,
                                 std::string& out) {
  if (message.kind == MessageKind::kReaderOpen) {
    auto reader = store_.OpenReader(message.body);
    if (!reader) return PutOutcome(out, reader.error());
    ReaderOpened opened;
    if (*reader != nullptr) {
      opened.info = (*reader)->info();
      const auto number = KeepHandle(session, std::move(*reader));
      if (!number) return PutOutcome(out, number.error());
      opened.stream = *number;
    }
    PutOutcome(out, {});
    return EncodeReaderOpened(out, opened);
  }
  const auto request = DecodeReaderRead(message.body);
  if (!request) return PutOutcome(out, request.error());
  auto reader = TakeHandle<ValueReader>(request->stream);
  if (!reader) return PutOutcome(out, reader.error());
  std::string piece(request->size_max, '\0');
  PutResult(
      out, (*reader)->Read(piece),
      [&](std::string& to, std::size_t count) { to.append(piece, 0, count); });
  PutHandleBack(request->stream, std::move(*reader));
}

}  // namespace larder
