#ifndef LARDER_ENGINE_SRC_STORE_STORE_H_
#define LARDER_ENGINE_SRC_STORE_STORE_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <rocksdb/snapshot.h>

#include "larder/engine/engine.h"

#include "base/striped.h"
#include "commit/access_counts.h"
#include "commit/eviction_notifier.h"
#include "commit/live_settings.h"
#include "commit/write_faults.h"
#include "directory/directory.h"
#include "directory/high_water.h"
#include "index/entry.h"
#include "index/key_filter_tender.h"
#include "index/ledger.h"
#include "index/pending_batch.h"
#include "index/recent_entries.h"
#include "index/rocks.h"
#include "index/room_claim.h"
#include "index/run_table.h"
#include "index/tag_cutoffs.h"
#include "index/told_items.h"
#include "messages/eviction_board.h"
#include "messages/session_store.h"
#include "os/user_callbacks.h"
#include "policy/running_policy.h"
#include "segments/segment_log.h"
#include "space/housekeeper.h"
#include "space/open_scans.h"
#include "space/search_gate.h"
#include "store/client_grants.h"
#include "store/store_hot.h"
#include "store/touch_buffer.h"

namespace larder {

class ReadAheadPace;

struct EntryPin;
class StoreScan;

/// The cache store in the process that has the directory open: the log of
/// values, its index, the ledger, eviction and cleaning.
///
/// Invariants:
/// 1. The ledger in memory equals the sum of the deltas in `counters`, and both
///    equal a recount of the entries in `access`.
/// 2. An entry is written in the same batch as its small value, and after its
///    large one: a committed entry never points at bytes that are not there,
///    until cleaning frees them, which it does only to dead entries.
/// 3. A cutoff that a batch relies on is on disk no later than the batch.
/// 4. Bytes are freed only after what killed them is in the WAL, and is as safe
///    as they were (store_durability.cc).
///
/// Lock order: store_gate_, space_mutex_, write_gate_, rescue_mutex_, stripes
/// (ascending), ledger_mutex_, leaves (RunTable, the logs, RocksDB).
///
/// Threads: thread-safe.
class Store final : public SessionStore, private LivenessJudge {
 public:
  /// REQUIRES: the caller has the seat, unless it opens read-only.
  static Result<std::unique_ptr<Store>> Open(const std::filesystem::path& path,
                                             EngineOptions options) noexcept;
  /// The same in the directory that `anchor` is of. Errors: as above, and
  /// kGone (parts of it that were known are not there any more).
  static Result<std::unique_ptr<Store>> Open(
      const std::shared_ptr<DirectoryAnchor>& anchor,
      EngineOptions options) noexcept;
  /// Throws everything in the cache directory away; it is an empty cache then.
  /// REQUIRES: the caller has the seat.
  static Status ResetAt(const std::shared_ptr<DirectoryAnchor>& anchor,
                        EngineOptions options) noexcept;
  ~Store() override;

  /// What Stats adds to its figures. Before the store is used.
  void SetMoreFigures(std::function<void(EngineStats&)> figures) noexcept {
    more_figures_ = std::move(figures);
  }
  /// Of an engine that is nothing but this store: who calls it is checked.
  void SetCallbacks(std::shared_ptr<UserCallbacks> callbacks) noexcept {
    callbacks_ = std::move(callbacks);
  }

  // SessionStore
  [[nodiscard]] Status ExecuteAs(const Session& session,
                                 std::span<const Command> commands,
                                 std::span<Reply> replies,
                                 const ExecuteOptions& options,
                                 PlacedValues& placed) noexcept override;
  [[nodiscard]] Result<Grant> GrantPlaces(
      std::uint64_t uid, const GrantRequest& wanted) noexcept override;
  void DropGrant(std::uint64_t uid, std::uint64_t version) noexcept override;
  void ExecuteGroup(std::span<ClientChange> changes) noexcept override;
  [[nodiscard]] std::optional<std::string> FindReply(
      const Session& session) noexcept override;
  void DropGrants(std::uint64_t uid) noexcept override;
  bool HasGrants(std::uint64_t uid) noexcept override;
  void ForgetClient(std::uint64_t uid) noexcept override;
  void RetainClients(std::span<const std::uint64_t> uids) noexcept override;
  void LookForDirectory() noexcept override;
  void CloseIdleFiles() noexcept override;
  [[nodiscard]] bool CountsAtOnce() noexcept override;
  void SetHotTier(HotWriter* hot) noexcept override;
  void SetLogGeneration(
      std::atomic<std::uint64_t>* published) noexcept override;
  [[nodiscard]] EvictionNotices TakeEvictions(
      std::uint64_t subscriber) noexcept override;
  [[nodiscard]] Result<ValueHandle> ReadPlaced(
      std::string_view key, std::uint64_t version,
      const SegmentPlace& place) noexcept override;
  std::size_t ReadAheadPlaced(std::span<WantedRecord> wanted) noexcept override;

  // Engine
  [[nodiscard]] Capabilities capabilities() const noexcept override;
  [[nodiscard]] Status Execute(std::span<const Command> commands,
                               std::span<Reply> replies,
                               const ExecuteOptions& options) noexcept override;
  [[nodiscard]] Result<std::unique_ptr<Scan>> OpenScan(
      const ScanOptions& options) noexcept override;
  [[nodiscard]] Result<std::unique_ptr<ValueWriter>> OpenWriter(
      const SetCommand& command, std::uint64_t size_expected,
      const ExecuteOptions& options) noexcept override;
  [[nodiscard]] Result<std::unique_ptr<ValueReader>> OpenReader(
      std::string_view key) noexcept override;
  [[nodiscard]] Result<std::uint64_t> Count() noexcept override;
  [[nodiscard]] Result<EngineStats> Stats() noexcept override;
  [[nodiscard]] Result<CheckReport> Check(bool repair) noexcept override;
  [[nodiscard]] Settings CurrentSettings() const noexcept override;
  [[nodiscard]] std::uint64_t settings_version() const noexcept override {
    return settings_.version();
  }
  [[nodiscard]] Status Reset(std::string_view name,
                             std::string_view value) noexcept override;
  [[nodiscard]] Status ResetPolicy(std::string_view name) noexcept override;
  [[nodiscard]] PolicyInForce policy() const noexcept override;
  [[nodiscard]] Status RunSetPolicy() noexcept override;
  [[nodiscard]] bool MayBeGivenAway() noexcept override;
  [[nodiscard]] std::shared_ptr<EvictionNotifier> KeepTelling() noexcept
      override {
    return notifier_;
  }
  [[nodiscard]] Status Sync() noexcept override;
  [[nodiscard]] Status Close() noexcept override;
  [[nodiscard]] const std::filesystem::path& directory()
      const noexcept override;

