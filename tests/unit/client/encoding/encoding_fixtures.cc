#include "tests/unit/client/encoding/encoding_fixtures.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "storage/base/md5.h"
#include "storage/base/random.h"
#include "storage/base/status_macros.h"

namespace muster {

std::string Weights(int64_t size_bytes) {
  const auto random = NewSeededRandom(1);
  std::string content;
  while (static_cast<int64_t>(content.size()) < size_bytes) {
    // Box and Muller's.
    const double radius = std::sqrt(-2 * std::log(1 - random->NextDouble()));
    const auto weight =
        static_cast<float>(0.02 * radius * std::cos(2 * M_PI * random->NextDouble()));
    uint32_t bits = 0;
    std::memcpy(&bits, &weight, sizeof(bits));
    content.push_back(static_cast<char>(bits >> 16));
    content.push_back(static_cast<char>(bits >> 24));
  }
  content.resize(static_cast<size_t>(size_bytes));
  return content;
}

SecretKey KeyOf(uint8_t byte) {
  SecretKey key;
  std::fill(key.Fill().begin(), key.Fill().end(), byte);
  return key;
}

EncodeRequest RequestFor(absl::string_view encoding, int64_t plain_bytes) {
  EncodeRequest request;
  request.encoding = *ParseEncoding(encoding);
  request.shard_name = kShardName;
  request.plain_bytes = plain_bytes;
  request.frame_bytes = kMinFrameBytes;
  request.runs = *ElementRuns::Make({{2, plain_bytes}});
  if (request.encoding.encrypted) {
    request.key = KeyOf(1);
    request.key_id = "prod-2026";
    request.salt.emplace().fill(7);
  }
  return request;
}

std::string EncodeAll(EncodeRequest request, absl::string_view content) {
  const absl::StatusOr<FrameEncoder> encoder = FrameEncoder::Make(std::move(request));
  if (!encoder.ok()) return encoder.status().ToString();
  std::string object;
  std::vector<EncodedFrame> frames;
  for (size_t i = 0; i < encoder->frame_count(); ++i) {
    const absl::string_view plain = content.substr(static_cast<size_t>(encoder->FrameOffset(i)),
                                                   static_cast<size_t>(encoder->FrameLength(i)));
    const absl::StatusOr<std::string> stored = encoder->Encode(i, plain);
    if (!stored.ok()) return stored.status().ToString();
    frames.push_back({static_cast<int64_t>(stored->size()), Md5Of(plain)});
    object += *stored;
  }
  return object + encoder->Finish(frames);
}

DecodeRequest DescriptionOf(absl::string_view encoding, absl::string_view object,
                            int64_t plain_bytes) {
  return {kShardName, std::string(encoding), static_cast<int64_t>(object.size()), plain_bytes};
}

absl::StatusOr<FrameDecoder> OpenObject(const DecodeRequest& request, absl::string_view object,
                                        KeySource* keys) {
  return FrameDecoder::Open(
      request,
      [&](int64_t offset, absl::Span<char> out) {
        if (offset < 0 || offset + out.size() > object.size()) {
          return absl::OutOfRangeError("beyond the object");
        }
        object.substr(static_cast<size_t>(offset)).copy(out.data(), out.size());
        return absl::OkStatus();
      },
      keys);
}

absl::StatusOr<std::string> DecodeAll(const DecodeRequest& request, absl::string_view object,
                                      KeySource* keys) {
  MUSTER_ASSIGN_OR_RETURN(const FrameDecoder decoder, OpenObject(request, object, keys));
  std::string content;
  for (size_t i = 0; i < decoder.frame_count(); ++i) {
    const Frame& frame = decoder.frame(i);
    std::string plain(static_cast<size_t>(decoder.FrameLength(i)), '\0');
    std::string stored(
        object.substr(static_cast<size_t>(frame.offset), static_cast<size_t>(frame.stored_bytes)));
    MUSTER_RETURN_IF_ERROR(decoder.Decode(i, absl::MakeSpan(stored), absl::MakeSpan(plain)));
    if (Md5Of(plain) != frame.plain_md5) return FrameCorrupt(request.shard_name, i, "its MD5");
    content += plain;
  }
  return content;
}

}  // namespace muster
