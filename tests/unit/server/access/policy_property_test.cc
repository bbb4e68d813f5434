// Random policies, decided by the product and by a second implementation that is slow and plain: it looks at every grant
// and compares patterns segment by segment, as docs tell people to.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/access/policy.h"
#include "storage/base/random.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/access/fake_memberships.h"

namespace muster {
namespace {

constexpr int kPolicies = 2'000;
constexpr int kQuestionsEach = 20;
constexpr uint64_t kSeed = 17;

struct MadeGrant {
  std::string who;
  std::vector<std::string> verbs;
  bool deny;
  std::string on;
};
struct MadePolicy {
  std::vector<std::pair<std::string, std::vector<std::string>>> groups;
  std::vector<MadeGrant> grants;
};

// Names are few and alike, so that patterns meet.
class Maker {
 public:
  explicit Maker(uint64_t seed) : random_(NewSeededRandom(seed)) {}

  MadePolicy Policy() {
    MadePolicy policy;
    for (const char* group : {"g", "h"}) {
      policy.groups.push_back({group, {}});
      for (uint64_t i = random_->Below(3); i > 0; --i)
        policy.groups.back().second.push_back(WhoPattern());
    }
    for (uint64_t i = random_->Below(12); i > 0; --i) {
      MadeGrant grant{random_->Below(4) == 0 ? Pick({"group/g", "group/h"}) : WhoPattern(),
                      {},
                      random_->Below(3) == 0,
                      On()};
      for (uint64_t j = 0; j <= random_->Below(2); ++j) grant.verbs.push_back(VerbText());
      policy.grants.push_back(std::move(grant));
    }
    return policy;
  }

  std::string Who() {
    return random_->Below(8) == 0 ? "anonymous"
                                  : absl::StrCat(Pick({"user/", "node/"}), Pick({"a", "ab", "b"}));
  }
  std::string Name() {
    switch (random_->Below(4)) {
      case 0:
        return absl::StrCat("nodes/", Pick({"a", "ab", "b", "a.b"}));
      case 1:
        return absl::StrCat("assemblies/", Pick({"a", "ab", "b"}));
      default:
        return absl::StrCat("models/", Pick({"a", "ab", "b"}), "/versions/",
                            Pick({"v", "v1", "v12", "w"}));
    }
  }
  std::string VerbText() { return Pick({"read", "publish", "report", "join", "operate"}); }

 private:
  std::string Pick(std::vector<std::string> from) { return from[random_->Below(from.size())]; }
  std::string WhoPattern() {
    return random_->Below(8) == 0
               ? "anonymous"
               : absl::StrCat(Pick({"user/", "node/"}), Pick({"a", "ab", "b", "*", "a*", "b*"}));
  }
  std::string On() {
    switch (random_->Below(7)) {
      case 0:
        return "**";
      case 1:
        return absl::StrCat("nodes/", Pick({"**", "*", "a", "a*", "ab", "ab*", "b"}));
      case 2:
        return absl::StrCat("assemblies/", Pick({"**", "*", "a", "a*", "ab", "b*"}));
      case 3:
        return absl::StrCat("models/",
                            Pick({"**", "*/**", "a/**", "a*/**", "ab/**", "ab*/**", "b/**"}));
      default:
        return absl::StrCat("models/", Pick({"a", "ab", "b"}), "/versions/",
                            Pick({"**", "*", "v", "v*", "v1", "v1*", "v12", "w"}));
    }
  }

