// Signed requests to one S3 bucket.
#ifndef MUSTER_STORAGE_OBJECT_S3_BUCKET_H_
#define MUSTER_STORAGE_OBJECT_S3_BUCKET_H_

#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/object/http_client.h"
#include "storage/object/http_connection.h"
#include "storage/object/http_range_receiver.h"
#include "storage/object/s3_address.h"
#include "storage/object/s3_credentials.h"
#include "storage/object/s3_reply.h"

namespace muster {

struct S3Call {
  // "" is GET.
  std::string method = {};
  // "" for the bucket itself.
  std::string key = {};
  std::map<std::string, std::string> query = {};
  // As HttpRequest::headers; names in lower case.
  std::vector<std::string> headers = {};
  // What it views outlives the call.
  std::optional<absl::string_view> body = {};
  std::optional<absl::Duration> stall_timeout = {};
};

struct S3Result {
  HttpReply reply;
  std::string body;
  // Whether an attempt before this one failed, which the server may have carried out as well.
  bool is_repeat = false;
};

// Thread-safe; calls block. Errors are those of ObjectStore, with S3's own words as S3ErrorOf says.
class S3Bucket {
 public:
  S3Bucket(std::string name, S3Address address, std::shared_ptr<HttpClient> client,
           std::shared_ptr<S3CredentialChain> credentials)
      : name_(std::move(name)),
        address_(std::move(address)),
        client_(std::move(client)),
        credentials_(std::move(credentials)) {}

  std::string UriOf(absl::string_view key) const;
  // Unlike any other.
  std::string NewWriteId() const { return client_->random().NextId(); }

  // Carries out `call`; its body and the reply's are small, or a part of an object. A call that
  // fails, or is refused, may have been carried out: its reply may have been lost.
  absl::StatusOr<S3Result> Do(const S3Call& call, const std::stop_token& stop);

  // Asks for what `receiver` wants of the object.
  absl::Status Read(const S3Call& call, HttpRangeReceiver& receiver, const std::stop_token& stop);

 private:
  // Whether this call asked for new credentials already.
  struct Renewal {
    bool done = false;
  };

  absl::StatusOr<HttpRequest> Sign(const S3Call& call, const std::stop_token& stop);
  // The attempt that ended with an error of S3; `access_key_id` is whose request it was.
  HttpAttempt Refused(const S3Call& call, const HttpReply& reply, absl::string_view body,
                      absl::string_view access_key_id, Renewal& renewal);

  const std::string name_;
  const S3Address address_;
  const std::shared_ptr<HttpClient> client_;
  const std::shared_ptr<S3CredentialChain> credentials_;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_S3_BUCKET_H_
