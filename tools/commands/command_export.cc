// larder export.
//
// It streams: one scan without values names the items, and runs of small ones
// are read by scans of their own, up to kGroupBytesMax at a time; a large value
// passes in pieces. So memory is bounded, and neither statistics nor the policy
// notice, but for large values. Values travel as they are stored, compressed
// ones too, with their codec, so any larder gives back the same typed value.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "commands/cache_access.h"
#include "commands/command_line.h"
#include "commands/interruption.h"
#include "commands/option_types.h"
#include "commands/output.h"
#include "files/byte_sink.h"
#include "files/export_format.h"

namespace larder::tools {
namespace {

constexpr std::size_t kItemPageCount = 1024;
constexpr std::size_t kValuePageCount = 16;
/// Values that one scan is opened for.
constexpr std::uint64_t kGroupBytesMax = 16 << 20;

struct ExportOptions {
  std::string directory;
  std::string file;
  ScanOptions scan;
  bool zstd = false;
};

ExportItem DescribeItem(const std::string& key, const ItemInfo& info) {
  ExportItem item;
  item.key = key;
  item.tag = info.tag;
  item.value_size_bytes = info.size_bytes;
  item.stored_at = info.stored_at;
  item.expires_at = info.expires_at;
  item.codec = info.codec;
  item.pinned = info.pinned;
  return item;
}

// A large value. It may have been replaced since it was scanned: the value that
// is there now is exported, with its metadata.
Status ExportStream(Engine& engine, const std::string& key,
                    ExportWriter& writer) {
  auto reader = engine.OpenReader(key);
  if (!reader) {
    return reader.error();
  }
  if (*reader == nullptr) {
    return Status::Ok();
  }
  ExportItem item = DescribeItem(key, (*reader)->info());
  item.in_pieces = true;
  LARDER_RETURN_IF_ERROR(writer.WriteItem(item));
  std::vector<char> buffer(kExportPieceSizeBytesMax);
  for (;;) {
    const auto count = (*reader)->Read(buffer);
    if (!count) {
      Note(fmt::format("export: an item is left out: {}",
                       count.error().ToString()));
      return writer.EndPieces(false);
    }
    if (*count == 0) {
      return writer.EndPieces(true);
    }
    LARDER_RETURN_IF_ERROR(
        writer.WritePiece(std::string_view(buffer.data(), *count)));
  }
}

Status ExportScanned(const ScanItem& scanned, ExportWriter& writer) {
  ExportItem item = DescribeItem(scanned.key, scanned.info);
  const std::string_view value = scanned.value.bytes();
  if (value.size() <= kExportPieceSizeBytesMax) {
    item.value = value;
    return writer.WriteItem(item);
  }
  item.in_pieces = true;  // It was small when its group was made.
  LARDER_RETURN_IF_ERROR(writer.WriteItem(item));
  for (std::size_t i = 0; i < value.size(); i += kExportPieceSizeBytesMax) {
    LARDER_RETURN_IF_ERROR(
        writer.WritePiece(value.substr(i, kExportPieceSizeBytesMax)));
  }
  return writer.EndPieces(true);
}

// Exports one cache.
class Exporter {
 public:
  Exporter(Engine& engine, const ScanOptions& options, ExportWriter& writer)
      : engine_(engine), options_(options), writer_(writer) {}

  Status Run() {
    LARDER_RETURN_IF_ERROR(writer_.WriteHeader(Clock::System()->Now()));
    auto scan = engine_.OpenScan(options_);
    if (!scan) {
      return scan.error();
    }
    for (;;) {
      const auto page = (*scan)->Next(kItemPageCount);
      if (!page) {
        return page.error();
      }
      for (const ScanItem& item : *page) {
        LARDER_RETURN_IF_ERROR(Add(item));
      }
      if (page->size() < kItemPageCount) {
        break;
      }
    }
    LARDER_RETURN_IF_ERROR(ExportGroup());
    return writer_.Commit();
  }

