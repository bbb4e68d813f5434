// Which locations this process opens, whatever a catalogue says.
#ifndef MUSTER_STORAGE_OBJECT_LOCATION_RULES_H_
#define MUSTER_STORAGE_OBJECT_LOCATION_RULES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/object/uri.h"

struct sockaddr;

namespace muster {

// An address is local if only this machine or its own link can be reached by it: loopback, link-local and unspecified
// ones, also as IPv4 within IPv6, and the IPv6 address of AWS's metadata service.
bool IsLocalAddress(const sockaddr& address);
// The same for a host as a URI has it, without a look-up: an address that is local, or "localhost".
bool IsLocalHost(absl::string_view host);

// A value; const methods are thread-safe.
class LocationRules {
 public:
  // For who reads on behalf of himself, as himself.
  LocationRules() = default;

  // For who reads what others name: what is below one of `prefixes`, URIs of the form scheme://, scheme://authority
  // or scheme://authority/path. A path ends at a segment; an authority without a port stands for all of them; one
  // without a host stands for all hosts but local ones. Without prefixes: everything but files and local hosts.
  // kInvalidArgument for a prefix that is none.
  static absl::StatusOr<LocationRules> Only(const std::vector<std::string>& prefixes);

  // kPermissionDenied LOCATION_NOT_ALLOWED, with the way out.
  absl::Status Check(const Uri& uri) const;

  // Whether an address that `url` leads to, also by a redirect, may be local; it may have a query.
  bool MayBeLocal(absl::string_view url) const;

  // The folder that file `path`, without its first slash, is to be opened below, so that no link leads out of it; ""
  // where there is none. Of a path that Check allowed.
  std::string FolderOf(absl::string_view path) const;

 private:
  explicit LocationRules(std::vector<Uri> prefixes)
      : everything_(false), prefixes_(std::move(prefixes)) {}

  bool everything_ = true;
  std::vector<Uri> prefixes_;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_LOCATION_RULES_H_
