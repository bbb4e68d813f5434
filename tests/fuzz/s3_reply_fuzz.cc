// What an S3 server answers, as any text: it is refused, or what comes out is within its bounds.
//
// Input: a byte that picks the HTTP status, the text of a Content-Range up to a line break, and the body.
// In the body byte 1 stands for 20,000 opening tags and byte 2 for as many closing ones, so that a few
// bytes nest as deep as a hostile server would.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "storage/object/http_reply.h"
#include "storage/object/s3_reply.h"

namespace muster {
namespace {

constexpr char kUri[] = "s3://bucket/k";
constexpr int kDepth = 20'000;
constexpr size_t kMessageBytesMax = 8192;

void Require(bool right) {
  if (!right) std::abort();
}

void RequireShort(const absl::Status& status) {
  Require(!status.ok() && status.message().size() < kMessageBytesMax);
}

std::string Tags(const std::string& tag) {
  std::string tags;
  for (int i = 0; i < kDepth; ++i) tags += tag;
  return tags;
}

void ReadHead(int http_status, absl::string_view content_range) {
  HttpReply reply;
  reply.status = http_status;
  reply.content_range = std::string(content_range);
  reply.content_length = 5;
  const auto range = ParseContentRange(content_range);
  if (range.has_value() && range->first.has_value()) {
    Require(*range->first >= 0 && *range->last >= *range->first);
    Require(!range->size.has_value() || *range->size > *range->last);
  }
  const HttpRange asked{10, 5};
  if (!CheckRangeReply(kUri, reply, asked, "").ok()) return;
  Require(http_status == 206 && range.has_value());
  Require(range->first == asked.offset && range->last == asked.offset + asked.bytes - 1);
}

void ReadBody(int http_status, absl::string_view body) {
  HttpReply reply;
  reply.status = http_status;
  const absl::Status error = S3ErrorOf({kUri, "bucket", "k", "http://h"}, reply, body);
  Require(http_status == 200 || http_status == 206 || !error.ok());
  if (!error.ok()) RequireShort(error);
  const auto page = ParseS3Page(kUri, body);
  if (page.ok()) {
    for (const auto& object : page->objects) Require(object.size_bytes >= 0);
    Require(page->continuation != "");
  } else {
    RequireShort(page.status());
  }
  const auto id = ParseS3UploadId(kUri, body);
  if (id.ok()) Require(!id->empty());
  ParseS3Uploads(kUri, body, "k").status().IgnoreError();
  const auto etag = ParseS3CompletedEtag(kUri, body);
  if (etag.ok()) Require(etag->empty() || absl::StartsWith(*etag, "\""));
}

void Run(const uint8_t* bytes, size_t size) {
  static const auto& opening = *new std::string(Tags("<a>"));
  static const auto& closing = *new std::string(Tags("</a>"));
  if (size < 1) return;
  constexpr int kStatuses[] = {200, 206, 301, 403, 404, 412, 416, 500, 503};
  const int http_status = kStatuses[bytes[0] % std::size(kStatuses)];
  absl::string_view rest(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  const absl::string_view line = rest.substr(0, rest.find('\n'));
  rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  ReadHead(http_status, line);
  ReadBody(http_status, absl::StrReplaceAll(rest, {{"\x01", opening}, {"\x02", closing}}));
}

}  // namespace
}  // namespace muster

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  muster::Run(bytes, size);
  return 0;
}
