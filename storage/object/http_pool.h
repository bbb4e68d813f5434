// The connections to one host.
#ifndef MUSTER_STORAGE_OBJECT_HTTP_POOL_H_
#define MUSTER_STORAGE_OBJECT_HTTP_POOL_H_

#include <cstddef>
#include <memory>
#include <stop_token>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"
#include "storage/object/http_connection.h"

namespace muster {

// Bounds them, and keeps those that are idle for reuse. Thread-safe.
class HttpPool {
 public:
  // The use of one connection, until it goes out of scope.
  class Lease {
   public:
    Lease(HttpPool& pool, std::unique_ptr<HttpConnection> connection)
        : pool_(&pool), connection_(std::move(connection)) {}
    Lease(Lease&&) = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (connection_ != nullptr) pool_->Return(std::move(connection_));
    }

    HttpConnection& operator*() const { return *connection_; }

   private:
    HttpPool* pool_;
    std::unique_ptr<HttpConnection> connection_;
  };

  // `limit` is at least 1. `clock` outlives the pool.
  HttpPool(Clock& clock, const HttpConnectionOptions& options, size_t limit)
      : clock_(clock), options_(options), limit_(limit) {}

  // Waits while `limit` connections are in use; kCancelled when `stop` was requested meanwhile.
  absl::StatusOr<Lease> Take(const std::stop_token& stop);

 private:
  void Return(std::unique_ptr<HttpConnection> connection);

  Clock& clock_;
  const HttpConnectionOptions options_;
  const size_t limit_;
  Mutex mutex_;
  CondVar returned_;
  size_t in_use_ MUSTER_GUARDED_BY(mutex_) = 0;
  // The one that was used last is at the end, and is used next: it is most likely still open.
  std::vector<std::unique_ptr<HttpConnection>> idle_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_HTTP_POOL_H_
