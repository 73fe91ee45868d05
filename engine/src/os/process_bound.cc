#include "os/process_bound.h"

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/fork_guard.h"

namespace larder {
namespace {

template <typename T>
class Bound {
 public:
  Bound(std::unique_ptr<T> target, std::shared_ptr<const void> owner)
      : owner_(std::move(owner)), target_(std::move(target)) {}
  Bound(const Bound&) = delete;
  Bound& operator=(const Bound&) = delete;
  ~Bound() {
    // Not even its destructor may run: the locks that it takes may be held by
    // a thread that only the parent has.
    if (!guard_.InChild()) return;
    static_cast<void>(target_.release());
    static_cast<void>(new std::shared_ptr<const void>(std::move(owner_)));
  }

  [[nodiscard]] Status Check(std::string_view what) const {
    if (!guard_.InChild()) [[likely]]
      return Status::Ok();
    return Status::Closed(std::string(what) +
                          " was opened by the parent of this forked child; "
                          "open another one here");
  }
  [[nodiscard]] T* operator->() const noexcept { return target_.get(); }

 private:
  std::shared_ptr<const void> owner_;  // Destroyed last.
  std::unique_ptr<T> target_;
  const ForkGuard guard_;
};

class BoundScan final : public Scan {
 public:
  BoundScan(std::unique_ptr<Scan> scan, std::shared_ptr<const void> owner)
      : scan_(std::move(scan), std::move(owner)) {}
  Result<std::vector<ScanItem>> Next(std::size_t count_max) noexcept override {
    LARDER_FAIL_IF_ERROR(scan_.Check("the scan"));
    return scan_->Next(count_max);
  }

 private:
  const Bound<Scan> scan_;
};

class BoundWriter final : public ValueWriter {
 public:
  BoundWriter(std::unique_ptr<ValueWriter> writer,
              std::shared_ptr<const void> owner)
      : writer_(std::move(writer), std::move(owner)) {}
  Status Append(std::string_view bytes) noexcept override {
    LARDER_RETURN_IF_ERROR(writer_.Check("the writer"));
    return writer_->Append(bytes);
  }
  Reply Commit() noexcept override {
    Reply refused;
    refused.status = writer_.Check("the writer");
    return refused.status.ok() ? writer_->Commit() : std::move(refused);
  }

 private:
  const Bound<ValueWriter> writer_;
};

class BoundReader final : public ValueReader {
 public:
  BoundReader(std::unique_ptr<ValueReader> reader,
              std::shared_ptr<const void> owner)
      : reader_(std::move(reader), std::move(owner)) {}
  // Of an item, not of the store: a child may look.
  const ItemInfo& info() const noexcept override { return reader_->info(); }
  Result<std::size_t> Read(std::span<char> buffer) noexcept override {
    LARDER_FAIL_IF_ERROR(reader_.Check("the reader"));
    return reader_->Read(buffer);
  }

 private:
  const Bound<ValueReader> reader_;
};

}  // namespace

std::unique_ptr<Scan> BoundToProcess(std::unique_ptr<Scan> scan,
                                     std::shared_ptr<const void> owner) {
  return std::make_unique<BoundScan>(std::move(scan), std::move(owner));
}

std::unique_ptr<ValueWriter> BoundToProcess(std::unique_ptr<ValueWriter> writer,
                                            std::shared_ptr<const void> owner) {
  return std::make_unique<BoundWriter>(std::move(writer), std::move(owner));
}

std::unique_ptr<ValueReader> BoundToProcess(std::unique_ptr<ValueReader> reader,
                                            std::shared_ptr<const void> owner) {
  if (reader == nullptr) return nullptr;
  return std::make_unique<BoundReader>(std::move(reader), std::move(owner));
}

}  // namespace larder
