// What nodes are members of, as the registry has it: what decides which of the cluster a node may see.
#ifndef MUSTER_SERVER_RPC_MEMBERS_H_
#define MUSTER_SERVER_RPC_MEMBERS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "server/access/membership_view.h"
#include "server/commit/committer.h"
#include "server/registry/registry.h"

namespace muster {

// For who holds the registry's lock, shared or not.
class RegistryMembers final : public MembershipView {
 public:
  explicit RegistryMembers(const Registry& registry) : registry_(registry) {}

  bool IsMember(absl::string_view node, absl::string_view assembly) const override;
  bool NeedsVersion(absl::string_view node, absl::string_view model_version) const override;
  std::string VersionOf(absl::string_view assembly) const override;

 private:
  const Registry& registry_;
};

// For who does not: takes the lock when it is asked, which few calls do. Two answers may be of different moments.
class CommittedMembers final : public MembershipView {
 public:
  explicit CommittedMembers(Committer& committer) : committer_(committer) {}

  bool IsMember(absl::string_view node, absl::string_view assembly) const override;
  bool NeedsVersion(absl::string_view node, absl::string_view model_version) const override;
  std::string VersionOf(absl::string_view assembly) const override;

 private:
  Committer& committer_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_MEMBERS_H_
