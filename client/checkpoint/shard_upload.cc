#include "client/checkpoint/shard_upload.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/checkpoint/utf8.h"
#include "storage/base/md5.h"
#include "storage/base/status_macros.h"
#include "storage/object/io_buffer.h"

namespace muster {

absl::StatusOr<ShardDigests> UploadShard(const ObjectStoreRegistry& stores, const std::string& uri,
                                         const ShardStream& stream, int64_t piece_size_bytes,
                                         HashQueue& hashes, const std::stop_token& stop,
                                         const ByteProgress& progress) {
  MUSTER_ASSIGN_OR_RETURN(const ObjectRef object, stores.Open(uri));
  MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<ObjectWriter> writer,
                          object.store->Create(object.key, {.size_bytes = stream.size_bytes(),
                                                            .part_size_bytes = piece_size_bytes,
                                                            .must_not_exist = true}));
  ShardHasher hasher(hashes, piece_size_bytes);
  MUSTER_ASSIGN_OR_RETURN(
      const IoBuffer buffer,
      MakeIoBuffer(static_cast<size_t>(std::min(piece_size_bytes, stream.size_bytes()))));
  for (int64_t offset = 0; offset < stream.size_bytes();) {
    if (stop.stop_requested()) return absl::CancelledError("interrupted");
    const int64_t length = std::min(piece_size_bytes, stream.size_bytes() - offset);
    const absl::Span<char> piece = absl::MakeSpan(buffer.get(), static_cast<size_t>(length));
    MUSTER_RETURN_IF_ERROR(stream.Read(offset, piece));
    const absl::string_view bytes(piece.data(), piece.size());
    MUSTER_RETURN_IF_ERROR(hasher.AddPiece(bytes));
    MUSTER_RETURN_IF_ERROR(writer->Write(offset, bytes));
    offset += length;
    if (progress) progress(length);
  }
  MUSTER_ASSIGN_OR_RETURN(ShardDigests digests, hasher.Finish());
  MUSTER_RETURN_IF_ERROR(writer->Commit().status());
  return digests;
}

absl::StatusOr<UploadedCompanion> UploadCompanion(const ObjectStoreRegistry& stores,
                                                  const std::string& uri, const FoundFile& file) {
  MUSTER_ASSIGN_OR_RETURN(const auto source, OpenFileByteSource(file.path));
  if (source->size_bytes() > kMaxCompanionBytes) {
    return absl::AbortedError(absl::StrCat(QuoteForMessage(file.path), ": grew to ",
                                           source->size_bytes(), " bytes while publishing"));
  }
  std::string bytes(static_cast<size_t>(source->size_bytes()), '\0');
  MUSTER_RETURN_IF_ERROR(source->Read(0, absl::MakeSpan(bytes)));
  MUSTER_ASSIGN_OR_RETURN(const ObjectRef object, stores.Open(uri));
  MUSTER_RETURN_IF_ERROR(object.store->Put(object.key, bytes, {.must_not_exist = true}).status());
  UploadedCompanion uploaded;
  uploaded.companion.set_path(file.relative_path);
  uploaded.companion.set_size_bytes(bytes.size());
  uploaded.companion.set_md5(Md5ToHex(Md5Of(bytes)));
  uploaded.source_path = file.path;
  uploaded.fingerprint = source->fingerprint();
  return uploaded;
}

absl::Status CheckUnchanged(const UploadedCompanion& companion) {
  MUSTER_ASSIGN_OR_RETURN(const auto source, OpenFileByteSource(companion.source_path));
  if (source->fingerprint() == companion.fingerprint) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat(QuoteForMessage(companion.source_path),
                                         ": changed while it was being published"));
}

}  // namespace muster
