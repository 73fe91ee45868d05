#include "trace_decompress.h"

#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "trace_files.h"

namespace larder::replay {
namespace {

std::string Zstd(std::string_view bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  out.resize(ZSTD_compress2(context, out.data(), out.size(), bytes.data(),
                            bytes.size()));
  ZSTD_freeCCtx(context);
  return out;
}

std::string Gzip(std::string_view bytes) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8,
                         Z_DEFAULT_STRATEGY),
            Z_OK);
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

std::string Xz(std::string_view bytes) {
  std::string out(lzma_stream_buffer_bound(bytes.size()), '\0');
  std::size_t size = 0;
  EXPECT_EQ(
      lzma_easy_buffer_encode(
          0, LZMA_CHECK_CRC64, nullptr,
          reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(),
          reinterpret_cast<std::uint8_t*>(out.data()), &size, out.size()),
      LZMA_OK);
  out.resize(size);
  return out;
}

struct Kind {
  const char* name;
  Compression compression;
  std::string (*pack)(std::string_view bytes);
  const char* truncated;
};

constexpr Kind kZstdKind = {"zstd", Compression::kZstd, Zstd, "a zstd frame"};
constexpr Kind kGzipKind = {"gzip", Compression::kGzip, Gzip, "a gzip member"};
constexpr Kind kXzKind = {"xz", Compression::kXz, Xz, "a xz stream"};

void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

class TraceDecompressTest : public testing::TraceFiles,
                            public ::testing::WithParamInterface<Kind> {
 protected:
  struct Outcome {
    std::string bytes;
    Status status;
    Compression compression = Compression::kNone;
  };

  /// All that a file with this content gives, `step` bytes at a time.
  Outcome ReadAll(std::string_view content, std::size_t step = 4096) {
    Outcome outcome;
    Result<OpenedSource> opened = OpenByteSource(Write("t", content));
    EXPECT_TRUE(opened);
    outcome.compression = opened->compression;
    std::string buffer(step, '\0');
    for (;;) {
      Result<std::size_t> got = opened->bytes->Read(buffer);
      if (!got) {
        outcome.status = std::move(got.error());
        // An error is told once.
        EXPECT_EQ(opened->bytes->Read(buffer).value_or(1), 0U);
        return outcome;
      }
      if (*got == 0) return outcome;
      outcome.bytes.append(buffer, 0, *got);
    }
  }

  static std::string Pack(std::string_view bytes) {
    return GetParam().pack(bytes);
  }
  /// Larger than the decoders' buffers, and not the same anywhere.
  static std::string Numbers() {
    std::string text;
    for (int i = 0; i < 120'000; ++i) {
      text += std::to_string(i * 7919 % 65537) + "\n";
    }
    return text;
  }
};

INSTANTIATE_TEST_SUITE_P(Kinds, TraceDecompressTest,
                         ::testing::Values(kZstdKind, kGzipKind, kXzKind));

TEST_P(TraceDecompressTest, GivesBackWhatWasPackedInPiecesOfAnySize) {
  const std::string text = Numbers();
  for (const std::size_t step : {std::size_t{7}, text.size() + 1}) {
    const Outcome got = ReadAll(Pack(text), step);
    EXPECT_TRUE(got.status.ok()) << got.status.message();
    EXPECT_TRUE(got.bytes == text) << step;
    EXPECT_EQ(got.compression, GetParam().compression);
  }
}

TEST_P(TraceDecompressTest, ReadsOnInWhatWasAppended) {
  const Outcome got = ReadAll(Pack("one\n") + Pack("") + Pack("two\n"));
  EXPECT_TRUE(got.status.ok()) << got.status.message();
  EXPECT_EQ(got.bytes, "one\ntwo\n");
}

TEST_P(TraceDecompressTest, NothingPackedIsNothing) {
  const Outcome got = ReadAll(Pack(""));
  EXPECT_TRUE(got.status.ok()) << got.status.message();
  EXPECT_EQ(got.bytes, "");
}

