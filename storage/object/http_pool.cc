#include "storage/object/http_pool.h"

#include "absl/status/status.h"

namespace muster {

absl::StatusOr<HttpPool::Lease> HttpPool::Take(const std::stop_token& stop) {
  const std::stop_callback wake(stop, [this] {
    MutexLock lock(mutex_);
    returned_.NotifyAll();
  });
  std::unique_ptr<HttpConnection> connection;
  {
    MutexLock lock(mutex_);
    while (in_use_ >= limit_ && !stop.stop_requested()) returned_.Wait(mutex_);
    if (stop.stop_requested()) return absl::CancelledError("the request was cancelled");
    ++in_use_;
    if (!idle_.empty()) {
      connection = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (connection == nullptr) {
    absl::StatusOr<std::unique_ptr<HttpConnection>> made = HttpConnection::Make(clock_, options_);
    if (!made.ok()) {
      Return(nullptr);
      return made.status();
    }
    connection = *std::move(made);
  }
  return Lease(*this, std::move(connection));
}

void HttpPool::Return(std::unique_ptr<HttpConnection> connection) {
  MutexLock lock(mutex_);
  --in_use_;
  if (connection != nullptr) idle_.push_back(std::move(connection));
  // All, because the one that is woken may be on its way out.
  returned_.NotifyAll();
}

}  // namespace muster
