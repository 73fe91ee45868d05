// The contract of Engine, kept by an engine that is a client of another one:
// every command goes through the rings, or is answered by the hot tier.

#include "engine/conformance/conformance_suite.h"
#include "session_model.h"
#include "shared/shared_engine.h"
#include "store/store.h"

namespace larder::testing {
namespace {

// Two members of one directory: the first holds the seat, the second is the
// one under test.
class SharedPlace : public EnginePlace {
 public:
  explicit SharedPlace(std::uint64_t hot_tier_bytes)
      : hot_tier_bytes_(hot_tier_bytes) {}

  Result<std::unique_ptr<Engine>> Open(const EngineOptions& options) override {
    if (holder_ != nullptr) {
      LARDER_FAIL_IF_ERROR(holder_->Close());
      holder_.reset();
    }
    auto holder = OpenMember(options);
    if (!holder) return holder;
    holder_ = std::move(*holder);
    return OpenMember(options);
  }

 protected:
  virtual SharedEngine::OpenStore StoreOpener(const EngineOptions& options) = 0;
  [[nodiscard]] std::filesystem::path path() const { return directory_.path(); }

 private:
  Result<std::unique_ptr<Engine>> OpenMember(const EngineOptions& options) {
    SharedEngine::Options shared;
    shared.seat.directory = path();
    shared.seat.region_directory = regions_.path();
    if (options.clock != nullptr) shared.clock = options.clock;
    shared.settings = options.settings;
    shared.hot_tier_bytes = hot_tier_bytes_;
    shared.hot_tier_delay = {};
    shared.open_store = StoreOpener(options);
    return SharedEngine::Open(std::move(shared));
  }

  const std::uint64_t hot_tier_bytes_;
  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
  std::unique_ptr<Engine> holder_;
};

class SharedModelPlace final : public SharedPlace {
 public:
  using SharedPlace::SharedPlace;

 private:
  SharedEngine::OpenStore StoreOpener(const EngineOptions& options) override {
    return [disk = disk_, options](const SharedEngine::StoreOpening&) {
      return SessionModel::Open(disk, options);
    };
  }
  const std::shared_ptr<SessionDisk> disk_ = std::make_shared<SessionDisk>();
};

class SharedStorePlace final : public SharedPlace {
 public:
  using SharedPlace::SharedPlace;

 private:
  SharedEngine::OpenStore StoreOpener(const EngineOptions& options) override {
    return [path = path(), options](const SharedEngine::StoreOpening& opening)
               -> Result<std::unique_ptr<SessionStore>> {
      EngineOptions wanted = options;
      if (!opening.by_open) wanted.settings.clear();
      return Store::Open(path, std::move(wanted));
    };
  }
};

template <typename Place>
EngineFactory Factory(std::string name, std::uint64_t hot_tier_bytes) {
  return {std::move(name),
          [hot_tier_bytes] { return std::make_unique<Place>(hot_tier_bytes); }};
}

INSTANTIATE_TEST_SUITE_P(
    Shared, EngineConformance,
    ::testing::Values(Factory<SharedModelPlace>("Rings", 0),
                      Factory<SharedModelPlace>("HotTier", 4U << 20),
                      Factory<SharedStorePlace>("StoreRings", 0),
                      Factory<SharedStorePlace>("StoreHotTier", 4U << 20)),
    [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace larder::testing
