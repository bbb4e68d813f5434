// Gets shards' bytes, verified, from caches on this machine first and from their locations else.
#ifndef MUSTER_CLIENT_ASSEMBLE_SHARD_COPIER_H_
#define MUSTER_CLIENT_ASSEMBLE_SHARD_COPIER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cache/piece_sink.h"
#include "client/cache/shard_cache.h"
#include "client/encoding/key_source.h"
#include "client/hash/hash_queue.h"
#include "client/hash/parallel.h"
#include "client/sdk/client.h"
#include "client/transfer/puller.h"
#include "storage/files/staged_file.h"

namespace muster {

// A range of a staged file: the shard's byte 0 goes to `base_offset`.
class StagedFileSink final : public PieceSink {
 public:
  // `file` outlives the sink.
  StagedFileSink(StagedFile& file, int64_t base_offset) : file_(file), base_(base_offset) {}

  absl::Status Write(int64_t offset, absl::string_view bytes) override {
    return file_.Write(base_ + offset, bytes);
  }
  bool HoldsBack() const override { return true; }

 private:
  StagedFile& file_;
  const int64_t base_;
};

// Thread-safe. Bytes of a cache entry are hashed again while they are copied; an entry that turns
// out to be bad is not used.
class ShardCopier {
 public:
  struct Options {
    // Asked in this order; they outlive the copier.
    std::vector<ShardCache*> caches;
    // For the piece lists.
    CallOptions call;
    // Gets one sentence per thing that went wrong on the way; may be empty. Called from any thread.
    std::function<void(const std::string& warning)> warn;
    // For encrypted shards; may be null.
    std::shared_ptr<KeySource> keys = nullptr;
    // An existing directory for the stored bytes of encoded shards, while they are decoded.
    std::string spool = {};
  };

  // The references outlive the copier.
  ShardCopier(Client& client, Puller& puller, Options options)
      : client_(client), puller_(puller), options_(std::move(options)) {}

  // Puts all bytes of `shard` into `sink`, which holds back; of an encoded one the content. The errors
  // are those of Puller and of ShardDecoder. Progress is of stored bytes, unless a cache has the
  // content.
  absl::Status Copy(const v1::Shard& shard, PieceSink& sink, const std::stop_token& stop,
                    const ByteProgress& progress);

  // A companion, as a shard without pieces.
  absl::Status CopyCompanion(const v1::Companion& companion, PieceSink& sink,
                             const std::stop_token& stop);

  uint32_t from_cache() const { return from_cache_; }
  uint32_t from_locations() const { return from_locations_; }

 private:
  absl::Status Fetch(const PullShard& shard, PieceSink& sink, const std::stop_token& stop,
                     const ByteProgress& progress);
  absl::Status FetchEncoded(const PullShard& shard, const CheckedShard& checked, PieceSink& sink,
                            const std::stop_token& stop, const ByteProgress& progress);
  absl::Status CopyEntry(const CachedShard& entry, const CheckedShard& shard, PieceSink& sink,
                         const std::stop_token& stop, const ByteProgress& progress);
  bool CopyFromCaches(const CheckedShard& shard, PieceSink& sink, const std::stop_token& stop,
                      const ByteProgress& progress);
  void Warn(const std::string& warning) const;

  Client& client_;
  Puller& puller_;
  const Options options_;
  HashQueue hashes_;
  std::atomic<uint32_t> from_cache_ = 0;
  std::atomic<uint32_t> from_locations_ = 0;
};

// Gives `read` the parts of a shard one after another and compares them with what was registered.
// Shards that are checked at once with the same `hashes` are hashed side by side.
//
// `on_part` gets each part's offset, bytes and whether it is right; a shard without pieces is one
// part per 8 MiB that are right for now. An error of `read` or `on_part` ends it. Where the whole
// MD5 is compared, which is always so without pieces, the last call has no bytes and says whether
// the whole is right. With pieces that takes `check_whole` and a whole MD5 that was registered.
struct CheckedPart {
  bool is_whole = false;
  size_t piece = 0;
  int64_t offset_bytes = 0;
  absl::string_view bytes;
  bool matches = true;
  Md5Digest expected{};
  Md5Digest found{};
};
absl::Status ReadAndCheck(
    const CheckedShard& shard, bool check_whole, HashQueue& hashes, const std::stop_token& stop,
    absl::FunctionRef<absl::Status(int64_t offset, absl::Span<char> out)> read,
    absl::FunctionRef<absl::Status(const CheckedPart& part)> on_part);

}  // namespace muster

#endif  // MUSTER_CLIENT_ASSEMBLE_SHARD_COPIER_H_
