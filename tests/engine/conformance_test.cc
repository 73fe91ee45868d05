#include "engine/conformance_suite.h"
#include "model_engine.h"

namespace larder::testing {
namespace {

class ModelPlace final : public EnginePlace {
 public:
  Result<std::unique_ptr<Engine>> Open(const EngineOptions& options) override {
    return ModelEngine::Open(disk_, options);
  }

 private:
  std::shared_ptr<ModelDisk> disk_ = std::make_shared<ModelDisk>();
};

std::string NameOf(const ::testing::TestParamInfo<EngineFactory>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Engines, EngineConformance,
                         ::testing::Values(EngineFactory{
                             "Model",
                             [] { return std::make_unique<ModelPlace>(); }}),
                         NameOf);

}  // namespace
}  // namespace larder::testing
