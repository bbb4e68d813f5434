// How many reads may be under way at one host.
#ifndef MUSTER_CLIENT_TRANSFER_HOST_SLOTS_H_
#define MUSTER_CLIENT_TRANSFER_HOST_SLOTS_H_

#include <cstddef>
#include <map>
#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// Counts them. Not thread-safe.
class HostSlots {
 public:
  // `per_host` of 0: no bound.
  explicit HostSlots(size_t per_host) : per_host_(per_host) {}

  // "scheme://host:port" of `uri`; "" where nothing is bounded, as for files.
  std::string HostOf(absl::string_view uri) const;
  // How many more reads may begin.
  size_t Room(const std::string& host) const;

  void Take(const std::string& host);
  void Return(const std::string& host);

 private:
  const size_t per_host_;
  std::map<std::string, size_t> used_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_TRANSFER_HOST_SLOTS_H_
