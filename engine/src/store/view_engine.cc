#include "store/view_engine.h"

#include <atomic>
#include <span>
#include <string_view>
#include <utility>

#include "os/exit_guard.h"
#include "os/fork_guard.h"
#include "os/per_process.h"
#include "os/process_bound.h"

namespace larder {
namespace {

class View {
 public:
  // It keeps itself until its engine goes, as a SharedEngine's member does.
  static Result<View*> Make(const OpenView& open) noexcept {
    auto store = open();
    if (!store) return Fail(std::move(store.error()));
    auto view = std::make_shared<View>();
    view->store_ = std::move(*store);
    view->self_ = view;
    return view.get();
  }
  Status Leave() noexcept { return store_->Close(); }
  void Drop() noexcept {
    Leave().IgnoreError();  // Nobody is left to be told.
    self_.reset();
  }
  [[nodiscard]] bool InChild() const noexcept { return guard_.InChild(); }
  [[nodiscard]] Store& store() const noexcept { return *store_; }
  [[nodiscard]] std::shared_ptr<const void> share() const { return self_; }

 private:
  std::unique_ptr<Store> store_;
  std::shared_ptr<View> self_;
  const ForkGuard guard_;
};

class ViewEngine final : public Engine {
 public:
  ViewEngine(OpenView open, View* view) : open_(std::move(open)) {
    view_.Set(view);
    // At once something to close.
    at_exit_ =
        std::make_unique<ClosedAtExit>([this] { Close().IgnoreError(); });
    at_exit_->CloseBeforeStaticsOfNow();  // Which its log may use.
  }
  ~ViewEngine() override {
    const ExitHeld held;
    at_exit_ = nullptr;  // It may be closing this.
    View* const view = view_.Peek();
    if (!view->InChild()) view->Drop();
  }
  ViewEngine(const ViewEngine&) = delete;
  ViewEngine& operator=(const ViewEngine&) = delete;

  Capabilities capabilities() const noexcept override {
    const auto view = Current();
    return view ? (*view)->store().capabilities() : Capabilities();
  }
  Status Execute(std::span<const Command> commands, std::span<Reply> replies,
                 const ExecuteOptions& options) noexcept override {
    const auto view = Current();
    if (!view) return view.error();
    return (*view)->store().Execute(commands, replies, options);
  }
  Result<std::unique_ptr<Scan>> OpenScan(
      const ScanOptions& options) noexcept override {
    const auto view = Current();
    if (!view) return Fail(view.error());
    return BoundToProcess((*view)->store().OpenScan(options), (*view)->share());
  }
  Result<std::unique_ptr<ValueWriter>> OpenWriter(
      const SetCommand& command, std::uint64_t size_expected,
      const ExecuteOptions& options) noexcept override {
    const auto view = Current();
    if (!view) return Fail(view.error());
    return (*view)->store().OpenWriter(command, size_expected, options);
  }
  Result<std::unique_ptr<ValueReader>> OpenReader(
      std::string_view key) noexcept override {
    const auto view = Current();
    if (!view) return Fail(view.error());
    return BoundToProcess((*view)->store().OpenReader(key), (*view)->share());
  }
  Result<std::uint64_t> Count() noexcept override {
    const auto view = Current();
    if (!view) return Fail(view.error());
    return (*view)->store().Count();
  }
  Result<EngineStats> Stats() noexcept override {
    const auto view = Current();
    if (!view) return Fail(view.error());
    return (*view)->store().Stats();
  }
  Result<CheckReport> Check(bool repair) noexcept override {
    const auto view = Current();
    if (!view) return Fail(view.error());
    return (*view)->store().Check(repair);
  }
  Settings CurrentSettings() const noexcept override {
    const auto view = Current();
    return view ? (*view)->store().CurrentSettings() : Settings();
  }
  std::uint64_t settings_version() const noexcept override {
    const auto view = Current();
    return view ? (*view)->store().settings_version() : 0;
  }
  Status Reset(std::string_view name,
               std::string_view value) noexcept override {
    const auto view = Current();
    return view ? (*view)->store().Reset(name, value) : view.error();
  }
  Status Sync() noexcept override {
    const auto view = Current();
    return view ? (*view)->store().Sync() : view.error();
  }
  Status Close() noexcept override {
    const ExitHeld held;
    if (view_.Peek()->InChild()) closed_.store(true);
    View* const view = view_.Peek();
    if (view->InChild()) return {};
    Status closed = view->Leave();
    if (closed.code() != StatusCode::kDeadlock) closed_.store(true);
    return closed;
  }
  const std::filesystem::path& directory() const noexcept override {
    return view_.Peek()->store().directory();
  }

 private:
  Result<View*> Current() const noexcept {
    return view_.Get([this] { return View::Make(open_); },
                     [this] {
                       return closed_.load()
                                  ? Status::Closed("the cache was closed")
                                  : Status();
                     });
  }

  const OpenView open_;
  mutable PerProcess<View> view_;
  // Asked where there is none of this process yet.
  std::atomic<bool> closed_{false};
  std::unique_ptr<ClosedAtExit> at_exit_;
};

}  // namespace

Result<std::unique_ptr<Engine>> OpenViewEngine(OpenView open) noexcept {
  const Result<View*> view = View::Make(open);
  if (!view) return Fail(view.error());
  auto engine = std::make_unique<ViewEngine>(std::move(open), *view);
  if (ExitHasClosed()) return Fail(ExitHasClosedStatus());
  return engine;
}

}  // namespace larder
