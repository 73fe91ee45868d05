#include "commands/command_line.h"
#include "commands/standard_streams.h"

int main(int argc, char** argv) {
  using namespace larder::tools;  // NOLINT(google-build-using-namespace)
  KeepStandardDescriptors();
  CommandLine line;
  AddSetCommand(line);
  AddItemCommands(line);
  AddListCommands(line);
  AddAdminCommands(line);
  AddCheckCommands(line);
  AddAttachedCommands(line);
  AddExportCommand(line);
  AddImportCommand(line);
  AddFillCommand(line);
  AddBenchCommand(line);
  AddRecordCommand(line);
  AddReplayCommand(line);
  AddTortureCommand(line);
  return line.Run(argc, argv);
}
