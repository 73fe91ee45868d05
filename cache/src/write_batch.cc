#include "larder/cache/write_batch.h"

#include <utility>

#include "write_batch_impl.h"

namespace larder {

namespace internal {

Status StatusOf(const EncodeError& error) noexcept {
  return Status::InvalidArgument("value cannot be stored: " + error.message);
}

Status StatusOf(const DecodeError& error) noexcept {
  switch (error.kind) {
    case DecodeError::Kind::kTypeMismatch:
      return Status::TypeMismatch(error.message);
    case DecodeError::Kind::kUndecodable:
      return {StatusCode::kUndecodable, error.message};
    case DecodeError::Kind::kCorruption:
      break;
  }
  return Status::Corruption(error.message);
}

}  // namespace internal

WriteBatch::WriteBatch() noexcept = default;
WriteBatch::~WriteBatch() = default;
WriteBatch::WriteBatch(WriteBatch&& other) noexcept = default;
WriteBatch& WriteBatch::operator=(WriteBatch&& other) noexcept = default;

WriteBatch::Impl& WriteBatch::impl() {
  if (impl_ == nullptr) impl_ = std::make_unique<Impl>();
  return *impl_;
}

void WriteBatch::Set(std::string_view key, std::string_view value,
                     const SetOptions& options) {
  SetEncoded(key, value, kCodecIdBytes, options);
}

void WriteBatch::SetEncoded(std::string_view key, std::string_view bytes,
                            CodecId codec, const SetOptions& options) {
  BytesArena& arena = impl().arena;
  impl().commands.emplace_back(SetCommand{.key = arena.Copy(key),
                                          .value = arena.Copy(bytes),
                                          .codec = codec,
                                          .ttl = options.ttl,
                                          .tag = arena.Copy(options.tag),
                                          .pinned = options.pinned,
                                          .cost = options.cost});
}

void WriteBatch::Delete(std::string_view key) {
  impl().commands.emplace_back(DeleteCommand{.key = impl().arena.Copy(key)});
}

void WriteBatch::Incr(std::string_view key, std::int64_t delta,
                      std::int64_t initial) {
  impl().commands.emplace_back(IncrCommand{
      .key = impl().arena.Copy(key), .delta = delta, .initial = initial});
}

void WriteBatch::Touch(std::string_view key, std::optional<Duration> ttl) {
  impl().commands.emplace_back(
      TouchCommand{.key = impl().arena.Copy(key), .ttl = ttl});
}

std::size_t WriteBatch::size() const noexcept {
  return impl_ == nullptr ? 0 : impl_->commands.size();
}

void WriteBatch::Clear() noexcept { impl_.reset(); }

}  // namespace larder
