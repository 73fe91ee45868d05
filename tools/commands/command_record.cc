// larder record: run a service so that it records what it asks of a cache.

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <unistd.h>

#include "commands/command_line.h"
#include "commands/option_types.h"
#include "commands/output.h"

namespace larder::tools {
namespace {

struct RecordArguments {
  std::string directory;
  std::string file;
  std::vector<std::string> command;
};

// The service opens the cache in its own process, and only there can its
// requests be seen: Open finds these variables (RecordOptionsFor).
Status Become(RecordArguments& options) {
  std::error_code error;
  const auto directory =
      std::filesystem::weakly_canonical(options.directory, error);
  if (error) return Status::FromErrno(error.value(), options.directory);
  const auto file = std::filesystem::absolute(options.file, error);
  if (error) return Status::FromErrno(error.value(), options.file);
  ::setenv("LARDER_RECORD_DIRECTORY", directory.c_str(), 1);
  ::setenv("LARDER_RECORD", file.c_str(), 1);
  std::vector<char*> arguments;
  for (std::string& argument : options.command) {
    arguments.push_back(argument.data());
  }
  arguments.push_back(nullptr);
  ::execvp(arguments.front(), arguments.data());
  return Status::FromErrno(errno, options.command.front());
}

}  // namespace

void AddRecordCommand(CommandLine& line) {
  const auto options = std::make_shared<RecordArguments>();
  CLI::App* command = line.AddCommand(
      "record",
      "Run a command that records what it asks of the cache, for replay",
      [options](const OutputFormat&) {
        return ReportError(Become(*options), "record");
      });
  AddDirectoryArgument(command, options->directory);
  command
      ->add_option("FILE", options->file,
                   "Trace to write, .csv or .csv.zst; %p = process number")
      ->required();
  command
      ->add_option("COMMAND", options->command,
                   "After --: the program and its arguments")
      ->required()
      ->option_text("-- COMMAND...");
}

}  // namespace larder::tools
