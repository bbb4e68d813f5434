#include "client/cache/cache_decode.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "absl/types/span.h"
#include "client/cache/cache_pieces.h"
#include "storage/base/status_macros.h"

namespace muster {

ContentPart::ContentPart(std::shared_ptr<const CacheDomain> domain, const CheckedShard& shard,
                         LockedPart part)
    : domain_(std::move(domain)), shard_(shard), part_(std::move(part)) {}

ContentPart::~ContentPart() {
  if (!part_.fd.valid() || domain_->Has(part_.stem + kClaimsSuffix)) return;
  if (!IsSameFile(domain_->dir.get(), part_.stem + kPartSuffix, part_.fd.get())) return;
  domain_->RemovePart(shard_.ContentKey(), part_.stem);
}

absl::Status ContentPart::Reserve() {
  const std::string path = domain_->PathOf(part_.stem + kPartSuffix);
  return ReserveFile(part_.fd.get(), path, shard_.content_size_bytes());
}

absl::StatusOr<CachedShard> ContentPart::Decode(ShardDecoder::ReadStored read,
                                                const ShardCache::Options& options,
                                                const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(const ShardDecoder decoder,
                          ShardDecoder::Open(shard_, std::move(read), options.keys.get(), stop));
  // Before the entry, which is of no use without it.
  MUSTER_RETURN_IF_ERROR(WritePieces(*domain_, decoder.content(), decoder.key_proof()));
  const bool secret = decoder.key_proof().has_value();
  FileCachePart part(domain_, decoder.content(), std::move(part_), domain_->ModeOf(secret));
  MUSTER_RETURN_IF_ERROR(part.Reserve());
  MUSTER_RETURN_IF_ERROR(part.TakeOver(decoder.content(), stop));
  MUSTER_RETURN_IF_ERROR(decoder.Decode(part, stop, options.memory.get()));
  return part.Commit();
}

DecodingCachePart::DecodingCachePart(std::unique_ptr<FileCachePart> stored,
                                     std::unique_ptr<ContentPart> content,
                                     ShardCache::Options options, std::stop_token stop)
    : stored_(std::move(stored)),
      content_(std::move(content)),
      options_(std::move(options)),
      stop_(std::move(stop)) {}

absl::StatusOr<CachedShard> DecodingCachePart::Commit() {
  if (options_.form == CacheForm::kBoth) {
    MUSTER_ASSIGN_OR_RETURN(const CachedShard stored, stored_->Commit());
    return content_->Decode(
        [&stored](int64_t offset, absl::Span<char> out) { return stored.Read(offset, out); },
        options_, stop_);
  }
  MUSTER_ASSIGN_OR_RETURN(CachedShard content, content_->Decode(
                                                   [this](int64_t offset, absl::Span<char> out) {
                                                     return stored_->Read(offset, out);
                                                   },
                                                   options_, stop_));
  stored_->GiveUp();
  return content;
}

}  // namespace muster
