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
                         UniqueFd fd)
    : domain_(std::move(domain)), shard_(shard), fd_(std::move(fd)) {}

ContentPart::~ContentPart() {
  const std::string key = shard_.ContentKey();
  const std::string name = key + kPartSuffix;
  if (!fd_.valid() || domain_->Has(key + kClaimsSuffix)) return;
  if (!IsSameFile(domain_->dir.get(), name, fd_.get())) return;
  if (!domain_->Has(key)) domain_->Remove(key + kPiecesSuffix);
  domain_->Remove(name);
}

absl::Status ContentPart::Reserve() {
  const std::string path = domain_->PathOf(shard_.ContentKey() + kPartSuffix);
  return ReserveFile(fd_.get(), path, shard_.content_size_bytes());
}

absl::StatusOr<CachedShard> ContentPart::Decode(ShardDecoder::ReadStored read,
                                                const ShardCache::Options& options,
                                                const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(const ShardDecoder decoder,
                          ShardDecoder::Open(shard_, std::move(read), options.keys.get(), stop));
  // Before the entry, which is of no use without it.
  MUSTER_RETURN_IF_ERROR(WritePieces(*domain_, decoder.content()));
  FileCachePart part(domain_, decoder.content(), std::move(fd_));
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
