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
  ViewEngine(OpenView open, std::shared_ptr<UserCallbacks> callbacks)
      : open_(std::move(open)),
        callbacks_(std::move(callbacks)),
        at_exit_(std::make_unique<ClosedAtExit>([this] { CloseAtExit(); })) {}
  ~ViewEngine() override { DropMine(view_, at_exit_, *callbacks_); }
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
    LARDER_RETURN_IF_ERROR(callbacks_->CheckMayClose());
    const ExitHeld held;
    const ClosedAtExit::Busy closing(*at_exit_);
    return CloseMine();
  }
  const std::filesystem::path& directory() const noexcept override {
    return view_.Peek()->store().directory();
  }
  Status Open() noexcept {
    const Result<View*> view = View::Make(open_);
    if (!view) return view.error();
    view_.Set(*view);
    at_exit_->SetOpen();
    return ExitHasClosed() ? ExitHasClosedStatus() : Status();
  }

 private:
  Status CloseMine() noexcept {
    closed_.store(true);
    View* const view = view_.Settled();
    // In a child that was forked amid Open there is none.
    return view == nullptr || view->InChild() ? Status() : view->Leave();
  }
  void CloseAtExit() noexcept {
    CloseMine().IgnoreError();  // Nobody is left to be told.
  }
  Result<View*> Current() const noexcept {
    LARDER_FAIL_IF_ERROR(callbacks_->CheckMayCall());
    return view_.Get([this] { return View::Make(open_); },
                     [this] {
                       return closed_.load()
                                  ? Status::Closed("the cache was closed")
                                  : Status();
                     });
  }

  const OpenView open_;
  const std::shared_ptr<UserCallbacks> callbacks_;
  mutable PerProcess<View> view_;
  // Asked where there is none of this process yet.
  std::atomic<bool> closed_{false};
  std::unique_ptr<ClosedAtExit> at_exit_;  // The last: it may close this.
};

}  // namespace

Result<std::unique_ptr<Engine>> OpenViewEngine(
    OpenView open, std::shared_ptr<UserCallbacks> callbacks) noexcept {
  auto engine =
      std::make_unique<ViewEngine>(std::move(open), std::move(callbacks));
  LARDER_FAIL_IF_ERROR(engine->Open());
  return engine;
}

}  // namespace larder
