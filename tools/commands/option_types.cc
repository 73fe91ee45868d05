#include "commands/option_types.h"

#include "larder/engine/settings.h"

#include "commands/output.h"

namespace larder::tools {
namespace {

// The value, or CLI11's way to refuse an option.
template <typename T>
T ValueOrRefuse(const std::string& option, Result<T> parsed) {
  if (!parsed) {
    throw CLI::ValidationError(option, parsed.error().ToString());
  }
  return *std::move(parsed);
}

}  // namespace

void AddDirectoryArgument(CLI::App* command, std::string& directory) {
  command
      ->add_option_function<std::string>(
          "DIR",
          [&directory](const std::string& text) {
            if (text.empty()) {
              throw CLI::ValidationError("DIR", "is empty, expected a path");
            }
            directory = text;
          },
          "Cache directory")
      ->required();
}

void AddKeyArgument(CLI::App* command, KeyArgument& argument) {
  // The flag comes first: options are handed over in the order of their
  // declaration.
  command->add_flag("--key-base64", argument.base64, "KEY is given in base64");
  command
      ->add_option_function<std::string>(
          "KEY",
          [&argument](const std::string& text) {
            argument.key = argument.base64
                               ? ValueOrRefuse("KEY", DecodeBase64(text))
                               : text;
          },
          "Key, 0 to 65536 bytes")
      ->required();
}

void PathsArgument::AddTo(CLI::App* command) {
  command_ = command;
  command
      ->add_option("PATH", first_,
                   "Files and directories; links below them are not followed")
      ->required()
      ->option_text("... REQUIRED");
  command->allow_extras();
}

Result<std::vector<std::string>> PathsArgument::paths() const {
  std::vector<std::string> paths = {first_};
  for (const std::string& path : command_->remaining()) {
    if (path.starts_with('-')) {
      return Fail(Status::ParseError("unknown option '" + path + "', write ./" +
                                     path + " for a path"));
    }
    paths.push_back(path);
  }
  return paths;
}

CLI::Option* AddDurationOption(CLI::App* command, const std::string& name,
                               std::optional<Duration>& target,
                               const std::string& description) {
  return command
      ->add_option_function<std::string>(
          name,
          [&target, name](const std::string& text) {
            target = ValueOrRefuse(name, ParseDuration(text));
          },
          description)
      ->type_name("TIME");
}

CLI::Option* AddByteCountOption(CLI::App* command, const std::string& name,
                                std::optional<std::uint64_t>& target,
                                const std::string& description) {
  return command
      ->add_option_function<std::string>(
          name,
          [&target, name](const std::string& text) {
            target = ValueOrRefuse(name, ParseByteCount(text));
          },
          description)
      ->type_name("SIZE");
}

void AddCreateOptions(CLI::App* command, SettingList& settings) {
  command
      ->add_option_function<std::string>(
          "--size-limit",
          [&settings](const std::string& text) {
            ValueOrRefuse("--size-limit", ParseByteCount(text));
            settings.emplace_back("size_limit", text);
          },
          "Limit of the whole directory, e.g. 512MiB")
      ->type_name("SIZE");
  command
      ->add_option_function<std::vector<std::string>>(
          "--setting",
          [&settings](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) {
              const std::size_t at = text.find('=');
              if (at == std::string::npos || at == 0) {
                throw CLI::ValidationError(
                    "--setting", "'" + text + "', expected NAME=VALUE");
              }
              settings.emplace_back(text.substr(0, at), text.substr(at + 1));
            }
          },
          "A setting, see 'larder settings'; may be repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
}

}  // namespace larder::tools