 private:
  friend class StoreScan;
  friend class StoreWriter;
  friend class StoreReader;
  friend class StoreChecker;

  /// What the index knows of a key before a command changes it.
  struct OldItem {
    bool present = false;
    bool counted = false;  ///< In the ledger.
    bool live = false;     ///< Counted, not expired and not gone with its tag.
    /// By which it has gone with its tag, if it has.
    std::shared_ptr<TagCutoff> gone_by;
    Entry entry;
    rocksdb::PinnableSlice pin;
    std::string bytes;               ///< Of `entry`, if not in `pin`.
    std::string_view pending_value;  ///< Of a kRun entry in the batch.
    bool pending = false;

    /// True if it lives and `place` has a part of its value.
    [[nodiscard]] bool IsAt(std::uint64_t version,
                            const SegmentPlace& place) const {
      return counted && entry.kind == EntryKind::kSegments &&
             entry.version == version &&
             std::find(entry.extents.begin(), entry.extents.end(), place) !=
                 entry.extents.end();
    }
  };
  class StripeLocks;
  struct FreedRecord;
  struct MovedRecord;
  struct MultiRead;
  struct Tried;
  /// A value that is in place already (streams), instead of command.value.
  struct StoredValue {
    std::uint64_t version = 0;
    std::uint64_t size = 0;
    Extents extents;
    /// SegmentLog::generation of the one it was accepted by; 0: it is pinned,
    /// whatever log there is.
    std::uint64_t generation = 0;
  };

  /// Whose commands they are. All empty: of this process.
  struct Caller {
    const Session* session = nullptr;
    PlacedValues* placed = nullptr;
    /// The value of the one Set there is, which is in place already.
    const StoredValue* stored = nullptr;
  };
  using EntryCondition =
      std::function<bool(std::string_view key, const Entry& entry)>;

  Store(EngineOptions options, std::unique_ptr<CacheDirectory> directory);

  // store_open.cc
  Status Start() noexcept;
  /// Not `writable`: to go on reading while writes fail.
  [[nodiscard]] RocksSizes SizesFor(std::uint64_t size_limit,
                                    std::uint64_t index_bytes) const noexcept;
  /// Whether the reserve may be given back if the disk is full. Only for what
  /// frees space: what is free may be taken by others before it is used.
  enum class Reserve : std::uint8_t { kKeep, kSpend };
  Status OpenFiles(bool writable, Reserve reserve) noexcept;
  Status TryOpenFiles(bool writable) noexcept;
  Status OpenDatabase(bool writable) noexcept;
  Status LoadState() noexcept;
  // Read-only, perhaps beside a process that writes.
  Status OpenView() noexcept;
  Status LoadSettings() noexcept;
  Status LoadLedger() noexcept;
  void MirrorLedger() noexcept;  // Under ledger_mutex_.
  void MirrorUse() noexcept;     // Likewise.
  /// Of a change that was written. Under ledger_mutex_.
  void ApplyToLedger(const LedgerDelta& delta) noexcept;
  /// Counts the ledger anew once it did not add up. REQUIRES: no lock is held.
  void RecountIfWrong() noexcept;
  Status LoadRuns() noexcept;
  /// Versions from here on are larger than `version_max`.
  void StartVersions(std::uint64_t version_max) noexcept;
  std::uint64_t RunTableBytes(const RunTable::Run& run) noexcept;
  Status RebuildLedger() noexcept;
  Status OpenLog() noexcept;
  void DropLog() noexcept;
  void PublishLogGeneration() noexcept;
  /// REQUIRES: reset_mutex_ is held, or nobody else is in the store.
  // WithSetting or WithStoredSetting.
  using SettingCheck = Result<Settings> (*)(Settings, std::string_view,
                                            std::string_view);
  Status Reset(std::string_view name, std::string_view value,
               SettingCheck check) noexcept;
  /// If the policy that is set runs from now on, which it did not before.
  enum class WhenLate : std::uint8_t {
    kMayFail,  ///< Then what runs goes on.
    kReport,
  };
  Result<std::optional<RunningPolicy>> NewPolicyFor(
      const Settings& settings,
      WhenLate when_late = WhenLate::kMayFail) noexcept;
  void RunPolicy(const Settings& settings, RunningPolicy running);
  Status ApplySettings(const Settings& settings,
                       std::optional<RunningPolicy> policy) noexcept;
  Status ChangeSetting(std::string_view name, std::string_view value,
                       SettingCheck check) noexcept;
  void StartThreads() noexcept;

  // store_repair.cc
  /// What Open does about damage, by `when_damaged`.
  Status StartRepaired(const Status& damage) noexcept;
  /// Puts a new database, made of what can be read, in the place of the one
  /// there is. REQUIRES, as of the next: nobody else is in the store. It is
  /// closed afterwards.
  Status RebuildDatabase() noexcept;
  /// Throws everything away.
  Status ResetDirectory() noexcept;
  /// Opens the file of marks unless it is.
  [[nodiscard]] Status OpenMarks() noexcept;
  [[nodiscard]] Status KeepMarks() noexcept;
  /// The same as RebuildDatabase while the store is in use.
  Status RepairInPlace(const Status& damage) noexcept;
  Status Shut() noexcept;
  Status HandleWriteFailure(const rocksdb::Status& status) noexcept;
  Status Reopen(Reserve reserve) noexcept;
  /// OK, or kDeadlock in the log callback.
  [[nodiscard]] Status CheckCaller() const noexcept {
    return callbacks_ == nullptr ? Status() : callbacks_->CheckMayCall();
  }
  /// OK, kClosed, kGone, or why the database could not even be read.
  [[nodiscard]] Status CheckOpen() const noexcept;
  /// True if a part of the directory was removed or replaced.
  /// REQUIRES: it is not closed, or nobody else is in the store.
  bool NoteIfGone() noexcept;
  [[nodiscard]] Status GoneStatus() const;
  /// OK, or why writes are refused just now.
  Status CheckWritable() noexcept;
  /// Opens the database again after a failed write; if that fails, not again
  /// for 200 ms. On a full disk, only if there is room again or the reserve is
  /// to be spent.
  void HealIfFaulted(Reserve reserve = Reserve::kKeep) noexcept;
  /// In the store gate. Whether to open the database again now.
  [[nodiscard]] bool MayHeal(Reserve reserve) noexcept;
  void Log(const std::string& line) const;

