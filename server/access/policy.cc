#include "server/access/policy.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Beyond those a denial counts.
constexpr size_t kMaxGrantsTold = 3;
// Of one grant's patterns; with the bound of a name, so that the whole fits into a trailer.
constexpr size_t kMaxPatternsTold = 3;

absl::Status NotAdmitted(absl::string_view what) {
  return MakeError(absl::StatusCode::kUnauthenticated, reasons::kCredentialRefused, what,
                   {{"problem", std::string(what)}});
}

// The collection's place in kCollections; their number for another name.
size_t PlaceOf(absl::string_view collection) {
  return static_cast<size_t>(std::find(kCollections.begin(), kCollections.end(), collection) -
                             kCollections.begin());
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Policy>> Policy::Parse(absl::string_view text) {
  MUSTER_ASSIGN_OR_RETURN(PolicyText parsed, ParsePolicyText(text));
  const Sha256Digest digest = Sha256Of(text);
  return std::shared_ptr<const Policy>(new Policy(
      std::move(parsed), absl::BytesToHexString(absl::string_view(
                             reinterpret_cast<const char*>(digest.data()), digest.size()))));
}

std::shared_ptr<const Policy> Policy::Empty() { return *Parse("{}"); }

Policy::Policy(PolicyText text, std::string digest)
    : text_(std::move(text)), digest_(std::move(digest)) {
  for (const Token& token : text_.tokens) tokens_.Add(token);
  AddSubjects();
  AddRules();
}

void Policy::AddSubjects() {
  std::vector<Pattern> patterns;
  for (const PolicyText::Group& group : text_.groups) {
    patterns.insert(patterns.end(), group.members.begin(), group.members.end());
  }
  for (const PolicyText::Grant& grant : text_.grants) {
    if (!grant.group.has_value()) patterns.push_back(grant.who_pattern);
  }
  who_ = PrefixTable(std::move(patterns));
  subjects_of_who_.resize(who_.size());
  Subject next = 0;
  for (const PolicyText::Group& group : text_.groups) {
    for (const Pattern& member : group.members) {
      std::vector<Subject>& subjects = subjects_of_who_[who_.Find(member)];
      if (subjects.empty() || subjects.back() != next) subjects.push_back(next);
    }
    ++next;
  }
  std::vector<Subject> subject_of_entry(who_.size(), UINT32_MAX);
  for (const PolicyText::Grant& grant : text_.grants) {
    if (grant.group.has_value()) {
      subject_of_grant_.push_back(static_cast<Subject>(*grant.group));
      continue;
    }
    const uint32_t entry = who_.Find(grant.who_pattern);
    if (subject_of_entry[entry] == UINT32_MAX) {
      subject_of_entry[entry] = next;
      subjects_of_who_[entry].push_back(next++);
    }
    subject_of_grant_.push_back(subject_of_entry[entry]);
  }
  summaries_.resize(next);
}

void Policy::AddRules() {
  std::vector<Pattern> patterns;
  for (const PolicyText::Grant& grant : text_.grants) {
    patterns.insert(patterns.end(), grant.on_patterns.begin(), grant.on_patterns.end());
  }
  on_ = PrefixTable(std::move(patterns));
  rules_.resize(on_.size());
  for (uint32_t grant = 0; grant < text_.grants.size(); ++grant) {
    const PolicyText::Grant& text = text_.grants[grant];
    for (const Pattern& pattern : text.on_patterns) {
      const Rule rule{subject_of_grant_[grant], text.verbs, text.deny, grant};
      rules_[on_.Find(pattern)].push_back(rule);
      Summarise(pattern, rule);
    }
  }
  for (std::vector<Rule>& rules : rules_) {
    std::stable_sort(rules.begin(), rules.end(),
                     [](const Rule& a, const Rule& b) { return a.subject < b.subject; });
  }
}

void Policy::Summarise(const Pattern& pattern, const Rule& rule) {
  Summary& summary = summaries_[rule.subject];
  for (size_t i = 0; i < kCollections.size(); ++i) {
    const bool within = absl::StartsWith(pattern.text, kCollections[i]);
    if (rule.deny && within) summary.denied[i] = summary.denied[i] | rule.verbs;
    // Only "**" is shorter than a collection.
    const bool meets = within || pattern.text.empty();
    if (!rule.deny && meets) summary.allowed[i] = summary.allowed[i] | rule.verbs;
  }
}

absl::StatusOr<Identity> Policy::IdentityOfCertificate(const CertificateNames& names,
                                                       absl::string_view cluster) const {
  return IdentityOf(names, cluster, text_.matches);
}

absl::StatusOr<Identity> Policy::IdentityOfToken(absl::Span<const absl::string_view> headers,
                                                 absl::Time now) const {
  return tokens_.IdentityOf(headers, now);
}

// 1. The most specific pattern with a rule of one of the subjects about the verb decides.
// 2. Of several rules of it, one that denies does.
// 3. Without any it is denied.
Decision Policy::Decide(absl::Span<const Subject> subjects, Verb verb,
                        absl::string_view name) const {
  for (uint32_t entry = on_.First(name); entry != PrefixTable::kNone; entry = on_.Next(entry)) {
    const std::vector<Rule>& rules = rules_[entry];
    const Rule* found = nullptr;
    auto rule = rules.begin();
    for (const Subject subject : subjects) {
      rule = std::lower_bound(rule, rules.end(), subject,
                              [](const Rule& a, Subject wanted) { return a.subject < wanted; });
      for (; rule != rules.end() && rule->subject == subject; ++rule) {
        if (!rule->verbs.Has(verb)) continue;
        if (found == nullptr || (rule->deny && !found->deny)) found = &*rule;
      }
    }
    if (found != nullptr) return Decision{!found->deny, Decision::Rule::kGrant, found->grant};
  }
  return Decision{false, Decision::Rule::kNoGrant, 0};
}

bool Policy::Revokes(const Identity& identity) const {
  if (text_.revoked.contains(identity.Who())) return true;
  if (identity.credential.empty()) return false;
  const bool token = identity.proof == Identity::Proof::kToken;
  return text_.revoked.contains(absl::StrCat(token ? "token:" : "serial:", identity.credential));
}

absl::StatusOr<Caller> Caller::Admit(std::shared_ptr<const Policy> policy, Identity identity,
                                     absl::Time now) {
  if (now >= identity.expires) {
    return NotAdmitted(
        absl::StrCat("what ", identity.Who(), " showed expired at ",
                     absl::FormatTime(absl::RFC3339_sec, identity.expires, absl::UTCTimeZone())));
  }
  if (policy->Revokes(identity)) {
    return NotAdmitted(absl::StrCat(identity.Who(), " or what it showed is revoked"));
  }
  if (identity.proof == Identity::Proof::kToken && !policy->tokens_.Holds(identity)) {
    return NotAdmitted(absl::StrCat("the policy no longer has token ", identity.credential, " of ",
                                    identity.Who()));
  }
  return Caller(std::move(policy), std::move(identity));
}

Caller::Caller(std::shared_ptr<const Policy> policy, Identity identity)
    : policy_(std::move(policy)), identity_(std::move(identity)), who_(identity_.Who()) {
  if (identity_.kind == Identity::Kind::kNode) node_ = absl::StrCat("nodes/", identity_.name);
  const PrefixTable& who = policy_->who_;
  for (uint32_t entry = who.First(who_); entry != PrefixTable::kNone; entry = who.Next(entry)) {
    const auto& subjects = policy_->subjects_of_who_[entry];
    subjects_.insert(subjects_.end(), subjects.begin(), subjects.end());
  }
  std::sort(subjects_.begin(), subjects_.end());
  subjects_.erase(std::unique(subjects_.begin(), subjects_.end()), subjects_.end());
}

std::vector<std::string> Caller::Groups() const {
  std::vector<std::string> groups;
  for (const Policy::Subject subject : subjects_) {
    if (subject < policy_->text_.groups.size())
      groups.push_back(policy_->text_.groups[subject].name);
  }
  return groups;
}

std::vector<std::string> Caller::Grants() const {
  std::vector<std::string> grants;
  for (uint32_t grant = 0; grant < policy_->text_.grants.size(); ++grant) {
    if (std::binary_search(subjects_.begin(), subjects_.end(), policy_->subject_of_grant_[grant])) {
      grants.push_back(GrantText(grant));
    }
  }
  return grants;
}

Decision Caller::Allows(Verb verb, Scope scope, absl::string_view name,
                        const MembershipView& members) const {
  if (identity_.kind == Identity::Kind::kLocal) return {true, Decision::Rule::kLocal, 0};
  return scope == Scope::kName ? OfName(verb, name, members) : OfCollection(verb, scope, name);
}

Decision Caller::OfName(Verb verb, absl::string_view name, const MembershipView& members) const {
  const std::optional<ResourceKind> kind = KindOfResource(name);
  if (!kind.has_value()) return {false, Decision::Rule::kNotAName, 0};
  if (!node_.empty() && verb == Verb::kReport) {
    const bool self = name == node_;
    return {self, self ? Decision::Rule::kSelf : Decision::Rule::kOtherNode, 0};
  }
  const Decision decision = policy_->Decide(subjects_, verb, name);
  if (decision.rule != Decision::Rule::kNoGrant || node_.empty() || verb != Verb::kRead) {
    return decision;
  }
  switch (*kind) {
    case ResourceKind::kNode:
      if (name == node_) return {true, Decision::Rule::kSelf, 0};
      break;
    case ResourceKind::kAssembly:
      if (members.IsMember(node_, name)) return {true, Decision::Rule::kMember, 0};
      break;
    case ResourceKind::kModelVersion:
      if (members.NeedsVersion(node_, name)) return {true, Decision::Rule::kMember, 0};
      break;
  }
  return decision;
}

bool Caller::HasOwn(Verb verb, absl::string_view collection) const {
  if (node_.empty()) return false;
  return verb == Verb::kRead ||
         (verb == Verb::kReport && (collection == "nodes/" || collection.empty()));
}

Decision Caller::OfCollection(Verb verb, Scope scope, absl::string_view name) const {
  const size_t place = PlaceOf(name);
  if (place == kCollections.size()) return {false, Decision::Rule::kNotAName, 0};
  if (scope == Scope::kSomewhere) {
    if (HasOwn(verb, name)) return {true, Decision::Rule::kSelf, 0};
    if (!node_.empty() && verb == Verb::kReport) return {false, Decision::Rule::kOtherNode, 0};
    for (const Policy::Subject subject : subjects_) {
      if (policy_->summaries_[subject].allowed[place].Has(verb)) {
        return {true, Decision::Rule::kGrant, 0};
      }
    }
    return {false, Decision::Rule::kNoGrant, 0};
  }
  if (!node_.empty() && verb == Verb::kReport) return {false, Decision::Rule::kOtherNode, 0};
  for (const Policy::Subject subject : subjects_) {
    if (policy_->summaries_[subject].denied[place].Has(verb)) {
      return {false, Decision::Rule::kGrant, 0};
    }
  }
  return policy_->Decide(subjects_, verb, name);
}

std::string Caller::GrantText(uint32_t grant) const {
  const PolicyText::Grant& text = policy_->text_.grants[grant];
  const size_t told = std::min(text.on.size(), kMaxPatternsTold);
  std::string on =
      absl::StrJoin(text.on.begin(), text.on.begin() + static_cast<std::ptrdiff_t>(told), ", ");
  if (told < text.on.size()) absl::StrAppend(&on, " and ", text.on.size() - told, " more");
  return absl::StrCat(text.deny ? "not " : "", text.what, " on ", on);
}

std::string Caller::RuleText(const Decision& decision) const {
  switch (decision.rule) {
    case Decision::Rule::kLocal:
      return "local";
    case Decision::Rule::kSelf:
      return "self";
    case Decision::Rule::kOtherNode:
      return "another node";
    case Decision::Rule::kMember:
      return "member";
    case Decision::Rule::kGrant:
      return absl::StrCat("grants[", decision.grant, "]: ", GrantText(decision.grant));
    case Decision::Rule::kNoGrant:
      return "no grant";
    case Decision::Rule::kNotAName:
      return "not a name";
  }
  return "";
}

absl::Status Caller::Denial(const Decision& decision, Verb verb, absl::string_view name) const {
  // A collection as a pattern; what is no name as it can be shown.
  const std::string resource = KindOfResource(name).has_value()       ? std::string(name)
                               : PlaceOf(name) != kCollections.size() ? absl::StrCat(name, "**")
                                                                      : QuoteForMessage(name);
  std::string message = absl::StrCat(who_, " may not ", VerbName(verb), " ", resource, ": ");
  const bool unknown = identity_.kind == Identity::Kind::kAnonymous;
  if (unknown) {
    absl::StrAppend(&message, "the call has neither a client certificate nor a token");
  } else if (decision.rule == Decision::Rule::kGrant) {
    absl::StrAppend(&message, "the policy denies it to you");
  } else if (decision.rule == Decision::Rule::kOtherNode) {
    absl::StrAppend(&message, "a node reports for itself only");
  } else if (decision.rule == Decision::Rule::kNotAName) {
    absl::StrAppend(&message, "it is not the name of a model version, a node or an assembly");
  } else {
    std::vector<std::string> grants = Grants();
    const size_t count = grants.size();
    grants.resize(std::min(count, kMaxGrantsTold));
    absl::StrAppend(&message, "no grant; ");
    absl::StrAppend(&message, count == 0
                                  ? "you have none"
                                  : absl::StrCat("grants of yours: ", absl::StrJoin(grants, "; ")));
    if (count > grants.size()) absl::StrAppend(&message, " and ", count - grants.size(), " more");
  }
  const auto code =
      unknown ? absl::StatusCode::kUnauthenticated : absl::StatusCode::kPermissionDenied;
  return MakeError(code, reasons::kAccessDenied, message,
                   {{"who", who_}, {"verb", std::string(VerbName(verb))}, {"resource", resource}});
}

}  // namespace muster
