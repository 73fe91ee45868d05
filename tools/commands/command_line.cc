#include "commands/command_line.h"

#include <utility>

#include "commands/output.h"

namespace larder::tools {

CommandLine::CommandLine()
    : app_("larder: an embeddable, log-structured disk cache", "larder") {
  app_.require_subcommand(1);
  app_.set_version_flag("--version", std::string("larder ") + LARDER_VERSION);
  app_.get_formatter()->column_width(32);
  app_.footer(
      "DIR is a cache directory. Sizes are like 64MiB, times like 1h30m.\n"
      "Exit codes: 0 ok, 1 miss or false, 2 usage, 3 error.\n"
      "A KEY or VALUE that begins with '-' comes after '--'.");
}

CLI::App* CommandLine::AddCommand(const std::string& name,
                                  const std::string& description,
                                  Action action) {
  CLI::App* command = app_.add_subcommand(name, description);
  command->add_flag("--json", format_.json, "Print one JSON object");
  command->add_flag("--verbose", format_.verbose,
                    "Show what the engine has to say on standard error");
  command->callback([this, action = std::move(action)] { action_ = action; });
  return command;
}

int CommandLine::Run(int argc, const char* const* argv) try {
  try {
    app_.parse(argc, argv);
  } catch (const CLI::Success& asked_for_help) {
    app_.exit(asked_for_help);
    return FinishOutput(kExitOk);
  } catch (const CLI::ParseError& error) {
    const auto commands = app_.get_subcommands();
    if (!commands.empty()) {
      return ReportUsage(
          error.what(),
          "see 'larder " + commands.front()->get_name() + " --help'");
    }
    const std::string what =
        argc > 1 ? "unknown command '" + std::string(argv[1]) + "'"
                 : "a command is missing";
    return ReportUsage(what, "see 'larder --help'");
  }
  return FinishOutput(action_(format_));
} catch (const std::exception& error) {
  return ReportError(Status::Internal(error.what()), {});
}

}  // namespace larder::tools
