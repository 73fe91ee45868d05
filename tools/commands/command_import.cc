// larder import.
//
// Nothing of a frame is used before its checksum was found right, so a damaged
// file stores whole and true items up to the damage and nothing after it.

#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "commands/cache_access.h"
#include "commands/command_line.h"
#include "commands/option_types.h"
#include "commands/output.h"
#include "commands/standard_streams.h"
#include "files/export_format.h"
#include "files/set_batch.h"
#include "replay/trace_source.h"

namespace larder::tools {
namespace {

constexpr std::string_view kFileRemedy = "give a file of 'larder export'";

struct ImportOptions {
  std::string directory;
  std::string file;
  SettingList settings;
  bool if_absent = false;
};

// Stores the items of one export file.
class Importer {
 public:
  Importer(Engine& engine, const ImportOptions& options)
      : engine_(engine), options_(options), batch_(engine) {}

  /// REQUIRES: the header has been read.
  Status Run(ExportReader& reader) {
    for (;;) {
      const auto frame = reader.Next();
      if (!frame) {
        LARDER_RETURN_IF_ERROR(batch_.Flush());
        return frame.error();
      }
      if (*frame == ExportFrame::kFileEnd) {
        return batch_.Flush();
      }
      LARDER_RETURN_IF_ERROR(Handle(*frame, reader));
    }
  }

  [[nodiscard]] BatchCounts counts() const {
    BatchCounts all = streamed_;
    all += batch_.counts();
    return all;
  }
  [[nodiscard]] std::uint64_t expired() const { return expired_; }

 private:
  Status Handle(ExportFrame frame, const ExportReader& reader) {
    switch (frame) {
      case ExportFrame::kItem:
        return BeginItem(reader.item());
      case ExportFrame::kPiece:
        return writer_ == nullptr ? Status::Ok() : AppendPiece(reader.piece());
      case ExportFrame::kPiecesEnd:
        return CommitPieces();
      case ExportFrame::kPiecesDropped:
      case ExportFrame::kFileEnd:
        writer_.reset();
        return Status::Ok();
    }
    return Status::Internal("unknown frame");
  }

  Status BeginItem(const ExportItem& item) {
    SetCommand command;
    command.key = item.key;
    command.tag = item.tag;
    command.value = item.value;
    command.codec = item.codec;
    command.pinned = item.pinned;
    if (options_.if_absent) {
      command.condition = SetCondition::kIfAbsent;
    }
    if (item.expires_at != kNeverExpires) {
      const Duration left = item.expires_at - Clock::System()->Now();
      if (left <= Duration(0)) {
        ++expired_;
        return Status::Ok();
      }
      command.ttl = left;
    }
    if (!item.in_pieces) {
      const auto room = batch_.Reserve(item.value.size());
      if (!room) {
        return room.error();
      }
      item.value.copy(room->data(), item.value.size());
      batch_.Add(command);
      return Status::Ok();
    }
    pieces_bytes_ = item.value_size_bytes;
    auto writer = engine_.OpenWriter(command, item.value_size_bytes);
    if (writer) {
      writer_ = *std::move(writer);
      return Status::Ok();
    }
    return DropPieces(writer.error());
  }

  Status AppendPiece(std::string_view bytes) {
    const Status status = writer_->Append(bytes);
    return status.ok() ? status : DropPieces(status);
  }

  Status CommitPieces() {
    if (writer_ == nullptr) {
      return Status::Ok();
    }
    const Reply reply = writer_->Commit();
    if (!reply.status.ok()) {
      return DropPieces(reply.status);
    }
    writer_.reset();
    if (!reply.applied) {
      ++streamed_.not_applied;
      return Status::Ok();
    }
    ++streamed_.stored;
    streamed_.stored_bytes += pieces_bytes_;
    return Status::Ok();
  }

  // Counts a value that has no place; every other failure ends the import.
  Status DropPieces(const Status& status) {
    writer_.reset();
    return CountLeftOut(status.code(), pieces_bytes_, streamed_) ? Status::Ok()
                                                                 : status;
  }

  Engine& engine_;
  const ImportOptions& options_;
  SetBatch batch_;
  std::unique_ptr<ValueWriter> writer_;
  std::uint64_t pieces_bytes_ = 0;
  BatchCounts streamed_;
  std::uint64_t expired_ = 0;
};

Json ImportJson(const std::string& file, const Importer& importer) {
  const BatchCounts counts = importer.counts();
  return {{"file", file},
          {"items", counts.stored},
          {"bytes", counts.stored_bytes},
          {"kept", counts.not_applied},
          {"expired", importer.expired()},
          {"too_large", counts.too_large},
          {"no_room", counts.no_room}};
}

std::string ImportText(const std::string& file, const Importer& importer) {
  const BatchCounts counts = importer.counts();
  return fmt::format(
      "{} items, {} imported from {}; left out: {} there already, {} expired, "
      "{} too large, {} without room\n",
      counts.stored, FormatRoughBytes(counts.stored_bytes), file,
      counts.not_applied, importer.expired(), counts.too_large, counts.no_room);
}

int RunImport(const ImportOptions& options, const OutputFormat& format) {
  const bool from_input = options.file == "-";
  if (const Status input = from_input ? CheckStandardInput() : Status();
      !input.ok()) {
    return ReportError(input, "FILE is -", "nothing was changed");
  }
  auto source =
      replay::OpenByteSource(from_input ? "/dev/stdin" : options.file);
  if (!source) {
    return ReportError(source.error(), options.file, kFileRemedy);
  }
  // The header is read before the cache is opened, so that a wrong file
  // changes nothing.
  ExportReader reader(std::move(source->bytes));
  if (const Status header = reader.ReadHeader(); !header.ok()) {
    return ReportError(header, options.file, kFileRemedy);
  }
  const auto run = [&](Cache& cache) -> Result<int> {
    Importer importer(cache.engine(), options);
    const Status status = importer.Run(reader);
    if (!status.ok()) {
      return ReportError(status, options.file,
                         fmt::format("{} items before it were imported",
                                     importer.counts().stored));
    }
    if (format.json) {
      PrintJson(ImportJson(options.file, importer));
    } else {
      Print(ImportText(options.file, importer));
    }
    LARDER_FAIL_IF_ERROR(CheckRoom(importer.counts()));
    return kExitOk;
  };
  return CreateCache(options.directory, options.settings, format, run);
}

}  // namespace

void AddImportCommand(CommandLine& line) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* command =
      line.AddCommand("import", "Store the items of an exported file",
                      [options](const OutputFormat& format) {
                        return RunImport(*options, format);
                      });
  AddDirectoryArgument(command, options->directory);
  command
      ->add_option("FILE", options->file,
                   "File of 'larder export'; - for standard input")
      ->required();
  command->add_flag("--if-absent", options->if_absent,
                    "Keep live items that are there already");
  AddCreateOptions(command, options->settings);
}

}  // namespace larder::tools