  // store_read.cc
  void Get(const GetCommand& command, Reply& reply,
           const Caller& caller) noexcept;
  void MultiGet(std::span<const Command> commands, std::span<Reply> replies,
                const Caller& caller) noexcept;
  /// False if a value has left its place meanwhile, once for each place.
  bool TryMultiGet(MultiRead& read) noexcept;
  /// Asks for the values of the next `entries` from `first` on.
  void ReadAhead(const MultiRead& read, std::size_t first,
                 std::span<const rocksdb::PinnableSlice> entries,
                 ReadAheadPace& pace) noexcept;
  /// Adds what SegmentLog::ReadAhead is to be given for the value of `entry`.
  static void AddWanted(std::size_t key_size, const Entry& entry,
                        std::vector<WantedRecord>& wanted);
  [[nodiscard]] static std::size_t HotValueSizeFor(
      const Caller& caller) noexcept;
  /// What the hot tier holds of the value; segment 0: the value itself.
  [[nodiscard]] static SegmentPlace PlaceForTier(const Entry& entry) noexcept;
  /// True if `caller` reads the value where it lies; then `reply` is complete.
  bool LeaveInPlace(std::string_view key, const Entry& entry,
                    const Caller& caller, HotFill& fill, Reply& reply) noexcept;
  [[nodiscard]] bool IsKeptGhost(const Entry& entry) const noexcept;
  [[nodiscard]] bool IsServed(const Entry& entry, TimePoint now,
                              const TagCutoffView& tags) const noexcept;
  [[nodiscard]] bool IsCounted(const Entry& entry) const noexcept;
  [[nodiscard]] bool IsDeadForGood(const Entry& entry) const noexcept;
  [[nodiscard]] bool IsLive(const Entry& entry, TimePoint now,
                            const TagCutoffView& tags) const noexcept {
    return IsCounted(entry) && entry.expires_at > now && !tags.Covers(entry);
  }
  /// The value of `entry`; `pin` holds the entry's bytes and is taken over if
  /// the value lies in them. nullopt: its bytes have gone.
  Result<std::optional<ValueHandle>> ReadValue(
      std::string_view key, const Entry& entry,
      std::unique_ptr<EntryPin>& pin) noexcept;
  Result<std::optional<ValueHandle>> ReadRunValue(std::string_view key,
                                                  const Entry& entry) noexcept;
  Result<std::optional<ValueHandle>> ReadSegments(std::string_view key,
                                                  const Entry& entry) noexcept;
  /// Its bytes are damaged, or are not where it says.
  enum class Unreadable : std::uint8_t { kDamaged, kGone };
  [[nodiscard]] static std::string NamePlaces(const Entry& entry);
  /// Counts a damaged item that a caller was told is absent, and logs why.
  void NoteDamage(const Status& what) noexcept;
  /// Drops the item as `read`, unless it changed or moved. If it is kGone it
  /// counts as damage, never as an eviction, unless it was evicted before.
  void DropUnreadable(std::string_view key, const Entry& read,
                      Unreadable why) noexcept;
  void NoteHit(std::string_view key, const Entry& entry) noexcept;

  // store_write.cc
  Status ExecuteFor(const Caller& caller, std::span<const Command> commands,
                    std::span<Reply> replies,
                    const ExecuteOptions& options) noexcept;
  Status TryExecute(const Caller& caller, std::span<const Command> commands,
                    std::span<Reply> replies,
                    const ExecuteOptions& options) noexcept;
  Status Mutate(const Caller& caller, std::span<const Command> commands,
                std::span<Reply> replies,
                const ExecuteOptions& options) noexcept;
  Status ValidateCommand(const Command& command) const noexcept;
  Status CheckValueSize(std::uint64_t size) const noexcept;
  static Status FailMutations(std::span<const Command> commands,
                              std::span<Reply> replies,
                              const Status& status) noexcept;
  void AddIncoming(const Command& command, Incoming& incoming) noexcept;
  /// False if a Set of `key` just now would replace an item, or items are not
  /// limited.
  [[nodiscard]] bool MayAddItem(std::string_view key) noexcept;
  /// Each stores a value in the index in place of one that is as large.
  [[nodiscard]] bool OverwritesWithoutMore(
      std::span<const Command> commands) noexcept;
  /// `left`: gets what is too large to be popped for a client; nullptr: the
  /// caller is none.
  void Apply(const Command& command, std::vector<PlacedValue>* left,
             PendingBatch& pending, Reply& reply) noexcept;
  void ApplySet(const SetCommand& command, const StoredValue* stored,
                PendingBatch& pending, Reply& reply) noexcept;
  void ApplyGet(const GetCommand& command, PendingBatch& pending,
                Reply& reply) noexcept;
  void ApplyIncr(const IncrCommand& command, PendingBatch& pending,
                 Reply& reply) noexcept;
  void ApplyTouch(const TouchCommand& command, PendingBatch& pending,
                  Reply& reply) noexcept;
  void ApplyDelete(const DeleteCommand& command, std::vector<PlacedValue>* left,
                   PendingBatch& pending, Reply& reply) noexcept;
  // What the key has now. REQUIRES: its stripe is held.
  Status Lookup(std::string_view key, const PendingBatch& pending,
                OldItem& old) noexcept;
  Status LookupInIndex(std::string_view key, OldItem& old) noexcept;
  void Understand(std::string_view bytes, OldItem& old) const noexcept;
  Status ReadOldValue(std::string_view key, OldItem& old,
                      Reply& reply) noexcept;
  Status PlaceValue(const SetCommand& command, const StoredValue* stored,
                    const OldItem& old, Entry& entry,
                    PendingBatch& pending) noexcept;
  /// Where to write a new value of at least so many bytes.
  [[nodiscard]] LogStream StreamOfSize(std::uint64_t value_size) const noexcept;
  /// Where to write what is so old, or is expected to get so old; in versions,
  /// of which each Set makes one.
  [[nodiscard]] LogStream StreamOf(std::uint64_t age, LogStream young,
                                   LogStream middle,
                                   LogStream old) const noexcept;
  void CarryRun(const RunTable::Position& position,
                PendingBatch& pending) noexcept;
  /// Appends `bytes`, a part of a value, to the log of large values. The caller
  /// keeps the grants until a commit or a pin holds the segments.
  Status AppendToLog(std::string_view key, CodecId codec, std::uint64_t version,
                     std::uint64_t value_size, std::uint64_t value_offset,
                     std::string_view bytes, Extents& extents,
                     std::vector<SegmentGrant>& grants,
                     LogStream stream) noexcept;
  Status SegmentFailure(const Status& status) noexcept;
  void RemoveExpiryKey(std::string_view key, const Entry& entry,
                       rocksdb::WriteBatch& batch) noexcept;
  void RemoveTagKey(std::string_view key, const Entry& entry,
                    rocksdb::WriteBatch& batch) noexcept;
  Status StampEntry(std::string_view key, const OldItem& old,
                    Entry& entry) noexcept;
  /// `value`: the item's whole value, if it is at hand until the commit.
  void PutEntry(std::string_view key, const OldItem& old, const Entry& entry,
                PendingBatch& pending,
                const std::string_view* value = nullptr) noexcept;
  void RemoveEntry(std::string_view key, const OldItem& old,
                   PendingBatch& pending) noexcept;
  [[nodiscard]] bool IsListenedTo() const noexcept;
  void Tell(std::string_view key, std::uint64_t size_bytes,
            EvictionReason reason) noexcept;
  /// Unless somebody has told of the same item. REQUIRES: the stripe of `key`
  /// is held, and the batch being built replaces `entry`.
  void TellOnce(std::string_view key, const Entry& entry,
                EvictionReason reason) noexcept;
  /// Tells the eviction callback of an entry that a command meets dead.
  void TellIfDead(std::string_view key, const OldItem& old) noexcept;
  /// No compaction tells of `old` until the batch is committed or given up.
  /// False: it has been told of. REQUIRES: its stripe is held.
  bool HoldReplaced(const OldItem& old, PendingBatch& pending) noexcept;
  /// A command writes over what expired or has gone with its tag and was not
  /// settled yet, or deletes it.
  static void CountIfGone(const OldItem& old, PendingBatch& pending) noexcept;
  /// True also if the index cannot be read. Takes no locks.
  [[nodiscard]] bool IsInIndex(std::string_view key,
                               std::uint64_t version) noexcept;
  /// Of an item that counts no more.
  [[nodiscard]] EvictionReason ReasonOf(const Entry& entry) const noexcept;
  void NoteIndexCost(std::size_t key_size, const Entry& entry) noexcept;
  void AddCells(std::string_view key, const Entry& entry, int sign,
                LedgerDelta& delta) const noexcept;
  [[nodiscard]] std::uint64_t CostOf(std::size_t key_size,
                                     const Entry& entry) const noexcept;
  Status Commit(PendingBatch& pending, Durability durability) noexcept;
  [[nodiscard]] TimePoint ExpiryOf(const std::optional<Duration>& ttl,
                                   TimePoint now) const noexcept;

