// Takes one range of an object out of the replies of an HTTP server.
#ifndef MUSTER_STORAGE_OBJECT_HTTP_RANGE_RECEIVER_H_
#define MUSTER_STORAGE_OBJECT_HTTP_RANGE_RECEIVER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "storage/object/http_client.h"
#include "storage/object/http_connection.h"
#include "storage/object/http_reply.h"
#include "storage/object/object_store.h"

namespace muster {

// What a read comes to that needs no bytes: an empty range, or one that no object has. Unset for others.
std::optional<absl::Status> JudgeWithoutReading(ObjectStore& store, absl::string_view uri,
                                                absl::string_view key, int64_t offset, size_t bytes,
                                                const ObjectStore::ReadOptions& options);

// Puts the body of a reply into the caller's buffer, as far as it is what was asked for, over as
// many requests as it takes. For one thread. All that it is made with outlives it.
class HttpRangeReceiver {
 public:
  HttpRangeReceiver(absl::string_view uri, int64_t offset, absl::Span<char> out,
                    const ObjectStore::ReadOptions& options)
      : uri_(uri), offset_(offset), out_(out), options_(options), version_(options.if_version) {}

  // `request` for what has not come yet, of the version that is read.
  HttpRequest NextRequest(HttpRequest request);

  // As HttpConnection::TakeBody.
  bool Take(const HttpReply& reply, absl::string_view bytes);

  // What became of the request.
  HttpAttempt Finish(const absl::StatusOr<HttpReply>& reply);

  // What the server said instead, at most kHttpErrorPageBytesMax.
  const std::string& error_page() const { return error_page_; }

 private:
  HttpRange Rest() const {
    return {offset_ + static_cast<int64_t>(done_), static_cast<int64_t>(out_.size() - done_)};
  }
  // Judges the head of a reply, once.
  void Check(const HttpReply& reply);

  const absl::string_view uri_;
  const int64_t offset_;
  const absl::Span<char> out_;
  const ObjectStore::ReadOptions& options_;
  // The one asked for, or else that of the first reply.
  std::string version_;
  size_t done_ = 0;
  // `done_` when the request began.
  size_t begun_ = 0;
  std::string error_page_;
  // Unset until the head of the reply came.
  std::optional<absl::Status> fault_;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_HTTP_RANGE_RECEIVER_H_
