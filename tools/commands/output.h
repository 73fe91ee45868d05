#ifndef LARDER_TOOLS_COMMANDS_OUTPUT_H_
#define LARDER_TOOLS_COMMANDS_OUTPUT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "larder/engine/engine.h"
#include "larder/engine/status.h"

/// What `larder` prints: results on standard output as text or JSON, errors on
/// standard error as one line. Field names are part of the interface and are
/// listed in docs/cli.md.

namespace larder::tools {

enum ExitCode : int {
  kExitOk = 0,
  /// A miss, a condition that did not hold, a check that found damage.
  kExitMiss = 1,
  /// The command line makes no sense.
  kExitUsage = 2,
  kExitError = 3,
};

/// Fields keep the order in which they are added.
using Json = nlohmann::ordered_json;

/// Writes to standard output. Failures show up in FinishOutput.
void Print(std::string_view bytes);
/// `object` on a line of its own.
void PrintJson(const Json& object);
/// `object` as text on one line; bytes that are not UTF-8 are replaced.
std::string DumpJson(const Json& object);

/// Flushes standard output. Returns `exit_code`, or kExitError with a line on
/// standard error if something could not be written (a full disk).
int FinishOutput(int exit_code);

/// Prints "larder: CODE: MESSAGE: WHERE: REMEDY" on standard error, leaving out
/// what the message says already. An empty `remedy` means the usual one of the
/// code. Returns kExitError.
int ReportError(const Status& status, std::string_view where,
                std::string_view remedy = {});
/// The same for a command line that makes no sense. Returns kExitUsage.
int ReportUsage(std::string_view what, std::string_view remedy);
/// One line for people on standard error, with the program's name before it.
void Note(std::string_view line);
/// The same of what failed, if it did, where it changes no result.
void NoteFailure(const Status& status);

/// Adds `bytes` as "NAME" if they are UTF-8, else in base64 as "NAME_base64".
void AddBytes(Json& object, const std::string& name, std::string_view bytes);
/// An item as JSON: its key and all that is known of it.
Json ItemJson(std::string_view key, const ItemInfo& info, TimePoint now);

bool IsUtf8(std::string_view bytes);
std::string EncodeBase64(std::string_view bytes);
/// Errors: kParseError.
Result<std::string> DecodeBase64(std::string_view text);

/// "2024-05-01T12:00:00.250000Z", "never" for kNeverExpires.
std::string FormatTime(TimePoint time);
/// For people: "1.5 GiB", three digits.
std::string FormatRoughBytes(std::uint64_t bytes);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_COMMANDS_OUTPUT_H_
