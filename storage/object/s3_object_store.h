// Objects of a bucket behind the S3 protocol: AWS, Ceph's gateway, MinIO and others.
#ifndef MUSTER_STORAGE_OBJECT_S3_OBJECT_STORE_H_
#define MUSTER_STORAGE_OBJECT_S3_OBJECT_STORE_H_

#include "absl/status/status.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/object/aws_profile.h"
#include "storage/object/http_client.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// Scheme "s3": s3://BUCKET/KEY. Endpoint, region and addressing are as s3_address.h says, and the
// credentials as s3_credentials.h says; they are looked at when the first URI is opened. A version
// is the ETag, with the version id behind it where the bucket has them. `clock` and `random` outlive
// the registry.
absl::Status RegisterS3ObjectStore(ObjectStoreRegistry& registry, EnvironmentLookup environment,
                                   Clock& clock, Random& random, const HttpStoreOptions& options);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_S3_OBJECT_STORE_H_
