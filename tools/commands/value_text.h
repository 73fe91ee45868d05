#ifndef LARDER_TOOLS_COMMANDS_VALUE_TEXT_H_
#define LARDER_TOOLS_COMMANDS_VALUE_TEXT_H_

#include <optional>
#include <string>
#include <string_view>

#include "larder/engine/command.h"

/// Values for people: numbers that programs (or `larder incr`) stored in binary
/// are shown as text, all else is its bytes.

namespace larder::tools {

/// The text of a number or truth value; nullopt for every other codec and for
/// bytes that do not fit the codec.
std::optional<std::string> NumberText(CodecId codec, std::string_view bytes);

/// "bytes", "int64", "json" and so on, "compressed " before it where it is.
std::string CodecText(CodecId codec);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_COMMANDS_VALUE_TEXT_H_