  // store_hot.cc
  /// A batch that is to be built just now. In write_gate_.
  void StartBatch(PendingBatch& pending) const noexcept {
    // Relaxed: the gate orders it.
    pending.keep_hot = hot_.load(std::memory_order_relaxed) != nullptr;
  }
  /// Of a key that the batch is going to change: the hot tier is near when it
  /// is committed. REQUIRES: keep_hot; in write_gate_ since StartBatch.
  void PrefetchHot(std::string_view key) const noexcept;
  static void NoteHotPut(std::string_view key, const Entry& entry,
                         const std::string_view* value,
                         PendingBatch& pending) noexcept;
  /// Must not be called in write_gate_.
  [[nodiscard]] Accesses AccessesHere() noexcept;
  /// Of all times, as far as they are saved.
  [[nodiscard]] std::int64_t AccessTotal() const noexcept;
  /// What the policy learned, if that is much and there is room for it.
  Status SavePolicyState() noexcept;
  /// Tells the policy what was read from the hot tier.
  Status RestampHot() noexcept;

  // store_grant.cc
  Result<StoredValue> AcceptValue(ClientGrant& grant, std::string_view key,
                                  const PlacedValue& value) noexcept;
  /// In the store gate, until the commit. Errors: kGone.
  [[nodiscard]] Status CheckStored(const StoredValue& stored) const noexcept;

  // store_session.cc
  /// Adds the record of the session's commands to their batch.
  /// What the record of a batch will hold of values, about.
  void AddRecorded(std::span<const Command> commands,
                   Incoming& incoming) noexcept;
  /// Errors: kAborted.
  [[nodiscard]] static Status CheckRecordable(
      std::span<const Reply> replies, const Incoming& incoming) noexcept;
  void AddRecord(const Session& session, const Status& status,
                 std::span<const Reply> replies,
                 PendingBatch& pending) noexcept;
  /// False: nothing was done, each is to be executed alone.
  bool TryExecuteGroup(std::span<ClientChange> changes) noexcept;
  /// Commands on the whole cache, after they were executed.
  void SaveRecord(const Session& session,
                  std::span<const Reply> replies) noexcept;

  // store_tag.cc
  /// The keys of some lines of a tag's index, those from `from` on.
  Status ReadTagIndex(std::string_view prefix, std::string_view from,
                      std::vector<std::string>& keys) noexcept;
  Status EvictTag(std::string_view tag, std::uint64_t& count) noexcept;
  /// Hides all that has the tag, from everybody and for good.
  Status CutTag(std::string_view tag,
                std::shared_ptr<TagCutoff>& cutoff) noexcept;
  /// Deletes all that is gone by `cutoff`, in steps.
  Status SettleTag(TagCutoff& cutoff) noexcept;
  /// The same of all cutoffs, until `until`.
  Status SettleTags(std::chrono::steady_clock::time_point until) noexcept;
  /// Between two steps of much that is deleted; no lock is held.
  void LetIndexCatchUp() noexcept;
  /// A part of it that keeps nobody waiting for long.
  Status SettleTagStep(TagCutoff& cutoff) noexcept;
  Status DeleteGone(TagCutoff& cutoff,
                    std::span<const std::string> keys) noexcept;
  Status EndTagCutoff(TagCutoff& cutoff) noexcept;
  Status LoadTagCutoffs() noexcept;
  /// Items that are counted though they have gone with their tag.
  std::uint64_t CountGoneUnsettled(TimePoint now) noexcept;

