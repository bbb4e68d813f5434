#include "client/encoding/frame_encoder.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/encoding/frame_codec.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::Status Invalid(const EncodeRequest& request, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(request.shard_name, ": ", what));
}

}  // namespace

absl::StatusOr<FrameEncoder> FrameEncoder::Make(EncodeRequest request) {
  if (request.encoding.IsPlain()) return Invalid(request, "no encoding was chosen");
  const int64_t frame_bytes = request.frame_bytes;
  if (frame_bytes < kMinFrameBytes || frame_bytes > kMaxFrameBytes ||
      (frame_bytes & (frame_bytes - 1)) != 0 || request.plain_bytes < 1 ||
      request.plain_bytes > static_cast<int64_t>(kMaxFrames) * frame_bytes) {
    return Invalid(request, absl::StrCat(request.plain_bytes, " bytes in frames of ", frame_bytes,
                                         " are not possible"));
  }
  if (request.encoding.codec != FrameCodec::kZstdGrouped) {
    request.runs = ElementRuns();
  } else if (request.runs.size_bytes() != request.plain_bytes) {
    return Invalid(request, "its elements don't make its content");
  }
  if (request.encoding.encrypted != request.key.has_value()) {
    return Invalid(request, "a key is needed exactly to encrypt");
  }
  if (request.key_id.size() > (request.encoding.encrypted ? kMaxKeyIdBytes : 0)) {
    return Invalid(request,
                   absl::StrCat("a key id of ", request.key_id.size(), " bytes is too long"));
  }
  Trailer trailer;
  trailer.encoding = request.encoding;
  trailer.plain_bytes = request.plain_bytes;
  trailer.frame_bytes = frame_bytes;
  trailer.run_count = request.runs.runs().size();
  trailer.key_id = request.key_id;
  if (request.key.has_value()) {
    trailer.salt = request.salt.has_value() ? *request.salt : DrawSalt();
    trailer.key_check = KeyCheckOf(*request.key, trailer.salt);
  }
  return FrameEncoder(request, std::move(trailer));
}

FrameEncoder::FrameEncoder(const EncodeRequest& request, Trailer trailer)
    : runs_(request.runs),
      shard_name_(request.shard_name),
      trailer_(std::move(trailer)),
      key_(request.key) {
  if (key_.has_value()) cipher_ = std::make_shared<FrameCipher>(*key_, trailer_, shard_name_);
}

absl::StatusOr<std::string> FrameEncoder::Encode(size_t frame, absl::string_view plain) const {
  MUSTER_ASSIGN_OR_RETURN(std::string stored, CompressFrame(trailer_.encoding.codec, runs_,
                                                            trailer_.FrameOffset(frame), plain));
  if (cipher_ == nullptr) return stored;
  const size_t size = stored.size();
  stored.resize(size + kSealTagBytes);
  cipher_->SealFrame(frame, absl::string_view(stored).substr(0, size), absl::MakeSpan(stored));
  return stored;
}

std::string FrameEncoder::Finish(absl::Span<const EncodedFrame> frames) const {
  FrameTable table;
  table.runs = runs_;
  Trailer trailer = trailer_;
  for (const EncodedFrame& frame : frames) {
    table.frames.push_back({trailer.table_offset, frame.stored_bytes, frame.plain_md5});
    trailer.table_offset += frame.stored_bytes;
  }
  std::string out = PackTable(trailer, table);
  if (key_.has_value()) {
    const FrameCipher cipher(*key_, trailer, shard_name_);
    const size_t size = out.size();
    out.resize(size + kSealTagBytes);
    cipher.SealTable(absl::string_view(out).substr(0, size), absl::MakeSpan(out));
  }
  return out + PackTrailer(trailer);
}

}  // namespace muster
