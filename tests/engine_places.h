#ifndef LARDER_TESTS_ENGINE_PLACES_H_
#define LARDER_TESTS_ENGINE_PLACES_H_

#include <functional>
#include <memory>
#include <string>

#include "larder/engine/engine.h"

#include "model_engine.h"
#include "temporary_directory.h"

namespace larder::testing {

/// Where an engine keeps its items; opened again and again by one test.
class EnginePlace {
 public:
  virtual ~EnginePlace() = default;
  virtual Result<std::unique_ptr<Engine>> Open(
      const EngineOptions& options) = 0;
};

struct EngineFactory {
  std::string name;
  std::function<std::unique_ptr<EnginePlace>()> make_place;
};

inline void PrintTo(const EngineFactory& factory, std::ostream* out) {
  *out << factory.name;
}

class ModelPlace final : public EnginePlace {
 public:
  Result<std::unique_ptr<Engine>> Open(const EngineOptions& options) override {
    return ModelEngine::Open(disk_, options);
  }

 private:
  std::shared_ptr<ModelDisk> disk_ = std::make_shared<ModelDisk>();
};

/// A fresh directory, in memory where that can be had.
class StorePlace final : public EnginePlace {
 public:
  Result<std::unique_ptr<Engine>> Open(const EngineOptions& options) override {
    return OpenEngine(directory_.path() / "cache", options);
  }

 private:
  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
};

inline EngineFactory ModelFactory() {
  return {"Model", [] { return std::make_unique<ModelPlace>(); }};
}
inline EngineFactory StoreFactory() {
  return {"Store", [] { return std::make_unique<StorePlace>(); }};
}

}  // namespace larder::testing

#endif  // LARDER_TESTS_ENGINE_PLACES_H_