  // store_whole.cc
  void ExecuteWhole(const Command& command, Reply& reply) noexcept;
  Status Clear(std::uint64_t& count) noexcept;
  Status Cull(std::optional<std::uint64_t> live_bytes_target,
              std::uint64_t& count) noexcept;
  /// Gives back what dead places take, in steps.
  Status FreeAllDead() noexcept;
  [[nodiscard]] std::int64_t EvictionTotal() const noexcept;
  /// Deletes everything that expired up to `now` or has gone with its tag.
  Status SettleAll(TimePoint now) noexcept;
  Status SettleAllExpired(TimePoint now) noexcept;
  /// `count`: what expired since the last time.
  Status Expire(TimePoint now, std::uint64_t& count) noexcept;
  Status LoadExpirationsTold() noexcept;
  /// At most `count_max` items of it; `more` says if some are left.
  Status SettleExpired(TimePoint now, std::uint64_t count_max,
                       std::uint64_t& count, bool& more) noexcept;
  /// Looks `keys` up and then takes their stripes, so that others wait for
  /// these as short as can be. REQUIRES: the caller is in write_gate_.
  Status LookupAndLock(std::span<const std::string_view> keys,
                       StripeLocks& locks, std::span<OldItem> items) noexcept;
  Status DeleteExpired(std::span<const std::string> lines,
                       std::uint64_t& count) noexcept;
  /// The figures of now, whatever is not settled yet.
  EngineStats ReadStats() noexcept;
  std::uint64_t CountExpiredUnsettled(TimePoint now) noexcept;
  /// Deletes those of `keys` whose entry fulfils `condition`; adds those that
  /// counted to `count` and to `total`.
  Status DeleteKeys(std::span<const std::string> keys,
                    std::optional<Total> total, const EntryCondition& condition,
                    std::uint64_t& count) noexcept;
  Status SaveTotals() noexcept;

  // store_space.cc
  /// Makes `incoming` more bytes fit under the limits and claims them; waits
  /// for cleaning if it must. Errors: kNoSpace.
  Status MakeRoom(const Incoming& incoming, RoomClaim& claim) noexcept;
  Status MakeRoomSlowly(const Incoming& incoming, RoomClaim& claim) noexcept;
  /// What a batch needs. Deletions evict nothing, if they need not, and are
  /// refused only if many at once need more than is kept for them; so are
  /// overwrites in the index that take no more than what they replace.
  /// Errors: kNoSpace.
  Status ClaimToChange(std::span<const Command> commands,
                       const Incoming& incoming, RoomClaim& claim) noexcept;
  /// Claims what is written when `keys` are deleted, `tag_bytes` each for tags.
  /// Gets it by compacting the index; evicts nothing, and never refuses: then
  /// so much is used that nothing is left to be compacted.
  void ClaimToDelete(std::span<const std::string> keys, std::size_t tag_bytes,
                     RoomClaim& claim) noexcept;
  void ClaimToFree(const Incoming& incoming, RoomClaim& claim) noexcept;
  /// Evicts nothing. False: there is not so much, and nothing was claimed.
  bool FindRoomToFree(const Incoming& incoming, RoomClaim& claim) noexcept;
  /// Whether there is so much or not.
  void ClaimAnyway(const Incoming& incoming, RoomClaim& claim) noexcept;
  enum class Pressing : std::uint8_t {
    kAlways,
    kIfWorthwhile,  ///< Not soon after one that gained little.
  };
  /// Compacts the index until there is room for what only replaces. False:
  /// there is no more to be got.
  bool ClaimByPressing(const Incoming& incoming, RoomClaim& claim,
                       Pressing pressing) noexcept;
  void MeasureSubdirectories() noexcept;
  /// Ends the oldest scans while they hold more than is allowed.
  void EndScansThatHoldTooMuch(std::uint64_t bytes_to_come) noexcept;
  /// Besides what is used and claimed.
  [[nodiscard]] RoomLeft MeasureRoom() const noexcept;
  /// What is left then. None: there is not so much, and nothing was claimed.
  std::optional<RoomLeft> TryClaim(const Incoming& incoming,
                                   RoomClaim& claim) noexcept;
  /// Lets the background thread make some room for what comes next.
  void AskForRoom(const RoomLeft& left) noexcept;
  [[nodiscard]] Incoming RoomAhead() const noexcept;
  /// False: there is no more to make.
  bool MakeRoomAhead() noexcept;

  // store_shrink.cc
  /// Between two steps that each take space_mutex_.
  void LetWaitersIn() noexcept;
  /// Before the limit is lowered: writers have room until ShrinkToLimit.
  void BeginShrinking() noexcept;
  /// Takes the directory under its limit in steps.
  Status ShrinkToLimit() noexcept;
  Status ShrinkInSteps(std::chrono::steady_clock::time_point until) noexcept;
  void AwaitCompactions() noexcept;

