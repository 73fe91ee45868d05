#ifndef LARDER_TOOLS_OPTION_TYPES_H_
#define LARDER_TOOLS_OPTION_TYPES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "larder/engine/clock.h"

/// Options whose text larder reads itself. What is malformed is refused while
/// the command line is parsed, before anything is opened.

namespace larder::tools {

/// DIR, required.
void AddDirectoryArgument(CLI::App* command, std::string& directory);

/// KEY, required, decoded if --key-base64 is there.
struct KeyArgument {
  std::string key;
  bool base64 = false;
};
void AddKeyArgument(CLI::App* command, KeyArgument& argument);

/// KEY..., one or more.
struct KeysArgument {
  std::vector<std::string> keys;
  bool base64 = false;
};
void AddKeysArgument(CLI::App* command, KeysArgument& argument);

/// A time like "1h30m".
CLI::Option* AddDurationOption(CLI::App* command, const std::string& name,
                               std::optional<Duration>& target,
                               const std::string& description);
/// A size like "64MiB".
CLI::Option* AddByteCountOption(CLI::App* command, const std::string& name,
                                std::optional<std::uint64_t>& target,
                                const std::string& description);

/// Settings given to a command that may create its cache, for
/// EngineOptions::settings.
using SettingList = std::vector<std::pair<std::string, std::string>>;
/// --size-limit and --setting NAME=VALUE.
void AddCreateOptions(CLI::App* command, SettingList& settings);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_OPTION_TYPES_H_
