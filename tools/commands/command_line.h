#ifndef LARDER_TOOLS_COMMANDS_COMMAND_LINE_H_
#define LARDER_TOOLS_COMMANDS_COMMAND_LINE_H_

#include <functional>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

/// How the commands of `larder` register themselves. Each group of commands
/// has a function `void Add...Command(CommandLine&)`, listed in larder_main.cc.
/// Parsing only fills option structs and notes what is to be done; it is done
/// after the whole line has been understood.

namespace larder::tools {

/// What every command is told about its output.
struct OutputFormat {
  /// One JSON object on standard output instead of text.
  bool json = false;
  /// Lines of the engine for people go to standard error.
  bool verbose = false;
};

/// The command line of one run.
///
/// Threads: one thread.
class CommandLine {
 public:
  /// Returns the process's exit code, one of ExitCode.
  using Action = std::function<int(const OutputFormat& format)>;

  CommandLine();

  /// A new command with the flags that all have (--json, --verbose). The
  /// caller adds its options, bound to storage that `action` keeps alive.
  CLI::App* AddCommand(const std::string& name, const std::string& description,
                       Action action);

  /// Parses and runs; the exit code.
  int Run(int argc, const char* const* argv);

 private:
  CLI::App app_;
  OutputFormat format_;
  Action action_;
};

// The commands, in the order of the help text.
void AddSetCommand(CommandLine& line);
void AddItemCommands(CommandLine& line);      // get delete incr touch
void AddListCommands(CommandLine& line);      // keys inspect
void AddAdminCommands(CommandLine& line);     // stats ... settings
void AddCheckCommands(CommandLine& line);     // check repair reset
void AddAttachedCommands(CommandLine& line);  // attach top
void AddExportCommand(CommandLine& line);
void AddImportCommand(CommandLine& line);
void AddFillCommand(CommandLine& line);
void AddBenchCommand(CommandLine& line);
void AddRecordCommand(CommandLine& line);
void AddReplayCommand(CommandLine& line);
void AddTortureCommand(CommandLine& line);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_COMMANDS_COMMAND_LINE_H_