  // store_space.cc
  static constexpr int kNoIndexSteps = -1;
  /// How much may yet be done for room.
  struct RoomEffort {
    int index_steps = 0;  ///< Compactions of the index; negative: none ever.
    int squeezes = 0;
    bool may_clean = false;
  };
  Status Reclaim(const Incoming& incoming, RoomEffort& effort,
                 bool& progress) noexcept;
  /// Only what is dead already can give room.
  [[nodiscard]] bool NothingToEvict() const noexcept;
  [[nodiscard]] SearchGate::State SearchState() const noexcept;
  /// What of the log and the database is not live.
  [[nodiscard]] std::uint64_t DeadBytes() const noexcept;
  void NoteSearch(std::chrono::steady_clock::time_point begin,
                  std::int64_t gained) noexcept;
  /// What the process before noted, once.
  void RestoreSearch() noexcept;
  /// Flushes and compacts whatever may hold dead bytes.
  Status Squeeze(bool& progress) noexcept;
  [[nodiscard]] Status FullStatus() const noexcept;
  /// For `incoming`, besides what is claimed.
  [[nodiscard]] bool HasRoom(const Incoming& incoming) const noexcept;
  /// The most that the log grows by a value, of a batch of which so many are
  /// written before it.
  [[nodiscard]] std::uint64_t LogBytesFor(
      std::uint64_t key_size, std::uint64_t value_size,
      std::uint64_t values_before = 0) const noexcept;
  /// What cleaning may use before it gives something back.
  [[nodiscard]] std::uint64_t RoomToMove() const noexcept;
  /// Of the bytes of the log, in shares of them.
  struct LogShares {
    double dead = 0;
    double dead_max = 1;  ///< Above this, cleaning pays more than evicting.
  };
  [[nodiscard]] LogShares MeasureLog() const noexcept;
  [[nodiscard]] std::uint64_t CleaningReserveFor(
      const LogShares& shares) const noexcept;
  /// The most that cleaning a place of `live` living bytes takes before it
  /// gives.
  [[nodiscard]] std::uint64_t BytesToMove(PlaceId place,
                                          std::uint64_t live) const noexcept;
  /// Left free by what adds something, for deletions and touches.
  [[nodiscard]] std::uint64_t ReplacingReserve() const noexcept;
  /// What is used, and what must be left free of what is not. May be more than
  /// the limit.
  [[nodiscard]] std::uint64_t BytesTaken() const noexcept;
  /// Most bytes that a compaction of the index takes before it gives some.
  [[nodiscard]] std::uint64_t CompactionToCome() const noexcept;
  /// False if one would pass the limit for a moment.
  [[nodiscard]] bool CompactionKeepsLimit() const noexcept;
  /// The same of a flush of all that is buffered.
  [[nodiscard]] bool FlushKeepsLimit() const noexcept;
  [[nodiscard]] bool HasItemRoom(std::uint64_t incoming_items) const noexcept;
  [[nodiscard]] std::uint64_t UsedBytes() const noexcept;
  [[nodiscard]] std::uint64_t OverheadBytes() const noexcept;
  /// Allocates the reserve if it is not there.
  /// Errors: kNotAFile, kNoSpace, kIoError.
  Status RestoreReserve() noexcept;
  [[nodiscard]] std::uint64_t ReserveWanted() const noexcept;
  /// After the disk was full: whether there is room for more than the reserve.
  [[nodiscard]] bool DiskHasRoom() noexcept;
  /// While the limit is being lowered, the old one, if what writers add can be
  /// evicted again.
  [[nodiscard]] std::uint64_t EffectiveLimit() const noexcept;
  /// The same, for what cleaning moves: it gives more than it takes.
  [[nodiscard]] std::uint64_t MovingLimit() const noexcept;
  [[nodiscard]] std::uint64_t ItemBytesMax() const noexcept;
  void UpdateFreeSpace() noexcept;
  void UpdateBudget() noexcept;
  /// Room is needed, which when_full may forbid to get like this; or it was
  /// asked for.
  enum class EvictionCause : std::uint8_t { kRoom, kCull };
  [[nodiscard]] bool MayEvict(EvictionCause cause) const noexcept;
  /// The only place where an item is evicted: never with when_full=fail or
  /// the policy none, at Open and at a takeover neither, and never a pinned
  /// one.
  Status EvictRow(EvictionCause cause, bool& evicted) noexcept;
  Status SaveCutoffs() noexcept;
  /// Gives back what is kept for new segments, if what is not for them needs
  /// it. False: there was none, or no need.
  bool ShrinkReusable(const Incoming& incoming) noexcept;
  /// To be called between a Reserve and the write: room that was found in files
  /// that are kept may have been taken from elsewhere.
  void KeepWithinLimit(std::uint64_t log_bytes_before) noexcept;
  /// Places that are not written to and in which nothing committed lives.
  [[nodiscard]] std::vector<PlaceId> DeadPlaces() const noexcept;
  /// Under ledger_mutex_.
  [[nodiscard]] bool IsDead(PlaceId place) const noexcept;
  /// Frees them; how many.
  Status FreeDeadPlaces(std::size_t& freed) noexcept;
  /// Frees those that are dead. REQUIRES: none is written to.
  Status FreeIfDead(std::vector<PlaceId> places, std::size_t& freed) noexcept;
  /// From then on no evicted item comes back to life in them, until the caller
  /// takes them out of closing_. Must not be called in write_gate_.
  void MarkClosing(std::span<const PlaceId> places) noexcept;
  Status FreePlaces(std::span<const PlaceId> dead, std::size_t& freed) noexcept;
  /// Tells the eviction callback of the items that die with a place, and drops
  /// their entries, so that each is told once.
  Status TellOfPlace(PlaceId place) noexcept;
  Status TellOfRecords(std::span<const FreedRecord> records) noexcept;
  /// Tells of a dead line of the index unless it was told of or replaced. True:
  /// a compaction may drop it.
  bool TellOfLine(std::string_view key, std::string_view line,
                  const Entry& entry) noexcept;
  Status FreeRuns(std::span<const std::uint32_t> dead) noexcept;
  Status DropPositions(std::uint64_t first, std::uint64_t end) noexcept;
  Status CleanOne(bool& cleaned) noexcept;
  Status CleanRun(const RunTable::Run& run) noexcept;
  void SetCleaningView(std::shared_ptr<rocksdb::ManagedSnapshot> view) noexcept;
  /// Bytes that the live items need in `access`, about.
  [[nodiscard]] std::uint64_t IndexLiveBytes() const noexcept;
  /// What the index may take before it is compacted by us.
  [[nodiscard]] std::uint64_t IndexBytesWanted() const noexcept;
  /// It holds so much that is dead that evicting more is not what gives room.
  [[nodiscard]] bool IndexHasRoomToGive() const noexcept;
  /// The same of what is of no use to the policy either.
  [[nodiscard]] bool IndexIsMostlyDead() const noexcept;
  /// Rewrites tables of the index while it is mostly dead.
  void TendIndex() noexcept;
  /// Rewrites the next table of the index without its dead lines.
  /// True if eviction gives room enough without the index getting smaller, and
  /// that is not much too large.
  [[nodiscard]] bool LeavesIndexToBackground() const noexcept;
  /// What a writer then waits, so that the background keeps up.
  [[nodiscard]] std::chrono::microseconds IndexDelay() const noexcept;
  /// A step in which nothing is kept for the policy; true if it gave room.
  bool PressIndex() noexcept;
  void CompactIndexStep() noexcept;
  /// The same, where most deletions are, if there are any.
  void PressDeleted() noexcept;
  /// A step from `cursor` on, which moves on; false: it was the last, or has no
  /// room.
  bool CompactIndexBeyond(std::string& cursor) noexcept;
  /// Compacts all of it.
  Status PackIndex() noexcept;
  void CompactIndex(const rocksdb::Slice* begin,
                    const rocksdb::Slice* end) noexcept;
  /// Buffers that suit the size of the index.
  void FitBuffers() noexcept;
  /// One round of what the background thread does.
  void Housekeep() noexcept;
  /// The same, and what is done less often. Of the housekeeper's thread, as is
  /// the next: nobody has used the cache since its last call.
  void HousekeepRound(bool is_idle) noexcept;
  [[nodiscard]] bool IsIdle() noexcept;
  Status RestampTouched() noexcept;
  Status RestampAll(std::span<TouchBuffer::Touch> touches) noexcept;
  Status Restamp(std::span<TouchBuffer::Touch> touches) noexcept;
  /// True if an evicted item's bytes are there and stay. Under ledger_mutex_.
  [[nodiscard]] bool CanRescue(const Entry& entry) const noexcept;

