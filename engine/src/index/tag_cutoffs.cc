#include "index/tag_cutoffs.h"

namespace larder {

std::shared_ptr<TagCutoff> TagCutoffView::Find(const Entry& entry) const {
  const Item* const item = Of(entry.tag);
  if (item == nullptr || entry.version >= item->cutoff->version ||
      item->spared.contains(entry.version)) {
    return nullptr;
  }
  return item->cutoff;
}

const TagCutoffView::Item* TagCutoffView::Of(std::string_view tag) const {
  if (items_ == nullptr || tag.empty()) return nullptr;
  const auto found = items_->find(std::string(tag));
  return found == items_->end() ? nullptr : &found->second;
}

std::vector<std::shared_ptr<TagCutoff>> TagCutoffView::All() const {
  std::vector<std::shared_ptr<TagCutoff>> all;
  if (items_ == nullptr) return all;
  for (const auto& [tag, item] : *items_) all.push_back(item.cutoff);
  return all;
}

template <typename Change>
void TagCutoffs::Alter(Change&& change) {
  const std::scoped_lock lock(mutex_);
  auto items = items_ == nullptr
                   ? std::make_shared<TagCutoffView::Items>()
                   : std::make_shared<TagCutoffView::Items>(*items_);
  change(*items);
  any_.store(!items->empty(), std::memory_order_relaxed);
  items_ = std::move(items);
  changes_.fetch_add(1, std::memory_order_release);
}

void TagCutoffs::Load(TagCutoffView::Items items) {
  if (!any() && items.empty()) return;
  Alter([&items](TagCutoffView::Items& now) { now = std::move(items); });
}

std::shared_ptr<TagCutoff> TagCutoffs::Add(std::string_view tag,
                                           std::uint64_t version) {
  auto cutoff = std::make_shared<TagCutoff>(tag, version);
  Alter([&](TagCutoffView::Items& items) {
    items.insert_or_assign(std::string(tag),
                           TagCutoffView::Item{.cutoff = cutoff});
  });
  return cutoff;
}

void TagCutoffs::Remove(std::string_view tag) {
  Alter([tag](TagCutoffView::Items& items) { items.erase(std::string(tag)); });
}

void TagCutoffs::Spare(std::string_view tag, std::uint64_t version) {
  Alter([&](TagCutoffView::Items& items) {
    const auto found = items.find(std::string(tag));
    if (found != items.end()) found->second.spared.insert(version);
  });
}

}  // namespace larder
