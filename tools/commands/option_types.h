#ifndef LARDER_TOOLS_COMMANDS_OPTION_TYPES_H_
#define LARDER_TOOLS_COMMANDS_OPTION_TYPES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "larder/engine/clock.h"
#include "larder/engine/status.h"

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

/// PATH..., one or more. CLI11 would take "[a,b]" for a list in an option of
/// many values, so all but the first come as what CLI11 leaves over.
class PathsArgument {
 public:
  void AddTo(CLI::App* command);
  /// After parsing. Errors: kParseError (an option that there is not).
  [[nodiscard]] Result<std::vector<std::string>> paths() const;

 private:
  CLI::App* command_ = nullptr;
  std::string first_;
};

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

#endif  // LARDER_TOOLS_COMMANDS_OPTION_TYPES_H_
