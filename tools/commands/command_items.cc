// The commands on one item but set: get, delete, incr, touch.

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "larder/serializers/codec_id.h"

#include "commands/cache_access.h"
#include "commands/command_line.h"
#include "commands/number_option.h"
#include "commands/option_types.h"
#include "commands/output.h"
#include "commands/value_text.h"
#include "files/source_file.h"

namespace larder::tools {
namespace {

/// Stored values from this size are streamed by `get`, in pieces.
constexpr std::uint64_t kStreamedValueSizeBytesMin = 8 << 20;

// get ------------------------------------------------------------------------

struct GetOptions {
  std::string directory;
  KeyArgument key;
  bool raw = false;
};

int ReportMiss(const std::string& key, const OutputFormat& format) {
  if (format.json) {
    Json result = {{"found", false}};
    AddBytes(result, "key", key);
    PrintJson(result);
  }
  return kExitMiss;
}

Result<int> PrintStream(Cache& cache, const std::string& key,
                        const OutputFormat& format) {
  auto reader = cache.OpenReader(key);
  if (!reader) {
    return Fail(reader.error());
  }
  if (*reader == nullptr) {
    return ReportMiss(key, format);
  }
  std::vector<char> buffer(kPieceSizeBytes);
  while (std::ferror(stdout) == 0) {  // FinishOutput reports that.
    const auto count = (*reader)->Read(buffer);
    if (!count) {
      return Fail(count.error());
    }
    if (*count == 0) {
      break;
    }
    Print(std::string_view(buffer.data(), *count));
  }
  return kExitOk;
}

void PrintValueJson(const std::string& key, const Value& value) {
  Json result = {{"found", true}};
  result.update(ItemJson(key, value.info, Clock::System()->Now()));
  const auto number = NumberText(value.info.codec, value.bytes());
  if (number) {
    result["value"] = Json::parse(*number, nullptr, false);
  } else {
    AddBytes(result, "value", value.bytes());
  }
  PrintJson(result);
}

Result<int> PrintValue(Cache& cache, const GetOptions& options,
                       const OutputFormat& format) {
  const auto value = cache.Get(options.key.key);
  if (!value) {
    return Fail(value.error());
  }
  if (!value->has_value()) {
    return ReportMiss(options.key.key, format);
  }
  if (format.json) {
    PrintValueJson(options.key.key, **value);
    return kExitOk;
  }
  const auto number = NumberText((*value)->info.codec, (*value)->bytes());
  Print(number && !options.raw ? *number : (*value)->bytes());
  return kExitOk;
}

int RunGet(const GetOptions& options, const OutputFormat& format) {
  const auto get = [&](Cache& cache) -> Result<int> {
    const auto info = cache.Inspect(options.key.key);
    if (!info) {
      return Fail(info.error());
    }
    const bool stream = info->has_value() && !format.json &&
                        !IsCompressed((*info)->codec) &&
                        (*info)->size_bytes >= kStreamedValueSizeBytesMin;
    return stream ? PrintStream(cache, options.key.key, format)
                  : PrintValue(cache, options, format);
  };
  return ReadCache(options.directory, format, get);
}

void AddGet(CommandLine& line) {
  auto options = std::make_shared<GetOptions>();
  CLI::App* command =
      line.AddCommand("get", "Print the value of a key, byte for byte",
                      [options](const OutputFormat& format) {
                        return RunGet(*options, format);
                      });
  AddDirectoryArgument(command, options->directory);
  AddKeyArgument(command, options->key);
  command->add_flag("--raw", options->raw,
                    "Stored bytes even of numbers, which are text otherwise");
}

// delete ---------------------------------------------------------------------

struct DeleteOptions {
  std::string directory;
  KeyArgument key;
};

int RunDelete(const DeleteOptions& options, const OutputFormat& format) {
  const auto erase = [&](Cache& cache) -> Result<int> {
    const auto deleted = cache.Delete(options.key.key);
    if (!deleted) {
      return Fail(deleted.error());
    }
    if (format.json) {
      Json result = {{"deleted", *deleted}};
      AddBytes(result, "key", options.key.key);
      PrintJson(result);
    }
    return *deleted ? kExitOk : kExitMiss;
  };
  return ChangeCache(options.directory, format, erase);
}

void AddDelete(CommandLine& line) {
  auto options = std::make_shared<DeleteOptions>();
  CLI::App* command = line.AddCommand("delete", "Delete a key",
                                      [options](const OutputFormat& format) {
                                        return RunDelete(*options, format);
                                      });
  AddDirectoryArgument(command, options->directory);
  AddKeyArgument(command, options->key);
}

// incr -----------------------------------------------------------------------

struct IncrOptions {
  std::string directory;
  KeyArgument key;
  std::int64_t delta = 1;
  std::int64_t initial = 0;
  std::optional<Duration> ttl;
  std::string tag;
  SettingList settings;
};

int RunIncr(const IncrOptions& options, const OutputFormat& format) {
  if (const Status key = CheckKeySize(options.key.key); !key.ok()) {
    return ReportError(key, options.directory);
  }
  const auto incr = [&](Cache& cache) -> Result<int> {
    SetOptions set;
    set.ttl = options.ttl;
    set.tag = options.tag;
    const auto number =
        cache.Incr(options.key.key, options.delta, options.initial, set);
    if (!number) {
      return Fail(number.error());
    }
    if (format.json) {
      Json result;
      AddBytes(result, "key", options.key.key);
      result["value"] = *number;
      PrintJson(result);
    } else {
      Print(fmt::format("{}\n", *number));
    }
    return kExitOk;
  };
  return CreateCache(options.directory, options.settings, format, incr);
}

void AddIncr(CommandLine& line) {
  auto options = std::make_shared<IncrOptions>();
  CLI::App* command =
      line.AddCommand("incr", "Add to an integer and print the new one",
                      [options](const OutputFormat& format) {
                        return RunIncr(*options, format);
                      });
  AddDirectoryArgument(command, options->directory);
  AddKeyArgument(command, options->key);
  AddNumberOption<std::int64_t>(command, "N", options->delta, {},
                                "What to add, 1 by default");
  AddNumberOption<std::int64_t>(command, "--initial", options->initial, {},
                                "What an absent key counts from, 0 by default");
  AddDurationOption(command, "--ttl", options->ttl,
                    "Time to live of a new key");
  command->add_option("--tag", options->tag, "Tag of a new key");
  AddCreateOptions(command, options->settings);
}

// touch ----------------------------------------------------------------------

struct TouchOptions {
  std::string directory;
  KeyArgument key;
  std::optional<Duration> ttl;
};

int RunTouch(const TouchOptions& options, const OutputFormat& format) {
  const auto touch = [&](Cache& cache) -> Result<int> {
    const auto touched = cache.Touch(options.key.key, options.ttl);
    if (!touched) {
      return Fail(touched.error());
    }
    if (format.json) {
      Json result = {{"touched", *touched}};
      AddBytes(result, "key", options.key.key);
      PrintJson(result);
    }
    return *touched ? kExitOk : kExitMiss;
  };
  return ChangeCache(options.directory, format, touch);
}

void AddTouch(CommandLine& line) {
  auto options = std::make_shared<TouchOptions>();
  CLI::App* command = line.AddCommand("touch", "Give a key a new time to live",
                                      [options](const OutputFormat& format) {
                                        return RunTouch(*options, format);
                                      });
  AddDirectoryArgument(command, options->directory);
  AddKeyArgument(command, options->key);
  AddDurationOption(command, "--ttl", options->ttl,
                    "Time to live from now; without it the key never expires");
}

}  // namespace

void AddItemCommands(CommandLine& line) {
  AddGet(line);
  AddDelete(line);
  AddIncr(line);
  AddTouch(line);
}

}  // namespace larder::tools
