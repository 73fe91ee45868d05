#include "repair/salvage.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <rocksdb/env.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/table_properties.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/coding.h"
#include "base/open_file.h"
#include "base/unique_fd.h"
#include "directory/directory_create.h"
#include "index/counting_file_system.h"
#include "index/manifest_check.h"
#include "index/pending_batch.h"
#include "index/store_keys.h"
#include "index/wal_check.h"
#include "index/wal_reader.h"
#include "os/segment_io.h"
#include "repair/key_cover.h"
#include "repair/readable_pairs.h"
#include "repair/table_blocks.h"
#include "segments/segment_format.h"
#include "segments/segment_scan.h"

namespace larder {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kBatchCountMax = 1000;
/// Where what has lost its rank goes: an average item that was seen once.
constexpr Rank kLostRank =
    Rank{kClassMain} << 62 | Rank{256} << 20;  // Level 256 is value 1.
constexpr std::uint64_t kLostRankRows = 1024;
/// Families are made in the same order in every database.
constexpr std::uint32_t kAccessId = 2;
constexpr std::uint32_t kCountersId = 3;
/// A key that is none of larder's, in each family of a database that is only
/// there to tell RocksDB's repair which families there are.
constexpr std::string_view kSkeletonKey = "\xffskeleton";

/// The newest value of a key whose entry is lost.
struct LostItem {
  std::uint64_t version = 0;
  CodecId codec = 0;
  std::uint64_t value_size = 0;
  std::optional<std::uint32_t> run;
  std::map<std::uint64_t, SegmentPlace> pieces;  // By offset in the value.
  TimePoint stored_at{};
  TimePoint expires_at = kNeverExpires;
  std::string tag;
  bool two_tags = false;

  [[nodiscard]] bool IsWhole() const {
    if (run) return true;
    std::uint64_t end = 0;
    for (const auto& [offset, place] : pieces) {
      if (offset != end) return false;
      end += place.payload_size;
    }
    return end == value_size && !pieces.empty();
  }
  [[nodiscard]] PlaceId place() const {
    return run ? PlaceOfRun(*run)
               : PlaceOfSegment(pieces.begin()->second.segment);
  }
};

Status FromError(const std::error_code& error, const fs::path& path) {
  return error ? Status::FromErrno(error.value(), path.string()) : Status::Ok();
}

Status MakeEmpty(const fs::path& directory) {
  std::error_code error = RemoveTree(directory);
  if (!error) fs::create_directory(directory, error);
  if (!error) fs::permissions(directory, fs::perms::owner_all, error);
  return FromError(error, directory);
}

std::vector<fs::path> FilesIn(const fs::path& directory,
                              const std::string& extension) {
  std::vector<fs::path> files;
  const auto add = [&](const char* name) {
    if (fs::path(name).extension() == extension) {
      files.push_back(directory / name);
    }
    return true;
  };
  // What cannot be listed has nothing that can be read.
  static_cast<void>(ListDirectory(AT_FDCWD, directory.c_str(), add));
  std::sort(files.begin(), files.end());
  return files;
}

/// A table to be read block by block.
struct Table {
  std::filesystem::path path;
  std::string family = {};  // Empty: nobody says it.
  std::string first_key = {};
  std::optional<std::string> last_key = {};
  std::uint64_t sequence_max = UINT64_MAX;
  std::optional<std::uint64_t> size = {};
};

std::uint64_t LogNumber(const fs::path& log) {
  return std::strtoull(log.stem().c_str(), nullptr, 10);
}

// Of the whole table, as the key of an entry may look like a position. Records
// of values have a checksum that covers the position; names are text.
Result<std::string> GuessFamily(const fs::path& table) {
  std::string family;
  const auto visit = [&family](const TablePair& pair) {
    const auto& [key, value, sequence, kind, is_newest] = pair;
    if (!family.empty()) return Status::Ok();
    if (key.empty() || key[0] > kExpirySpace) {
      family = "counters";
    } else if (key.size() != sizeof(std::uint64_t)) {
      family = "access";
    } else if (kind == TablePair::Kind::kPut &&
               DecodeValueRecord(value, LoadBigEndian64(key.data()))) {
      family = "values";
    }
    return Status::Ok();
  };
  const auto scanned = ScanTableBlocks(FilePlace(table), {}, visit);
  if (!scanned) return Fail(scanned.error());
  // Without one record that is right it has entries, or nothing.
  return family.empty() ? "access" : family;
}

PlaceId PlaceOf(const Entry& entry) {
  if (entry.kind == EntryKind::kInline) return kPlaceInline;
  return entry.kind == EntryKind::kRun
             ? PlaceOfRun(entry.run)
             : PlaceOfSegment(entry.extents.front().segment);
}

class Salvager {
 public:
  explicit Salvager(const SalvageOptions& options) : options_(options) {}

  Result<SalvageReport> Run() {
    Status status = RunSteps();
    source_.reset();
    target_.reset();
    // If that fails the next salvage or Open does it.
    static_cast<void>(RemoveTree(options_.scratch));
    if (status.ok()) return report_;
    static_cast<void>(RemoveTree(options_.target));
    return Fail(std::move(status));
  }

 private:
  using Family = rocksdb::ColumnFamilyHandle* (Rocks::*)();

