// Objects of every encoding, from content to stored bytes and back; and the stored format itself.
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/encoding/encoding_fixtures.h"

namespace muster {
namespace {

constexpr const char* kEncodings[] = {"zstd", "zstd-grouped", "aes-256-gcm", "zstd+aes-256-gcm",
                                      "zstd-grouped+aes-256-gcm"};

TEST(EncodingNameTest, NamesAreReadBack) {
  for (const char* name : kEncodings) EXPECT_EQ(EncodingName(*ParseEncoding(name)), name);
  EXPECT_TRUE(ParseEncoding("")->IsPlain());
  for (const char* name : {"zstd+", "+aes-256-gcm", "aes-256-gcm+zstd", "ZSTD", "zipped"}) {
    EXPECT_THAT(ParseEncoding(name), ErrorIs(absl::StatusCode::kUnimplemented, "UNKNOWN_ENCODING"));
  }
}

class FrameRoundTripTest : public testing::TestWithParam<const char*> {};

TEST_P(FrameRoundTripTest, ContentOfEverySizeComesBack) {
  const auto keys = NewFixedKey(KeyOf(1));
  for (const int64_t size : {1, 2, 3, 4'095, 4'096, 4'097, 8'192, 20'001}) {
    const std::string content = Weights(size);
    const std::string object = EncodeAll(RequestFor(GetParam(), size), content);
    EXPECT_THAT(DecodeAll(DescriptionOf(GetParam(), object, size), object, keys.get()),
                IsOkAndHolds(content))
        << size;
  }
}

TEST_P(FrameRoundTripTest, WhatCantBecomeSmallerStaysAsItIs) {
  const auto keys = NewFixedKey(KeyOf(1));
  const std::string content = absl::StrCat(std::string(4'096, 'a'), Weights(8'192));
  std::string noise = content;
  for (size_t i = 0; i < noise.size(); ++i)
    noise[i] = static_cast<char>(i * i * 31 + i * 7 + i / 9);

  const std::string object = EncodeAll(RequestFor(GetParam(), 12'288), noise);

  const int64_t overhead = 3 * (32 + 16) + 16 + 16 + kTrailerBytes;
  EXPECT_LE(static_cast<int64_t>(object.size()), 12'288 + overhead);
  EXPECT_THAT(DecodeAll(DescriptionOf(GetParam(), object, 12'288), object, keys.get()),
              IsOkAndHolds(noise));
}

INSTANTIATE_TEST_SUITE_P(Encodings, FrameRoundTripTest, testing::ValuesIn(kEncodings),
                         [](const auto& param) {
                           std::string name;
                           for (const char c : std::string(param.param)) {
                             if (c != '-' && c != '+') name += c;
                           }
                           return name;
                         });

// Objects that users have must be readable for ever: where these two fail, the format's version has
// to change.
TEST(FrameFormatTest, StoredObjectIsReadAsItAlwaysWas) {
  constexpr char kObject[] =
      "jg4EOki6Blxc0DXQBC4FAcY2OFgiBbXCwnBegNpzhbgpmBK8H9b8UGiBZogH8I/q8n+vcyw5d7J3Y0ojoPCy3tLq4+"
      "lb6N5tyWyXwjK2dQS9KIXjiGTZJD0GfeJPS6ONmh+PCtYQDpbf+CI6nER+JMv6JaGR5JK+RP3pO+5Du8dtCWEe+arB"
      "qBKRzXwIQu93VpvA2fVpjHjC5KsB3SRfluneZzJsrAdytPk8/UGpDzMH1DTTUoShumHS4gfomXcd8VRQUplbmT2pG8"
      "qT4uIQW+djS9pFNyQpjljp3TG4IA8DbrhgfM8PcI47ntL8GXcoOJjWET1Jbhumk7oAAAAAAAAAQAAAAAAAAAAsAQAA"
      "AAAAAAEAAAAAEAAAAQAAAAIBAAAHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBz9YFwmQ0PbjLljKvrKbL+"
      "Zwcm9kLTIwMjYAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQAA"
      "AKgAAABNVVNURVJGUg==";
  std::string object;
  ASSERT_TRUE(absl::Base64Unescape(kObject, &object));
  std::string content;
  for (int i = 0; i < 300; ++i) content.push_back(static_cast<char>(i % 2 == 1 ? 0x3f : i / 2));

  EXPECT_THAT(DecodeAll(DescriptionOf("zstd-grouped+aes-256-gcm", object, 300), object,
                        NewFixedKey(KeyOf(1)).get()),
              IsOkAndHolds(content));
}

// Without a compressor, whose output differs between its versions.
TEST(FrameFormatTest, ObjectIsWrittenAsItAlwaysWas) {
  EXPECT_EQ(Md5ToHex(Md5Of(EncodeAll(RequestFor("aes-256-gcm", 5'000), Weights(5'000)))),
            "d603c80ef5c64872fe674791452d8080");
}

TEST(FrameFormatTest, GroupedWeightsAreSmallerThanUngroupedOnes) {
  const std::string content = Weights(1 << 20);
  EncodeRequest request = RequestFor("zstd", 1 << 20);
  request.frame_bytes = 1 << 18;
  const auto zstd = static_cast<double>(EncodeAll(request, content).size());
  request.encoding.codec = FrameCodec::kZstdGrouped;
  const auto grouped = static_cast<double>(EncodeAll(request, content).size());

  EXPECT_LT(zstd / (1 << 20), 0.80);
  EXPECT_LT(grouped / (1 << 20), 0.70);
}

TEST(FrameFormatTest, TwoObjectsOfOneContentShareNoKeyStream) {
  const std::string content(4'096, '\0');
  EncodeRequest request = RequestFor("aes-256-gcm", 4'096);
  request.salt.reset();

  const std::string first = EncodeAll(request, content);
  const std::string second = EncodeAll(request, content);

  // Of a content of zeros, the ciphertext is the key stream.
  for (size_t block = 0; block < 4'096; block += 16) {
    EXPECT_NE(first.substr(block, 16), second.substr(block, 16));
  }
}

TEST(FrameFormatTest, ImpossibleRequestsAreRefused) {
  const auto refused = StatusIs(absl::StatusCode::kInvalidArgument);
  EncodeRequest request = RequestFor("", 10);
  EXPECT_THAT(FrameEncoder::Make(request), refused);
  request = RequestFor("zstd", 10);
  request.plain_bytes = 0;
  EXPECT_THAT(FrameEncoder::Make(request), refused);
  request = RequestFor("zstd", 10);
  request.frame_bytes = 5'000;
  EXPECT_THAT(FrameEncoder::Make(request), refused);
  request = RequestFor("zstd-grouped", 10);
  request.runs = *ElementRuns::Make({{2, 8}});
  EXPECT_THAT(FrameEncoder::Make(request), refused);
  request = RequestFor("aes-256-gcm", 10);
  request.key.reset();
  EXPECT_THAT(FrameEncoder::Make(request), refused);
  request = RequestFor("aes-256-gcm", 10);
  request.key_id = std::string(kMaxKeyIdBytes + 1, 'k');
  EXPECT_THAT(FrameEncoder::Make(request), refused);
  request = RequestFor("zstd", int64_t{kMaxFrames} * kMinFrameBytes + 1);
  EXPECT_THAT(FrameEncoder::Make(request), refused);
}

}  // namespace
}  // namespace muster
