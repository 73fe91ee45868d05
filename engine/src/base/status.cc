#include "larder/engine/status.h"

#include <cerrno>
#include <system_error>

#include "base/process_limits.h"

namespace larder {

std::string_view StatusCodeName(StatusCode code) noexcept {
  switch (code) {
    case StatusCode::kOk:
      return "kOk";
    case StatusCode::kInvalidArgument:
      return "kInvalidArgument";
    case StatusCode::kNotFound:
      return "kNotFound";
    case StatusCode::kNotADirectory:
      return "kNotADirectory";
    case StatusCode::kForeignDirectory:
      return "kForeignDirectory";
    case StatusCode::kPermissionDenied:
      return "kPermissionDenied";
    case StatusCode::kUnsupportedFormat:
      return "kUnsupportedFormat";
    case StatusCode::kTypeMismatch:
      return "kTypeMismatch";
    case StatusCode::kOutOfRange:
      return "kOutOfRange";
    case StatusCode::kKeyTooLarge:
      return "kKeyTooLarge";
    case StatusCode::kTooLarge:
      return "kTooLarge";
    case StatusCode::kNoSpace:
      return "kNoSpace";
    case StatusCode::kCorruption:
      return "kCorruption";
    case StatusCode::kIoError:
      return "kIoError";
    case StatusCode::kTimedOut:
      return "kTimedOut";
    case StatusCode::kAborted:
      return "kAborted";
    case StatusCode::kSeatUnavailable:
      return "kSeatUnavailable";
    case StatusCode::kHolderNotResponding:
      return "kHolderNotResponding";
    case StatusCode::kGone:
      return "kGone";
    case StatusCode::kClosed:
      return "kClosed";
    case StatusCode::kReadOnly:
      return "kReadOnly";
    case StatusCode::kParseError:
      return "kParseError";
    case StatusCode::kUnsupportedFileSystem:
      return "kUnsupportedFileSystem";
    case StatusCode::kInternal:
      return "kInternal";
    case StatusCode::kNotAFile:
      return "kNotAFile";
    case StatusCode::kOutcomeUnknown:
      return "kOutcomeUnknown";
    case StatusCode::kUndecodable:
      return "kUndecodable";
    case StatusCode::kDeadlock:
      return "kDeadlock";
  }
  return "kUnknown";
}

Status Status::FromErrno(int error_number, std::string_view what) noexcept {
  StatusCode code = StatusCode::kIoError;
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      code = StatusCode::kNoSpace;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      code = StatusCode::kPermissionDenied;
      break;
    case ENOENT:
      code = StatusCode::kNotFound;
      break;
    case ENOTDIR:
      code = StatusCode::kNotADirectory;
      break;
    default:
      break;
  }
  // system_category().message is the thread-safe strerror.
  return {code, std::string(what) + ": " +
                    std::system_category().message(error_number) +
                    LimitAdvice(error_number)};
}

std::string Status::ToString() const {
  std::string text(StatusCodeName(code_));
  if (!message_.empty()) {
    text += ": ";
    text += message_;
  }
  return text;
}

}  // namespace larder
