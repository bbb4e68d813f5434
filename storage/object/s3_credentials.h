// The identity that signs requests to S3.
#ifndef MUSTER_STORAGE_OBJECT_S3_CREDENTIALS_H_
#define MUSTER_STORAGE_OBJECT_S3_CREDENTIALS_H_

#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"
#include "storage/object/aws_profile.h"
#include "storage/object/http_connection.h"

namespace muster {

struct S3Credentials {
  std::string access_key_id;
  std::string secret_access_key;
  // "" for those that last.
  std::string session_token;
  absl::Time expires = absl::InfiniteFuture();
};

// The first of these that there are, renewed before they expire. Thread-safe; calls block.
//  1. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN.
//  2. Those of the role AWS_ROLE_ARN for the web identity in AWS_WEB_IDENTITY_TOKEN_FILE (as on Kubernetes), or of the
//     profile's role_arn and web_identity_token_file; where from, StsEndpointFor says.
//  3. The profile (aws_profile.h), read again from time to time.
//  4. The container's: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, with
//     AWS_CONTAINER_AUTHORIZATION_TOKEN or _TOKEN_FILE.
//  5. The instance's metadata service, version 2, unless AWS_EC2_METADATA_DISABLED is "true";
//     AWS_EC2_METADATA_SERVICE_ENDPOINT is where, instead of http://169.254.169.254.
class S3CredentialChain {
 public:
  // `clock` outlives the chain. `connection` is for what is not near, as the Security Token Service.
  S3CredentialChain(EnvironmentLookup environment, Clock& clock,
                    const HttpConnectionOptions& connection)
      : environment_(std::move(environment)), clock_(clock), connection_(connection) {}

  // One call at a time looks them up. Meanwhile, and for a while after that failed, the others get those
  // that there are, as long as they are good. kUnauthenticated, saying what was looked at, when there are none; kUnavailable when a service
  // that should give them doesn't. No message has a secret in it.
  absl::StatusOr<S3Credentials> Get(const std::stop_token& stop);

  // For credentials that a server refused: they are looked up again at the next Get.
  void Forget(absl::string_view access_key_id);

 private:
  absl::StatusOr<S3Credentials> Find(const std::stop_token& stop) const;
  absl::StatusOr<S3Credentials> FromWebIdentity(const std::string& token_file,
                                                const AwsSettings& profile,
                                                const std::stop_token& stop) const;
  absl::StatusOr<S3Credentials> FromContainer(const std::string& url,
                                              const std::stop_token& stop) const;
  absl::StatusOr<S3Credentials> FromInstance(const std::stop_token& stop) const;
  // The body of the reply to a request that is answered with 200, by a service that is near.
  absl::StatusOr<std::string> Ask(const HttpRequest& request, const std::stop_token& stop) const;

  const EnvironmentLookup environment_;
  Clock& clock_;
  const HttpConnectionOptions connection_;
  Mutex mutex_;
  CondVar looked_up_;
  std::optional<S3Credentials> cached_ MUSTER_GUARDED_BY(mutex_);
  bool looking_up_ MUSTER_GUARDED_BY(mutex_) = false;
  // Of the last look-up, for those who waited for it.
  absl::Status error_ MUSTER_GUARDED_BY(mutex_);
  // How many look-ups in a row have failed, and before when there is no other while there are good ones.
  int failures_ MUSTER_GUARDED_BY(mutex_) = 0;
  absl::Duration not_before_ MUSTER_GUARDED_BY(mutex_);
};

// `credentials` that last until `expires`, a time of RFC 3339, or for ever. kUnavailable where they are not whole.
absl::StatusOr<S3Credentials> MakeS3Credentials(S3Credentials credentials,
                                                absl::string_view expires);

// From the JSON that metadata services answer with. kUnavailable, without quoting it, if it is
// something else. Pure.
absl::StatusOr<S3Credentials> ParseS3Credentials(absl::string_view json);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_S3_CREDENTIALS_H_
