// Stored objects that somebody changed: each is refused, and nothing is read or written beyond its
// bounds. What is not encrypted is bound by the registered MD5s of its pieces, so only its structure
// and its content count here.
#include <zstd.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/md5.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/encoding/encoding_fixtures.h"

namespace muster {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr int64_t kContentBytes = 3 * kMinFrameBytes + 100;

class FrameTamperingTest : public testing::Test {
 protected:
  std::string Encoded(absl::string_view encoding) {
    return EncodeAll(RequestFor(encoding, kContentBytes), content_);
  }

  absl::StatusOr<std::string> Decoded(absl::string_view encoding, absl::string_view object) {
    return DecodeAll(DescriptionOf(encoding, object, kContentBytes), object, keys_.get());
  }

  const std::string content_ = Weights(kContentBytes);
  const std::shared_ptr<KeySource> keys_ = NewFixedKey(KeyOf(1));
};

TEST_F(FrameTamperingTest, FlippedBitAnywhereInAnEncryptedObjectIsNoticed) {
  const std::string object = Encoded("zstd-grouped+aes-256-gcm");
  MUSTER_ASSERT_OK(Decoded("zstd-grouped+aes-256-gcm", object));
  for (size_t i = 0; i < object.size(); ++i) {
    std::string changed = object;
    changed[i] = static_cast<char>(changed[i] ^ (1 << (i % 8)));
    ASSERT_FALSE(Decoded("zstd-grouped+aes-256-gcm", changed).ok()) << "byte " << i;
  }
}

TEST_F(FrameTamperingTest, FlippedBitInAnUnencryptedObjectNeverGivesOtherContent) {
  for (const char* encoding : {"zstd", "zstd-grouped"}) {
    const std::string object = Encoded(encoding);
    for (size_t i = 0; i < object.size(); ++i) {
      std::string changed = object;
      changed[i] = static_cast<char>(changed[i] ^ (1 << (i % 8)));
      const auto decoded = Decoded(encoding, changed);
      // A frame of zstd has bits that mean nothing.
      if (!decoded.ok()) continue;
      ASSERT_EQ(*decoded, content_) << encoding << " byte " << i;
    }
  }
}

TEST_F(FrameTamperingTest, ObjectCutAnywhereIsRefused) {
  for (const char* encoding : {"zstd-grouped", "aes-256-gcm"}) {
    const std::string object = Encoded(encoding);
    for (size_t size = 0; size < object.size(); size += size < 300 ? 1 : 97) {
      ASSERT_THAT(Decoded(encoding, absl::string_view(object).substr(0, size)),
                  StatusIs(absl::StatusCode::kDataLoss))
          << size;
    }
  }
}

TEST_F(FrameTamperingTest, SwappedFramesAreNoticed) {
  const std::string object = Encoded("aes-256-gcm");
  const size_t stored = kMinFrameBytes + kSealTagBytes;
  const std::string swapped = absl::StrCat(object.substr(stored, stored), object.substr(0, stored),
                                           object.substr(2 * stored));

  EXPECT_THAT(Decoded("aes-256-gcm", swapped),
              ErrorIs(absl::StatusCode::kDataLoss, "FRAME_CORRUPT"));
}

TEST_F(FrameTamperingTest, FrameOfAnotherObjectOfTheSameKeyIsNoticed) {
  EncodeRequest request = RequestFor("aes-256-gcm", kContentBytes);
  request.salt->fill(8);
  const size_t stored = kMinFrameBytes + kSealTagBytes;
  std::string object = Encoded("aes-256-gcm");
  object.replace(0, stored, EncodeAll(request, content_).substr(0, stored));

  EXPECT_THAT(Decoded("aes-256-gcm", object),
              ErrorIs(absl::StatusCode::kDataLoss, "FRAME_CORRUPT"));
}

TEST_F(FrameTamperingTest, ObjectOfAnotherShardOrVersionIsNoticed) {
  const std::string object = Encoded("zstd+aes-256-gcm");
  DecodeRequest request = DescriptionOf("zstd+aes-256-gcm", object, kContentBytes);
  for (const char* name : {"models/llama/versions/v1/shards/4", "models/llama/versions/v2/shards/3",
                           "models/other/versions/v1/shards/3"}) {
    request.shard_name = name;
    EXPECT_THAT(DecodeAll(request, object, keys_.get()),
                ErrorIs(absl::StatusCode::kDataLoss, "FRAME_TABLE_BROKEN"));
  }
}

TEST_F(FrameTamperingTest, CatalogueThatSaysOtherwiseIsNoticed) {
  const std::string object = Encoded("zstd");
  EXPECT_THAT(Decoded("zstd-grouped", object),
              ErrorIs(absl::StatusCode::kDataLoss, "ENCODING_DIFFERS"));
  EXPECT_THAT(DecodeAll(DescriptionOf("zstd", object, kContentBytes + 1), object, nullptr),
              ErrorIs(absl::StatusCode::kDataLoss, "ENCODING_DIFFERS"));
  EXPECT_THAT(Decoded("lz4", object),
              ErrorIs(absl::StatusCode::kUnimplemented, "UNKNOWN_ENCODING"));
}

TEST_F(FrameTamperingTest, WrongKeyIsToldFromNoKeyAndFromTampering) {
  const std::string object = Encoded("aes-256-gcm");
  const DecodeRequest request = DescriptionOf("aes-256-gcm", object, kContentBytes);

  const auto wrong = DecodeAll(request, object, NewFixedKey(KeyOf(2)).get());
  EXPECT_THAT(wrong, ErrorIs(absl::StatusCode::kFailedPrecondition, "WRONG_KEY"));
  EXPECT_THAT(wrong.status().message(), HasSubstr("prod-2026"));
  EXPECT_THAT(DecodeAll(request, object, nullptr),
              ErrorIs(absl::StatusCode::kFailedPrecondition, "KEY_MISSING"));
}

// Objects whose numbers lie. The trailer's layout is written down in frame_table.h.
class FrameTableTest : public testing::Test {
 protected:
  static constexpr size_t kTableOffset = 0, kTableBytes = 8, kPlainBytes = 16, kFrames = 24,
                          kFrameSize = 28, kRuns = 32, kCodec = 36, kCipher = 37, kSalt = 40,
                          kVersion = 152, kTrailer = 156, kMagic = 160;

