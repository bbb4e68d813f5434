#include "client/assemble/shard_copier.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/cache/shard_decoder.h"
#include "client/encoding/frame_decoder.h"
#include "client/sdk/pieces.h"
#include "storage/base/error_info.h"
#include "storage/base/md5.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/spool_file.h"
#include "storage/object/io_buffer.h"

namespace muster {
namespace {

// What is read at once of a shard that has no pieces.
constexpr int64_t kPartBytes = int64_t{8} << 20;

// Copies a cache entry; kDataLoss as soon as it is found to be wrong.
absl::Status CopyVerified(const CachedShard& entry, PieceSink& sink, HashQueue& hashes,
                          const std::stop_token& stop, const ByteProgress& progress) {
  return ReadAndCheck(
      entry.content(), /*check_whole=*/false, hashes, stop,
      [&](int64_t offset, absl::Span<char> out) { return entry.Read(offset, out); },
      [&](const CheckedPart& part) {
        if (!part.matches) {
          return absl::DataLossError(
              absl::StrCat(entry.path(), ": the bytes at ", part.offset_bytes, " have MD5 ",
                           Md5ToHex(part.found), " instead of ", Md5ToHex(part.expected)));
        }
        MUSTER_RETURN_IF_ERROR(sink.Write(part.offset_bytes, part.bytes));
        if (progress) progress(static_cast<int64_t>(part.bytes.size()));
        return absl::OkStatus();
      });
}

}  // namespace

absl::Status ReadAndCheck(
    const CheckedShard& shard, bool check_whole, HashQueue& hashes, const std::stop_token& stop,
    absl::FunctionRef<absl::Status(int64_t offset, absl::Span<char> out)> read,
    absl::FunctionRef<absl::Status(const CheckedPart& part)> on_part) {
  const int64_t part_size = shard.has_pieces() ? shard.piece_size_bytes() : kPartBytes;
  MUSTER_ASSIGN_OR_RETURN(
      const IoBuffer buffer,
      MakeIoBuffer(static_cast<size_t>(std::min(part_size, shard.size_bytes()))));
  if (!shard.has_pieces()) check_whole = true;
  if (!shard.whole_md5().has_value()) check_whole = false;
  Md5LaneStream whole;
  CheckedPart part;
  while (part.offset_bytes < shard.size_bytes()) {
    if (stop.stop_requested()) return absl::CancelledError("interrupted");
    const int64_t length = std::min(part_size, shard.size_bytes() - part.offset_bytes);
    const absl::Span<char> out = absl::MakeSpan(buffer.get(), static_cast<size_t>(length));
    MUSTER_RETURN_IF_ERROR(read(part.offset_bytes, out));
    part.bytes = absl::string_view(out.data(), out.size());
    Md5LaneStream piece;
    std::vector<HashQueue::Part> streams;
    if (shard.has_pieces()) streams.push_back({&piece, part.bytes});
    if (check_whole) streams.push_back({&whole, part.bytes});
    hashes.Update(streams);
    if (shard.has_pieces()) {
      part.expected = shard.piece_digest(part.piece);
      part.found = piece.Finish();
      part.matches = part.expected == part.found;
    }
    MUSTER_RETURN_IF_ERROR(on_part(part));
    part.offset_bytes += length;
    ++part.piece;
  }
  if (!check_whole) return absl::OkStatus();
  part.is_whole = true;
  part.offset_bytes = 0;
  part.bytes = {};
  part.expected = *shard.whole_md5();
  part.found = whole.Finish();
  part.matches = part.expected == part.found;
  return on_part(part);
}

absl::Status ShardCopier::Copy(const v1::Shard& shard, PieceSink& sink, const std::stop_token& stop,
                               const ByteProgress& progress) {
  PullShard pull{shard, {}};
  CallOptions call = options_.call;
  call.stop = stop;
  MUSTER_ASSIGN_OR_RETURN(pull.pieces, FetchPieces(client_, shard, call));
  const absl::StatusOr<CheckedShard> checked = CheckedShard::Make(pull);
  if (checked.ok() && CopyFromCaches(*checked, sink, stop, progress)) {
    ++from_cache_;
    return absl::OkStatus();
  }
  // What the puller says of a description that can't be used is as good.
  const bool encoded = checked.ok() && checked->is_encoded();
  MUSTER_RETURN_IF_ERROR(encoded ? FetchEncoded(pull, *checked, sink, stop, progress)
                                 : Fetch(pull, sink, stop, progress));
  ++from_locations_;
  return absl::OkStatus();
}

absl::Status ShardCopier::Fetch(const PullShard& shard, PieceSink& sink,
                                const std::stop_token& stop, const ByteProgress& progress) {
  int64_t last = 0;
  const PullResult result = puller_.Pull(shard, sink, stop, [&](int64_t done) {
    if (progress) progress(done - last);
    last = done;
  });
  for (const PullFailure& failure : result.location_failures) {
    Warn(failure.message);
  }
  return result.status;
}

absl::Status ShardCopier::FetchEncoded(const PullShard& shard, const CheckedShard& checked,
                                       PieceSink& sink, const std::stop_token& stop,
                                       const ByteProgress& progress) {
  const absl::Status possible =
      FrameDecoder::CheckPossible(checked.encoding(), checked.key_id(), options_.keys.get());
  if (!possible.ok()) return Annotate(possible, checked.name());
  MUSTER_ASSIGN_OR_RETURN(const SpoolFile spool,
                          SpoolFile::Create(options_.spool, checked.size_bytes()));
  FileRangeSink stored({.fd = spool.fd(), .path = spool.name(), .holds_back = true});
  MUSTER_RETURN_IF_ERROR(Fetch(shard, stored, stop, progress));
  MUSTER_ASSIGN_OR_RETURN(
      const ShardDecoder decoder,
      ShardDecoder::Open(
          checked,
          [&spool](int64_t offset, absl::Span<char> out) { return spool.Read(offset, out); },
          options_.keys.get(), stop));
  return decoder.Decode(sink, stop, &puller_.memory());
}

absl::Status ShardCopier::CopyEntry(const CachedShard& entry, const CheckedShard& shard,
                                    PieceSink& sink, const std::stop_token& stop,
                                    const ByteProgress& progress) {
  if (entry.content().ContentKey() == shard.ContentKey()) {
    return CopyVerified(entry, sink, hashes_, stop, progress);
  }
  MUSTER_ASSIGN_OR_RETURN(
      const ShardDecoder decoder,
      ShardDecoder::Open(
          shard, [&entry](int64_t offset, absl::Span<char> out) { return entry.Read(offset, out); },
          options_.keys.get(), stop));
  MUSTER_RETURN_IF_ERROR(decoder.Decode(sink, stop, &puller_.memory()));
  if (progress) progress(shard.size_bytes());
  return absl::OkStatus();
}

bool ShardCopier::CopyFromCaches(const CheckedShard& shard, PieceSink& sink,
                                 const std::stop_token& stop, const ByteProgress& progress) {
  for (ShardCache* cache : options_.caches) {
    absl::StatusOr<CachedShard> entry = cache->Lookup(shard, stop);
    if (absl::IsNotFound(entry.status()) && shard.is_encoded()) {
      entry = cache->Lookup(shard.Stored(), stop);
    }
    absl::Status status = entry.status();
    if (absl::IsNotFound(status)) continue;
    int64_t done = 0;
    if (status.ok()) {
      status = CopyEntry(*entry, shard, sink, stop, [&](int64_t bytes) {
        done += bytes;
        if (progress) progress(bytes);
      });
    }
    if (status.ok()) return true;
    if (progress) progress(-done);
    if (stop.stop_requested()) return false;
    Warn(absl::StrCat("not taken from the cache: ", status.message()));
  }
  return false;
}

absl::Status ShardCopier::CopyCompanion(const v1::Companion& companion, PieceSink& sink,
                                        const std::stop_token& stop) {
  if (companion.size_bytes() == 0) {
    if (companion.md5() == Md5ToHex(Md5Of(""))) return absl::OkStatus();
    return MakeError(absl::StatusCode::kDataLoss, reasons::kCompanionCorrupt,
                     absl::StrCat(companion.path(),
                                  ": is registered as empty, with an MD5 of "
                                  "something else"));
  }
  PullShard pull;
  pull.shard.set_name(companion.path());
  pull.shard.set_size_bytes(companion.size_bytes());
  pull.shard.set_md5(companion.md5());
  *pull.shard.mutable_locations() = companion.locations();
  return puller_.Pull(pull, sink, stop, {}).status;
}

void ShardCopier::Warn(const std::string& warning) const {
  if (options_.warn) options_.warn(warning);
}

}  // namespace muster
