// larder keys and larder inspect: what is in the cache, without its values.

#include <cstdio>
#include <limits>
#include <memory>
#include <string>

#include <fmt/format.h>

#include "commands/cache_access.h"
#include "commands/command_line.h"
#include "commands/number_option.h"
#include "commands/option_types.h"
#include "commands/output.h"
#include "commands/value_text.h"

namespace larder::tools {
namespace {

constexpr std::size_t kPageCount = 1024;

// keys -----------------------------------------------------------------------

struct KeysOptions {
  std::string directory;
  ScanOptions scan;
  std::optional<std::string> begin;
  std::optional<std::string> end;
  std::uint64_t count_max = std::numeric_limits<std::uint64_t>::max();
  bool end_with_nul = false;
  bool details = false;
};

// Prints the items of one scan, page by page.
class KeyPrinter {
 public:
  KeyPrinter(const KeysOptions& options, const OutputFormat& format)
      : options_(options), format_(format) {}

  void Begin() {
    if (format_.json) {
      Print("{\"keys\":[");
    }
  }
  void Item(const ScanItem& item) {
    if (format_.json) {
      Print(count_ == 0 ? "\n" : ",\n");
      Print(DumpJson(ItemJson(item.key, item.info, now_)));
    } else {
      if (options_.details) {
        Print(fmt::format("{:>12} {:<27} {:<27} {:<16} ", item.info.size_bytes,
                          FormatTime(item.info.stored_at),
                          FormatTime(item.info.expires_at),
                          item.info.tag.empty() ? "-" : item.info.tag));
      }
      Print(item.key);
      Print(options_.end_with_nul ? std::string_view("\0", 1) : "\n");
    }
    ++count_;
  }
  void End() {
    if (format_.json) {
      Print(fmt::format("],\n\"count\":{}}}\n", count_));
    }
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  const KeysOptions& options_;
  const OutputFormat& format_;
  TimePoint now_ = Clock::System()->Now();
  std::uint64_t count_ = 0;
};

int RunKeys(const KeysOptions& options, const OutputFormat& format) {
  const auto list = [&](Cache& cache) -> Result<int> {
    ScanOptions scan_options = options.scan;
    scan_options.begin = options.begin;
    scan_options.end = options.end;
    auto scan = cache.OpenScan(scan_options);
    if (!scan) {
      return Fail(scan.error());
    }
    KeyPrinter printer(options, format);
    printer.Begin();
    bool more = true;
    while (more && printer.count() < options.count_max &&
           std::ferror(stdout) == 0) {
      const std::uint64_t left = options.count_max - printer.count();
      const std::size_t wanted = left < kPageCount ? left : kPageCount;
      const auto page = (*scan)->Next(wanted);
      if (!page) {
        return Fail(page.error());
      }
      for (const ScanItem& item : *page) {
        printer.Item(item);
      }
      more = page->size() == wanted;
    }
    printer.End();
    return kExitOk;
  };
  return ReadCache(options.directory, format, list);
}

void AddKeys(CommandLine& line) {
  auto options = std::make_shared<KeysOptions>();
  CLI::App* command =
      line.AddCommand("keys", "List the live keys in byte order",
                      [options](const OutputFormat& format) {
                        return RunKeys(*options, format);
                      });
  AddDirectoryArgument(command, options->directory);
  command->add_option("--prefix", options->scan.prefix,
                      "Only keys that begin with it");
  command->add_option("--tag", options->scan.tag, "Only items with this tag");
  command->add_option("--begin", options->begin, "Only keys from this one");
  command->add_option("--end", options->end, "Only keys before this one");
  command->add_flag("--reverse", options->scan.reverse, "Last key first");
  AddNumberOption<std::uint64_t>(command, "--limit", options->count_max, {},
                                 "At most so many");
  command->add_flag("-l,--long", options->details,
                    "Size, stored at, expires at and tag before each key");
  command->add_flag("-0,--null", options->end_with_nul,
                    "A zero byte after each key instead of a new line");
}

// inspect --------------------------------------------------------------------

struct InspectOptions {
  std::string directory;
  KeyArgument key;
};

std::string InspectText(const ItemInfo& info) {
  return fmt::format(
      "size      {} B\nversion   {}\ntag       {}\nstored    {}\n"
      "expires   {}\nfrequency {}\ncodec     {}\npinned    {}\n",
      info.size_bytes, info.version, info.tag.empty() ? "-" : info.tag,
      FormatTime(info.stored_at), FormatTime(info.expires_at), info.frequency,
      CodecText(info.codec), info.pinned ? "yes" : "no");
}

int RunInspect(const InspectOptions& options, const OutputFormat& format) {
  const auto inspect = [&](Cache& cache) -> Result<int> {
    const auto info = cache.Inspect(options.key.key);
    if (!info) {
      return Fail(info.error());
    }
    const bool found = info->has_value();
    if (format.json) {
      Json result = {{"found", found}};
      if (found) {
        result.update(
            ItemJson(options.key.key, **info, Clock::System()->Now()));
      } else {
        AddBytes(result, "key", options.key.key);
      }
      PrintJson(result);
    } else if (found) {
      Print(InspectText(**info));
    }
    return found ? kExitOk : kExitMiss;
  };
  return ReadCache(options.directory, format, inspect);
}

void AddInspect(CommandLine& line) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = line.AddCommand("inspect", "Show what is known of a key",
                                      [options](const OutputFormat& format) {
                                        return RunInspect(*options, format);
                                      });
  AddDirectoryArgument(command, options->directory);
  AddKeyArgument(command, options->key);
}

}  // namespace

void AddListCommands(CommandLine& line) {
  AddKeys(line);
  AddInspect(line);
}

}  // namespace larder::tools
