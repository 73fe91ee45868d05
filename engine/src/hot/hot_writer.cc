// The one writer of the hot tier.
//
// A change of an entry goes: sequence odd; everything else; sequence even. The
// new value is always written into a block that no visible entry points to, so
// the odd time is a few words long, unless a Begin holds it open on purpose.
// A block that an entry pointed to may be reused at once: a reader that copies
// from it finds the entry's sequence changed afterwards (see hot_layout.h).

#include "hot/hot_writer.h"

#include <utility>

#include "base/check.h"

namespace larder {
namespace {

bool FitsTier(const HotKey& key, const HotItem& item) noexcept {
  return key.bytes.size() <= kHotKeySizeMax &&
         item.value.size() <= kHotValueSizeMax &&
         item.tag.size() <= kHotTagSizeMax;
}

}  // namespace

HotWriter::Ticket HotWriter::Begin(const HotKey& key) noexcept {
  const std::lock_guard lock(mutex_);
  KeyStripe& stripe = stripes_[StripeOf(key)];
  ++stripe.pending;
  stripe.version.fetch_add(1, std::memory_order_release);
  Ticket ticket;
  ticket.barrier = barrier_.load(std::memory_order_relaxed);
  if (const std::int64_t entry = Find(key); entry >= 0) {
    ticket.entry = static_cast<std::uint32_t>(entry);
    ticket.has_entry = true;
    LARDER_ASSERT(!IsOdd(ticket.entry));
    MakeOdd(ticket.entry);
  }
  return ticket;
}

void HotWriter::EndChange(const HotKey& key) noexcept {
  KeyStripe& stripe = stripes_[StripeOf(key)];
  LARDER_ASSERT(stripe.pending > 0);
  --stripe.pending;
  stripe.version.fetch_add(1, std::memory_order_release);
}

bool HotWriter::IsCurrent(std::uint64_t barrier) const noexcept {
  return barrier % 2 == 0 &&
         barrier == barrier_.load(std::memory_order_relaxed);
}

void HotWriter::Publish(const Ticket& ticket, const HotKey& key,
                        const HotItem& item) noexcept {
  const std::lock_guard lock(mutex_);
  const bool fits = FitsTier(key, item) && IsCurrent(ticket.barrier) &&
                    item.rank >= regions_.header->cutoffs[RankClass(item.rank)];
  const bool replaces =
      ticket.has_entry && HasBlock(PlaceOf(ticket.entry).kind);
  const bool admit =
      fits && (replaces || (item.place.segment == 0 &&
                            item.value.size() <= options_.admit_on_write_max));
  if (ticket.has_entry && !admit) {
    Release(ticket.entry);
    MakeEven(ticket.entry, 0);
  } else if (admit) {
    const std::int64_t entry =
        ticket.has_entry ? std::int64_t{ticket.entry} : TakeVictim(key);
    if (entry >= 0) Put(static_cast<std::uint64_t>(entry), key, item);
  }
  EndChange(key);
}

void HotWriter::PublishAbsent(const Ticket& ticket,
                              const HotKey& key) noexcept {
  const std::lock_guard lock(mutex_);
  const bool fits = key.bytes.size() <= kHotKeySizeMax;
  if (ticket.has_entry && !IsCurrent(ticket.barrier)) {
    Release(ticket.entry);
    MakeEven(ticket.entry, 0);
  } else if (fits && IsCurrent(ticket.barrier)) {
    const std::int64_t entry =
        ticket.has_entry ? std::int64_t{ticket.entry} : TakeVictim(key);
    if (entry >= 0) PutAbsent(static_cast<std::uint64_t>(entry), key);
  }
  EndChange(key);
}

void HotWriter::Drop(const Ticket& ticket, const HotKey& key) noexcept {
  const std::lock_guard lock(mutex_);
  if (ticket.has_entry) {
    Release(ticket.entry);
    MakeEven(ticket.entry, 0);
  }
  EndChange(key);
}

void HotWriter::BeginBatch() noexcept {
  const std::lock_guard lock(mutex_);
  if (batches_++ == 0) regions_.header->batch_sequence.fetch_add(1);
}

void HotWriter::EndBatch() noexcept {
  const std::lock_guard lock(mutex_);
  LARDER_ASSERT(batches_ > 0);
  if (--batches_ == 0) regions_.header->batch_sequence.fetch_add(1);
}

HotWriter::FillToken HotWriter::BeginFill(const HotKey& key) const noexcept {
  // Acquire: the store is read after this.
  return {.version =
              stripes_[StripeOf(key)].version.load(std::memory_order_acquire),
          .barrier = barrier_.load(std::memory_order_acquire)};
}

bool HotWriter::MayFill(const FillToken& token,
                        const HotKey& key) const noexcept {
  const KeyStripe& stripe = stripes_[StripeOf(key)];
  return stripe.pending == 0 &&
         stripe.version.load(std::memory_order_relaxed) == token.version &&
         IsCurrent(token.barrier) && key.bytes.size() <= kHotKeySizeMax;
}

void HotWriter::Fill(const FillToken& token, const HotKey& key,
                     const HotItem& item) noexcept {
  const std::lock_guard lock(mutex_);
  if (!MayFill(token, key) || !FitsTier(key, item) ||
      item.rank < regions_.header->cutoffs[RankClass(item.rank)]) {
    return;
  }
  std::int64_t entry = Find(key);
  if (entry >= 0) {
    MakeOdd(static_cast<std::uint64_t>(entry));
  } else {
    entry = TakeVictim(key);
  }
  if (entry >= 0) Put(static_cast<std::uint64_t>(entry), key, item);
}

void HotWriter::FillAbsent(const FillToken& token, const HotKey& key) noexcept {
  const std::lock_guard lock(mutex_);
  if (!MayFill(token, key)) return;
  std::int64_t entry = Find(key);
  if (entry >= 0) {
    MakeOdd(static_cast<std::uint64_t>(entry));
  } else {
    entry = TakeVictim(key);
  }
  if (entry >= 0) PutAbsent(static_cast<std::uint64_t>(entry), key);
}

void HotWriter::BeginInvalidation() noexcept {
  const std::uint64_t old = barrier_.load(std::memory_order_relaxed);
  barrier_.store(old + (invalidations_++ == 0 ? 1 : 2),
                 std::memory_order_release);
}

void HotWriter::BeginClear() noexcept {
  const std::lock_guard lock(mutex_);
  BeginInvalidation();
  regions_.header->clear_epoch.fetch_add(1);
}

void HotWriter::BeginEvictTag(std::string_view tag) noexcept {
  const std::lock_guard lock(mutex_);
  BeginInvalidation();
  regions_.header->tag_epochs[HotTagSlot(tag)].fetch_add(1);
}

void HotWriter::EndInvalidation() noexcept {
  const std::lock_guard lock(mutex_);
  LARDER_ASSERT(invalidations_ > 0);
  barrier_.fetch_add(--invalidations_ == 0 ? 1 : 2, std::memory_order_release);
}

void HotWriter::SetCutoff(std::uint8_t rank_class, Rank cutoff) noexcept {
  regions_.header->cutoffs[rank_class].store(cutoff, std::memory_order_release);
}

}  // namespace larder
