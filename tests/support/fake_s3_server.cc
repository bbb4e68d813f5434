#include "tests/support/fake_s3_server.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/base/md5.h"

namespace muster {
namespace {

constexpr absl::string_view kBucketPath = "/bucket/";

// The value of a query's part; "" if absent.
std::string QueryOf(const std::string& path, const std::string& name) {
  const size_t begin = path.find_first_of('?');
  if (begin == std::string::npos) return "";
  size_t found = path.find(name + "=", begin);
  if (found == std::string::npos) return "";
  found += name.size() + 1;
  return path.substr(found, path.find('&', found) - found);
}

bool HasQuery(const std::string& path, const std::string& name) {
  return absl::StrContains(path, absl::StrCat("?", name, "=")) ||
         absl::StrContains(path, absl::StrCat("&", name, "="));
}

std::vector<std::string> MetadataOf(const FakeS3Server::Request& request) {
  std::vector<std::string> lines;
  for (const absl::string_view line : absl::StrSplit(request.head, "\r\n")) {
    if (absl::StartsWithIgnoreCase(line, "x-amz-meta-")) lines.emplace_back(line);
  }
  return lines;
}

// `reply` with more lines in its head.
std::string WithLines(std::string reply, const std::vector<std::string>& lines) {
  std::string more;
  for (const std::string& line : lines) absl::StrAppend(&more, line, "\r\n");
  return reply.insert(reply.find("\r\n") + 2, more);
}

}  // namespace

std::string S3ErrorXml(absl::string_view code) {
  return absl::StrCat("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>", code,
                      "</Code><Message>told</Message><RequestId>req-1</RequestId></Error>");
}

FakeS3Server::FakeS3Server(Interceptor interceptor)
    : server_([this, interceptor](const Request& request) {
        if (interceptor != nullptr) {
          if (std::optional<Answer> answer = interceptor(request)) return *answer;
        }
        return Answer{Carry(request)};
      }) {}

std::vector<FakeS3Server::Request> FakeS3Server::requests(absl::string_view method,
                                                          absl::string_view part) const {
  std::vector<Request> found;
  for (Request& request : server_.requests()) {
    if (request.method == method && absl::StrContains(request.path, part)) {
      found.push_back(std::move(request));
    }
  }
  return found;
}

void FakeS3Server::Store(const std::string& key, const std::string& bytes) {
  MutexLock lock(mutex_);
  objects_[key] = {bytes, EtagOf(Md5ToHex(Md5Of(bytes)))};
}

void FakeS3Server::EncryptWithKms() {
  MutexLock lock(mutex_);
  kms_ = true;
}

std::string FakeS3Server::EtagOf(const std::string& md5) {
  if (!kms_) return absl::StrCat("\"", md5, "\"");
  return absl::StrCat("\"", Md5ToHex(Md5Of(absl::StrCat("opaque ", ++kms_etags_))), "\"");
}

std::vector<std::string> FakeS3Server::KmsLines() const {
  if (!kms_) return {};
  return {"x-amz-server-side-encryption: aws:kms"};
}

std::optional<std::string> FakeS3Server::Stored(const std::string& key) const {
  MutexLock lock(mutex_);
  const auto found = objects_.find(key);
  return found == objects_.end() ? std::nullopt : std::optional(found->second.bytes);
}

size_t FakeS3Server::uploads() const {
  MutexLock lock(mutex_);
  return uploads_.size();
}

std::string FakeS3Server::Carry(const Request& request) {
  const std::string path = request.path.substr(0, request.path.find('?'));
  absl::string_view key_view = path;
  if (!absl::ConsumePrefix(&key_view, kBucketPath)) {
    return HttpReplyText(404, {}, S3ErrorXml("NoSuchBucket"));
  }
  const std::string key(key_view);
  const std::string upload = QueryOf(request.path, "uploadId");
  if (request.method == "PUT") return Put(request, key);
  if (request.method == "POST" && !upload.empty()) return Complete(request, key, upload);
  MutexLock lock(mutex_);
  if (request.method == "POST" && HasQuery(request.path, "uploads")) {
    const std::string id = absl::StrCat("upload", ++uploads_begun_);
    uploads_[id] = {key, MetadataOf(request), {}};
    return HttpReplyText(200, {},
                         absl::StrCat("<InitiateMultipartUploadResult><UploadId>", id,
                                      "</UploadId></InitiateMultipartUploadResult>"));
  }
  if (request.method == "DELETE") {
    if (upload.empty()) {
      objects_.erase(key);
    } else {
      uploads_.erase(upload);
    }
    return "HTTP/1.1 204 No Content\r\n\r\n";
  }
  if (HasQuery(request.path, "uploads")) return ListUploads();
  return Get(request, key);
}

std::string FakeS3Server::ListUploads() const {
  std::string xml = "<ListMultipartUploadsResult>";
  for (const auto& [id, upload] : uploads_) {
    absl::StrAppend(&xml, "<Upload><Key>", upload.key, "</Key><UploadId>", id,
                    "</UploadId></Upload>");
  }
  return HttpReplyText(200, {}, xml + "</ListMultipartUploadsResult>");
}

std::string FakeS3Server::Get(const Request& request, const std::string& key) const {
  const auto found = objects_.find(key);
  if (found == objects_.end()) {
    return request.method == "HEAD" ? "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
                                    : HttpReplyText(404, {}, S3ErrorXml("NoSuchKey"));
  }
  return WithLines(
      WithLines(GoodReply(request, found->second.bytes, found->second.etag), KmsLines()),
      found->second.metadata);
}

std::string FakeS3Server::Put(const Request& request, const std::string& key) {
  const std::string md5 = Md5ToHex(Md5Of(request.body));
  MutexLock lock(mutex_);
  const std::string etag = EtagOf(md5);
  const std::string upload = QueryOf(request.path, "uploadId");
  if (upload.empty()) {
    if (request.Header("If-None-Match") == "*" && objects_.contains(key)) {
      return HttpReplyText(412, {}, S3ErrorXml("PreconditionFailed"));
    }
    objects_[key] = {request.body, etag, MetadataOf(request)};
  } else {
    int number = 0;
    const auto found = uploads_.find(upload);
    if (found == uploads_.end() ||
        !absl::SimpleAtoi(QueryOf(request.path, "partNumber"), &number)) {
      return HttpReplyText(404, {}, S3ErrorXml("NoSuchUpload"));
    }
    found->second.parts[number] = {request.body, etag};
  }
  return WithLines(HttpReplyText(200, {absl::StrCat("ETag: ", etag)}, ""), KmsLines());
}

std::string FakeS3Server::Complete(const Request& request, const std::string& key,
                                   const std::string& upload) {
  MutexLock lock(mutex_);
  const auto found = uploads_.find(upload);
  if (found == uploads_.end()) return HttpReplyText(404, {}, S3ErrorXml("NoSuchUpload"));
  if (request.Header("If-None-Match") == "*" && objects_.contains(key)) {
    return HttpReplyText(412, {}, S3ErrorXml("PreconditionFailed"));
  }
  std::string bytes;
  std::vector<Md5Digest> md5s;
  for (const auto& [number, part] : found->second.parts) {
    if (!absl::StrContains(request.body, absl::StrCat("<PartNumber>", number, "</PartNumber>"))) {
      return HttpReplyText(400, {}, S3ErrorXml("InvalidPart"));
    }
    bytes += part.bytes;
    md5s.push_back(Md5Of(part.bytes));
  }
  const std::string etag = EtagOf(absl::StrCat(Md5ToHex(Md5Root(md5s)), "-", md5s.size()));
  objects_[key] = {std::move(bytes), etag, found->second.metadata};
  uploads_.erase(found);
  return WithLines(HttpReplyText(200, {},
                                 absl::StrCat("<CompleteMultipartUploadResult><ETag>&quot;",
                                              etag.substr(1, etag.size() - 2),
                                              "&quot;</ETag></CompleteMultipartUploadResult>")),
                   KmsLines());
}

}  // namespace muster
