// Which entries must stay, and for whom. Pins outlive processes.
#ifndef MUSTER_CLIENT_CACHE_CACHE_PINS_H_
#define MUSTER_CLIENT_CACHE_CACHE_PINS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cache/cache_files.h"

namespace muster {

// What one owner needs.
struct CachePin {
  // The owner: a name without line breaks, such as "assemblies/demo/nodes/n1".
  std::string owner;
  // Of entries, there already or still to come.
  std::vector<std::string> keys;
  // Of the assembly that needs them, as its server calls it; "" where that is not known, or it is
  // none.
  std::string uid = {};
};

// Replaces the owner's pin; one without keys is removed. Synced: when it returns OK, the pin is
// there after a power cut. The caller holds the domain's lock.
absl::Status WritePin(const CacheDomain& domain, const CachePin& pin);

// Takes the owner's pin back if it is for `uid`; true when there was such a one. The caller holds the
// domain's lock.
absl::StatusOr<bool> EndPin(const CacheDomain& domain, const std::string& owner,
                            const std::string& uid);

// All pins, by owner. An error means that nothing may be evicted.
absl::StatusOr<std::vector<CachePin>> ReadPins(const CacheDomain& domain);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_PINS_H_
