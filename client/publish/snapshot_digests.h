// Checks the files of a Hugging Face snapshot against the SHA-256 that their blobs are named by.
#ifndef MUSTER_CLIENT_PUBLISH_SNAPSHOT_DIGESTS_H_
#define MUSTER_CLIENT_PUBLISH_SNAPSHOT_DIGESTS_H_

#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/format/byte_source.h"
#include "client/hash/parallel.h"
#include "client/publish/source_plan.h"

namespace muster {

// kDataLoss BLOB_CORRUPT, naming the file and both digests, unless they are equal.
absl::Status CompareSha256(absl::string_view file, absl::string_view expected,
                           absl::string_view found);

// Reads all of `source` in order. kDataLoss as CompareSha256; kCancelled.
absl::Status CheckSha256(const ByteSource& source, absl::string_view expected,
                         const std::stop_token& stop, const ByteProgress& progress);

// What the whole stored shard must hash to: the digest of the file that it is a copy of. "" where
// it is none, or nothing is known of the file.
std::string Sha256OfShard(const SourcePlan& plan, const ShardCut& shard);

// SHA-256 of the text that `sha256sum` prints for the files of the checkpoint whose digests are
// known, in order of paths: one line "DIGEST  PATH" each. "" where there are none.
std::string Sha256OfSource(const Checkpoint& checkpoint);

}  // namespace muster

#endif  // MUSTER_CLIENT_PUBLISH_SNAPSHOT_DIGESTS_H_
