#include "storage/object/http_reply.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/status_macros.h"
#include "storage/object/object_rules.h"

namespace muster {
namespace {

bool ParseBytes(absl::string_view text, int64_t& value) {
  return !text.empty() && text.find_first_not_of("0123456789") == absl::string_view::npos &&
         absl::SimpleAtoi(text, &value);
}

struct Meaning {
  absl::StatusCode code;
  absl::string_view text;
};

Meaning MeaningOf(int status) {
  switch (status) {
    case 401:
      return {absl::StatusCode::kUnauthenticated,
              "the server asks for a login; locations over HTTP are read without one"};
    case 403:
      return {absl::StatusCode::kPermissionDenied, "the server does not allow it"};
    case 404:
    case 410:
      return {absl::StatusCode::kNotFound, "no such object"};
    case 405:
    case 501:
      return {absl::StatusCode::kUnimplemented, "the server does not serve such requests"};
    case 407:
      return {absl::StatusCode::kUnauthenticated,
              "the proxy asks for a login; put it into http_proxy or https_proxy"};
    case 408:
    case 429:
      return {absl::StatusCode::kUnavailable, "the server asks to come back later"};
    default:
      break;
  }
  if (status >= 500 && status < 600) {
    return {absl::StatusCode::kUnavailable, "the server failed"};
  }
  if (status >= 400 && status < 500) {
    return {absl::StatusCode::kInvalidArgument, "the server refused the request"};
  }
  return {absl::StatusCode::kFailedPrecondition, "the reply is of no use"};
}

// 200 to a request for a range.
absl::Status WholeObject(absl::string_view uri, const HttpReply& reply, const HttpRange& range) {
  if (reply.content_length.has_value()) {
    MUSTER_RETURN_IF_ERROR(
        CheckReadRange(uri, *reply.content_length, range.offset, static_cast<size_t>(range.bytes)));
  }
  return absl::UnimplementedError(
      absl::StrCat(uri,
                   ": the server sends the whole object where a range was asked for (HTTP 200 "
                   "instead of 206); use one that serves ranges"));
}

absl::Status WrongRange(absl::string_view uri, const HttpReply& reply, const HttpRange& range) {
  return absl::DataLossError(absl::StrCat(uri, ": asked for bytes ", range.ToString(),
                                          ", the server's Content-Range is \"", reply.content_range,
                                          "\""));
}

}  // namespace

std::optional<ContentRange> ParseContentRange(absl::string_view value) {
  if (!absl::StartsWithIgnoreCase(value, "bytes ")) return std::nullopt;
  value.remove_prefix(6);
  const size_t slash = value.find('/');
  if (slash == absl::string_view::npos) return std::nullopt;
  const absl::string_view size = value.substr(slash + 1);
  const absl::string_view span = value.substr(0, slash);
  ContentRange range;
  int64_t number = 0;
  if (size != "*") {
    if (!ParseBytes(size, number)) return std::nullopt;
    range.size = number;
  }
  if (span == "*") return range.size.has_value() ? std::optional(range) : std::nullopt;
  const size_t dash = span.find('-');
  if (dash == absl::string_view::npos) return std::nullopt;
  int64_t last = 0;
  if (!ParseBytes(span.substr(0, dash), number) || !ParseBytes(span.substr(dash + 1), last) ||
      number > last || (range.size.has_value() && last >= *range.size)) {
    return std::nullopt;
  }
  range.first = number;
  range.last = last;
  return range;
}

std::string HttpRange::ToString() const { return absl::StrCat(offset, "-", offset + bytes - 1); }

std::string VersionOf(const HttpReply& reply, std::optional<int64_t> size_bytes) {
  const std::string version_id = reply.Amz("x-amz-version-id");
  if (!reply.etag.empty() && !version_id.empty() && version_id != "null") {
    return absl::StrCat(reply.etag, " ", version_id);
  }
  if (!reply.etag.empty()) return reply.etag;
  if (reply.last_modified.empty() || !size_bytes.has_value()) return "";
  return absl::StrCat(reply.last_modified, ", ", *size_bytes, " bytes");
}

// A weak ETag ("W/...") never matches an If-Match.
std::vector<std::string> ConditionsFor(absl::string_view version) {
  if (!absl::StartsWith(version, "\"")) return {};
  return {absl::StrCat("If-Match: ", version.substr(0, version.rfind('"') + 1))};
}

absl::Status HttpStatusError(absl::string_view uri, const HttpReply& reply) {
  const Meaning meaning = MeaningOf(reply.status);
  return absl::Status(meaning.code, absl::StrCat(uri, ": HTTP ", reply.status, ": ", meaning.text));
}

bool IsWholeReply(const HttpReply& reply, const HttpRange& range) {
  return reply.status == 200 && range.offset == 0 && reply.content_length == range.bytes;
}

std::optional<int64_t> ObjectSizeOf(const HttpReply& reply) {
  if (reply.status == 200) return reply.content_length;
  const std::optional<ContentRange> sent = ParseContentRange(reply.content_range);
  return sent.has_value() ? sent->size : std::nullopt;
}

absl::Status CheckRangeReply(absl::string_view uri, const HttpReply& reply, const HttpRange& range,
                             absl::string_view version) {
  const std::optional<ContentRange> sent = ParseContentRange(reply.content_range);
  const std::optional<int64_t> size = sent.has_value() ? sent->size : std::nullopt;
  const auto bytes = static_cast<size_t>(range.bytes);
  if (reply.status == 412) {
    return absl::AbortedError(absl::StrCat(uri, ": the object was changed: version ", version,
                                           " is no longer there (HTTP 412)"));
  }
  if (reply.status == 416) {
    if (size.has_value()) MUSTER_RETURN_IF_ERROR(CheckReadRange(uri, *size, range.offset, bytes));
    return absl::OutOfRangeError(absl::StrCat(uri, ": the server has no bytes ", range.ToString(),
                                              " of the object (HTTP 416)"));
  }
  if (IsWholeReply(reply, range)) {
    return CheckVersion(uri, version, VersionOf(reply, reply.content_length));
  }
  if (reply.status == 200) return WholeObject(uri, reply, range);
  if (reply.status != 206) return HttpStatusError(uri, reply);
  MUSTER_RETURN_IF_ERROR(CheckVersion(uri, version, VersionOf(reply, size)));
  if (size.has_value()) MUSTER_RETURN_IF_ERROR(CheckReadRange(uri, *size, range.offset, bytes));
  if (!sent.has_value() || sent->first != range.offset ||
      sent->last != range.offset + range.bytes - 1) {
    return WrongRange(uri, reply, range);
  }
  if (reply.content_length.has_value() && *reply.content_length > range.bytes) {
    return absl::DataLossError(absl::StrCat(
        uri, ": asked for ", range.bytes, " bytes, the server announces ", *reply.content_length));
  }
  return absl::OkStatus();
}

}  // namespace muster
