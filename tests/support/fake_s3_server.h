// An S3 server in memory, which a test can make fail.
#ifndef MUSTER_TESTS_SUPPORT_FAKE_S3_SERVER_H_
#define MUSTER_TESTS_SUPPORT_FAKE_S3_SERVER_H_

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "storage/base/mutex.h"
#include "tests/support/scripted_http_server.h"

namespace muster {

// Answers for one bucket, "bucket", in the path; signatures are not checked. Thread-safe.
class FakeS3Server {
 public:
  using Answer = ScriptedHttpServer::Answer;
  using Request = ScriptedHttpServer::Request;
  // Answers instead of the server where it returns something. Called from several threads at once.
  using Interceptor = std::function<std::optional<Answer>(const Request& request)>;

  explicit FakeS3Server(Interceptor interceptor = nullptr);

  const std::string& authority() const { return server_.authority(); }
  std::vector<Request> requests() const { return server_.requests(); }
  // Those with this method whose path has `part` in it.
  std::vector<Request> requests(absl::string_view method, absl::string_view part) const;

  void Store(const std::string& key, const std::string& bytes);
  // Nothing where no such object exists.
  std::optional<std::string> Stored(const std::string& key) const;
  // As a bucket that encrypts with keys of KMS: ETags say nothing about the content.
  void EncryptWithKms();
  // How many uploads were begun and neither completed nor aborted.
  size_t uploads() const;
  // What the server does with a request if it is not intercepted; for interceptors that lose the
  // reply.
  std::string Carry(const Request& request);

 private:
  struct Object {
    std::string bytes;
    std::string etag;
    // The lines of x-amz-meta- that it was stored with.
    std::vector<std::string> metadata = {};
  };
  struct Upload {
    std::string key;
    std::vector<std::string> metadata = {};
    // By number.
    std::map<int, Object> parts;
  };
  // Of all keys, whatever the prefix.
  std::string ListUploads() const MUSTER_REQUIRES(mutex_);
  std::string Get(const Request& request, const std::string& key) const MUSTER_REQUIRES(mutex_);
  std::string EtagOf(const std::string& md5) MUSTER_REQUIRES(mutex_);
  // What its replies tell about encryption.
  std::vector<std::string> KmsLines() const MUSTER_REQUIRES(mutex_);
  std::string Put(const Request& request, const std::string& key);
  std::string Complete(const Request& request, const std::string& key, const std::string& upload);

  mutable Mutex mutex_;
  std::map<std::string, Object> objects_ MUSTER_GUARDED_BY(mutex_);
  // By their ids.
  std::map<std::string, Upload> uploads_ MUSTER_GUARDED_BY(mutex_);
  int uploads_begun_ MUSTER_GUARDED_BY(mutex_) = 0;
  bool kms_ MUSTER_GUARDED_BY(mutex_) = false;
  int kms_etags_ MUSTER_GUARDED_BY(mutex_) = 0;
  // Last, because its threads use the others.
  ScriptedHttpServer server_;
};

// The body of an error.
std::string S3ErrorXml(absl::string_view code);

}  // namespace muster

#endif  // MUSTER_TESTS_SUPPORT_FAKE_S3_SERVER_H_
