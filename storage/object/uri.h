// The URIs of locations: scheme://authority/path, percent-encoded.
#ifndef MUSTER_STORAGE_OBJECT_URI_H_
#define MUSTER_STORAGE_OBJECT_URI_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace muster {

// Thread-safe: a value and pure functions.
struct Uri {
  std::string scheme;     // Lower case, without "://".
  std::string authority;  // Host and port, bucket or name service; "" for file:///.
  std::string path;       // Decoded, without the leading slash.

  // Encodes what must be encoded; ParseUri gives the same parts back.
  std::string ToString() const;
};

// kInvalidArgument, quoting `text`, when it is not an absolute URI, when the path has an empty, "."
// or ".." segment (one trailing slash is allowed and kept), when it decodes to control characters,
// or when it has a query, fragment, user or password. At most 4,096 bytes.
absl::StatusOr<Uri> ParseUri(absl::string_view text);

// The URI for an absolute path of the local file system: "file:///…", encoded.
std::string FileUri(absl::string_view absolute_path);

// `uri` with "/`relative`" added to its path; `relative` is plain, not encoded. kInvalidArgument as
// ParseUri.
absl::StatusOr<std::string> JoinUri(absl::string_view uri, absl::string_view relative);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_URI_H_
