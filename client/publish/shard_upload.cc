#include "client/publish/shard_upload.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/hash/sha256.h"
#include "client/publish/snapshot_digests.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"
#include "storage/object/io_buffer.h"

namespace muster {

namespace {

// Gives every piece to `on_piece` after it was hashed.
absl::StatusOr<ShardDigests> ReadPieces(
    const ShardStream& stream, const ShardReading& reading,
    absl::FunctionRef<absl::Status(int64_t offset, absl::string_view bytes)> on_piece) {
  const int64_t piece_size = reading.piece_size_bytes;
  ShardHasher hasher(reading.hashes, piece_size);
  std::optional<Sha256Stream> sha256;
  if (!reading.sha256.empty()) sha256.emplace();
  MUSTER_ASSIGN_OR_RETURN(
      const IoBuffer buffer,
      MakeIoBuffer(static_cast<size_t>(std::min(piece_size, stream.size_bytes()))));
  for (int64_t offset = 0; offset < stream.size_bytes();) {
    if (reading.stop.stop_requested()) return absl::CancelledError("interrupted");
    const int64_t length = std::min(piece_size, stream.size_bytes() - offset);
    const absl::Span<char> piece = absl::MakeSpan(buffer.get(), static_cast<size_t>(length));
    MUSTER_RETURN_IF_ERROR(stream.Read(offset, piece));
    const absl::string_view bytes(piece.data(), piece.size());
    MUSTER_RETURN_IF_ERROR(hasher.AddPiece(bytes));
    if (sha256.has_value()) sha256->Update(bytes);
    MUSTER_RETURN_IF_ERROR(on_piece(offset, bytes));
    offset += length;
    if (reading.progress) reading.progress(length);
  }
  if (sha256.has_value()) {
    MUSTER_RETURN_IF_ERROR(CompareSha256("the source file", reading.sha256, sha256->FinishHex()));
  }
  return hasher.Finish();
}

}  // namespace

absl::StatusOr<ShardDigests> DigestShard(const ShardStream& stream, const ShardReading& reading) {
  return ReadPieces(stream, reading, [](int64_t, absl::string_view) { return absl::OkStatus(); });
}

absl::StatusOr<ShardDigests> UploadShard(const ObjectStoreRegistry& stores, const std::string& uri,
                                         const ShardStream& stream, const ShardReading& reading,
                                         bool replace) {
  MUSTER_ASSIGN_OR_RETURN(const ObjectRef object, stores.Open(uri));
  MUSTER_ASSIGN_OR_RETURN(
      const std::unique_ptr<ObjectWriter> writer,
      object.store->Create(object.key, {.size_bytes = stream.size_bytes(),
                                        .part_size_bytes = reading.piece_size_bytes,
                                        .must_not_exist = !replace}));
  MUSTER_ASSIGN_OR_RETURN(ShardDigests digests,
                          ReadPieces(stream, reading, [&](int64_t offset, absl::string_view bytes) {
                            return writer->Write(offset, bytes);
                          }));
  MUSTER_RETURN_IF_ERROR(writer->Commit().status());
  return digests;
}

bool IsStored(const ObjectStoreRegistry& stores, const std::string& uri, int64_t size_bytes,
              const std::stop_token& stop) {
  const auto object = stores.Open(uri);
  if (!object.ok()) return false;
  const auto info = object->store->Stat(object->key, stop);
  return info.ok() && info->size_bytes == size_bytes;
}

absl::StatusOr<ReadCompanion> ReadCompanionFile(const SourceFiles& files, const FoundFile& file) {
  MUSTER_ASSIGN_OR_RETURN(const auto source, files.Open(file.path));
  if (source->size_bytes() > kMaxCompanionBytes) {
    return absl::AbortedError(absl::StrCat(QuoteForMessage(file.path), ": grew to ",
                                           source->size_bytes(), " bytes while publishing"));
  }
  ReadCompanion read;
  read.bytes.resize(static_cast<size_t>(source->size_bytes()));
  MUSTER_RETURN_IF_ERROR(source->Read(0, absl::MakeSpan(read.bytes)));
  if (!file.sha256.empty()) {
    Sha256Stream sha256;
    sha256.Update(read.bytes);
    MUSTER_RETURN_IF_ERROR(CompareSha256(file.path, file.sha256, sha256.FinishHex()));
  }
  read.companion.set_path(file.relative_path);
  read.companion.set_size_bytes(read.bytes.size());
  read.companion.set_md5(Md5ToHex(Md5Of(read.bytes)));
  read.source_path = file.path;
  read.fingerprint = source->fingerprint();
  MUSTER_ASSIGN_OR_RETURN(read.place, files.Locate(*source));
  return read;
}

absl::Status CheckUnchanged(const SourceFiles& files, const ReadCompanion& companion) {
  MUSTER_ASSIGN_OR_RETURN(const auto source, files.Open(companion.source_path));
  if (source->fingerprint() == companion.fingerprint) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat(QuoteForMessage(companion.source_path),
                                         ": changed while it was being published"));
}

}  // namespace muster