 private:
  // Adds an item to the group, or exports the group and then the item.
  Status Add(const ScanItem& item) {
    if (item.info.size_bytes > kExportPieceSizeBytesMax) {
      LARDER_RETURN_IF_ERROR(ExportGroup());
      return ExportStream(engine_, item.key, writer_);
    }
    if (group_count_++ == 0) {
      group_first_ = item.key;
    }
    group_last_ = item.key;
    group_bytes_ += item.info.size_bytes;
    return group_bytes_ < kGroupBytesMax ? Status::Ok() : ExportGroup();
  }

  // The items of the group that are still there, with their values.
  Status ExportGroup() {
    if (group_count_ == 0) {
      return Status::Ok();
    }
    ScanOptions options = options_;
    options.with_values = true;
    options.begin = std::move(group_first_);
    options.end = std::move(group_last_) + '\0';  // The next possible key.
    group_count_ = 0;
    group_bytes_ = 0;
    auto scan = engine_.OpenScan(options);
    if (!scan) {
      return scan.error();
    }
    for (;;) {
      const auto page = (*scan)->Next(kValuePageCount);
      if (!page) {
        return page.error();
      }
      for (const ScanItem& item : *page) {
        LARDER_RETURN_IF_ERROR(ExportScanned(item, writer_));
      }
      if (page->size() < kValuePageCount) {
        return Status::Ok();
      }
    }
  }

  Engine& engine_;
  const ScanOptions& options_;
  ExportWriter& writer_;
  std::uint64_t group_count_ = 0;
  std::uint64_t group_bytes_ = 0;
  std::string group_first_;
  std::string group_last_;
};

int RunExport(const ExportOptions& options, const OutputFormat& format) {
  const bool to_output = ByteSink::IsStandardOutput(options.file);
  if (to_output && format.json) {
    return ReportUsage("--json with standard output as FILE",
                       "export to a file, or leave out --json");
  }
  // Before the cache has descriptors, one of which FILE might name.
  auto sink = ByteSink::Create(options.file,
                               options.zstd || options.file.ends_with(".zst")
                                   ? SinkCompression::kZstd
                                   : SinkCompression::kNone);
  if (!sink) {
    return ReportError(sink.error(), options.file, "check its directory");
  }
  ExportWriter writer(*std::move(sink));
  const auto run = [&](Cache& cache) -> Result<int> {
    const Status status = Exporter(cache.engine(), options.scan, writer).Run();
    if (!status.ok()) {
      return ReportError(status, options.directory,
                         options.file + " was not written");
    }
    if (format.json) {
      PrintJson({{"file", options.file},
                 {"items", writer.item_count()},
                 {"bytes", writer.value_bytes()},
                 {"file_bytes", writer.file_size_bytes()}});
    } else if (!to_output) {
      Print(fmt::format("{} items, {} exported to {} ({})\n",
                        writer.item_count(),
                        FormatRoughBytes(writer.value_bytes()), options.file,
                        FormatRoughBytes(writer.file_size_bytes())));
    }
    return kExitOk;
  };
  return ReadCache(options.directory, format, run);
}

}  // namespace

void AddExportCommand(CommandLine& line) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command = line.AddCommand(
      "export", "Write the items to a portable file",
      [options](const OutputFormat& format) {
        const int code = RunExport(*options, format);
        Interruption::EndIfNoted();  // Nothing half-written is left.
        return code;
      });
  AddDirectoryArgument(command, options->directory);
  command
      ->add_option("FILE", options->file,
                   "File, compressed if it ends in .zst; - for standard output")
      ->required();
  command->add_option("--prefix", options->scan.prefix,
                      "Only keys that begin with it");
  command->add_option("--tag", options->scan.tag, "Only items with this tag");
  command->add_flag("--zstd", options->zstd,
                    "Compress, whatever the file's name");
}

}  // namespace larder::tools
