// What the replies of an S3 server mean to an ObjectStore. Pure functions.
#ifndef MUSTER_STORAGE_OBJECT_S3_REPLY_H_
#define MUSTER_STORAGE_OBJECT_S3_REPLY_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/md5.h"
#include "storage/object/http_connection.h"
#include "storage/object/object_store.h"
#include "storage/object/s3_credentials.h"

namespace muster {

// What a request was about, for messages.
struct S3Subject {
  std::string uri;
  std::string bucket;
  // "" for the bucket itself.
  std::string key;
  std::string endpoint;
};

// The error in `reply`, whose body is `body`, or in a body that reports an error after all; nothing
// if it is a success. The message names S3's code, the endpoint and the request; the detail has
// reason S3_ERROR and the same values. Nothing else that the server says is repeated but its
// message, shortened.
absl::Status S3ErrorOf(const S3Subject& subject, const HttpReply& reply, absl::string_view body);

// S3's code in an error of S3ErrorOf; "" in others.
std::string S3CodeOf(const absl::Status& status);

// One reply to ListObjectsV2.
struct S3Page {
  std::vector<ObjectStore::ListedObject> objects;
  // Set when there is more.
  std::optional<std::string> continuation;
};

// The credentials in the reply to an AssumeRoleWithWebIdentity. kUnauthenticated with the service's words for a
// refusal, kUnavailable for what may pass.
absl::StatusOr<S3Credentials> ParseStsReply(const HttpReply& reply, absl::string_view xml);

// These are kDataLoss for text that is something else.
absl::StatusOr<S3Page> ParseS3Page(absl::string_view uri, absl::string_view xml);
// The upload id of a CreateMultipartUpload.
absl::StatusOr<std::string> ParseS3UploadId(absl::string_view uri, absl::string_view xml);
// The ids in a ListMultipartUploads that belong to `key`.
absl::StatusOr<std::vector<std::string>> ParseS3Uploads(absl::string_view uri,
                                                        absl::string_view xml,
                                                        absl::string_view key);
// The ETag, in quotes, of a CompleteMultipartUpload; "" where the server leaves it empty, as Ceph does.
absl::StatusOr<std::string> ParseS3CompletedEtag(absl::string_view uri, absl::string_view xml);

struct S3Part {
  std::string etag;
  Md5Digest md5 = {};
};

// The body of a CompleteMultipartUpload; parts by number, from 1.
std::string S3CompletionOf(const std::map<int, S3Part>& parts);

// OK unless `etag` must be the one of S3 for an object with this MD5, of one part ("" as suffix) or
// of "-N" parts, and is not: it has that form, and the server encrypts with no keys of its own.
absl::Status CheckS3Etag(absl::string_view uri, const HttpReply& reply, absl::string_view etag,
                         const Md5Digest& md5, absl::string_view suffix);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_S3_REPLY_H_
