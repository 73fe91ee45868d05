// Reading back what `fill` stored.
//
// A value is compared with its file as it is now. If they differ and the file
// was changed after the fill began, that is no fault of the cache; if it was
// not, it is. Nothing is remembered per file, so memory is bounded.

#include "files/fill_verify.h"

#include <memory>

#include <fmt/format.h>
#include <xxhash.h>

#include "commands/output.h"
#include "files/source_file.h"

namespace larder::tools {
namespace {

/// Values of files from this size are read in pieces.
constexpr std::uint64_t kStreamedSizeBytesMin = 8 << 20;

struct FreeFileHash {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};
using HashPtr = std::unique_ptr<XXH3_state_t, FreeFileHash>;

HashPtr NewHash() {
  HashPtr hash(XXH3_createState());
  XXH3_128bits_reset(hash.get());
  return hash;
}

bool NotBefore(const std::timespec& a, const std::timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec >= b.tv_nsec;
}

}  // namespace

VerifyCounts& VerifyCounts::operator+=(const VerifyCounts& other) {
  hits += other.hits;
  hit_bytes += other.hit_bytes;
  misses += other.misses;
  verified += other.verified;
  changed += other.changed;
  mismatched += other.mismatched;
  read_time += other.read_time;
  return *this;
}

VerifyWorker::VerifyWorker(Cache& cache, std::timespec filled_since,
                           FileProblems& problems, Progress& progress)
    : cache_(cache),
      filled_since_(filled_since),
      problems_(problems),
      progress_(progress),
      piece_(kPieceSizeBytes) {}

Status VerifyWorker::Handle(const FoundFile& file) {
  progress_.Advance(1, file.size_bytes);
  const auto begin = std::chrono::steady_clock::now();
  const auto value = DigestOfValue(file);
  counts_.read_time += std::chrono::steady_clock::now() - begin;
  if (!value) {
    return value.error();
  }
  if (!value->has_value()) {
    ++counts_.misses;
    return Status::Ok();
  }
  ++counts_.hits;
  counts_.hit_bytes += (*value)->size_bytes;
  auto source = SourceFile::Open(file.path);
  if (!source) {
    problems_.Add(source.error());
    return Status::Ok();
  }
  const auto content = DigestOfSource(*source);
  if (!content) {
    problems_.Add(content.error());
  } else if (*content == **value) {
    ++counts_.verified;
  } else if (NotBefore(source->changed_at(), filled_since_)) {
    ++counts_.changed;
  } else {
    ++counts_.mismatched;
    Note(fmt::format("fill: {}: the cache has other bytes than the file",
                     file.path));
  }
  return Status::Ok();
}

Result<std::optional<VerifyWorker::Digest>> VerifyWorker::DigestOfValue(
    const FoundFile& file) {
  if (file.size_bytes >= kStreamedSizeBytesMin) {
    return DigestOfStream(file.path);
  }
  const auto value = cache_.Get(file.path);
  if (!value) {
    return Fail(value.error());
  }
  if (!value->has_value()) {
    return std::nullopt;
  }
  const std::string_view bytes = (*value)->bytes();
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return Digest{bytes.size(), hash.low64, hash.high64};
}

Result<std::optional<VerifyWorker::Digest>> VerifyWorker::DigestOfStream(
    const std::string& key) {
  auto reader = cache_.OpenReader(key);
  if (!reader) {
    return Fail(reader.error());
  }
  if (*reader == nullptr) {
    return std::nullopt;
  }
  const HashPtr state = NewHash();
  Digest digest;
  for (;;) {
    const auto count = (*reader)->Read(piece_);
    if (!count && count.error().code() == StatusCode::kGone) {
      return std::nullopt;  // Evicted while we read it.
    }
    if (!count) {
      return Fail(count.error());
    }
    if (*count == 0) {
      break;
    }
    XXH3_128bits_update(state.get(), piece_.data(), *count);
    digest.size_bytes += *count;
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  digest.low = hash.low64;
  digest.high = hash.high64;
  return digest;
}

Result<VerifyWorker::Digest> VerifyWorker::DigestOfSource(SourceFile& source) {
  const HashPtr state = NewHash();
  Digest digest;
  for (;;) {
    const auto count = source.Read(piece_);
    if (!count) {
      return Fail(count.error());
    }
    XXH3_128bits_update(state.get(), piece_.data(), *count);
    digest.size_bytes += *count;
    if (*count < piece_.size()) {
      break;
    }
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  digest.low = hash.low64;
  digest.high = hash.high64;
  return digest;
}

}  // namespace larder::tools
