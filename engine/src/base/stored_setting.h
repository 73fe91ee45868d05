#ifndef LARDER_ENGINE_SRC_BASE_STORED_SETTING_H_
#define LARDER_ENGINE_SRC_BASE_STORED_SETTING_H_

#include <string_view>

#include "larder/engine/settings.h"
#include "larder/engine/status.h"

namespace larder {

/// As WithSetting, for what somebody else has checked: it was read from the
/// directory, or comes from another process. A policy need not be registered in
/// this one. Errors: those of WithSetting.
[[nodiscard]] Result<Settings> WithStoredSetting(Settings settings,
                                                 std::string_view name,
                                                 std::string_view value);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_BASE_STORED_SETTING_H_
