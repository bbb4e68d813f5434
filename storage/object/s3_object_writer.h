// Writes one object of the S3 backend.
#ifndef MUSTER_STORAGE_OBJECT_S3_OBJECT_WRITER_H_
#define MUSTER_STORAGE_OBJECT_S3_OBJECT_WRITER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/object/object_store.h"
#include "storage/object/s3_bucket.h"

namespace muster {

// S3 takes no smaller part but the last, and no more of them.
inline constexpr int64_t kS3PartBytesMin = int64_t{5} << 20;
inline constexpr int64_t kS3PartsMax = 10'000;

// Stores a whole object by one request. As ObjectStore::Put.
absl::StatusOr<ObjectInfo> PutS3Object(S3Bucket& bucket, const std::string& key,
                                       absl::string_view bytes, bool must_not_exist);

// Thread-safe as ObjectWriter says. kInvalidArgument when the object would have more than
// kS3PartsMax parts.
absl::StatusOr<std::unique_ptr<ObjectWriter>> NewS3ObjectWriter(
    std::shared_ptr<S3Bucket> bucket, const std::string& key,
    const ObjectStore::WriteOptions& options);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_S3_OBJECT_WRITER_H_
