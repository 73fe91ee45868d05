// Feeds arbitrary bytes to every decoder of what another process may send.
// The first byte picks the decoder. What is accepted must encode again.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "messages/command_codec.h"
#include "messages/message_codec.h"

namespace {

using namespace larder;  // NOLINT(google-build-using-namespace): a test.

void Require(bool condition) {
  if (!condition) std::abort();
}

void CommandsSurviveARoundTrip(std::string_view bytes) {
  const auto decoded = DecodeCommands(bytes);
  if (!decoded) return;
  std::string again;
  Require(EncodeCommands(again, decoded->commands, decoded->placed,
                         decoded->options)
              .ok());
  const auto twice = DecodeCommands(again);
  Require(twice.has_value());
  Require(twice->commands.size() == decoded->commands.size());
  Require(twice->placed == decoded->placed);
}

void RepliesSurviveARoundTrip(std::string_view bytes) {
  if (bytes.empty()) return;
  const auto message = std::make_shared<const std::string>(bytes.substr(1));
  std::vector<Reply> replies(static_cast<std::uint8_t>(bytes[0]) % 8);
  const auto decoded = DecodeReplies(message, *message, replies);
  if (!decoded) return;
  for (const PlacedValue& value : decoded->placed) {
    Require(value.index < replies.size());
  }
}

void PagesSurviveARoundTrip(std::string_view bytes) {
  const auto message = std::make_shared<const std::string>(bytes);
  const auto page = DecodeScanPage(message, *message);
  if (!page) return;
  std::string again;
  EncodeScanPage(again, page->items, page->placed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1,
                               size - 1);
  switch (data[0] % 13) {
    case 0:
      CommandsSurviveARoundTrip(bytes);
      break;
    case 1:
      RepliesSurviveARoundTrip(bytes);
      break;
    case 2:
      PagesSurviveARoundTrip(bytes);
      break;
    case 3:
      static_cast<void>(DecodeScanOptions(bytes));
      break;
    case 4:
      static_cast<void>(DecodeStats(bytes));
      break;
    case 5:
      static_cast<void>(DecodeCheckReport(bytes));
      break;
    case 6:
      static_cast<void>(DecodeSettings(bytes));
      break;
    case 7:
      static_cast<void>(DecodeGrantRequest(bytes));
      break;
    case 8:
      static_cast<void>(DecodeWriterOpen(bytes));
      break;
    case 9:
      static_cast<void>(DecodeReaderOpened(bytes));
      break;
    case 10:
      static_cast<void>(DecodeReaderRead(bytes));
      break;
    case 11:
      static_cast<void>(DecodeEvictions(bytes));
      break;
    default:
      static_cast<void>(DecodeGrants(bytes));
      break;
  }
  return 0;
}
