#include "engine/conformance/conformance_suite.h"

namespace larder::testing {
namespace {

INSTANTIATE_TEST_SUITE_P(Engines, EngineConformance,
                         ::testing::Values(ModelFactory(), StoreFactory()),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace larder::testing
