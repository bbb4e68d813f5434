// The token with which a client says who it is.
#ifndef MUSTER_CLIENT_SDK_BEARER_TOKEN_H_
#define MUSTER_CLIENT_SDK_BEARER_TOKEN_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/mutex.h"

namespace muster {

// Holds a secret; its errors never quote it. Thread-safe.
class BearerToken {
 public:
  // The token itself, or the file that it is in; "" for none. A text goes before a file.
  BearerToken(absl::string_view text, absl::string_view file);

  // Whether there is to be one.
  bool wanted() const { return !text_.empty() || !file_.empty(); }

  // The token, or "" where none is wanted. A file is read anew once it was changed, so that a token can be replaced
  // under a client. kInvalidArgument CREDENTIAL_REFUSED: it is no token: 1 to 256 printable characters without spaces,
  // with or without an end of line; or others than the file's owner and group can read it.
  absl::StatusOr<std::string> Get() MUSTER_EXCLUDES(mutex_);

 private:
  const std::string text_;
  const std::string file_;
  Mutex mutex_;
  // Of the file: what tells whether it was changed, and the token that was in it.
  std::string state_ MUSTER_GUARDED_BY(mutex_);
  std::string read_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_SDK_BEARER_TOKEN_H_