TEST_P(TraceDecompressTest, EveryTruncationIsToldAfterWhatCameBeforeIt) {
  const std::string first = Pack("one\n");
  const std::string packed = first + Pack("two, three\n");
  for (std::size_t size = kCompressionMagicSizeBytes; size < packed.size();
       ++size) {
    if (size == first.size()) continue;
    const Outcome got = ReadAll(packed.substr(0, size));
    EXPECT_EQ(got.status.code(), StatusCode::kParseError) << size;
    EXPECT_NE(got.status.message().find(std::string("the rest of ") +
                                        GetParam().truncated),
              std::string::npos)
        << got.status.message();
    EXPECT_TRUE(size < first.size() || got.bytes.starts_with("one\n")) << size;
  }
}

TEST_P(TraceDecompressTest, LongTextIsHandedOutUpToWhereTheFileEnds) {
  const std::string text = Numbers();
  const std::string packed = Pack(text);
  const Outcome got = ReadAll(packed.substr(0, packed.size() - 1));
  EXPECT_EQ(got.status.code(), StatusCode::kParseError);
  EXPECT_GT(got.bytes.size(), text.size() / 2);
  EXPECT_TRUE(text.starts_with(got.bytes));
}

TEST_P(TraceDecompressTest, NoFlippedBitGivesOtherBytesWithoutAnError) {
  const std::string text = "the quick brown fox jumps over the lazy dog\n";
  const std::string packed = Pack(text);
  for (std::size_t bit = 0; bit < 8 * packed.size(); ++bit) {
    std::string damaged = packed;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    const Outcome got = ReadAll(damaged);
    if (got.compression != GetParam().compression) continue;  // The magic.
    // Some bits of the headers say nothing of the content.
    EXPECT_TRUE(!got.status.ok() || got.bytes == text) << bit;
  }
}

TEST_P(TraceDecompressTest, DamageIsCorruption) {
  std::string packed = Pack(Numbers());
  for (std::size_t i = 40; i < 80; ++i) {
    packed[packed.size() / 2 + i] = static_cast<char>(~packed[i]);
  }
  EXPECT_EQ(ReadAll(packed).status.code(), StatusCode::kCorruption);
}

TEST_P(TraceDecompressTest, WhatIsNeitherCompressedNorPaddingIsCorruption) {
  const Outcome got = ReadAll(Pack("one\n") + "two, which is not packed\n");
  EXPECT_EQ(got.status.code(), StatusCode::kCorruption);
  EXPECT_EQ(got.bytes, "one\n");
}

using PaddingTest = TraceDecompressTest;
INSTANTIATE_TEST_SUITE_P(Kinds, PaddingTest,
                         ::testing::Values(kGzipKind, kXzKind));

TEST_P(PaddingTest, ZerosBetweenAndBehindAreNoDamage) {
  const std::string zeros(512, '\0');
  const Outcome got = ReadAll(Pack("one\n") + zeros + Pack("two\n") + zeros);
  EXPECT_TRUE(got.status.ok()) << got.status.message();
  EXPECT_EQ(got.bytes, "one\ntwo\n");
}

TEST_F(TraceDecompressTest, SkippableFramesOfZstdAreSkipped) {
  std::string skippable("\x50\x2A\x4D\x18\x04\0\0\0abcd", 12);
  const Outcome got = ReadAll(skippable + Zstd("one\n"));
  EXPECT_TRUE(got.status.ok()) << got.status.message();
  EXPECT_EQ(got.bytes, "one\n");
}

TEST_F(TraceDecompressTest, DictionaryLargerThanTheMemoryBoundIsRefused) {
  lzma_options_lzma options;
  ASSERT_EQ(lzma_lzma_preset(&options, 0), 0);
  options.dict_size = 1U << 30;
  const lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &options},
                                 {LZMA_VLI_UNKNOWN, nullptr}};
  std::string packed(1024, '\0');
  std::size_t size = 0;
  ASSERT_EQ(
      lzma_stream_buffer_encode(
          const_cast<lzma_filter*>(filters), LZMA_CHECK_CRC32, nullptr,
          reinterpret_cast<const std::uint8_t*>("abc"), 3,
          reinterpret_cast<std::uint8_t*>(packed.data()), &size, packed.size()),
      LZMA_OK);
  packed.resize(size);
  const Outcome got = ReadAll(packed);
  EXPECT_EQ(got.status.code(), StatusCode::kCorruption);
  EXPECT_NE(got.status.message().find("256 MiB"), std::string::npos)
      << got.status.message();
}

}  // namespace
}  // namespace larder::replay
