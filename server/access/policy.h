// Who may do what: a policy, and the callers that it admits.
//
// A policy is an immutable snapshot; another one replaces it whole, and callers are admitted again. Both are read by any
// number of threads, without a lock or an allocation.
#ifndef MUSTER_SERVER_ACCESS_POLICY_H_
#define MUSTER_SERVER_ACCESS_POLICY_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/access/identity.h"
#include "server/access/membership_view.h"
#include "server/access/policy_text.h"
#include "server/access/prefix_table.h"
#include "server/access/token.h"
#include "server/access/verb.h"

namespace muster {

// What is asked about a name, which is a resource's or one of kCollections.
enum class Scope : uint8_t {
  // A resource.
  kName,
  // A collection: may the caller do it to anything in it? For lists, which show what is allowed and nothing else.
  kSomewhere,
  // A collection: may the caller do it to everything in it, whatever there will be?
  kEverywhere,
};

// The collections, and "" for all that there is.
inline constexpr std::array<absl::string_view, 4> kCollections = {"models/", "nodes/",
                                                                  "assemblies/", ""};

struct Decision {
  enum class Rule : uint8_t {
    // Loopback without TLS.
    kLocal,
    // A node is itself.
    kSelf,
    // A node is not another one, whatever the policy says.
    kOtherNode,
    // A node reads what its assemblies need.
    kMember,
    // A grant of the policy allows it, or denies it.
    kGrant,
    kNoGrant,
    // It is not the name of anything.
    kNotAName,
  };

  bool allowed = false;
  Rule rule = Rule::kNoGrant;
  // For kGrant: its place in the policy's `grants`. With kSomewhere and kEverywhere no grant is named.
  uint32_t grant = 0;
};

class Policy {
 public:
  // kInvalidArgument POLICY_INVALID, as ParsePolicyText.
  static absl::StatusOr<std::shared_ptr<const Policy>> Parse(absl::string_view text);
  // Without grants: everything is denied, to all but those who are local, and nodes are themselves.
  static std::shared_ptr<const Policy> Empty();

  // 64 hex digits, the SHA-256 of the text, to tell policies apart in logs and between servers.
  const std::string& digest() const { return digest_; }

  // Who has shown a certificate, or the values of a call's `authorization` headers. kUnauthenticated CREDENTIAL_REFUSED.
  absl::StatusOr<Identity> IdentityOfCertificate(const CertificateNames& names,
                                                 absl::string_view cluster) const;
  absl::StatusOr<Identity> IdentityOfToken(absl::Span<const absl::string_view> headers,
                                           absl::Time now) const;

 private:
  friend class Caller;
  using Subject = uint32_t;

  // What a grant says of one pattern to one subject.
  struct Rule {
    Subject subject;
    VerbSet verbs;
    bool deny;
    uint32_t grant;
  };
  // Which verbs a subject has anywhere in a collection, and which are denied to it anywhere there.
  struct Summary {
    std::array<VerbSet, kCollections.size()> allowed;
    std::array<VerbSet, kCollections.size()> denied;
  };

  Policy(PolicyText text, std::string digest);
  void AddSubjects();
  void AddRules();
  void Summarise(const Pattern& pattern, const Rule& rule);

  Decision Decide(absl::Span<const Subject> subjects, Verb verb, absl::string_view name) const;
  bool Revokes(const Identity& identity) const;

  PolicyText text_;
  std::string digest_;
  TokenTable tokens_;
  // Subjects are the groups, in their order, and after them each `who` that is no group.
  PrefixTable who_;
  std::vector<std::vector<Subject>> subjects_of_who_;
  std::vector<Subject> subject_of_grant_;
  std::vector<Summary> summaries_;
  PrefixTable on_;
  // Of each pattern, by subject.
  std::vector<std::vector<Rule>> rules_;
};

// An identity under one policy. A value; thread-safe for reading. It keeps the policy alive.
class Caller {
 public:
  // kUnauthenticated CREDENTIAL_REFUSED: the identity, its certificate or its token is revoked, or has expired.
  static absl::StatusOr<Caller> Admit(std::shared_ptr<const Policy> policy, Identity identity,
                                      absl::Time now);

  const Identity& identity() const { return identity_; }
  // "user/alice".
  const std::string& who() const { return who_; }
  // Of the policy, in its order.
  std::vector<std::string> Groups() const;
  // "reader on models/public/**": what the policy grants and denies to this caller, in its order.
  std::vector<std::string> Grants() const;

  // Decides by the name alone: what does not exist, and what may not be seen, get the same answer.
  Decision Allows(Verb verb, Scope scope, absl::string_view name,
                  const MembershipView& members) const;
  Decision Allows(Verb verb, absl::string_view name, const MembershipView& members) const {
    return Allows(verb, Scope::kName, name, members);
  }

  // The rule that decided, as audit lines name it: "grants[3]: reader on models/public/**", "self", "no grant".
  std::string RuleText(const Decision& decision) const;
  // What to say to a caller that is denied: kPermissionDenied, or kUnauthenticated to who showed nothing. Reason
  // ACCESS_DENIED, with `who`, `verb` and `resource`.
  absl::Status Denial(const Decision& decision, Verb verb, absl::string_view name) const;

 private:
  Caller(std::shared_ptr<const Policy> policy, Identity identity);

  Decision OfName(Verb verb, absl::string_view name, const MembershipView& members) const;
  Decision OfCollection(Verb verb, Scope scope, absl::string_view name) const;
  // Which collections hold something that the node may do this to by being a node.
  bool HasOwn(Verb verb, absl::string_view collection) const;
  std::string GrantText(uint32_t grant) const;

  std::shared_ptr<const Policy> policy_;
  Identity identity_;
  std::string who_;
  // Of a node: "nodes/n1". "" for others.
  std::string node_;
  std::vector<Policy::Subject> subjects_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_ACCESS_POLICY_H_
