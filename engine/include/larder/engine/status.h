#ifndef LARDER_ENGINE_STATUS_H_
#define LARDER_ENGINE_STATUS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace larder {

/// What a caller can decide on. Codes are for decisions, messages for people.
/// The numbers are stable: they travel between processes.
enum class StatusCode : std::uint8_t {
  kOk = 0,
  /// An argument or option that can never be valid, an unknown setting.
  kInvalidArgument = 1,
  /// A named thing (directory, file, segment) does not exist. A miss is not
  /// an error: it is nullopt.
  kNotFound = 2,
  /// The path exists and is not a directory.
  kNotADirectory = 3,
  /// The directory holds other things than a cache.
  kForeignDirectory = 4,
  /// Owner, mode or mount does not allow it.
  kPermissionDenied = 5,
  /// The directory was written by a newer larder.
  kUnsupportedFormat = 6,
  /// The stored value has another codec than the one asked for.
  kTypeMismatch = 7,
  /// The result does not fit its type (Incr overflow).
  kOutOfRange = 8,
  /// The key is longer than kKeySizeBytesMax.
  kKeyTooLarge = 9,
  /// The value can never fit under the limits in force.
  kTooLarge = 10,
  /// The disk, the shared memory, or a cache that fails when full, is full.
  kNoSpace = 11,
  /// Stored bytes do not match their checksum or make no sense.
  kCorruption = 12,
  /// The operating system failed a read or write.
  kIoError = 13,
  /// The deadline passed. A change was not applied: else it is
  /// kOutcomeUnknown.
  kTimedOut = 14,
  /// Given up on purpose: a throwing callback, a cancelled scan.
  kAborted = 15,
  /// Another process holds the directory and does not share it.
  kSeatUnavailable = 16,
  /// The process that holds the seat lives but does not answer.
  kHolderNotResponding = 17,
  /// The directory, or a part of it, was removed, moved or replaced while it
  /// was open: close this cache and open it again.
  kGone = 18,
  /// The cache, stream or scan was closed before.
  kClosed = 19,
  /// A write through a read-only handle.
  kReadOnly = 20,
  /// Text that does not parse (a size, a duration, a trace line).
  kParseError = 21,
  /// A network file system, refused unless asked for.
  kUnsupportedFileSystem = 22,
  /// A defect of larder itself.
  kInternal = 23,
  /// Something else (a directory, a link, a pipe, a device) has the name of a
  /// file of the cache. Nothing was changed.
  kNotAFile = 24,
  /// Whether the change was made cannot be known: nobody answered in time after
  /// taking it on, or the device failed while it was written. Look, or make a
  /// change that may be made twice; Incr, Add and Pop may not.
  kOutcomeUnknown = 25,
  /// The value is whole, but the type asked for does not read its bytes: it
  /// was another one when they were stored. The item stays.
  kUndecodable = 26,
  /// Refused, as it would wait for the thread that asks: a callback closes the
  /// cache that called it.
  kDeadlock = 27,
};
/// The one with the largest number.
inline constexpr StatusCode kStatusCodeLast = StatusCode::kDeadlock;

/// The name of `code` as in the source, for example "kTooLarge".
std::string_view StatusCodeName(StatusCode code) noexcept;

/// The outcome of a call that returns nothing else. The message is one line:
/// what, where, what to do.
///
/// Threads: thread-compatible. Cost: an OK status allocates nothing.
class [[nodiscard]] Status {
 public:
  Status() noexcept = default;
  Status(StatusCode code, std::string message) noexcept
      : code_(code), message_(std::move(message)) {}

  static Status Ok() noexcept { return {}; }
  static Status InvalidArgument(std::string message) noexcept {
    return {StatusCode::kInvalidArgument, std::move(message)};
  }
  static Status NotFound(std::string message) noexcept {
    return {StatusCode::kNotFound, std::move(message)};
  }
  static Status TypeMismatch(std::string message) noexcept {
    return {StatusCode::kTypeMismatch, std::move(message)};
  }
  static Status OutOfRange(std::string message) noexcept {
    return {StatusCode::kOutOfRange, std::move(message)};
  }
  static Status TooLarge(std::string message) noexcept {
    return {StatusCode::kTooLarge, std::move(message)};
  }
  static Status NoSpace(std::string message) noexcept {
    return {StatusCode::kNoSpace, std::move(message)};
  }
  static Status Corruption(std::string message) noexcept {
    return {StatusCode::kCorruption, std::move(message)};
  }
  static Status IoError(std::string message) noexcept {
    return {StatusCode::kIoError, std::move(message)};
  }
  static Status Closed(std::string message) noexcept {
    return {StatusCode::kClosed, std::move(message)};
  }
  static Status ParseError(std::string message) noexcept {
    return {StatusCode::kParseError, std::move(message)};
  }
  static Status OutcomeUnknown(std::string message) noexcept {
    return {StatusCode::kOutcomeUnknown, std::move(message)};
  }
  static Status Internal(std::string message) noexcept {
    return {StatusCode::kInternal, std::move(message)};
  }

  /// kNoSpace for ENOSPC and EDQUOT, kPermissionDenied for EACCES, EPERM and
  /// EROFS, kNotFound for ENOENT, kNotADirectory for ENOTDIR, else kIoError.
  /// The message is "`what`: strerror(`error_number`)".
  static Status FromErrno(int error_number, std::string_view what) noexcept;

  [[nodiscard]] bool ok() const noexcept { return code_ == StatusCode::kOk; }
  [[nodiscard]] StatusCode code() const noexcept { return code_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }
  /// "kTooLarge: message", or "kOk".
  [[nodiscard]] std::string ToString() const;

  /// Says at a call site that a failure is of no interest; say why.
  void IgnoreError() const noexcept {}

  friend bool operator==(const Status& a, const Status& b) noexcept {
    return a.code_ == b.code_;
  }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

/// A value or the reason why there is none.
template <typename T>
using Result = tl::expected<T, Status>;

/// Makes a Result<T> that holds `status`.
inline tl::unexpected<Status> Fail(Status status) noexcept {
  return tl::unexpected<Status>(std::move(status));
}

}  // namespace larder

/// Returns the Status of `expr` from this function unless it is OK.
#define LARDER_RETURN_IF_ERROR(expr)                                      \
  do {                                                                    \
    if (::larder::Status larder_status_ = (expr); !larder_status_.ok()) { \
      return larder_status_;                                              \
    }                                                                     \
  } while (false)

/// The same in a function that returns a Result.
#define LARDER_FAIL_IF_ERROR(expr)                                        \
  do {                                                                    \
    if (::larder::Status larder_status_ = (expr); !larder_status_.ok()) { \
      return ::larder::Fail(std::move(larder_status_));                   \
    }                                                                     \
  } while (false)

#endif  // LARDER_ENGINE_STATUS_H_
