// Memberships that a test says.
#ifndef MUSTER_TESTS_UNIT_SERVER_ACCESS_FAKE_MEMBERSHIPS_H_
#define MUSTER_TESTS_UNIT_SERVER_ACCESS_FAKE_MEMBERSHIPS_H_

#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "server/access/membership_view.h"

namespace muster {

class FakeMemberships final : public MembershipView {
 public:
  void Join(const std::string& node, const std::string& assembly, const std::string& version) {
    pairs_.emplace(node, assembly);
    pairs_.emplace(node, version);
    versions_[assembly] = version;
  }

  bool IsMember(absl::string_view node, absl::string_view assembly) const override {
    return pairs_.contains({std::string(node), std::string(assembly)});
  }
  bool NeedsVersion(absl::string_view node, absl::string_view model_version) const override {
    return IsMember(node, model_version);
  }
  std::string VersionOf(absl::string_view assembly) const override {
    const auto found = versions_.find(std::string(assembly));
    return found == versions_.end() ? "" : found->second;
  }

 private:
  std::set<std::pair<std::string, std::string>> pairs_;
  std::map<std::string, std::string> versions_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_SERVER_ACCESS_FAKE_MEMBERSHIPS_H_
