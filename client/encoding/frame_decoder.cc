#include "client/encoding/frame_decoder.h"

#include <openssl/crypto.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/encoding/frame_codec.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::Status KeyMissing(absl::string_view key_id) {
  const std::string named = key_id.empty() ? "" : absl::StrCat(" with key \"", key_id, "\"");
  return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kKeyMissing,
                   absl::StrCat("is encrypted", named,
                                ", and no key was given; name it with --key-file, --key-env or "
                                "--key-command"),
                   {{"key_id", std::string(key_id)}});
}

bool IsKnown(const KeySource* keys, absl::string_view key_id) {
  return keys != nullptr && keys->Knows(key_id);
}

absl::Status CheckAgreement(const DecodeRequest& request, const Trailer& trailer) {
  const std::string found = EncodingName(trailer.encoding);
  if (found == request.encoding && trailer.plain_bytes == request.plain_bytes) {
    return absl::OkStatus();
  }
  return MakeError(
      absl::StatusCode::kDataLoss, reasons::kEncodingDiffers,
      absl::StrCat("the stored object is ", trailer.plain_bytes, " bytes encoded as \"", found,
                   "\", and registered as ", request.plain_bytes, " bytes encoded as \"",
                   request.encoding, "\""));
}

absl::StatusOr<SecretKey> KeyOfObject(const KeyProof& proof, absl::string_view shard_name,
                                      absl::string_view key_id, KeySource* keys,
                                      const std::stop_token& stop) {
  if (!IsKnown(keys, key_id)) return KeyMissing(key_id);
  MUSTER_ASSIGN_OR_RETURN(const SecretKey key, keys->KeyOfShard(shard_name, key_id, stop));
  const KeyCheck check = KeyCheckOf(key, proof.salt);
  if (CRYPTO_memcmp(check.data(), proof.check.data(), check.size()) == 0) return key;
  const std::string named = key_id.empty() ? "" : absl::StrCat(" (its key id is \"", key_id, "\")");
  return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kWrongKey,
                   absl::StrCat("is encrypted with another key than the one that was given", named,
                                "; give the key that it was published with"),
                   {{"key_id", std::string(key_id)}});
}

}  // namespace

absl::Status FrameCorrupt(absl::string_view shard_name, size_t frame, absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, reasons::kFrameCorrupt,
                   absl::StrCat(shard_name, ": frame ", frame, " can't be decoded: ", what),
                   {{"frame", absl::StrCat(frame)}});
}

absl::Status FrameDecoder::CheckPossible(absl::string_view encoding, absl::string_view key_id,
                                         const KeySource* keys) {
  MUSTER_ASSIGN_OR_RETURN(const Encoding parsed, ParseEncoding(encoding));
  return parsed.encrypted && !IsKnown(keys, key_id) ? KeyMissing(key_id) : absl::OkStatus();
}

absl::Status FrameDecoder::CheckKey(const KeyProof& proof, absl::string_view shard_name,
                                    absl::string_view key_id, KeySource* keys,
                                    const std::stop_token& stop) {
  return KeyOfObject(proof, shard_name, key_id, keys, stop).status();
}

std::optional<KeyProof> FrameDecoder::key_proof() const {
  if (!trailer_.encoding.encrypted) return std::nullopt;
  return KeyProof{trailer_.salt, trailer_.key_check};
}

absl::StatusOr<FrameDecoder> FrameDecoder::Open(const DecodeRequest& request, ReadRange read,
                                                KeySource* keys) {
  MUSTER_RETURN_IF_ERROR(ParseEncoding(request.encoding).status());
  std::string bytes(static_cast<size_t>(std::min(request.stored_bytes, kTrailerBytes)), '\0');
  MUSTER_RETURN_IF_ERROR(
      read(request.stored_bytes - static_cast<int64_t>(bytes.size()), absl::MakeSpan(bytes)));
  MUSTER_ASSIGN_OR_RETURN(Trailer trailer, ParseTrailer(bytes, request.stored_bytes));
  MUSTER_RETURN_IF_ERROR(CheckAgreement(request, trailer));
  FrameDecoder decoder(request.shard_name, std::move(trailer));
  const Trailer& known = decoder.trailer_;
  if (known.encoding.encrypted) {
    MUSTER_ASSIGN_OR_RETURN(
        const SecretKey key,
        KeyOfObject(*decoder.key_proof(), request.shard_name, known.key_id, keys, request.stop));
    decoder.cipher_ = std::make_shared<const FrameCipher>(key, known, request.shard_name);
  }
  bytes.resize(static_cast<size_t>(known.table_stored_bytes()));
  MUSTER_RETURN_IF_ERROR(read(known.table_offset, absl::MakeSpan(bytes)));
  if (decoder.cipher_ != nullptr) {
    std::string opened(static_cast<size_t>(known.table_plain_bytes()), '\0');
    if (!decoder.cipher_->OpenTable(bytes, absl::MakeSpan(opened))) {
      return MakeError(absl::StatusCode::kDataLoss, reasons::kFrameTableBroken,
                       absl::StrCat(request.shard_name,
                                    ": the frame table was changed since it was encrypted, or "
                                    "belongs to another shard"));
    }
    bytes = std::move(opened);
  }
  MUSTER_ASSIGN_OR_RETURN(decoder.table_, ParseTable(bytes, known));
  return decoder;
}

absl::Status FrameDecoder::Decode(size_t frame, absl::Span<char> stored,
                                  absl::Span<char> plain) const {
  if (static_cast<int64_t>(stored.size()) != table_.frames[frame].stored_bytes ||
      static_cast<int64_t>(plain.size()) != FrameLength(frame)) {
    return FrameCorrupt(shard_name_, frame, "it has another size");
  }
  absl::string_view opened(stored.data(), stored.size());
  if (cipher_ != nullptr) {
    const absl::string_view sealed = opened;
    opened.remove_suffix(static_cast<size_t>(kSealTagBytes));
    if (!cipher_->OpenFrame(frame, sealed, stored.first(opened.size()))) {
      return FrameCorrupt(shard_name_, frame,
                          "it was changed since it was encrypted, or belongs elsewhere");
    }
  }
  const absl::Status status =
      DecompressFrame(trailer_.encoding.codec, table_.runs, FrameOffset(frame), opened, plain);
  return status.ok() ? status : FrameCorrupt(shard_name_, frame, status.message());
}

}  // namespace muster
