#ifndef LARDER_ENGINE_SRC_INDEX_KEY_FILTER_TENDER_H_
#define LARDER_ENGINE_SRC_INDEX_KEY_FILTER_TENDER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/striped.h"
#include "index/key_filter.h"
#include "index/rocks.h"

namespace larder {

/// Knows which keys the index surely has not, once it is worth the memory.
///
/// A Set looks up what it replaces, and a cache is mostly given keys that it
/// has not: a filter in memory over all keys of the index, living or dead, says
/// so without asking RocksDB, which takes 2 of 10 us.
///
/// It must know every key there is. A cache that is empty begins with an empty
/// one. Else it is filled from the index, some keys at a time, as soon as
/// enough was looked up in vain; keys that are written meanwhile are added as
/// well, so wherever the filling has got to, each key is or will be in it. That
/// goes for keys that the index has, too: a compaction may drop the dead entry
/// that was found, and the filling pass by, before the new one is there. A
/// filter that has become too full lets many lookups through, which make a new
/// one.
///
/// Keys never leave a filter but with a new one. What brings them back to the
/// index other than by writing, the reopening of the database after a fault,
/// drops it.
///
/// Threads: thread-safe, but for Start and Drop. Its lock comes before
///          `writers`.
class KeyFilterTender {
 public:
  /// `writers`: in which all are who change the index.
  explicit KeyFilterTender(StripedGate& writers) noexcept : writers_(writers) {}

  /// Of a database that was just opened. REQUIRES, as of Drop: nobody else
  /// uses this.
  void Start(Rocks& rocks);
  void Drop() noexcept;

  /// False: the index has no such key. REQUIRES, as of the next two: the
  /// caller is among the writers, or none is.
  [[nodiscard]] bool MayHave(std::string_view key) const noexcept {
    return !filter_ || filter_->MayContain(key);
  }
  /// The index was asked for a key that it has not.
  void NoteAbsent() noexcept { absent_.Add(); }
  /// A key that goes into the index; `is_present`: that has it.
  void Add(std::string_view key, bool is_present) noexcept {
    if (filter_ && !is_present) filter_->Add(key);
    if (next_) next_->Add(key);
  }

  /// Makes a filter of an index with so many items, or a part of it, if that
  /// pays; stops early, to go on the next time, if `is_hurried`. Must not be
  /// called among the writers.
  void Tend(Rocks& rocks, std::uint64_t item_count,
            const std::function<bool()>& is_hurried);

 private:
  /// True: a filter is to be filled. REQUIRES, as of the next: mutex_.
  bool Begin(Rocks& rocks, std::uint64_t item_count);
  /// Fills in some keys; false if they cannot be read.
  bool Fill(Rocks& rocks, bool& is_whole);

  StripedGate& writers_;
  // Null: it is not known which keys there are. Changed with all writers out,
  // as is the one that is being filled, if any.
  std::unique_ptr<KeyFilter> filter_;
  std::unique_ptr<KeyFilter> next_;
  StripedCounter absent_;            // Lookups.
  std::mutex mutex_;                 // One thread fills.
  std::string cursor_;               // Guarded by mutex_: the next key.
  std::uint64_t absent_judged_ = 0;  // Guarded by mutex_.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_KEY_FILTER_TENDER_H_
