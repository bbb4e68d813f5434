#include "storage/object/s3_reply.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <pugixml.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/object/http_reply.h"

namespace muster {
namespace {

constexpr size_t kShownBytesMax = 200;
// A tree takes some 100 bytes for each; a page of 1,000 objects has at most 30,000.
constexpr std::ptrdiff_t kTagsMax = 200'000;

struct Meaning {
  absl::string_view s3_code;
  absl::StatusCode code;
  absl::string_view text;
};

using absl::StatusCode;

constexpr absl::string_view kRegionAdvice =
    "the bucket is in another region; set AWS_REGION, and AWS_ENDPOINT_URL if it is set";

// Codes whose HTTP status says too little.
constexpr Meaning kMeanings[] = {
    {"NoSuchKey", StatusCode::kNotFound, "no such object"},
    {"NoSuchBucket", StatusCode::kNotFound, "no such bucket"},
    {"NoSuchUpload", StatusCode::kNotFound, "the upload was ended by somebody else, or it expired"},
    {"AccessDenied", StatusCode::kPermissionDenied,
     "the credentials don't allow it, or the bucket's policy"},
    {"InvalidAccessKeyId", StatusCode::kUnauthenticated,
     "the server doesn't know the access key; look at AWS_ACCESS_KEY_ID and ~/.aws/credentials"},
    {"SignatureDoesNotMatch", StatusCode::kUnauthenticated,
     "the secret key is not that of the access key"},
    {"ExpiredToken", StatusCode::kUnauthenticated, "the credentials have expired; get others"},
    {"TokenRefreshRequired", StatusCode::kUnauthenticated, "the credentials have expired"},
    {"InvalidToken", StatusCode::kUnauthenticated, "the session token is not valid"},
    {"RequestTimeTooSkewed", StatusCode::kFailedPrecondition,
     "this machine's clock and the server's differ too much; set the clock"},
    {"PermanentRedirect", StatusCode::kFailedPrecondition, kRegionAdvice},
    {"TemporaryRedirect", StatusCode::kFailedPrecondition, kRegionAdvice},
    {"AuthorizationHeaderMalformed", StatusCode::kFailedPrecondition, kRegionAdvice},
    {"IllegalLocationConstraintException", StatusCode::kFailedPrecondition, kRegionAdvice},
    {"PreconditionFailed", StatusCode::kAborted, "the object is not the one that was expected"},
    {"InvalidObjectState", StatusCode::kFailedPrecondition,
     "the object is in an archive; restore it first"},
    {"EntityTooSmall", StatusCode::kInvalidArgument, "a part is too small for the server"},
    {"EntityTooLarge", StatusCode::kInvalidArgument, "the object or a part is too big"},
    {"InvalidPart", StatusCode::kDataLoss, "the server doesn't have a part that it took"},
    // What a repeat may get over.
    {"BadDigest", StatusCode::kUnavailable, "the bytes were changed on their way"},
    {"RequestTimeout", StatusCode::kUnavailable, "the bytes came too slowly"},
    {"OperationAborted", StatusCode::kUnavailable, "another request was in the way"},
    {"ConditionalRequestConflict", StatusCode::kUnavailable, "another request was in the way"},
    {"SlowDown", StatusCode::kUnavailable, "the server asks to come back later"},
    {"ServiceUnavailable", StatusCode::kUnavailable, "the server asks to come back later"},
    {"InternalError", StatusCode::kUnavailable, "the server failed"},
    {"QuotaExceeded", StatusCode::kResourceExhausted, "the quota is used up"},
    {"XMinioStorageFull", StatusCode::kResourceExhausted, "the storage is full"},
    {"InsufficientCapacity", StatusCode::kResourceExhausted, "the storage is full"},
    {"NotImplemented", StatusCode::kUnimplemented, "the server can't do this"},
};

bool Parse(absl::string_view xml, pugi::xml_document& document) {
  if (std::count(xml.begin(), xml.end(), '<') > kTagsMax) return false;
  return document.load_buffer(xml.data(), xml.size(), pugi::parse_default, pugi::encoding_utf8);
}

std::string TextOf(const pugi::xml_node& node, const char* name) {
  return node.child(name).text().get();
}

std::string Shown(absl::string_view text) {
  return absl::StrCat(absl::CHexEscape(text.substr(0, kShownBytesMax)),
                      text.size() > kShownBytesMax ? "..." : "");
}

absl::Status Malformed(absl::string_view uri, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(uri, ": the server's reply holds no ", what));
}

// What encoding-type=url does to keys: '+' stands for a space.
bool DecodeKey(absl::string_view encoded, std::string& decoded) {
  decoded.clear();
  for (size_t i = 0; i < encoded.size(); ++i) {
    int value = 0;
    if (encoded[i] == '+') {
      decoded.push_back(' ');
    } else if (encoded[i] != '%') {
      decoded.push_back(encoded[i]);
    } else if (encoded.size() - i >= 3 && absl::SimpleHexAtoi(encoded.substr(i + 1, 2), &value)) {
      decoded.push_back(static_cast<char>(value));
      i += 2;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

absl::Status S3ErrorOf(const S3Subject& subject, const HttpReply& reply, absl::string_view body) {
  pugi::xml_document document;
  const bool parsed = !body.empty() && Parse(body, document);
  const pugi::xml_node error = parsed ? document.child("Error") : pugi::xml_node();
  const bool succeeded = reply.status >= 200 && reply.status < 300;
  if (succeeded && !error) return absl::OkStatus();
  const std::string s3_code = Shown(TextOf(error, "Code"));
  std::string request = reply.Amz("x-amz-request-id");
  if (request.empty()) request = TextOf(error, "RequestId");
  std::string region = reply.Amz("x-amz-bucket-region");
  if (region.empty()) region = TextOf(error, "Region");

  const absl::Status by_http = HttpStatusError(subject.uri, reply);
  const auto* const meaning =
      std::find_if(std::begin(kMeanings), std::end(kMeanings),
                   [&](const Meaning& known) { return known.s3_code == s3_code; });
  const bool known = meaning != std::end(kMeanings);
  absl::StatusCode code = known ? meaning->code : by_http.code();
  // After a 200 there is no other hint, and S3 says so where a repeat may help.
  if (!known && succeeded) code = StatusCode::kUnavailable;
  if (!known && reply.status == 412) code = StatusCode::kAborted;
  // Signatures are made for one host, so that nobody is followed.
  const bool redirects = !known && reply.status >= 300 && reply.status < 400;
  if (redirects) code = StatusCode::kFailedPrecondition;
  std::string message =
      known ? absl::StrCat(subject.uri, ": ", s3_code, ": ", meaning->text)
            : absl::StrCat(by_http.message(), s3_code.empty() ? "" : "; S3 says ", s3_code);
  if (redirects) {
    message = absl::StrCat(subject.uri, ": HTTP ", reply.status,
                           ": the server redirects elsewhere: ", kRegionAdvice);
  }
  const std::string said = TextOf(error, "Message");
  if (!known && !said.empty()) absl::StrAppend(&message, ": ", Shown(said));
  if (!region.empty() && code == StatusCode::kFailedPrecondition) {
    absl::StrAppend(&message, " (it is in ", Shown(region), ")");
  }
  absl::StrAppend(&message, " [bucket ", subject.bucket, " at ", subject.endpoint,
                  request.empty() ? "" : ", request ", Shown(request), "]");
  return MakeError(code, reasons::kS3Error, message,
                   {{"s3_code", s3_code},
                    {"bucket", subject.bucket},
                    {"key", subject.key},
                    {"endpoint", subject.endpoint},
                    {"request_id", Shown(request)}});
}

std::string S3CodeOf(const absl::Status& status) {
  const ErrorDetail detail = DetailOf(status);
  const auto found = detail.metadata.find("s3_code");
  return detail.reason == reasons::kS3Error && found != detail.metadata.end() ? found->second : "";
}

absl::StatusOr<S3Credentials> ParseStsReply(const HttpReply& reply, absl::string_view xml) {
  pugi::xml_document document;
  const bool parsed = Parse(xml, document);
  if (reply.status != 200) {
    const pugi::xml_node error =
        parsed ? document.document_element().child("Error") : pugi::xml_node();
    const std::string words = error ? absl::StrCat(": ", Shown(TextOf(error, "Code")), ": ",
                                                   Shown(TextOf(error, "Message")))
                                    : "";
    const bool refused = reply.status >= 400 && reply.status < 500 && reply.status != 429;
    return absl::Status(refused ? StatusCode::kUnauthenticated : StatusCode::kUnavailable,
                        absl::StrCat("HTTP ", reply.status, words));
  }
  const pugi::xml_node found =
      document.document_element().child("AssumeRoleWithWebIdentityResult").child("Credentials");
  return MakeS3Credentials({.access_key_id = TextOf(found, "AccessKeyId"),
                            .secret_access_key = TextOf(found, "SecretAccessKey"),
                            .session_token = TextOf(found, "SessionToken")},
                           TextOf(found, "Expiration"));
}

absl::StatusOr<S3Page> ParseS3Page(absl::string_view uri, absl::string_view xml) {
  pugi::xml_document document;
  if (!Parse(xml, document)) return Malformed(uri, "XML");
  const pugi::xml_node result = document.child("ListBucketResult");
  if (!result) return Malformed(uri, "ListBucketResult");
  const bool encoded = TextOf(result, "EncodingType") == "url";
  S3Page page;
  for (const pugi::xml_node& contents : result.children("Contents")) {
    ObjectStore::ListedObject object;
    const std::string key = TextOf(contents, "Key");
    if (!absl::SimpleAtoi(TextOf(contents, "Size"), &object.size_bytes) || object.size_bytes < 0) {
      return Malformed(uri, "size of an object");
    }
    if (!encoded) object.key = key;
    if (encoded && !DecodeKey(key, object.key)) return Malformed(uri, "key that can be decoded");
    page.objects.push_back(std::move(object));
  }
  if (TextOf(result, "IsTruncated") != "true") return page;
  page.continuation = TextOf(result, "NextContinuationToken");
  if (page.continuation->empty()) return Malformed(uri, "token for what comes next");
  return page;
}

// Those below don't look at the root's name: Amazon's own clients don't either, so servers differ.
absl::StatusOr<std::string> ParseS3UploadId(absl::string_view uri, absl::string_view xml) {
  pugi::xml_document document;
  if (!Parse(xml, document)) return Malformed(uri, "XML");
  std::string id = TextOf(document.document_element(), "UploadId");
  if (id.empty()) return Malformed(uri, "upload id");
  return id;
}

absl::StatusOr<std::vector<std::string>> ParseS3Uploads(absl::string_view uri,
                                                        absl::string_view xml,
                                                        absl::string_view key) {
  pugi::xml_document document;
  if (!Parse(xml, document)) return Malformed(uri, "XML");
  std::vector<std::string> ids;
  for (const pugi::xml_node& upload : document.document_element().children("Upload")) {
    if (TextOf(upload, "Key") == key) ids.push_back(TextOf(upload, "UploadId"));
  }
  return ids;
}

absl::StatusOr<std::string> ParseS3CompletedEtag(absl::string_view uri, absl::string_view xml) {
  pugi::xml_document document;
  if (!Parse(xml, document)) return Malformed(uri, "XML");
  const pugi::xml_node root = document.document_element();
  if (!root.child("ETag")) return Malformed(uri, "ETag");
  std::string etag = TextOf(root, "ETag");
  return etag.empty() || etag[0] == '"' ? etag : absl::StrCat("\"", etag, "\"");
}

std::string S3CompletionOf(const std::map<int, S3Part>& parts) {
  std::string xml = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
  for (const auto& [number, part] : parts) {
    // Quotes are all that an ETag has to escape.
    absl::StrAppend(&xml, "<Part><PartNumber>", number, "</PartNumber><ETag>&quot;",
                    absl::StripPrefix(absl::StripSuffix(part.etag, "\""), "\""),
                    "&quot;</ETag></Part>");
  }
  return xml + "</CompleteMultipartUpload>";
}

absl::Status CheckS3Etag(absl::string_view uri, const HttpReply& reply, absl::string_view etag,
                         const Md5Digest& md5, absl::string_view suffix) {
  const std::string encryption = reply.Amz("x-amz-server-side-encryption");
  const bool plain = (encryption.empty() || encryption == "AES256") &&
                     reply.Amz("x-amz-server-side-encryption-customer-algorithm").empty();
  absl::string_view found = absl::StripPrefix(absl::StripSuffix(etag, "\""), "\"");
  const absl::string_view whole = found;
  if (!plain || !absl::ConsumeSuffix(&found, suffix)) return absl::OkStatus();
  const absl::StatusOr<Md5Digest> stored = Md5FromHex(absl::AsciiStrToLower(found));
  if (!stored.ok() || *stored == md5) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(uri, ": expected ETag ", Md5ToHex(md5), suffix,
                                          ", the server stored ", whole,
                                          ": the bytes were changed on their way"));
}

}  // namespace muster
