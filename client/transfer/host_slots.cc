#include "client/transfer/host_slots.h"

namespace muster {
namespace {

// "scheme://host:port"; "" where there is no host.
std::string HostOf(absl::string_view uri) {
  const size_t scheme = uri.find("://");
  if (scheme == absl::string_view::npos) return "";
  const size_t begin = scheme + 3;
  const size_t end = uri.find('/', begin);
  return end == begin ? "" : std::string(uri.substr(0, end));
}

}  // namespace

std::optional<HostSlots::Slot> HostSlots::Take(absl::string_view uri, const std::stop_token& stop) {
  const std::string host = HostOf(uri);
  const bool bounded = per_host_ > 0 && !host.empty();
  const std::stop_callback wake(stop, [this] {
    MutexLock lock(mutex_);
    returned_.NotifyAll();
  });
  MutexLock lock(mutex_);
  while (bounded && used_[host] >= per_host_ && !stop.stop_requested()) returned_.Wait(mutex_);
  if (stop.stop_requested()) return std::nullopt;
  ++used_[host];
  return Slot(*this, host);
}

void HostSlots::Return(const std::string& host) {
  MutexLock lock(mutex_);
  const auto used = used_.find(host);
  if (--used->second == 0) used_.erase(used);
  returned_.NotifyAll();
}

}  // namespace muster
