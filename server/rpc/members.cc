#include "server/rpc/members.h"

#include <algorithm>
#include <string>

namespace muster {

bool RegistryMembers::IsMember(absl::string_view node, absl::string_view assembly) const {
  const auto found = registry_.assemblies().Find(assembly);
  return found.ok() && (*found)->FindMember(std::string(node)) != nullptr;
}

bool RegistryMembers::NeedsVersion(absl::string_view node, absl::string_view model_version) const {
  const auto found = registry_.nodes().Find(node);
  if (!found.ok()) return false;
  const auto& memberships = (*found)->memberships;
  return std::any_of(memberships.begin(), memberships.end(), [&](AssemblyUid uid) {
    const Assembly* assembly = registry_.assemblies().FindByUid(uid);
    return assembly != nullptr && assembly->version().row.name() == model_version;
  });
}

std::string RegistryMembers::VersionOf(absl::string_view assembly) const {
  const auto found = registry_.assemblies().Find(assembly);
  return found.ok() ? (*found)->version().row.name() : std::string();
}

bool CommittedMembers::IsMember(absl::string_view node, absl::string_view assembly) const {
  bool found = false;
  committer_.Read(
      [&](const Registry& registry) { found = RegistryMembers(registry).IsMember(node, assembly); },
      [](Revision) {});
  return found;
}

bool CommittedMembers::NeedsVersion(absl::string_view node, absl::string_view model_version) const {
  bool found = false;
  committer_.Read(
      [&](const Registry& registry) {
        found = RegistryMembers(registry).NeedsVersion(node, model_version);
      },
      [](Revision) {});
  return found;
}

std::string CommittedMembers::VersionOf(absl::string_view assembly) const {
  std::string found;
  committer_.Read(
      [&](const Registry& registry) { found = RegistryMembers(registry).VersionOf(assembly); },
      [](Revision) {});
  return found;
}

}  // namespace muster
