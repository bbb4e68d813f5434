#include "client/encoding/encoding_name.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

constexpr absl::string_view kCipherName = "aes-256-gcm";
// Longer than any name; what a hostile server sends beyond it is cut.
constexpr size_t kMaxQuotedBytes = 64;

absl::string_view CodecName(FrameCodec codec) {
  switch (codec) {
    case FrameCodec::kNone:
      return "";
    case FrameCodec::kZstd:
      return "zstd";
    case FrameCodec::kZstdGrouped:
      return "zstd-grouped";
  }
  return "";
}

}  // namespace

std::string EncodingName(const Encoding& encoding) {
  const absl::string_view codec = CodecName(encoding.codec);
  if (!encoding.encrypted) return std::string(codec);
  return absl::StrCat(codec, codec.empty() ? "" : "+", kCipherName);
}

absl::StatusOr<Encoding> ParseEncoding(absl::string_view name) {
  for (const FrameCodec codec : {FrameCodec::kNone, FrameCodec::kZstd, FrameCodec::kZstdGrouped}) {
    for (const bool encrypted : {false, true}) {
      const Encoding encoding{codec, encrypted};
      if (EncodingName(encoding) == name) return encoding;
    }
  }
  const std::string quoted = absl::CHexEscape(name.substr(0, kMaxQuotedBytes));
  return MakeError(
      absl::StatusCode::kUnimplemented, reasons::kUnknownEncoding,
      absl::StrCat("is encoded as \"", quoted, "\", which this program can't decode; update it"),
      {{"encoding", quoted}});
}

}  // namespace muster
