// Entries that hold the content of encoded shards.
#ifndef MUSTER_CLIENT_CACHE_CACHE_DECODE_H_
#define MUSTER_CLIENT_CACHE_CACHE_DECODE_H_

#include <memory>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cache/cache_files.h"
#include "client/cache/cache_part.h"
#include "client/cache/checked_shard.h"
#include "client/cache/part_lock.h"
#include "client/cache/shard_cache.h"
#include "client/cache/shard_decoder.h"
#include "storage/files/posix_file.h"

namespace muster {

// The part file of the content of an encoded shard, locked; what its frames are is known only once
// the stored bytes are there.
class ContentPart {
 public:
  // `part` is one of KEY-plain.
  ContentPart(std::shared_ptr<const CacheDomain> domain, const CheckedShard& shard,
              LockedPart part);
  // Keeps the files when an earlier or this writer left frames in them, and deletes them otherwise.
  ~ContentPart();

  // Reserves room for all of the content; called by the thread that has made room and holds the
  // domain's lock.
  absl::Status Reserve();

  // Decodes from stored bytes, which `read` reads, and makes the content visible; called once. What
  // an earlier writer had decoded is hashed, not decoded again.
  absl::StatusOr<CachedShard> Decode(ShardDecoder::ReadStored read,
                                     const ShardCache::Options& options,
                                     const std::stop_token& stop);

 private:
  const std::shared_ptr<const CacheDomain> domain_;
  const CheckedShard shard_;
  LockedPart part_;
};

// An encoded shard on its way: takes its stored bytes, and decodes them when all are there.
class DecodingCachePart final : public CachePart {
 public:
  // `stored` takes the stored bytes. The form in `options` is not kStored.
  DecodingCachePart(std::unique_ptr<FileCachePart> stored, std::unique_ptr<ContentPart> content,
                    ShardCache::Options options, std::stop_token stop);

  std::vector<bool> Present() const override { return stored_->Present(); }
  absl::Status Write(int64_t offset, absl::string_view bytes) override {
    return stored_->Write(offset, bytes);
  }
  // The content. The stored bytes go afterwards, unless the cache keeps both; after an error they
  // stay, so that another key can be tried without another pull.
  absl::StatusOr<CachedShard> Commit() override;

 private:
  const std::unique_ptr<FileCachePart> stored_;
  const std::unique_ptr<ContentPart> content_;
  const ShardCache::Options options_;
  const std::stop_token stop_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_DECODE_H_
