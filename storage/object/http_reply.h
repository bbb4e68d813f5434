// What the replies of an HTTP server mean to an ObjectStore. Pure functions.
#ifndef MUSTER_STORAGE_OBJECT_HTTP_REPLY_H_
#define MUSTER_STORAGE_OBJECT_HTTP_REPLY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/object/http_connection.h"

namespace muster {

// The value of a Content-Range header.
struct ContentRange {
  // Inclusive; unset in "bytes */SIZE".
  std::optional<int64_t> first;
  std::optional<int64_t> last;
  // Of the whole object; unset in "bytes 0-9/*".
  std::optional<int64_t> size;
};

// Nothing for a value that makes no sense.
std::optional<ContentRange> ParseContentRange(absl::string_view value);

// The bytes [offset, offset + bytes) of an object.
struct HttpRange {
  int64_t offset = 0;
  int64_t bytes = 0;

  // As HttpRequest::range; `bytes` is at least 1.
  std::string ToString() const;
};

// Of the whole object, as a reply with 206 or 200 to a GET says; unset where it doesn't.
std::optional<int64_t> ObjectSizeOf(const HttpReply& reply);

// What shows that the object is still the same: the ETag, with S3's version id behind it where the
// bucket keeps versions, or else time and size. "" where the server says neither.
std::string VersionOf(const HttpReply& reply, std::optional<int64_t> size_bytes);

// The headers that make the server refuse to send another version; empty where only comparing
// helps.
std::vector<std::string> ConditionsFor(absl::string_view version);

// The error in a status that is neither 200 nor 206. 408, 429 and most of 5xx are kUnavailable.
absl::Status HttpStatusError(absl::string_view uri, const HttpReply& reply);

// Whether `reply` is the whole object in place of a range, and exactly what `range` asks for: proxies and small
// servers answer so, and where an object is one range there is nothing wrong with it.
bool IsWholeReply(const HttpReply& reply, const HttpRange& range);

// OK if `reply` begins exactly the bytes of `range`, of an object that still has `version` ("" is
// any).
absl::Status CheckRangeReply(absl::string_view uri, const HttpReply& reply, const HttpRange& range,
                             absl::string_view version);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_HTTP_REPLY_H_
