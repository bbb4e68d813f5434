#include "client/transfer/host_slots.h"

#include <limits>

namespace muster {

std::string HostSlots::HostOf(absl::string_view uri) const {
  const size_t scheme = uri.find("://");
  if (per_host_ == 0 || scheme == absl::string_view::npos) return "";
  const size_t begin = scheme + 3;
  const size_t end = uri.find('/', begin);
  return end == begin ? "" : std::string(uri.substr(0, end));
}

size_t HostSlots::Room(const std::string& host) const {
  if (host.empty()) return std::numeric_limits<size_t>::max();
  const auto used = used_.find(host);
  return used == used_.end() ? per_host_ : per_host_ - used->second;
}

void HostSlots::Take(const std::string& host) {
  if (!host.empty()) ++used_[host];
}

void HostSlots::Return(const std::string& host) {
  const auto used = used_.find(host);
  if (used != used_.end() && --used->second == 0) used_.erase(used);
}

}  // namespace muster