  std::unique_ptr<Random> random_;
};

std::string JsonOf(const MadePolicy& policy) {
  const auto quoted = [](const std::vector<std::string>& texts) {
    return texts.empty() ? std::string("[]")
                         : absl::StrCat("[\"", absl::StrJoin(texts, "\", \""), "\"]");
  };
  std::vector<std::string> groups, grants;
  for (const auto& [name, members] : policy.groups)
    groups.push_back(absl::StrCat("\"", name, "\": ", quoted(members)));
  for (const MadeGrant& grant : policy.grants) {
    grants.push_back(absl::StrCat("{\"who\": \"", grant.who, "\", \"verbs\": ", quoted(grant.verbs),
                                  ", \"effect\": \"", grant.deny ? "deny" : "allow",
                                  "\", \"on\": [\"", grant.on, "\"]}"));
  }
  return absl::StrCat("{\"groups\": {", absl::StrJoin(groups, ", "), "}, \"grants\": [",
                      absl::StrJoin(grants, ",\n"), "]}");
}

bool SegmentMatches(const std::string& pattern, const std::string& segment) {
  if (pattern.empty() || pattern.back() != '*') return pattern == segment;
  return absl::StartsWith(segment, absl::StripSuffix(pattern, "*"));
}

// How specific each segment of the pattern is, if it matches: two patterns compare as their lists do.
std::optional<std::vector<int>> RankOf(const std::string& pattern, const std::string& name) {
  const std::vector<std::string> wanted = absl::StrSplit(pattern, '/');
  const std::vector<std::string> has = absl::StrSplit(name, '/');
  std::vector<int> rank;
  for (size_t i = 0; i < wanted.size(); ++i) {
    // "**" and "*" at the end mean the same, as names have a fixed number of segments; so do "*/**".
    if (wanted[i] == "**" || wanted[i] == "*") {
      rank.push_back(-1);
      return rank;
    }
    if (i >= has.size() || !SegmentMatches(wanted[i], has[i])) return std::nullopt;
    const bool literal = wanted[i].back() != '*';
    rank.push_back(literal ? 1'000 : static_cast<int>(wanted[i].size()) - 1);
    // "a*/**": what follows is anything.
    if (!literal) return rank;
  }
  if (wanted.size() != has.size()) return std::nullopt;
  return rank;
}

bool WhoMatches(const MadePolicy& policy, const std::string& pattern, const std::string& who) {
  if (absl::StartsWith(pattern, "group/")) {
    for (const auto& [name, members] : policy.groups) {
      if (absl::StrCat("group/", name) != pattern) continue;
      for (const std::string& member : members) {
        if (WhoMatches(policy, member, who)) return true;
      }
    }
    return false;
  }
  const std::vector<std::string> wanted = absl::StrSplit(pattern, '/');
  const std::vector<std::string> has = absl::StrSplit(who, '/');
  if (wanted.size() != has.size()) return false;
  return wanted[0] == has[0] && (wanted.size() == 1 || SegmentMatches(wanted[1], has[1]));
}

// By the rules as they are told: 1 allowed, 0 denied, -1 no grant.
int GrantsSay(const MadePolicy& policy, const std::string& who, const std::string& verb,
              const std::string& name) {
  std::vector<int> best;
  int says = -1;
  for (const MadeGrant& grant : policy.grants) {
    if (!WhoMatches(policy, grant.who, who)) continue;
    if (std::find(grant.verbs.begin(), grant.verbs.end(), verb) == grant.verbs.end()) continue;
    const auto rank = RankOf(grant.on, name);
    if (!rank.has_value() || (says != -1 && *rank < best)) continue;
    if (says == -1 || *rank > best) {
      says = grant.deny ? 0 : 1;
    } else if (grant.deny) {
      says = 0;
    }
    best = *rank;
  }
  return says;
}

bool SlowlyAllowed(const MadePolicy& policy, const std::string& who, const std::string& verb,
                   const std::string& name, const FakeMemberships& members) {
  const bool is_node = absl::StartsWith(who, "node/");
  const std::string self = absl::StrCat("nodes/", absl::StripPrefix(who, "node/"));
  if (is_node && verb == "report") return name == self;
  const int says = GrantsSay(policy, who, verb, name);
  if (says != -1) return says == 1;
  return is_node && verb == "read" && (name == self || members.IsMember(self, name));
}

Identity IdentityCalled(const std::string& who) {
  if (who == "anonymous") return {};
  const bool node = absl::StartsWith(who, "node/");
  return node ? Identity::Node(who.substr(5)) : Identity::User(who.substr(5));
}

TEST(PolicyPropertyTest, DecisionsAreThoseOfASlowReading) {
  Maker maker(kSeed);
  FakeMemberships members;
  members.Join("nodes/a", "assemblies/ab", "models/a/versions/v1");
  members.Join("nodes/b", "assemblies/b", "models/ab/versions/v");
  int allowed = 0, denied_by_grant = 0, by_membership = 0;
  for (int i = 0; i < kPolicies; ++i) {
    const MadePolicy made = maker.Policy();
    const auto policy = Policy::Parse(JsonOf(made));
    ASSERT_THAT(policy, IsOk()) << JsonOf(made);
    for (int j = 0; j < kQuestionsEach; ++j) {
      const std::string who = maker.Who(), verb = maker.VerbText(), name = maker.Name();
      const auto caller = Caller::Admit(*policy, IdentityCalled(who), absl::UnixEpoch());
      ASSERT_THAT(caller, IsOk());

      const Decision decision = caller->Allows(*VerbOf(verb), name, members);

      ASSERT_EQ(decision.allowed, SlowlyAllowed(made, who, verb, name, members))
          << who << " " << verb << " " << name << " seed " << kSeed << " policy " << i << ": "
          << JsonOf(made);
      if (decision.rule == Decision::Rule::kGrant) {
        const MadeGrant& grant = made.grants[decision.grant];
        ASSERT_EQ(grant.deny, !decision.allowed) << JsonOf(made);
        ASSERT_TRUE(RankOf(grant.on, name).has_value()) << grant.on << " " << name;
      }
      allowed += decision.allowed ? 1 : 0;
      denied_by_grant += !decision.allowed && decision.rule == Decision::Rule::kGrant ? 1 : 0;
      by_membership += decision.rule == Decision::Rule::kMember ? 1 : 0;
    }
  }
  // The cases are not all alike.
  EXPECT_GT(allowed, 2'000);
  EXPECT_GT(denied_by_grant, 500);
  EXPECT_GT(by_membership, 50);
}

// What lists rely on: where something is allowed, somewhere is; where everything is, each thing is.
TEST(PolicyPropertyTest, CollectionsAgreeWithTheirNames) {
  Maker maker(kSeed + 1);
  const FakeMemberships members;
  int everywhere_allowed = 0;
  for (int i = 0; i < kPolicies; ++i) {
    const MadePolicy made = maker.Policy();
    const auto policy = Policy::Parse(JsonOf(made));
    ASSERT_THAT(policy, IsOk());
    for (int j = 0; j < kQuestionsEach; ++j) {
      const std::string who = maker.Who(), verb_text = maker.VerbText(), name = maker.Name();
      const auto caller = Caller::Admit(*policy, IdentityCalled(who), absl::UnixEpoch());
      ASSERT_THAT(caller, IsOk());
      const Verb verb = *VerbOf(verb_text);
      const std::string collection = name.substr(0, name.find('/') + 1);

      const bool one = caller->Allows(verb, name, members).allowed;

      for (const std::string& whole : {collection, std::string()}) {
        const bool somewhere = caller->Allows(verb, Scope::kSomewhere, whole, members).allowed;
        const bool everywhere = caller->Allows(verb, Scope::kEverywhere, whole, members).allowed;
        ASSERT_TRUE(somewhere || !one)
            << who << " " << verb_text << " " << name << ": " << JsonOf(made);
        ASSERT_TRUE(one || !everywhere)
            << who << " " << verb_text << " " << name << ": " << JsonOf(made);
        everywhere_allowed += everywhere ? 1 : 0;
      }
    }
  }
  EXPECT_GT(everywhere_allowed, 200);
}

// Whoever is denied learns nothing: the answer does not depend on what there is.
TEST(PolicyPropertyTest, DenialsDependOnTheNameAlone) {
  Maker maker(kSeed + 2);
  FakeMemberships others;
  others.Join("nodes/somebody", "assemblies/ab", "models/a/versions/v1");
  const FakeMemberships nothing;
  for (int i = 0; i < kPolicies; ++i) {
    const auto policy = Policy::Parse(JsonOf(maker.Policy()));
    ASSERT_THAT(policy, IsOk());
    const std::string who = maker.Who(), name = maker.Name();
    const Verb verb = *VerbOf(maker.VerbText());
    const auto caller = Caller::Admit(*policy, IdentityCalled(who), absl::UnixEpoch());
    ASSERT_THAT(caller, IsOk());

    const Decision present = caller->Allows(verb, name, others);
    const Decision absent = caller->Allows(verb, name, nothing);

    ASSERT_EQ(present.allowed, absent.allowed);
    ASSERT_EQ(caller->Denial(present, verb, name), caller->Denial(absent, verb, name));
  }
}

}  // namespace
}  // namespace muster