  // store_cleaning.cc
  Status CleanSegment(std::uint32_t id) noexcept;
  /// Adds to `damaged_bytes` what lives and cannot be moved.
  /// REQUIRES: all of one segment.
  Status MoveRecords(std::span<MovedRecord> records,
                     std::uint64_t& damaged_bytes) noexcept;
  /// REQUIRES of both: the caller is in write_gate_.
  Status FindLiving(std::span<MovedRecord> records,
                    std::span<rocksdb::PinnableSlice> slices) noexcept;
  Status AppendLiving(std::span<MovedRecord> records,
                      std::vector<SegmentGrant>& grants) noexcept;
  Status DropLostItems(PlaceId place) noexcept;

  // store_durability.cc
  /// What the last process left behind. Before the log is opened.
  Status LoadMarkers() noexcept;
  /// After a process died that wrote without a log: entries, lines and ledger
  /// agree again. REQUIRES: nobody else is in the store.
  Status RecoverUnlogged() noexcept;
  /// Whether all of it can be read.
  Status ReadIndex() noexcept;
  /// Those whose values were not logged and are lost.
  Status DropBrokenEntries() noexcept;
  [[nodiscard]] bool HasBytes(const Entry& entry) noexcept;
  /// To be called before a batch is written without a log.
  Status BeginUnlogged(const LedgerDelta& delta) noexcept;
  Status MarkUnlogged() noexcept;
  /// Then what killed the items of `places` is as safe as they were, so that
  /// these may be freed. Must not be called in write_gate_.
  Status SettleKills(std::span<const PlaceId> places) noexcept;
  /// All that the WAL has is on the device then.
  Status SyncLog() noexcept;
  /// Not OK once a sync of the WAL has failed: it is not to be relied upon, nor
  /// written to.
  Status CheckLogSynced() noexcept;
  /// Of a commit whose sync failed.
  Status UnknownOutcome() noexcept;
  /// Moves what lives in segments whose sync failed to others. Must not be
  /// called in write_gate_.
  Status LeaveDoubtfulSegments() noexcept;
  /// To be called before something is promised to survive a power cut.
  Status MarkPower() noexcept;
  /// True if items in `place` may be to survive a power cut.
  [[nodiscard]] bool IsPowerPlace(PlaceId place) const noexcept;
  /// They are, in what `delta` adds to. Under ledger_mutex_.
  void NotePower(const LedgerDelta& delta) noexcept;
  void NoteAllPower() noexcept;

  // store_check.cc
  Result<CheckReport> CheckOnce(bool repair) noexcept;
  Status RepairLedger() noexcept;
  Status RestoreIndexLines() noexcept;

  // LivenessJudge
  void BeginJudging() noexcept override;
  [[nodiscard]] bool IsRecordDead(std::uint64_t position,
                                  std::string_view record) noexcept override;
  [[nodiscard]] bool IsIndexPairDead(std::string_view key,
                                     std::string_view value) noexcept override;

  // Locks of keys: a stripe serializes the read-modify-write of its keys.
  static constexpr std::size_t kStripeCount = 1024;
  struct alignas(kCacheLineBytes) KeyStripe {
    std::mutex mutex;
    // Times it was held; grows before it is let go. Written under the mutex.
    std::atomic<std::uint32_t> changes{0};
    // Of its keys, so that what is written again and again is not looked up
    // each time. Whoever changes an entry holds its stripe. Under the mutex.
    RecentEntries recent;
  };
  [[nodiscard]] static std::uint64_t HashOf(std::string_view key) noexcept {
    return std::hash<std::string_view>()(key);
  }
  [[nodiscard]] static std::size_t StripeOf(std::string_view key) noexcept {
    return HashOf(key) % kStripeCount;
  }
  /// True if it is known, without the index, what that has of `key`: as Lookup.
  /// REQUIRES: its stripe is held.
  bool LookupRecent(std::string_view key, OldItem& old) const noexcept;
  /// Prepares to keep what the commit of `pending` will make of `key`; `bytes`
  /// = nullptr: nothing. REQUIRES: its stripe is held until after the commit.
  void NoteRecent(std::string_view key, bool was_present,
                  const std::string* bytes, PendingBatch& pending) noexcept;
  /// It is committed.
  void KeepRecent(const PendingBatch& pending) noexcept;
  /// What is in the index may be something else now.
  void ForgetRecent() noexcept;
  /// With as much memory as the database leaves. REQUIRES: it is open.
  void StartRecent() noexcept;

  const EngineOptions options_;
  bool background_;  // Housekeeping has a thread. Set by Start.
  const Clock& clock_;
  const bool read_only_;
  const std::filesystem::path path_;
  std::unique_ptr<CacheDirectory> directory_;
  // As long as this: readers may hold values that are pinned in it while the
  // database is reopened.
  std::shared_ptr<rocksdb::Cache> block_cache_;
  std::unique_ptr<Rocks> rocks_;
  std::unique_ptr<SegmentLog> log_;
  RunTable runs_;
  std::unique_ptr<HighWater> high_water_;  // Unless read-only.
  std::uint32_t segment_floor_ = 1;        // Of the ids of the next log.

  StripedGate store_gate_;  // Exclusive: reopen and close.
  // Exclusive: clear, evict by tag, check. Waited for: freeing of runs.
  StripedGate write_gate_;
  std::array<KeyStripe, kStripeCount> stripes_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> gone_{false};  // The directory is not the one opened.
  bool recover_unlogged_ = false;  // Used while opening only.
  // The settings given to Open are not in force yet. They are once: a
  // reopening must not undo a Reset.
  bool options_pending_ = true;

  std::mutex reset_mutex_;  // One Reset at a time; right after the gate.
  LiveSettings settings_;
  std::string told_policies_;  // Of RunPolicy: set and running, as logged.
  std::atomic<std::uint64_t> effective_limit_{0};
  // While the directory is taken under a lower limit: in force if larger.
  std::atomic<std::uint64_t> shrinking_limit_{0};
  std::mutex shrink_mutex_;  // One at a time; right after the gate.
  std::atomic<bool> evicts_for_room_{true};  // By when_full and policy_.