  Status RunSteps();
  Status OpenTarget();
  void OpenSource();
  void NoteTablesPutAside();
  void AddIndexGap(KeyGap gap);
  [[nodiscard]] bool LogsAreWhole();
  Status MakeReadableCopy();
  Status MakeRepairedCopy();
  [[nodiscard]] std::unique_ptr<Rocks> OpenReadOnly(
      const fs::path& path, const ManifestMark& manifest);
  [[nodiscard]] static bool IsBlind(Rocks& rocks);
  Status WalkSource(Family family, const ReadablePairs::Visit& visit,
                    std::vector<KeyGap>& gaps);
  Status TakeCounter(std::string_view key, std::string_view value);
  Status TakeIndexPair(std::string_view key, std::string_view value);
  Status TakeRecord(std::string_view key, std::string_view value);
  void NoteEntry(std::string_view key, const Entry& entry);
  using TakePair = Status (Salvager::*)(std::string_view family,
                                        const TablePair& pair);
  void NoteLiveTables();
  [[nodiscard]] std::vector<Table> TablesOfSource() const;
  Status ReadTables();
  Status FindFamily(Table& table);
  Result<std::vector<KeyGap>> ReadTable(const Table& table, TakePair take);
  Status ReadLogs(TakePair take);
  void NoteLedger(std::string_view operand);
  void NoteTagEviction(const TablePair& pair);
  Status WriteTagEvictions();
  Status NoteNewest(std::string_view family, const TablePair& pair);
  [[nodiscard]] bool IsNewest(const TablePair& pair, const Entry& entry) const;
  [[nodiscard]] bool IsCandidate(std::string_view family, const TablePair& pair,
                                 Entry& entry) const;
  Status CountCandidate(std::string_view family, const TablePair& pair);
  Status TakeTablePair(std::string_view family, const TablePair& pair);
  Status TakeEntry(const TablePair& pair);
  [[nodiscard]] bool IsGone(std::string_view key, const LostItem& item) const;
  Status FindLostItems();
  Status ScanSegmentFile(const fs::path& path, std::uint32_t id);
  LostItem* NoteLost(std::string_view key, std::uint64_t version);
  Status ReadLines();
  Status RestoreLostItems();
  Status Restore(const std::string& key, const LostItem& item, Rank rank);
  Status WriteRuns();
  Status WriteLedger();

  Status Put(Family family, std::string_view key, std::string_view value);
  Status WriteBatch();
  [[nodiscard]] bool TargetHas(Family family, std::string_view key);
  [[nodiscard]] bool InGap(std::string_view key) const {
    return index_gaps_.HeightAt(key) != 0;
  }
  [[nodiscard]] bool IsCounted(std::uint32_t epoch, Rank rank) const {
    return epoch == ledger_.epoch_max &&
           rank >= ledger_.cutoffs[RankClass(rank)];
  }
  [[nodiscard]] bool IsCounted(const Entry& entry) const {
    return IsCounted(entry.epoch, entry.rank);
  }
  /// After the index was read.
  void CountMissing();

  const SalvageOptions& options_;
  const std::shared_ptr<CountingFileSystem> files_ = NewFileSystem();
  const std::unique_ptr<rocksdb::Env> files_env_ =
      rocksdb::NewCompositeEnv(files_);
  SalvageReport report_;
  std::unique_ptr<Rocks> source_;
  std::unique_ptr<Rocks> target_;
  bool repaired_ = false;  // The source is what RocksDB has made of a copy.
  fs::path logs_ = options_.source;  // Where the source has its logs.
  rocksdb::WriteBatch batch_;
  // Tables to be read one by one, as the database cannot.
  std::vector<Table> tables_;
  // What the MANIFEST says of the source; nullopt: it is lost, so there may be
  // tables and logs whose changes are out of date.
  std::optional<std::vector<Table>> live_tables_;
  FlushedLogs flushed_logs_;
  KeyCover index_gaps_;
  bool lines_lost_ = false;
  // That of before, as far as it is known; without cells in the end.
  LedgerDelta ledger_;
  // It, less what the readable entries count for.
  LedgerSum rest_;
  // Of that, the items in each place, by rank.
  std::map<PlaceId, std::map<Rank, std::int64_t>> missing_;
  std::map<std::uint32_t, std::uint64_t> runs_;  // First positions.
  // Of what was read apart from the source: TagCutoffKey and TagSparedKey.
  std::map<std::string, std::string> tag_lines_;
  bool runs_lost_ = true;  // Some of them, perhaps.
  std::unordered_map<std::string, LostItem> lost_;
  // What can be read of an entry in a gap. Versions never come again, so of
  // puts the one with the larger version is newer; of several of one version
  // (another expiry, another place) sequence numbers tell.
  struct Changes {
    std::uint64_t version = 0;       // The largest of a put.
    std::uint64_t sequence = 0;      // The largest of one of that version.
    std::uint64_t sequence_max = 0;  // Of all puts.
    std::uint64_t deletion = 0;      // The largest of a deletion.
    std::uint64_t hash = 0;          // Of the value of that put.
    std::uint64_t unknown_hash = 0;  // Of one of that version without sequence.
    Rank rank = 0;
    std::uint32_t epoch = 0;
    bool has_put = false;
    bool has_deletion = false;
    bool has_unknown = false;

