// larder set.
//
// A value from standard input that is longer than one piece is streamed, so
// memory stays bounded; it appears whole and at once when the input has ended.

#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <unistd.h>

#include "commands/cache_access.h"
#include "commands/command_line.h"
#include "commands/number_option.h"
#include "commands/option_types.h"
#include "commands/output.h"
#include "commands/standard_streams.h"
#include "files/source_file.h"

namespace larder::tools {
namespace {

struct SetArguments {
  std::string directory;
  KeyArgument key;
  std::string value;
  std::optional<Duration> ttl;
  std::string tag;
  float cost = 1.0F;
  std::optional<std::uint64_t> version_expected;
  bool pinned = false;
  bool integer = false;
  bool if_absent = false;
  SettingList settings;
};

struct Stored {
  bool applied = false;
  std::uint64_t size_bytes = 0;
};

// All but the value.
SetCommand MakeSetCommand(const SetArguments& options) {
  SetCommand command;
  command.key = options.key.key;
  command.ttl = options.ttl;
  command.tag = options.tag;
  command.pinned = options.pinned;
  command.cost = options.cost;
  if (options.if_absent) {
    command.condition = SetCondition::kIfAbsent;
  } else if (options.version_expected) {
    command.condition = SetCondition::kIfVersion;
    command.version_expected = *options.version_expected;
  }
  return command;
}

// Fills `buffer` from standard input; fewer bytes only at its end.
Result<std::size_t> ReadInput(std::span<char> buffer) {
  std::size_t filled = 0;
  while (filled < buffer.size()) {
    const ssize_t count =
        ::read(STDIN_FILENO, buffer.data() + filled, buffer.size() - filled);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return Fail(Status::FromErrno(errno, "cannot read standard input"));
    }
    if (count == 0) {
      break;
    }
    filled += static_cast<std::size_t>(count);
  }
  return filled;
}

// Stores a value that is in memory through the facade, which may compress it.
Result<Stored> StoreBytes(Cache& cache, const SetCommand& command) {
  SetOptions options;
  options.ttl = command.ttl;
  options.tag = command.tag;
  options.pinned = command.pinned;
  options.cost = command.cost;
  Stored stored{.applied = true, .size_bytes = command.value.size()};
  if (command.condition == SetCondition::kIfAbsent) {
    const auto added = cache.Add(command.key, command.value, options);
    if (!added) {
      return Fail(added.error());
    }
    stored.applied = *added;
  } else if (command.condition == SetCondition::kIfVersion) {
    const auto version = cache.CompareAndSet(
        command.key, command.version_expected, command.value, options);
    if (!version) {
      return Fail(version.error());
    }
    stored.applied = version->has_value();
  } else {
    LARDER_FAIL_IF_ERROR(cache.Set(command.key, command.value, options));
  }
  return stored;
}

// Stores standard input, `buffer` being its first piece.
Result<Stored> StoreStream(Cache& cache, const SetCommand& command,
                           std::span<char> buffer) {
  auto writer = cache.engine().OpenWriter(command, 0);
  if (!writer) {
    return Fail(writer.error());
  }
  Stored stored;
  std::size_t filled = buffer.size();
  while (filled > 0) {
    LARDER_FAIL_IF_ERROR(
        (*writer)->Append(std::string_view(buffer.data(), filled)));
    stored.size_bytes += filled;
    const auto more = ReadInput(buffer);
    if (!more) {
      return Fail(more.error());
    }
    filled = *more;
  }
  const Reply reply = (*writer)->Commit();
  LARDER_FAIL_IF_ERROR(reply.status);
  stored.applied = reply.applied;
  return stored;
}

Result<Stored> StoreInput(Cache& cache, SetCommand command) {
  std::vector<char> buffer(kPieceSizeBytes);
  const auto filled = ReadInput(buffer);
  if (!filled) {
    return Fail(filled.error());
  }
  if (*filled == buffer.size()) {
    return StoreStream(cache, command, buffer);
  }
  command.value = std::string_view(buffer.data(), *filled);
  return StoreBytes(cache, command);
}

// Stores what `incr` works on.
Result<Stored> StoreInteger(Cache& cache, SetCommand command,
                            std::int64_t number) {
  std::array<char, 8> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * i));
  }
  command.value = std::string_view(bytes.data(), bytes.size());
  command.codec = kCodecInt64;
  const std::array<Command, 1> commands = {command};
  std::array<Reply, 1> replies;
  LARDER_FAIL_IF_ERROR(cache.engine().Execute(commands, replies));
  LARDER_FAIL_IF_ERROR(replies[0].status);
  return Stored{.applied = replies[0].applied, .size_bytes = bytes.size()};
}

Result<std::int64_t> ParseInteger(const std::string& text) {
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end) {
    return Fail(
        Status::ParseError("'" + text + "', expected an integer of 64 bits"));
  }
  return number;
}

int RunSet(const SetArguments& options, const OutputFormat& format) {
  const auto number = ParseInteger(options.integer ? options.value : "0");
  if (!number) {
    return ReportUsage("VALUE: " + number.error().ToString(),
                       "leave out --int to store text");
  }
  if (const Status key = CheckKeySize(options.key.key); !key.ok()) {
    return ReportError(key, options.directory);
  }
  const bool from_input = !options.integer && options.value == "-";
  if (const Status input = from_input ? CheckStandardInput() : Status();
      !input.ok()) {
    return ReportError(input, "VALUE is -", "nothing was changed");
  }
  const auto store = [&](Cache& cache) -> Result<int> {
    SetCommand command = MakeSetCommand(options);
    command.value = options.value;
    const auto stored = options.integer ? StoreInteger(cache, command, *number)
                        : from_input    ? StoreInput(cache, command)
                                        : StoreBytes(cache, command);
    if (!stored) {
      return Fail(stored.error());
    }
    if (format.json) {
      Json result = {{"stored", stored->applied}};
      AddBytes(result, "key", options.key.key);
      result["size_bytes"] = stored->size_bytes;
      PrintJson(result);
    }
    return stored->applied ? kExitOk : kExitMiss;
  };
  return CreateCache(options.directory, options.settings, format, store);
}

}  // namespace

void AddSetCommand(CommandLine& line) {
  auto options = std::make_shared<SetArguments>();
  CLI::App* command = line.AddCommand("set", "Store a value",
                                      [options](const OutputFormat& format) {
                                        return RunSet(*options, format);
                                      });
  AddDirectoryArgument(command, options->directory);
  AddKeyArgument(command, options->key);
  command
      ->add_option("VALUE", options->value,
                   "Value, or - for standard input of any size")
      ->required();
  AddDurationOption(command, "--ttl", options->ttl,
                    "Time to live, e.g. 60s or 1h30m; 0 or less is expired");
  command->add_option("--tag", options->tag, "Tag, at most 4096 bytes");
  AddNumberOption<float>(command, "--cost", options->cost, {.min = 0.0F},
                         "What a miss costs, relative to others");
  command->add_flag("--pin", options->pinned, "Never evict it");
  command->add_flag("--int", options->integer,
                    "Store VALUE as the integer that 'incr' works on");
  auto* absent = command->add_flag("--if-absent", options->if_absent,
                                   "Only if there is no live item");
  AddNumberOption<std::uint64_t>(command, "--if-version",
                                 options->version_expected, {},
                                 "Only if the item has this version (0: none)")
      ->excludes(absent);
  AddCreateOptions(command, options->settings);
}

}  // namespace larder::tools
