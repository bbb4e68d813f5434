// What nodes are members of, which decides what they may read.
#ifndef MUSTER_SERVER_ACCESS_MEMBERSHIP_VIEW_H_
#define MUSTER_SERVER_ACCESS_MEMBERSHIP_VIEW_H_

#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// The first two are asked only about nodes, and only where no grant decides. Answers for names that don't exist as for those that the node
// has nothing to do with. All names are full resource names.
class MembershipView {
 public:
  virtual ~MembershipView() = default;

  virtual bool IsMember(absl::string_view node, absl::string_view assembly) const = 0;

  // Whether the node is a member of an assembly of that model version.
  virtual bool NeedsVersion(absl::string_view node, absl::string_view model_version) const = 0;

  // The model version that the assembly loads; "" where there is no such assembly. Asked about callers of any kind.
  virtual std::string VersionOf(absl::string_view assembly) const = 0;
};

}  // namespace muster

#endif  // MUSTER_SERVER_ACCESS_MEMBERSHIP_VIEW_H_
