// The text of a policy: JSON, and what it says.
//
// Thread-safe: a value and a pure function.
#ifndef MUSTER_SERVER_ACCESS_POLICY_TEXT_H_
#define MUSTER_SERVER_ACCESS_POLICY_TEXT_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/access/identity.h"
#include "server/access/resource_pattern.h"
#include "server/access/token.h"
#include "server/access/verb.h"

namespace muster {

// Far beyond any policy that people write, and small enough that reading one takes no second.
inline constexpr size_t kMaxPolicyBytes = size_t{32} << 20;
inline constexpr size_t kMaxPolicyTokens = 10'000;
inline constexpr size_t kMaxPolicyGroups = 1'000;
inline constexpr size_t kMaxPolicyGrants = 10'000;
// Over all grants; each "on" of a grant is one.
inline constexpr size_t kMaxPolicyPatterns = 200'000;
// Over all groups.
inline constexpr size_t kMaxPolicyMembers = 100'000;
inline constexpr size_t kMaxPolicyMatches = 100;
inline constexpr size_t kMaxPolicyRevoked = 100'000;

struct PolicyText {
  struct Group {
    std::string name;
    std::vector<Pattern> members;
  };
  struct Grant {
    // "group/team-a", or else as `who_pattern` has it: "user/*".
    std::string who;
    // Of a group: its place in `groups`.
    std::optional<size_t> group;
    Pattern who_pattern;
    VerbSet verbs;
    bool deny = false;
    // What it says, for messages: "reader", or "read, publish".
    std::string what;
    std::vector<std::string> on;
    std::vector<Pattern> on_patterns;
  };

  std::vector<Token> tokens;
  std::vector<Group> groups;
  std::vector<Grant> grants;
  std::vector<CertificateMatch> matches;
  // "user/alice", "node/n1", "serial:3fa2", "token:ci".
  absl::flat_hash_set<std::string> revoked;
};

// kInvalidArgument with reason POLICY_INVALID names every mistake, of the first 20: its line, where it is
// ("grants[2].on[0]"), the value and what would be right. A policy with a mistake is none.
absl::StatusOr<PolicyText> ParsePolicyText(absl::string_view text);

}  // namespace muster

#endif  // MUSTER_SERVER_ACCESS_POLICY_TEXT_H_
