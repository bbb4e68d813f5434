// Where the objects of an S3 bucket are on the web.
#ifndef MUSTER_STORAGE_OBJECT_S3_ADDRESS_H_
#define MUSTER_STORAGE_OBJECT_S3_ADDRESS_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/object/aws_profile.h"

namespace muster {

// Whether the bucket is part of the path or of the host name.
enum class S3Addressing { kPath, kVirtualHost };

struct S3Address {
  // "http://HOST:PORT" or "https://HOST:PORT"; the port may be left out.
  std::string endpoint;
  std::string region;
  S3Addressing addressing = S3Addressing::kPath;

  // The address of an object, or of the bucket itself if `key` is "". Percent-encoded, and the
  // query sorted, as signatures want it.
  std::string UrlOf(absl::string_view bucket, absl::string_view key,
                    const std::map<std::string, std::string>& query) const;
};

// What the environment and the profile say about the address of `bucket`:
// - endpoint: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile's endpoint_url, else AWS itself;
// - region: AWS_REGION, AWS_DEFAULT_REGION, the profile's region, else us-east-1;
// - addressing: MUSTER_S3_ADDRESSING or the profile's s3.addressing_style, "path" or "virtual";
//   else by the host name at AWS, unless the bucket's name has a dot, and by path elsewhere.
// kInvalidArgument for values that make no sense. Pure.
absl::StatusOr<S3Address> S3AddressFor(absl::string_view bucket,
                                       const EnvironmentLookup& environment,
                                       const AwsSettings& profile);

// Where AWS's Security Token Service, or what stands for it, is asked for the credentials of a role:
// AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL, the profile's endpoint_url, else AWS's own in the region.
// kInvalidArgument as above. Pure.
absl::StatusOr<std::string> StsEndpointFor(const EnvironmentLookup& environment,
                                           const AwsSettings& profile);

// kInvalidArgument unless `bucket` is a name that S3 allows: 3 to 255 of [A-Za-z0-9._-].
absl::Status CheckS3Bucket(absl::string_view bucket);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_S3_ADDRESS_H_