    [[nodiscard]] bool EndsDeleted() const {
      return has_deletion && (!has_put || deletion >= sequence);
    }
  };
  // By a hash: keys may be much larger than what they take in a table. Where
  // two keys have the same, what is older than either does not come back.
  struct KeyHash {
    XXH128_hash_t hash;
    explicit KeyHash(std::string_view key)
        : hash(XXH3_128bits(key.data(), key.size())) {}
    bool operator==(const KeyHash& other) const {
      return XXH128_isEqual(hash, other.hash) != 0;
    }
    struct Low {
      std::size_t operator()(const KeyHash& key) const {
        return key.hash.low64;
      }
    };
  };
  std::unordered_map<KeyHash, Changes, KeyHash::Low> changes_;
  // Keys of the index that a table may have had, and how new: up to which
  // sequence number.
  KeyCover dark_;
  // In each place, by rank, the entries that could come back.
  std::map<PlaceId, std::map<Rank, std::int64_t>> candidates_;
};

Status Salvager::RunSteps() {
  LARDER_RETURN_IF_ERROR(OpenTarget());
  OpenSource();
  std::vector<KeyGap> gaps;
  report_.ledger_lost = true;
  if (source_ != nullptr) {
    LARDER_RETURN_IF_ERROR(WalkSource(
        &Rocks::counters,
        [this](auto key, auto value) { return TakeCounter(key, value); },
        gaps));
    runs_lost_ = !gaps.empty() || report_.ledger_lost;
    rest_.Apply(ledger_);
    NoteTablesPutAside();
    std::vector<KeyGap> unread;
    LARDER_RETURN_IF_ERROR(WalkSource(
        &Rocks::access,
        [this](auto key, auto value) { return TakeIndexPair(key, value); },
        unread));
    for (KeyGap& gap : unread) AddIndexGap(std::move(gap));
    CountMissing();
    // In a repaired one a table may be put aside that is none of the index.
    if (!gaps.empty() || !index_gaps_.empty() || repaired_) {
      tables_ = TablesOfSource();
    }
  } else {
    AddIndexGap({{}, {}, true});
    tables_ = TablesOfSource();
    report_.index_lost = true;
  }
  LARDER_RETURN_IF_ERROR(WriteBatch());
  LARDER_RETURN_IF_ERROR(ReadTables());
  LARDER_RETURN_IF_ERROR(WriteRuns());
  if (source_ != nullptr) {
    gaps.clear();
    LARDER_RETURN_IF_ERROR(WalkSource(
        &Rocks::values,
        [this](auto key, auto value) { return TakeRecord(key, value); }, gaps));
    if (!gaps.empty() && tables_.empty()) {
      tables_ = TablesOfSource();
      LARDER_RETURN_IF_ERROR(ReadTables());
    }
  }
  if (!index_gaps_.empty()) LARDER_RETURN_IF_ERROR(FindLostItems());
  LARDER_RETURN_IF_ERROR(WriteTagEvictions());
  LARDER_RETURN_IF_ERROR(WriteLedger());
  return target_->Close();
}

Status Salvager::OpenTarget() {
  LARDER_RETURN_IF_ERROR(MakeEmpty(options_.target));
  Rocks::Options rocks;
  rocks.path = options_.target;
  rocks.sizes = options_.sizes;
  rocks.create = true;
  rocks.log = options_.log_line;
  Result<std::unique_ptr<Rocks>> opened = Rocks::Open(rocks);
  if (!opened) return opened.error();
  target_ = std::move(*opened);
  target_->Keep();
  return Status::Ok();
}

std::unique_ptr<Rocks> Salvager::OpenReadOnly(const fs::path& path,
                                              const ManifestMark& manifest) {
  Rocks::Options rocks;
  rocks.path = path;
  rocks.manifest = manifest;
  rocks.sizes = options_.sizes;
  rocks.read_only = true;
  rocks.lenient = true;
  rocks.log = options_.log_line;
  Result<std::unique_ptr<Rocks>> opened = Rocks::Open(rocks);
  return opened ? std::move(*opened) : nullptr;
}

// A table of level 0 that cannot be opened takes part in every walk.
bool Salvager::IsBlind(Rocks& rocks) {
  for (const Family family :
       {&Rocks::values, &Rocks::access, &Rocks::counters}) {
    const std::unique_ptr<rocksdb::Iterator> it(
        rocks.db().NewIterator(rocksdb::ReadOptions(), (rocks.*family)()));
    it->Seek(kSkeletonKey);
    if (!it->status().ok()) return true;
  }
  return false;
}

void Salvager::OpenSource() {
  if (LogsAreWhole()) {
    source_ = OpenReadOnly(options_.source, options_.manifest);
  } else if (MakeReadableCopy().ok()) {
    logs_ = options_.scratch;
    source_ = OpenReadOnly(options_.scratch, options_.manifest);
  }
  if (source_ != nullptr) {
    NoteLiveTables();
    if (!IsBlind(*source_)) return;
    source_.reset();
  }
  logs_ = options_.source;
  if (!MakeRepairedCopy().ok()) return;
  source_ = OpenReadOnly(options_.scratch, ManifestMark());
  if (source_ != nullptr && IsBlind(*source_)) source_.reset();
  repaired_ = source_ != nullptr;
  // Where the repair has put those that it has made tables of.
  if (repaired_) logs_ = options_.scratch / "lost";
}

void Salvager::NoteLiveTables() {
  auto logs = ReadFlushedLogs(*files_, options_.source.string());
  if (!logs) return;
  flushed_logs_ = *std::move(logs);
  std::vector<rocksdb::LiveFileMetaData> files;
  source_->db().GetLiveFilesMetaData(&files);
  live_tables_.emplace();
  for (const rocksdb::LiveFileMetaData& file : files) {
    live_tables_->push_back({.path = options_.source / file.relative_filename,
                             .family = file.column_family_name,
                             .first_key = file.smallestkey,
                             .last_key = file.largestkey,
                             .sequence_max = file.largest_seqno,
                             .size = file.size});
  }
}

// What a table had that the repair could not use, or did not find.
void Salvager::NoteTablesPutAside() {
  if (!repaired_) return;
  if (!live_tables_) {  // Nobody knows which tables there were.
    AddIndexGap({{}, {}, true});
    return;
  }
  for (const Table& table : *live_tables_) {
    if (fs::exists(options_.scratch / table.path.filename())) continue;
    if (table.family == "counters") {
      // The operands that are left are a sum of something else.
      report_.ledger_lost = true;
      runs_lost_ = true;
    }
    if (table.family != "access") continue;
    AddIndexGap({table.first_key, *table.last_key + '\0', false});
  }
}

void Salvager::AddIndexGap(KeyGap gap) {
  ++report_.index_gaps;
  lines_lost_ = lines_lost_ || gap.to_the_end ||
                (!gap.end.empty() && gap.end[0] > kEntrySpace);
  index_gaps_.Add(std::move(gap), 1);
}

bool Salvager::LogsAreWhole() {
  const auto logs =
      CheckWriteAheadLogs(*files_, options_.source.string(), /*flushed=*/0);
  return logs && logs->cut.empty();
}

// RocksDB reads damaged logs less far than we do, and ends the process over
// some: it gets the same database with logs of what can be read.
Status Salvager::MakeReadableCopy() {
  LARDER_RETURN_IF_ERROR(MakeEmpty(options_.scratch));
  std::error_code error;
  const auto link = [&](const char* name) {
    if (!IsDatabaseFile(name) || std::string_view(name).ends_with(".log")) {
      return true;
    }
    fs::create_hard_link(options_.source / name, options_.scratch / name,
                         error);
    return !error;
  };
  const int listed = ListDirectory(AT_FDCWD, options_.source.c_str(), link);
  if (listed != 0) return Status::FromErrno(listed, options_.source.string());
  LARDER_RETURN_IF_ERROR(FromError(error, options_.scratch));
  return CopyReadableLogs(*files_, options_.source.string(),
                          options_.scratch.string());
}

// RocksDB's repair writes into the directory, so it gets one of its own, with
// links to the files that it reads only. Families are known from tables alone:
// a skeleton of a database adds one of each.
Status Salvager::MakeRepairedCopy() {
  const fs::path skeleton = options_.scratch / "skeleton";
  LARDER_RETURN_IF_ERROR(MakeEmpty(options_.scratch));
  LARDER_RETURN_IF_ERROR(MakeEmpty(skeleton));
  Rocks::Options rocks;
  rocks.path = skeleton;
  rocks.sizes = options_.sizes;
  rocks.create = true;
  rocks.log = options_.log_line;
  Result<std::unique_ptr<Rocks>> opened = Rocks::Open(rocks);
  if (!opened) return opened.error();
  (*opened)->Keep();
  for (const Family family :
       {&Rocks::values, &Rocks::access, &Rocks::counters}) {
    LARDER_RETURN_IF_ERROR(FromRocks(
        (*opened)->db().Put(rocksdb::WriteOptions(), ((**opened).*family)(),
                            ToSlice(kSkeletonKey), rocksdb::Slice()),
        "making a skeleton"));
  }
  LARDER_RETURN_IF_ERROR((*opened)->Close());
  LARDER_RETURN_IF_ERROR(CopyReadableLogs(*files_, options_.source.string(),
                                          options_.scratch.string(),
                                          flushed_logs_));
  std::error_code error;
  const auto is_live = [this](const fs::path& table) {
    return !live_tables_ ||
           std::ranges::any_of(*live_tables_, [&](const Table& live) {
             return live.path == table;
           });
  };
  std::uint64_t number_max = 0;
  for (const char* extension : {".sst", ".log"}) {
    for (const fs::path& file : FilesIn(options_.source, extension)) {
      number_max = std::max<std::uint64_t>(number_max, LogNumber(file));
      if (error || file.extension() == ".log" || !is_live(file)) continue;
      fs::create_hard_link(file, options_.scratch / file.filename(), error);
    }
  }
  for (const fs::path& file : FilesIn(skeleton, ".sst")) {
    if (error) break;
    std::string number = std::to_string(++number_max);
    number.insert(0, 6 - std::min<std::size_t>(number.size(), 6), '0');
    fs::rename(file, options_.scratch / (number + ".sst"), error);
  }
  if (!error) error = RemoveTree(skeleton);
  LARDER_RETURN_IF_ERROR(FromError(error, options_.scratch));
  rocks.path = options_.scratch;
  return Rocks::Repair(rocks);
}

Status Salvager::WalkSource(Family family, const ReadablePairs::Visit& visit,
                            std::vector<KeyGap>& gaps) {
  rocksdb::ColumnFamilyHandle* const handle = ((*source_).*family)();
  rocksdb::ColumnFamilyMetaData meta;
  source_->db().GetColumnFamilyMetaData(handle, &meta);
  std::vector<std::string> boundaries;
  for (const rocksdb::LevelMetaData& level : meta.levels) {
    for (const rocksdb::SstFileMetaData& table : level.files) {
      boundaries.push_back(table.smallestkey);
      boundaries.push_back(table.largestkey + '\0');
    }
  }
  ReadablePairs pairs(
      [this, handle] {
        rocksdb::ReadOptions read;
        read.fill_cache = false;
        return std::unique_ptr<rocksdb::Iterator>(
            source_->db().NewIterator(read, handle));
      },
      std::move(boundaries));
  LARDER_RETURN_IF_ERROR(pairs.Walk(visit));
  gaps.insert(gaps.end(), pairs.gaps().begin(), pairs.gaps().end());
  return Status::Ok();
}

Status Salvager::TakeCounter(std::string_view key, std::string_view value) {
  if (key == kSkeletonKey || key == kUnloggedKey || key == kVainSearchKey) {
    return Status::Ok();
  }
  if (key == kLedgerKey) {
    LedgerDelta ledger;
    if (LedgerDelta::Decode(value, ledger).ok()) {
      ledger_ = std::move(ledger);
      report_.ledger_lost = false;
    }
    return Status::Ok();
  }
  const std::optional<std::uint32_t> run = ParseRunKey(key);
  if (run) {
    if (value.size() == sizeof(std::uint64_t)) {
      runs_[*run] = LoadBigEndian64(value.data());
    }
    return Status::Ok();
  }
  return Put(&Rocks::counters, key, value);
}

void Salvager::NoteEntry(std::string_view key, const Entry& entry) {
  ledger_.version_max = std::max(ledger_.version_max, entry.version);
  for (const SegmentPlace& place : entry.extents) {
    ledger_.segment_max = std::max(ledger_.segment_max, place.segment);
  }
  if (report_.ledger_lost) {
    ledger_.epoch_max = std::max(ledger_.epoch_max, entry.epoch);
  }
  if (entry.kind == EntryKind::kRun && runs_lost_) {
    // Without the line of a run its first value that is left begins it.
    const auto [run, unknown] = runs_.try_emplace(entry.run, entry.version);
    if (!unknown) run->second = std::min(run->second, entry.version);
  }
  if (!IsCounted(entry)) return;
  LedgerDelta cells;
  options_.add_cells(key, entry, -1, cells);
  rest_.Apply(cells);
}

void Salvager::CountMissing() {
  missing_.clear();
  for (const LedgerCell& cell : rest_.ToDelta().cells) {
    if (cell.items > 0) missing_[cell.place][cell.rank] = cell.items;
  }
}

Status Salvager::TakeIndexPair(std::string_view key, std::string_view value) {
  if (key.empty() || key[0] < kEntrySpace || key[0] > kExpirySpace) {
    return Status::Ok();
  }
  if (key[0] == kEntrySpace) {
    // Where a table is put aside this may be what that one has replaced.
    if (repaired_ && InGap(key)) return Status::Ok();
    Entry entry;
    if (!DecodeEntry(value, entry).ok()) return Status::Ok();
    ++report_.items_kept;
    NoteEntry(key.substr(1), entry);
  }
  return Put(&Rocks::access, key, value);
}

Status Salvager::TakeRecord(std::string_view key, std::string_view value) {
  if (key.size() != sizeof(std::uint64_t)) return Status::Ok();
  const std::uint64_t position = LoadBigEndian64(key.data());
  ledger_.version_max = std::max(ledger_.version_max, position);
  const Result<ValueRecord> record = DecodeValueRecord(value, position);
  if (!record) return Status::Ok();
  if (LostItem* lost = NoteLost(record->key, position)) {
    lost->codec = record->codec;
    lost->value_size = record->value.size();
    lost->stored_at = options_.now;
    auto run = std::find_if(runs_.rbegin(), runs_.rend(), [&](const auto& r) {
      return r.second <= position;
    });
    if (run == runs_.rend()) {  // Before all that are known.
      runs_.try_emplace(runs_.empty() ? 1 : runs_.begin()->first, position);
      runs_.begin()->second = position;
      run = std::prev(runs_.rend());
      LARDER_RETURN_IF_ERROR(WriteRuns());
    }
    lost->run = run->first;
  }
  return Put(&Rocks::values, key, value);
}

// Those that the MANIFEST names. Without it all that are there, and then the
// repair has made tables of logs, too.
std::vector<Table> Salvager::TablesOfSource() const {
  if (live_tables_) return *live_tables_;
  std::vector<Table> tables;
  const auto add = [&tables](const fs::path& directory) {
    for (const fs::path& path : FilesIn(directory, ".sst")) {
      tables.push_back({.path = path});
    }
  };
  // An open database without live tables has a MANIFEST that says something
  // unknown: what it has is taken, and nothing else.
  if (source_ != nullptr && !repaired_) return tables;
  add(repaired_ ? options_.scratch : options_.source);
  if (repaired_) add(options_.scratch / "lost");
  return tables;
}

// Pair by pair, from the blocks alone: where one table is damaged RocksDB shows
// nothing of the others, and if the damage is not in its pairs they are all
// there. Which of several pairs of a key is the newest is known after all
// tables and logs were looked at, and which entries have a place in the ledger
// after that, so it is done several times.
//
// 1. Nothing comes back that has been deleted or written over as far as one can
//    read, nor what may have been where one cannot: a table is dark where its
//    blocks are damaged, up to its largest sequence number.
// 2. Without the MANIFEST tables and logs may be out of date. Versions, which
//    never come again, tell the newest put; with a deletion a put without
//    sequence number cannot be compared. Of entries of one place and rank none
//    comes back if there are more than the ledger lacks.
Status Salvager::ReadTables() {
  for (Table& table : tables_) {
    LARDER_RETURN_IF_ERROR(FindFamily(table));
    auto gaps = ReadTable(table, &Salvager::NoteNewest);
    if (!gaps) return gaps.error();
    if (table.family != "access") continue;
    for (KeyGap& gap : *gaps) {
      gap.begin = std::max(gap.begin, table.first_key);
      dark_.Add(std::move(gap), table.sequence_max);
    }
  }
  LARDER_RETURN_IF_ERROR(ReadLogs(&Salvager::NoteNewest));
  for (const TakePair take :
       {&Salvager::CountCandidate, &Salvager::TakeTablePair}) {
    for (const Table& table : tables_) {
      const auto gaps = ReadTable(table, take);
      if (!gaps) return gaps.error();
    }
    LARDER_RETURN_IF_ERROR(ReadLogs(take));
  }
  return Status::Ok();
}

Status Salvager::FindFamily(Table& table) {
  if (!table.family.empty()) return Status::Ok();
  rocksdb::Options options;
  options.env = files_env_.get();
  rocksdb::SstFileReader reader(options);
  if (reader.Open(table.path.string()).ok()) {
    const auto properties = reader.GetTableProperties();
    if (properties != nullptr) table.family = properties->column_family_name;
  }
  if (!table.family.empty()) return Status::Ok();
  Result<std::string> family = GuessFamily(table.path);
  if (!family) return family.error();
  table.family = *std::move(family);
  return Status::Ok();
}

Result<std::vector<KeyGap>> Salvager::ReadTable(const Table& table,
                                                TakePair take) {
  return ScanTableBlocks(
      FilePlace(table.path), {.last_key = table.last_key, .size = table.size},
      [&](const TablePair& pair) { return (this->*take)(table.family, pair); });
}

// Nothing else shows what they have of keys in a gap. Without a MANIFEST nobody
// knows which of them are out of date, but a repair has made tables of them.
Status Salvager::ReadLogs(TakePair take) {
  using Kind = TablePair::Kind;
  class Reader final : public rocksdb::WriteBatch::Handler {
   public:
    Reader(Salvager& salvager, TakePair take, bool has_access,
           std::uint64_t sequence)
        : salvager_(salvager),
          take_(take),
          has_access_(has_access),
          sequence_(sequence) {}
    rocksdb::Status PutCF(std::uint32_t family, const rocksdb::Slice& key,
                          const rocksdb::Slice& value) override {
      return Take(family, key, value, Kind::kPut);
    }
    rocksdb::Status DeleteCF(std::uint32_t family,
                             const rocksdb::Slice& key) override {
      return Take(family, key, {}, Kind::kDeletion);
    }
    rocksdb::Status SingleDeleteCF(std::uint32_t family,
                                   const rocksdb::Slice& key) override {
      return DeleteCF(family, key);
    }
    rocksdb::Status MergeCF(std::uint32_t family, const rocksdb::Slice& key,
                            const rocksdb::Slice& value) override {
      return Take(family, key, value, Kind::kMerge);
    }
    void LogData(const rocksdb::Slice& /*blob*/) override {}
    [[nodiscard]] const Status& status() const { return status_; }

   private:
    rocksdb::Status Take(std::uint32_t family, const rocksdb::Slice& key,
                         const rocksdb::Slice& value, Kind kind) {
      const TablePair pair{.key = key.ToStringView(),
                           .value = value.ToStringView(),
                           .sequence = sequence_++,
                           .kind = kind};
      if (!status_.ok()) return rocksdb::Status::OK();
      // What else they have is in the memory of the source.
      if (family == kAccessId && has_access_) {
        status_ = (salvager_.*take_)("access", pair);
      } else if (family == kCountersId && pair.key == kLedgerKey) {
        salvager_.NoteLedger(pair.value);
      } else if (family == kCountersId) {
        salvager_.NoteTagEviction(pair);
      }
      return rocksdb::Status::OK();
    }

    Salvager& salvager_;
    const TakePair take_;
    const bool has_access_;
    std::uint64_t sequence_;
    Status status_;
  };
  if (source_ != nullptr && !live_tables_) return Status::Ok();
  const auto flushed = flushed_logs_.find(kAccessId);
  for (const fs::path& path : FilesIn(logs_, ".log")) {
    std::unique_ptr<rocksdb::FSSequentialFile> file;
    if (!files_->NewSequentialFile(path.string(), {}, &file, nullptr).ok()) {
      continue;
    }
    const bool has_access =
        flushed == flushed_logs_.end() || LogNumber(path) >= flushed->second;
    WalReader log(std::move(file));
    while (const auto record = log.Next()) {
      if (record->size() < sizeof(std::uint64_t)) continue;
      Reader reader(*this, take, has_access,
                    LoadFixed<std::uint64_t>(record->data()));
      // A record that is no batch ends it early.
      rocksdb::WriteBatch(std::string(*record))
          .Iterate(&reader)
          .PermitUncheckedError();
      LARDER_RETURN_IF_ERROR(reader.status());
    }
  }
  return Status::Ok();
}

// Numbers that only grow, of any state or change.
void Salvager::NoteLedger(std::string_view operand) {
  LedgerDelta old;
  if (!LedgerDelta::Decode(operand, old).ok()) return;
  ledger_.version_max = std::max(ledger_.version_max, old.version_max);
  ledger_.segment_max = std::max(ledger_.segment_max, old.segment_max);
  ledger_.epoch_max = std::max(ledger_.epoch_max, old.epoch_max);
  for (int c = 0; c < kRankClassCount; ++c) {
    ledger_.cutoffs[c] = std::max(ledger_.cutoffs[c], old.cutoffs[c]);
  }
}

// One that has ended since does no harm: what was set later has a larger
// version.
void Salvager::NoteTagEviction(const TablePair& pair) {
  if (pair.kind != TablePair::Kind::kPut) return;
  const std::string key(pair.key);
  if (key.starts_with(kTagSparedPrefix)) {
    tag_lines_.try_emplace(key, pair.value);
  } else if (key.starts_with(kTagCutoffPrefix) &&
             pair.value.size() == sizeof(std::uint64_t)) {
    std::string& cutoff = tag_lines_[key];
    cutoff = std::max(cutoff, std::string(pair.value));  // Big-endian.
  }
}

Status Salvager::WriteTagEvictions() {
  LARDER_RETURN_IF_ERROR(WriteBatch());
  for (const auto& [key, value] : tag_lines_) {
    std::string there;
    const bool is_newer = target_->db()
                              .Get(rocksdb::ReadOptions(), target_->counters(),
                                   ToSlice(key), &there)
                              .ok() &&
                          there >= value;
    if (!is_newer) {
      LARDER_RETURN_IF_ERROR(Put(&Rocks::counters, key, value));
    }
  }
  return WriteBatch();
}

Status Salvager::NoteNewest(std::string_view family, const TablePair& pair) {
  if (family == "counters" && pair.key == kLedgerKey) NoteLedger(pair.value);
  if (family == "counters") NoteTagEviction(pair);
  if (family != "access" || !pair.key.starts_with(kEntrySpace) ||
      !InGap(pair.key)) {
    return Status::Ok();
  }
  Changes& changes = changes_[KeyHash(pair.key)];
  if (pair.kind != TablePair::Kind::kPut) {
    changes.has_deletion = true;
    changes.deletion = std::max(changes.deletion, pair.sequence);
    return Status::Ok();
  }
  changes.sequence_max = std::max(changes.sequence_max, pair.sequence);
  Entry entry;
  if (!DecodeEntry(pair.value, entry).ok()) return Status::Ok();
  ledger_.version_max = std::max(ledger_.version_max, entry.version);
  if (report_.ledger_lost) {
    ledger_.epoch_max = std::max(ledger_.epoch_max, entry.epoch);
  }
  if (changes.has_put && entry.version < changes.version) return Status::Ok();
  if (!changes.has_put || entry.version > changes.version) {
    changes.has_put = true;
    changes.version = entry.version;
    changes.sequence = 0;
    changes.has_unknown = false;
  }
  const std::uint64_t hash = XXH3_64bits(pair.value.data(), pair.value.size());
  if (pair.sequence == 0) {
    changes.has_unknown = true;
    changes.unknown_hash = hash;
  }
  if (pair.sequence < changes.sequence) return Status::Ok();
  changes.sequence = pair.sequence;
  changes.hash = hash;
  changes.rank = entry.rank;
  changes.epoch = entry.epoch;
  return Status::Ok();
}

bool Salvager::IsNewest(const TablePair& pair, const Entry& entry) const {
  const auto found = changes_.find(KeyHash(pair.key));
  if (found == changes_.end()) return false;
  const Changes& changes = found->second;
  const bool is_old =
      entry.version != changes.version || pair.sequence != changes.sequence ||
      (pair.sequence != 0 && pair.sequence < changes.sequence_max);
  if (is_old || changes.EndsDeleted()) return false;
  // The one without sequence number is older if it is known to be of use.
  if (!live_tables_ && changes.has_unknown &&
      changes.unknown_hash != changes.hash) {
    return false;
  }
  return dark_.HeightAt(pair.key) <= pair.sequence;
}

bool Salvager::IsCandidate(std::string_view family, const TablePair& pair,
                           Entry& entry) const {
  return family == "access" && pair.kind == TablePair::Kind::kPut &&
         pair.key.starts_with(kEntrySpace) && InGap(pair.key) &&
         DecodeEntry(pair.value, entry).ok() && IsCounted(entry) &&
         IsNewest(pair, entry);
}

Status Salvager::CountCandidate(std::string_view family,
                                const TablePair& pair) {
  Entry entry;
  if (live_tables_ || report_.ledger_lost ||
      !IsCandidate(family, pair, entry)) {
    return Status::Ok();
  }
  ++candidates_[PlaceOf(entry)][entry.rank];
  return Status::Ok();
}

Status Salvager::TakeTablePair(std::string_view family, const TablePair& pair) {
  const auto& [key, value, sequence, kind, is_newest] = pair;
  if (family == "access") return TakeEntry(pair);
  if (kind != TablePair::Kind::kPut || !is_newest) return Status::Ok();
  if (family == "values") {
    if (TargetHas(&Rocks::values, key)) return Status::Ok();
    return TakeRecord(key, value);
  }
  if (family != "counters") return Status::Ok();
  const std::optional<std::uint32_t> run = ParseRunKey(key);
  if (run && runs_lost_ && value.size() == sizeof(std::uint64_t)) {
    runs_.try_emplace(*run, LoadBigEndian64(value.data()));
  }
  if (!key.starts_with(kSettingPrefix)) return Status::Ok();
  return TargetHas(&Rocks::counters, key) ? Status::Ok()
                                          : Put(&Rocks::counters, key, value);
}

Status Salvager::TakeEntry(const TablePair& pair) {
  const std::string_view key = pair.key;
  Entry entry;
  if (!IsCandidate("access", pair, entry) || TargetHas(&Rocks::access, key)) {
    return Status::Ok();
  }
  if (!report_.ledger_lost) {
    // It was deleted or written over unless the ledger still has it.
    std::int64_t& missing = missing_[PlaceOf(entry)][entry.rank];
    if (missing <= 0 || candidates_[PlaceOf(entry)][entry.rank] > missing) {
      return Status::Ok();
    }
    --missing;
    --candidates_[PlaceOf(entry)][entry.rank];
  }
  const std::string_view user_key = key.substr(1);
  ++report_.items_kept;
  NoteEntry(user_key, entry);
  if (entry.expires_at != kNeverExpires) {
    LARDER_RETURN_IF_ERROR(
        Put(&Rocks::access, ExpiryIndexKey(entry.expires_at, user_key), {}));
  }
  if (!entry.tag.empty()) {
    LARDER_RETURN_IF_ERROR(
        Put(&Rocks::access, TagIndexKey(entry.tag, user_key), {}));
  }
  LARDER_RETURN_IF_ERROR(Put(&Rocks::access, key, pair.value));
  return WriteBatch();
}

// A deletion can be read after all puts that can, or a put that is newer, or
// that of this version, which was evicted or cleared.
bool Salvager::IsGone(std::string_view key, const LostItem& item) const {
  const auto found = changes_.find(KeyHash(EntryKey(key).bytes()));
  if (found == changes_.end()) return false;
  const Changes& changes = found->second;
  if (changes.EndsDeleted()) return true;
  return changes.has_put && (item.version < changes.version ||
                             (item.version == changes.version &&
                              !IsCounted(changes.epoch, changes.rank)));
}

// nullptr: the item is not lost, or a newer value of it was found.
LostItem* Salvager::NoteLost(std::string_view key, std::uint64_t version) {
  const EntryKey entry_key(key);
  if (!InGap(entry_key.bytes())) return nullptr;
  const auto found = lost_.find(std::string(key));
  if (found == lost_.end()) {
    if (TargetHas(&Rocks::access, entry_key.bytes())) return nullptr;
    LostItem& item = lost_[std::string(key)];
    item.version = version;
    return &item;
  }
  if (found->second.version > version) return nullptr;
  if (found->second.version < version) {
    found->second = LostItem();
    found->second.version = version;
  }
  return &found->second;
}

Status Salvager::FindLostItems() {
  for (const fs::path& file : FilesIn(options_.log, ".seg")) {
    const auto id = ParseSegmentName(file.filename().string());
    if (!id) continue;
    ledger_.segment_max = std::max(ledger_.segment_max, *id);
    LARDER_RETURN_IF_ERROR(ScanSegmentFile(file, *id));
  }
  LARDER_RETURN_IF_ERROR(ReadLines());
  return RestoreLostItems();
}

Status Salvager::ScanSegmentFile(const fs::path& path, std::uint32_t id) {
  const Result<UniqueFd> file = OpenFile(FilePlace(path), O_RDONLY);
  struct stat info {};
  if (!file || ::fstat(file->get(), &info) != 0) return Status::Ok();
  const TimePoint stored_at(std::chrono::duration_cast<Duration>(
      std::chrono::seconds(info.st_mtim.tv_sec)));
  const auto visit = [&](const SegmentPlace& place,
                         const SegmentRecord& record) {
    ledger_.version_max = std::max(ledger_.version_max, record.version);
    LostItem* const lost = NoteLost(record.key, record.version);
    if (lost == nullptr || lost->run) return true;
    lost->codec = record.codec;
    lost->value_size = record.value_size;
    lost->stored_at = stored_at;
    // Twice if it is being moved: the newer place.
    SegmentPlace& piece = lost->pieces[record.value_offset];
    if (piece.segment <= place.segment) piece = place;
    return true;
  };
  // What cannot be read is lost.
  static_cast<void>(ScanSegment(*SegmentIo::System(), file->get(), id,
                                static_cast<std::uint64_t>(info.st_size),
                                BadSectors::kDamage, visit));
  return Status::Ok();
}

// An item that expires or has a tag has an index line. One that is out of date
// may be left over: the earlier expiry is the safe one, of two tags none is.
Status Salvager::ReadLines() {
  LARDER_RETURN_IF_ERROR(WriteBatch());
  const std::unique_ptr<rocksdb::Iterator> it(
      target_->db().NewIterator(rocksdb::ReadOptions(), target_->access()));
  for (it->Seek(rocksdb::Slice(&kTagSpace, 1)); it->Valid(); it->Next()) {
    const std::string_view line = it->key().ToStringView();
    const auto tag = ParseTagIndexKey(line);
    const auto expiry = ParseExpiryIndexKey(line);
    if (!tag && !expiry) continue;
    const auto lost = lost_.find(std::string(tag ? tag->key : expiry->key));
    if (lost == lost_.end()) continue;
    LostItem& item = lost->second;
    if (tag) {
      item.two_tags = item.two_tags || !item.tag.empty();
      item.tag = std::string(tag->tag);
    } else {
      item.expires_at = std::min(item.expires_at, expiry->expires_at);
    }
  }
  return FromRocks(it->status(), "reading index lines");
}

Status Salvager::RestoreLostItems() {
  std::map<PlaceId, std::vector<std::pair<std::uint64_t, std::string>>> places;
  // Of a place, those that may be missing: also what cannot come back itself,
  // or an old one would come in its stead.
  std::map<PlaceId, std::size_t> candidates;
  std::uint64_t count = 0;
  for (const auto& [key, item] : lost_) {
    if (IsGone(key, item)) continue;
    // Found in a table after its value was.
    if (TargetHas(&Rocks::access, EntryKey(key).bytes())) continue;
    if (!item.run && item.pieces.empty()) continue;
    ++candidates[item.place()];
    if (!item.IsWhole() || item.two_tags) continue;
    places[item.place()].emplace_back(item.version, key);
    ++count;
  }
  std::uint64_t done = 0;
  for (auto& [place, items] : places) {
    std::sort(items.begin(), items.end());
    std::vector<Rank> known;
    for (const auto& [rank, missing] : missing_[place]) {
      for (std::int64_t i = 0; i < missing; ++i) known.push_back(rank);
    }
    if (!report_.ledger_lost && known.size() < candidates[place]) continue;
    for (std::size_t i = 0; i < items.size(); ++i, ++done) {
      const Rank rank = report_.ledger_lost
                            ? kLostRank + done * kLostRankRows / (count + 1)
                            : known[i];
      LARDER_RETURN_IF_ERROR(
          Restore(items[i].second, lost_.at(items[i].second), rank));
    }
  }
  return Status::Ok();
}

Status Salvager::Restore(const std::string& key, const LostItem& item,
                         Rank rank) {
  Entry entry;
  entry.kind = item.run ? EntryKind::kRun : EntryKind::kSegments;
  entry.codec = item.codec;
  entry.pinned = RankClass(rank) == kClassPinned;
  entry.epoch = ledger_.epoch_max;
  entry.version = item.version;
  entry.rank = rank;
  entry.stored_at = std::min(item.stored_at, options_.now);
  entry.expires_at = item.expires_at;
  if (report_.ledger_lost || lines_lost_) {
    entry.expires_at = std::min(entry.expires_at, options_.now + kSalvagedTtl);
  }
  entry.tag = item.tag;
  entry.value_size = item.value_size;
  entry.run = item.run.value_or(0);
  for (const auto& [offset, place] : item.pieces) {
    entry.extents.push_back(place);
  }
  std::string bytes;
  EncodeEntry(entry, bytes);
  ++report_.items_rebuilt;
  if (entry.expires_at != kNeverExpires) {
    LARDER_RETURN_IF_ERROR(
        Put(&Rocks::access, ExpiryIndexKey(entry.expires_at, key), {}));
  }
  return Put(&Rocks::access, EntryKey(key).bytes(), bytes);
}

Status Salvager::WriteRuns() {
  std::uint64_t first = 0;
  for (const auto& [id, position] : runs_) {
    first = std::max(first, position);
    char bytes[sizeof(first)];
    StoreBigEndian64(bytes, first);
    LARDER_RETURN_IF_ERROR(
        Put(&Rocks::counters, RunKey(id), {bytes, sizeof(bytes)}));
  }
  return Status::Ok();
}

// The sum of what is there now, so that whoever opens it knows which segments
// are in use.
Status Salvager::WriteLedger() {
  LARDER_RETURN_IF_ERROR(WriteBatch());
  ledger_.cells.clear();
  ledger_.reset = true;
  LedgerSum sum;
  const std::unique_ptr<rocksdb::Iterator> it(
      target_->db().NewIterator(rocksdb::ReadOptions(), target_->access()));
  for (it->Seek(rocksdb::Slice(&kEntrySpace, 1));
       it->Valid() && it->key()[0] == kEntrySpace; it->Next()) {
    Entry entry;
    if (!DecodeEntry(it->value().ToStringView(), entry).ok() ||
        !IsCounted(entry)) {
      continue;
    }
    LedgerDelta cells;
    options_.add_cells(it->key().ToStringView().substr(1), entry, 1, cells);
    sum.Apply(cells);
  }
  LARDER_RETURN_IF_ERROR(FromRocks(it->status(), "counting"));
  ledger_.cells = sum.ToDelta().cells;
  std::string operand;
  ledger_.Encode(operand);
  return FromRocks(
      target_->db().Merge(rocksdb::WriteOptions(), target_->counters(),
                          rocksdb::Slice(kLedgerKey), operand),
      "writing the ledger");
}

Status Salvager::Put(Family family, std::string_view key,
                     std::string_view value) {
  // Fails only over a size limit, which we do not set.
  batch_.Put(((*target_).*family)(), ToSlice(key), ToSlice(value))
      .PermitUncheckedError();
  return batch_.Count() < kBatchCountMax ? Status::Ok() : WriteBatch();
}

Status Salvager::WriteBatch() {
  if (batch_.Count() == 0) return Status::Ok();
  rocksdb::WriteOptions write;
  write.disableWAL = true;  // Close flushes all of it.
  const rocksdb::Status written = target_->db().Write(write, &batch_);
  batch_.Clear();
  return FromRocks(written, "writing a new database");
}

bool Salvager::TargetHas(Family family, std::string_view key) {
  rocksdb::PinnableSlice value;
  return target_->db()
      .Get(rocksdb::ReadOptions(), ((*target_).*family)(), ToSlice(key), &value)
      .ok();
}

}  // namespace

Result<SalvageReport> SalvageDatabase(const SalvageOptions& options) noexcept {
  return Salvager(options).Run();
}

}  // namespace larder