  mutable std::mutex ledger_mutex_;
  Ledger ledger_;                          // Guarded by ledger_mutex_, as is
  std::unique_ptr<Policy> policy_;         // the policy,
  std::string policy_name_;                // which need not be the one set.
  std::atomic<bool> ledger_wrong_{false};  // It is to be counted anew.
  // Mirrors of the ledger, for readers. Written under ledger_mutex_.
  std::atomic<std::uint32_t> epoch_{0};
  std::array<std::atomic<Rank>, kRankClassCount> cutoffs_{};
  std::atomic<std::uint64_t> live_bytes_{0};
  std::atomic<std::uint64_t> pinned_bytes_{0};
  std::atomic<std::uint64_t> killed_bytes_{0};  // Since it was opened.
  std::atomic<std::uint64_t> live_items_{0};
  // Cutoffs raised and cutoffs on disk (invariant 3).
  std::atomic<std::uint64_t> cutoffs_raised_{0};
  std::atomic<std::uint64_t> cutoffs_saved_{0};
  // What compactions may drop by: what a power cut does not take back.
  struct Verdicts {
    std::array<std::atomic<Rank>, kRankClassCount> logged{};
    std::array<std::atomic<Rank>, kRankClassCount> synced{};
    std::atomic<std::uint32_t> epoch_synced{0};
  };
  Verdicts verdicts_;
  std::atomic<std::int64_t> evictions_unsaved_{0};
  std::atomic<bool> policy_tracks_hits_{false};
  std::atomic<std::uint32_t> run_saved_{0};

  std::mutex space_mutex_;  // One thread at a time makes room.
  std::atomic<int> room_waiters_{0};
  // Whoever makes room has waited for long: nobody else takes what it makes.
  std::atomic<bool> room_is_kept_{false};
  std::mutex index_mutex_;    // One step at a time; after space_mutex_.
  std::string index_cursor_;  // Guarded by index_mutex_.
  // The policy knows evicted items again by their entries, so these are kept
  // while there is room.
  std::atomic<bool> keeps_ghosts_{false};
  std::atomic<int> index_pressing_{0};
  // Most of what lives, so that only a smaller index gives room.
  std::atomic<bool> items_lie_in_index_{true};
  // Steps since one made the index smaller, and how large it was then.
  std::atomic<std::uint64_t> index_vain_steps_{0};
  std::atomic<std::uint64_t> index_vain_bytes_{0};
  std::atomic<std::uint64_t> index_fitted_{0};  // What the buffers suit.
  // What an item costs in `access`, as a moving average.
  std::atomic<std::uint64_t> index_item_bytes_{128};
  // Places being emptied: an evicted item in one is not rescued. Guarded by
  // ledger_mutex_.
  std::set<PlaceId> closing_;
  // Shared: by who may bring evicted items back to life, until the commit.
  std::shared_mutex rescue_mutex_;
  // Segments that an open stream has written to. Guarded by ledger_mutex_.
  std::multiset<PlaceId> stream_pins_;
  // The positions that the compaction filter may drop.
  std::atomic<std::uint64_t> cleaning_first_{0};
  std::atomic<std::uint64_t> cleaning_end_{0};
  // By what it judges them: what kills them later may not be safe yet.
  std::mutex cleaning_mutex_;  // A leaf of the lock order.
  std::shared_ptr<rocksdb::ManagedSnapshot> cleaning_view_;  // By it.
  // Places with items that unlogged writes killed, and the round in which they
  // did; one is over when all buffers are flushed. Guarded by ledger_mutex_.
  std::unordered_map<PlaceId, std::uint64_t> unlogged_kills_;
  std::uint64_t unlogged_round_ = 0;  // Guarded by it, too, as are
  // places with items that are to survive a power cut.
  std::unordered_set<PlaceId> power_places_;
  std::atomic<bool> power_marked_{false};
  bool log_doubtful_ = false;  // A sync of the WAL failed. Under the gate.
  // Segments of which one failed, when the log was dropped. Under the gate.
  std::vector<std::uint32_t> doubtful_segments_;
  // Room that only cleaning may use, while there is something to clean.
  std::atomic<std::uint64_t> cleaning_reserve_{0};
  // Of `db` and `log`, with the block that each may grow by.
  std::atomic<std::uint64_t> subdirectory_bytes_{4 * 4096};
  ClaimedRoom claimed_;
  SearchGate search_gate_;
  std::atomic<bool> search_restored_{false};
  // At how many it was last looked for what has died whole.
  std::atomic<std::uint64_t> looked_changes_{0};
  std::atomic<std::uint64_t> unpinnings_{0};  // By streams and scans.
  std::mutex freeing_mutex_;        // One at a time makes room by pressing.
  std::uint64_t vain_written_ = 0;  // By it: so much there was when it failed.
  std::chrono::steady_clock::time_point press_not_before_{};  // By it, too.
  std::mutex claim_mutex_;  // A leaf: from a look at the room to the claim.

  // The earliest expiry there may be; nothing has expired before it.
  std::atomic<Duration::rep> next_expiry_{0};
  std::atomic<std::uint32_t> settle_round_{0};  // Changed under settle_mutex_.
  std::mutex settle_mutex_;
  TagCutoffs tag_cutoffs_;
  std::mutex settle_tags_mutex_;        // One step at a time; no gate is held.
  std::mutex expire_mutex_;             // Before the ledger's.
  std::uint64_t expirations_told_ = 0;  // Guarded by it.
  std::int64_t accesses_at_open_ = 0;   // AccessTotal then.

  KeyFilterTender key_filter_{write_gate_};

  const rocksdb::ReadOptions read_options_;  // Costs much to make.

  AccessCounts accesses_;  // ChangeTier with all writers out.
  std::atomic<std::int64_t> corruptions_unsaved_{0};
  StripedCounter restamps_;
  StripedCounter user_bytes_;
  std::atomic<std::uint64_t> segments_cleaned_{0};
  std::atomic<std::uint64_t> bytes_moved_{0};
  std::atomic<bool> unlogged_marked_{false};

  // Changed with all writers out; nullptr: there is none.
  std::atomic<HotWriter*> hot_{nullptr};
  HotDoor hot_door_;
  // Somebody in another process uses the cache: what is written is of use to
  // them before this process reads it.
  std::atomic<bool> has_clients_{false};
  // Where clients read the generation of log_; 0: no space is granted.
  std::mutex generation_mutex_;  // A leaf of the lock order.
  std::atomic<std::uint64_t>* published_generation_ =
      nullptr;  // Guarded by it.
  ClientGrants grants_;

  SessionRecords sessions_;

  std::function<void(EngineStats&)> more_figures_;  // May be empty.
  std::shared_ptr<UserCallbacks> callbacks_;        // The same.
  TouchBuffer touches_;
  // Of this process; nullptr: it does not listen.
  // Shared: see KeepTelling.
  std::shared_ptr<EvictionNotifier> notifier_;
  EvictionBoard board_;  // Of other processes.
  ToldItems told_;       // Empty while nobody listens.

  WriteFaults faults_;

  OpenScans scans_;

  std::uint64_t activity_seen_ = 0;  // Of the housekeeper's thread, as is
  int rounds_unsaved_ = 0;           // this.
  Housekeeper housekeeper_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_STORE_STORE_H_