  // The trailer's field at `at` becomes `value`.
  absl::Status With(size_t at, std::initializer_list<uint8_t> value) {
    std::string trailer = object_.substr(object_.size() - kTrailerBytes);
    for (const uint8_t byte : value) trailer[at++] = static_cast<char>(byte);
    return ParseTrailer(trailer, static_cast<int64_t>(object_.size())).status();
  }

  const std::string object_ =
      EncodeAll(RequestFor("zstd-grouped", kContentBytes), Weights(kContentBytes));
};

TEST_F(FrameTableTest, TrailerThatDoesNotFitTheObjectIsRefused) {
  const auto broken = ErrorIs(absl::StatusCode::kDataLoss, "FRAME_TABLE_BROKEN");
  MUSTER_EXPECT_OK(With(kMagic, {'M'}));
  EXPECT_THAT(With(kTableOffset, {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}), broken);
  EXPECT_THAT(With(kTableOffset, {0, 0}), broken);
  EXPECT_THAT(With(kTableBytes, {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}), broken);
  EXPECT_THAT(With(kPlainBytes, {0, 0, 0, 0, 0, 0, 0, 0}), broken);
  EXPECT_THAT(With(kPlainBytes + 7, {0x80}), broken);
  EXPECT_THAT(With(kFrames, {5}), broken);
  EXPECT_THAT(With(kFrames, {0xFF, 0xFF, 0xFF, 0xFF}), broken);
  EXPECT_THAT(With(kFrameSize, {0, 0, 0, 0}), broken);
  EXPECT_THAT(With(kFrameSize, {0, 0, 0, 0x80}), broken);
  EXPECT_THAT(With(kRuns, {0}), broken);
  EXPECT_THAT(With(kRuns, {0xFF, 0xFF, 0xFF, 0xFF}), broken);
  EXPECT_THAT(With(kCodec, {3}), broken);
  EXPECT_THAT(With(kCodec, {0}), broken);
  EXPECT_THAT(With(kCodec, {1}), broken) << "runs are for grouped elements only";
  EXPECT_THAT(With(kCipher, {2}), broken);
  EXPECT_THAT(With(kSalt, {1}), broken) << "it is not encrypted";
  EXPECT_THAT(With(kTrailer, {1}), broken);
  EXPECT_THAT(With(kMagic, {'m'}), broken);
  EXPECT_THAT(With(kVersion, {2}), StatusIs(absl::StatusCode::kUnimplemented));
}

TEST_F(FrameTableTest, TableWithGapsOverlapsOrBombsIsRefused) {
  const auto broken = ErrorIs(absl::StatusCode::kDataLoss, "FRAME_TABLE_BROKEN");
  const auto trailer = ParseTrailer(object_.substr(object_.size() - kTrailerBytes),
                                    static_cast<int64_t>(object_.size()));
  MUSTER_ASSERT_OK(trailer);
  const std::string table = object_.substr(static_cast<size_t>(trailer->table_offset),
                                           static_cast<size_t>(trailer->table_plain_bytes()));
  const auto with = [&](size_t at, std::initializer_list<uint8_t> value) {
    std::string changed = table;
    for (const uint8_t byte : value) changed[at++] = static_cast<char>(byte);
    return ParseTable(changed, *trailer).status();
  };

  MUSTER_EXPECT_OK(with(0, {0}));
  EXPECT_THAT(with(0, {1}), broken) << "a gap";
  EXPECT_THAT(with(32, {0, 0}), broken) << "an overlap";
  EXPECT_THAT(with(8, {0xFF, 0xFF, 0xFF, 0xFF}), broken) << "longer than the object";
  EXPECT_THAT(with(8, {0, 0, 0, 0}), broken) << "empty";
  EXPECT_THAT(with(12, {0xFF, 0xFF, 0xFF, 0xFF}), broken) << "more content than announced";
  const size_t runs = 4 * 32;
  EXPECT_THAT(with(runs, {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}), broken);
  EXPECT_THAT(with(runs, {1}), broken) << "not all of the content";
  EXPECT_THAT(with(runs + 8, {3}), broken) << "no such width";
  EXPECT_THAT(with(runs + 12, {1}), broken);
  EXPECT_THAT(ParseTable(table.substr(1), *trailer), broken);
}

// A frame of zstd that would grow to 64 MiB stands where 4 KiB are announced.
TEST_F(FrameTableTest, DecompressionBombEndsAtTheAnnouncedSize) {
  const std::string zeros(64 << 20, '\0');
  std::string bomb(ZSTD_compressBound(zeros.size()), '\0');
  bomb.resize(ZSTD_compress(bomb.data(), bomb.size(), zeros.data(), zeros.size(), 3));
  ASSERT_LT(bomb.size(), size_t{kMinFrameBytes} * 2);
  bomb.resize(std::min<size_t>(bomb.size(), kMinFrameBytes - 1));
  Trailer trailer;
  trailer.encoding.codec = FrameCodec::kZstd;
  trailer.plain_bytes = kMinFrameBytes;
  trailer.frame_bytes = kMinFrameBytes;
  trailer.table_offset = static_cast<int64_t>(bomb.size());
  FrameTable table;
  table.frames.push_back({0, static_cast<int64_t>(bomb.size()), Md5Of("")});
  const std::string object = absl::StrCat(bomb, PackTable(trailer, table), PackTrailer(trailer));

  EXPECT_THAT(DecodeAll(DescriptionOf("zstd", object, kMinFrameBytes), object, nullptr),
              ErrorIs(absl::StatusCode::kDataLoss, "FRAME_CORRUPT"));
}

}  // namespace
}  // namespace muster
