#include "server/access/policy.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/access/fake_memberships.h"

namespace muster {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr absl::Time kNow = absl::UnixEpoch();
const std::string kLlamaV1 = "models/llama/versions/v1";

std::shared_ptr<const Policy> PolicyOf(absl::string_view text) {
  auto policy = Policy::Parse(text);
  MUSTER_EXPECT_OK(policy);
  return policy.ok() ? *policy : Policy::Empty();
}

Caller Admitted(std::shared_ptr<const Policy> policy, Identity identity) {
  auto caller = Caller::Admit(std::move(policy), std::move(identity), kNow);
  MUSTER_EXPECT_OK(caller);
  return *std::move(caller);
}

// A policy of grants only.
Caller With(absl::string_view grants, Identity identity) {
  return Admitted(PolicyOf(absl::StrCat(
                      "{\"groups\": {\"team\": [\"user/alice\", \"node/gpu-*\"]}, \"grants\": [",
                      grants, "]}")),
                  std::move(identity));
}

bool Can(const Caller& caller, Verb verb, absl::string_view name) {
  return caller.Allows(verb, name, FakeMemberships()).allowed;
}

TEST(PolicyTest, NothingIsAllowedByDefault) {
  for (const Identity& identity : {Identity(), Identity::User("alice"), Identity::Node("n1")}) {
    const Caller caller = Admitted(Policy::Empty(), identity);
    for (int bit = 0; bit < kVerbCount; ++bit) {
      EXPECT_FALSE(Can(caller, static_cast<Verb>(bit), kLlamaV1));
      EXPECT_FALSE(Can(caller, static_cast<Verb>(bit), "assemblies/demo"));
      EXPECT_FALSE(Can(caller, static_cast<Verb>(bit), "nodes/n2"));
      if (identity.kind == Identity::Kind::kNode) continue;
      EXPECT_FALSE(
          caller.Allows(static_cast<Verb>(bit), Scope::kSomewhere, "", FakeMemberships()).allowed);
    }
  }
}

TEST(PolicyTest, WhoIsLocalMayDoEverything) {
  const Caller caller = Admitted(Policy::Empty(), Identity::Local());

  EXPECT_TRUE(Can(caller, Verb::kAdmin, kLlamaV1));
  // Handlers say what is wrong with it.
  EXPECT_TRUE(Can(caller, Verb::kRead, "not a name"));
  EXPECT_TRUE(caller.Allows(Verb::kAdmin, Scope::kEverywhere, "", FakeMemberships()).allowed);
  // Nobody else is called so, whatever they are called.
  EXPECT_FALSE(Can(Admitted(Policy::Empty(), Identity::User("local")), Verb::kRead, kLlamaV1));
}

TEST(PolicyTest, AGrantAllowsItsVerbsOnItsNames) {
  const Caller alice =
      With(R"({"who": "user/alice", "role": "publisher", "on": ["models/llama/**"]})",
           Identity::User("alice"));

  EXPECT_TRUE(Can(alice, Verb::kRead, kLlamaV1));
  EXPECT_TRUE(Can(alice, Verb::kPublish, kLlamaV1));
  EXPECT_FALSE(Can(alice, Verb::kDelete, kLlamaV1));
  EXPECT_FALSE(Can(alice, Verb::kRead, "models/llama2/versions/v1"));
  EXPECT_FALSE(Can(alice, Verb::kRead, "models/llama/versions/../"));
  EXPECT_FALSE(Can(alice, Verb::kRead, "models/llama/versions/v1/shards/0"));
  EXPECT_FALSE(Can(alice, Verb::kRead, "models/llama/"));
}

TEST(PolicyTest, GrantsAreForWhomTheyName) {
  const std::string grants = R"({"who": "user/a*", "role": "reader", "on": ["**"]},
                                {"who": "node/a", "role": "reader", "on": ["models/**"]})";
  EXPECT_TRUE(Can(With(grants, Identity::User("alice")), Verb::kRead, kLlamaV1));
  EXPECT_FALSE(Can(With(grants, Identity::User("bob")), Verb::kRead, kLlamaV1));
  EXPECT_TRUE(Can(With(grants, Identity::Node("a")), Verb::kRead, kLlamaV1));
  EXPECT_FALSE(Can(With(grants, Identity::Node("a")), Verb::kRead, "assemblies/demo"));
  EXPECT_FALSE(Can(With(grants, Identity::Node("ab")), Verb::kRead, kLlamaV1));
  EXPECT_FALSE(Can(With(grants, Identity()), Verb::kRead, kLlamaV1));
  EXPECT_TRUE(Can(With(R"({"who": "anonymous", "role": "reader", "on": ["**"]})", Identity()),
                  Verb::kRead, kLlamaV1));
  EXPECT_FALSE(Can(With(R"({"who": "user/*", "role": "reader", "on": ["**"]})", Identity()),
                   Verb::kRead, kLlamaV1));
  EXPECT_FALSE(Can(
      With(R"({"who": "anonymous", "role": "reader", "on": ["**"]})", Identity::User("anonymous")),
      Verb::kRead, kLlamaV1));
}

TEST(PolicyTest, GroupsHoldUsersAndNodes) {
  const std::string grants = R"({"who": "group/team", "role": "reader", "on": ["**"]})";

  EXPECT_THAT(With(grants, Identity::User("alice")).Groups(), ElementsAre("team"));
  EXPECT_TRUE(Can(With(grants, Identity::User("alice")), Verb::kRead, kLlamaV1));
  EXPECT_TRUE(Can(With(grants, Identity::Node("gpu-3")), Verb::kRead, kLlamaV1));
  EXPECT_FALSE(Can(With(grants, Identity::Node("cpu-3")), Verb::kRead, kLlamaV1));
  EXPECT_THAT(With(grants, Identity::User("team")).Groups(), IsEmpty());
  EXPECT_FALSE(Can(With(grants, Identity::User("team")), Verb::kRead, kLlamaV1));
}

TEST(PolicyTest, TheMostSpecificPatternDecides) {
  const Caller alice = With(R"({"who": "user/*", "role": "reader", "on": ["**"], "effect": "deny"},
                               {"who": "user/*", "role": "reader", "on": ["models/**"]},
                               {"who": "user/*", "role": "reader", "on": ["models/secret*/**"], "effect": "deny"},
                               {"who": "user/alice", "role": "reader", "on": ["models/secret-a/**"]},
                               {"who": "user/*", "role": "reader", "on": ["models/secret-a/versions/v1*"], "effect": "deny"},
                               {"who": "user/*", "role": "reader", "on": ["models/secret-a/versions/v1"]})",
                            Identity::User("alice"));

  EXPECT_FALSE(Can(alice, Verb::kRead, "nodes/n1"));
  EXPECT_TRUE(Can(alice, Verb::kRead, kLlamaV1));
  EXPECT_FALSE(Can(alice, Verb::kRead, "models/secret/versions/v1"));
  EXPECT_TRUE(Can(alice, Verb::kRead, "models/secret-a/versions/v2"));
  EXPECT_FALSE(Can(alice, Verb::kRead, "models/secret-a/versions/v10"));
  EXPECT_TRUE(Can(alice, Verb::kRead, "models/secret-a/versions/v1"));
}

TEST(PolicyTest, HowSpecificTheWhoIsDoesNotMatter) {
  const Caller alice = With(R"({"who": "user/alice", "role": "reader", "on": ["models/**"]},
                               {"who": "user/*", "role": "reader", "on": ["models/llama/**"], "effect": "deny"})",
                            Identity::User("alice"));

  EXPECT_FALSE(Can(alice, Verb::kRead, kLlamaV1));
}

TEST(PolicyTest, AtEqualLengthDenyWins) {
  for (const char* order : {"", "swapped"}) {
    const std::string allow =
        R"({"who": "user/alice", "role": "reader", "on": ["models/llama/**"]})";
    const std::string deny =
        R"({"who": "user/*", "verbs": ["read"], "on": ["models/llama/**"], "effect": "deny"})";
    const Caller alice =
        With(*order ? deny + "," + allow : allow + "," + deny, Identity::User("alice"));
    EXPECT_FALSE(Can(alice, Verb::kRead, kLlamaV1)) << order;
  }
}

TEST(PolicyTest, RulesOfOtherVerbsAndOthersAreSkipped) {
  const Caller alice = With(R"({"who": "user/alice", "role": "admin", "on": ["**"]},
                               {"who": "user/alice", "verbs": ["publish"], "on": ["models/llama/**"], "effect": "deny"},
                               {"who": "user/bob", "role": "admin", "on": ["models/llama/versions/v1"], "effect": "deny"})",
                            Identity::User("alice"));

  EXPECT_TRUE(Can(alice, Verb::kRead, kLlamaV1));
  EXPECT_FALSE(Can(alice, Verb::kPublish, kLlamaV1));
}

TEST(PolicyTest, ANodeSpeaksForItselfOnly) {
  // Not even the policy can change that.
  const std::string admin = R"({"who": "node/*", "role": "admin", "on": ["**"]})";
  for (const Caller& n1 : {With("", Identity::Node("n1")), With(admin, Identity::Node("n1"))}) {
    EXPECT_TRUE(Can(n1, Verb::kReport, "nodes/n1"));
    EXPECT_FALSE(Can(n1, Verb::kReport, "nodes/n2"));
    EXPECT_FALSE(Can(n1, Verb::kReport, "nodes/n10"));
    EXPECT_FALSE(Can(n1, Verb::kReport, "nodes/N1"));
    EXPECT_FALSE(Can(n1, Verb::kReport, "assemblies/n1"));
    EXPECT_EQ(n1.Allows(Verb::kReport, "nodes/n2", FakeMemberships()).rule,
              Decision::Rule::kOtherNode);
    EXPECT_FALSE(n1.Allows(Verb::kReport, Scope::kEverywhere, "nodes/", FakeMemberships()).allowed);
  }
  EXPECT_TRUE(Can(With("", Identity::Node("n1")), Verb::kRead, "nodes/n1"));
  EXPECT_FALSE(Can(With("", Identity::Node("n1")), Verb::kRead, "nodes/n2"));
  EXPECT_FALSE(Can(With("", Identity::Node("n1")), Verb::kOperate, "nodes/n1"));
  // A user of the name is no node.
  EXPECT_FALSE(Can(With("", Identity::User("n1")), Verb::kReport, "nodes/n1"));
  EXPECT_TRUE(Can(With(R"({"who": "user/agents", "role": "node", "on": ["nodes/gpu-*"]})",
                       Identity::User("agents")),
                  Verb::kReport, "nodes/gpu-1"));
}

TEST(PolicyTest, ANodeReadsWhatItsAssembliesNeed) {
  FakeMemberships members;
  members.Join("nodes/n1", "assemblies/demo", kLlamaV1);
  const Caller n1 = With("", Identity::Node("n1"));

  EXPECT_EQ(n1.Allows(Verb::kRead, kLlamaV1, members).rule, Decision::Rule::kMember);
  EXPECT_TRUE(n1.Allows(Verb::kRead, "assemblies/demo", members).allowed);
  EXPECT_FALSE(n1.Allows(Verb::kRead, "models/llama/versions/v2", members).allowed);
  EXPECT_FALSE(n1.Allows(Verb::kRead, "assemblies/other", members).allowed);
  EXPECT_FALSE(n1.Allows(Verb::kPublish, kLlamaV1, members).allowed);
  EXPECT_FALSE(n1.Allows(Verb::kJoin, "assemblies/demo", members).allowed);
  EXPECT_FALSE(With("", Identity::Node("n2")).Allows(Verb::kRead, kLlamaV1, members).allowed);
  EXPECT_FALSE(With("", Identity::User("n1")).Allows(Verb::kRead, kLlamaV1, members).allowed);
}

TEST(PolicyTest, WhatThePolicyDeniesAMemberMayNot) {
  FakeMemberships members;
  members.Join("nodes/n1", "assemblies/demo", kLlamaV1);

  const Caller n1 =
      With(R"({"who": "node/*", "role": "reader", "on": ["models/llama/**"], "effect": "deny"})",
           Identity::Node("n1"));

  EXPECT_FALSE(n1.Allows(Verb::kRead, kLlamaV1, members).allowed);
  EXPECT_TRUE(n1.Allows(Verb::kRead, "assemblies/demo", members).allowed);
}

TEST(PolicyTest, MembershipsAreAskedOnlyWhereNoGrantDecides) {
  class Never final : public MembershipView {
    bool IsMember(absl::string_view, absl::string_view) const override { return Asked(); }
    bool NeedsVersion(absl::string_view, absl::string_view) const override { return Asked(); }
    std::string VersionOf(absl::string_view) const override { return ""; }
    static bool Asked() {
      ADD_FAILURE() << "asked";
      return true;
    }
  };
  const Caller alice = With("", Identity::User("alice"));
  EXPECT_FALSE(alice.Allows(Verb::kRead, kLlamaV1, Never()).allowed);
  const Caller n1 = With(R"({"who": "node/*", "role": "reader", "on": ["models/llama/**"]})",
                         Identity::Node("n1"));
  EXPECT_TRUE(n1.Allows(Verb::kRead, kLlamaV1, Never()).allowed);
  EXPECT_FALSE(n1.Allows(Verb::kPublish, kLlamaV1, Never()).allowed);
  EXPECT_FALSE(n1.Allows(Verb::kRead, "models/x", Never()).allowed);
}

TEST(PolicyTest, SomewhereIsWhereAGrantReaches) {
  const auto somewhere = [](const Caller& caller, Verb verb, absl::string_view collection) {
    return caller.Allows(verb, Scope::kSomewhere, collection, FakeMemberships()).allowed;
  };
  const Caller alice = With(
      R"({"who": "user/alice", "role": "reader", "on": ["models/llama/versions/v1", "nodes/*"]})",
      Identity::User("alice"));
  EXPECT_TRUE(somewhere(alice, Verb::kRead, "models/"));
  EXPECT_TRUE(somewhere(alice, Verb::kRead, "nodes/"));
  EXPECT_TRUE(somewhere(alice, Verb::kRead, ""));
  EXPECT_FALSE(somewhere(alice, Verb::kRead, "assemblies/"));
  EXPECT_FALSE(somewhere(alice, Verb::kPublish, "models/"));
  EXPECT_FALSE(somewhere(alice, Verb::kRead, "models"));
  EXPECT_FALSE(somewhere(alice, Verb::kRead, kLlamaV1));
  EXPECT_TRUE(somewhere(
      With(R"({"who": "user/alice", "role": "reader", "on": ["**"]})", Identity::User("alice")),
      Verb::kRead, "assemblies/"));
  EXPECT_FALSE(
      somewhere(With(R"({"who": "user/alice", "role": "reader", "on": ["**"], "effect": "deny"})",
                     Identity::User("alice")),
                Verb::kRead, "assemblies/"));
  // A node has itself, and its assemblies.
  EXPECT_TRUE(somewhere(With("", Identity::Node("n1")), Verb::kRead, "models/"));
  EXPECT_TRUE(somewhere(With("", Identity::Node("n1")), Verb::kReport, "nodes/"));
  EXPECT_FALSE(somewhere(With("", Identity::Node("n1")), Verb::kReport, "assemblies/"));
  EXPECT_FALSE(somewhere(With("", Identity::Node("n1")), Verb::kOperate, "nodes/"));
}

TEST(PolicyTest, EverywhereHasNoExceptions) {
  const auto everywhere = [](absl::string_view grants, absl::string_view collection) {
    return With(grants, Identity::User("alice"))
        .Allows(Verb::kOperate, Scope::kEverywhere, collection, FakeMemberships())
        .allowed;
  };
  const std::string nodes = R"({"who": "user/alice", "role": "operator", "on": ["nodes/**"]})";
  const auto deny = [](const char* on) {
    return absl::StrCat(R"(,{"who": "user/*", "verbs": ["operate"], "effect": "deny", "on": [")",
                        on, "\"]}");
  };
  EXPECT_TRUE(everywhere(nodes, "nodes/"));
  EXPECT_FALSE(everywhere(nodes, ""));
  EXPECT_FALSE(everywhere(nodes, "models/"));
  EXPECT_FALSE(everywhere(nodes + deny("nodes/n1"), "nodes/"));
  EXPECT_FALSE(everywhere(nodes + deny("nodes/gpu-*"), "nodes/"));
  EXPECT_FALSE(everywhere(nodes + deny("nodes/**"), "nodes/"));
  // Less specific than what allows it.
  EXPECT_TRUE(everywhere(nodes + deny("**"), "nodes/"));
  EXPECT_TRUE(everywhere(nodes + deny("models/**"), "nodes/"));
  EXPECT_FALSE(
      everywhere(R"({"who": "user/alice", "role": "operator", "on": ["nodes/gpu-*"]})", "nodes/"));
  const std::string all = R"({"who": "user/alice", "role": "admin", "on": ["**"]})";
  EXPECT_TRUE(everywhere(all, ""));
  EXPECT_TRUE(everywhere(all, "nodes/"));
  EXPECT_FALSE(everywhere(all + deny("nodes/n1"), ""));
}

TEST(PolicyTest, TheRevokedAreNotAdmitted) {
  const auto policy =
      PolicyOf(R"({"revoked": ["node/n7", "user/eve", "serial:3fa2", "token:old"]})");
  const auto admit = [&](Identity identity) {
    const auto caller = Caller::Admit(policy, std::move(identity), kNow);
    return caller.ok() ? std::string("OK") : ReasonOf(caller.status());
  };

  EXPECT_EQ(admit(Identity::Node("n7")), "CREDENTIAL_REFUSED");
  EXPECT_EQ(admit(Identity::User("eve")), "CREDENTIAL_REFUSED");
  EXPECT_EQ(admit(Identity::User("n7")), "OK");
  EXPECT_EQ(admit({Identity::Kind::kUser, "a", Identity::Proof::kCertificate, "3fa2"}),
            "CREDENTIAL_REFUSED");
  EXPECT_EQ(admit({Identity::Kind::kUser, "a", Identity::Proof::kCertificate, "3fa20"}), "OK");
  EXPECT_EQ(admit({Identity::Kind::kUser, "a", Identity::Proof::kToken, "old"}),
            "CREDENTIAL_REFUSED");
  EXPECT_EQ(admit({Identity::Kind::kUser, "a", Identity::Proof::kCertificate, "old"}), "OK");
  EXPECT_EQ(admit(Identity()), "OK");
}

TEST(PolicyTest, TheExpiredAreNotAdmitted) {
  Identity alice = Identity::User("alice");
  alice.expires = kNow + absl::Seconds(1);

  MUSTER_EXPECT_OK(Caller::Admit(Policy::Empty(), alice, kNow));
  EXPECT_THAT(Caller::Admit(Policy::Empty(), alice, kNow + absl::Seconds(1)),
              ErrorIs(absl::StatusCode::kUnauthenticated, "CREDENTIAL_REFUSED"));
}

TEST(PolicyTest, CertificatesAndTokensAreThePolicys) {
  const std::string token = "mst_ci_" + std::string(43, 's');
  const auto policy = PolicyOf(
      R"({"match": [{"cn": "Bob", "as": "user/bob"}],
          "tokens": [{"id": "ci", "user": "ci", "sha256": "c6c5b82349f619312c0fc95de11af3b8c945117552556c32ad1db2ede6243868"}]})");
  const std::string header = "Bearer " + token;
  const std::vector<absl::string_view> headers = {header};

  EXPECT_EQ(policy->IdentityOfCertificate({{}, {}, "Bob", ""}, "c")->Who(), "user/bob");
  EXPECT_EQ(policy->IdentityOfToken(headers, kNow)->Who(), "user/ci");
  EXPECT_THAT(Policy::Empty()->IdentityOfToken(headers, kNow),
              StatusIs(absl::StatusCode::kUnauthenticated));
  EXPECT_THAT(Policy::Empty()->IdentityOfCertificate({{}, {}, "Bob", ""}, "c"),
              StatusIs(absl::StatusCode::kUnauthenticated));
}

TEST(PolicyTest, DenialsSayWhoWhatAndWhy) {
  const Caller alice = With(R"({"who": "user/alice", "role": "reader", "on": ["models/public/**"]},
                               {"who": "group/team", "verbs": ["read"], "on": ["models/hidden/**"], "effect": "deny"})",
                            Identity::User("alice"));
  const auto denial = [&](const Caller& caller, Verb verb, absl::string_view name) {
    return caller.Denial(caller.Allows(verb, name, FakeMemberships()), verb, name);
  };

  const absl::Status none = denial(alice, Verb::kPublish, kLlamaV1);
  EXPECT_THAT(none, ErrorIs(absl::StatusCode::kPermissionDenied, "ACCESS_DENIED"));
  EXPECT_EQ(
      none.message(),
      "user/alice may not publish models/llama/versions/v1: no grant; grants of yours: reader on "
      "models/public/**; not read on models/hidden/**");
  EXPECT_EQ(DetailOf(none).metadata.at("who"), "user/alice");
  EXPECT_EQ(DetailOf(none).metadata.at("verb"), "publish");
  EXPECT_EQ(DetailOf(none).metadata.at("resource"), kLlamaV1);
  EXPECT_THAT(std::string(denial(alice, Verb::kRead, "models/hidden/versions/v1").message()),
              HasSubstr("the policy denies it"));
  EXPECT_EQ(denial(With("", Identity::Node("n1")), Verb::kReport, "nodes/n2").message(),
            "node/n1 may not report nodes/n2: a node reports for itself only");
  EXPECT_THAT(denial(With("", Identity()), Verb::kRead, kLlamaV1),
              StatusIs(absl::StatusCode::kUnauthenticated,
                       HasSubstr("neither a client certificate nor a token")));
  EXPECT_THAT(std::string(denial(alice, Verb::kRead, "x\ny").message()),
              AllOf(HasSubstr("\\n"), Not(HasSubstr("\n"))));
  EXPECT_THAT(std::string(denial(alice, Verb::kRead, std::string(1 << 20, 'x')).message()),
              HasSubstr("1048576 bytes"));
}

TEST(PolicyTest, DenialsStayShort) {
  std::string grants;
  for (int i = 0; i < 100; ++i) {
    absl::StrAppend(&grants, i == 0 ? "" : ",",
                    R"({"who": "user/alice", "role": "reader", "on": ["nodes/x")");
    for (int j = 0; j < 20; ++j) absl::StrAppend(&grants, ",\"nodes/", std::string(253, 'a'), "\"");
    absl::StrAppend(&grants, "]}");
  }
  const Caller alice = With(grants, Identity::User("alice"));

  const absl::Status denial = alice.Denial({}, Verb::kRead, kLlamaV1);

  EXPECT_LT(denial.message().size(), 4'000u);
  EXPECT_THAT(std::string(denial.message()), HasSubstr("and 97 more"));
}

TEST(PolicyTest, RulesAreNamed) {
  const Caller alice = With(R"({"who": "user/bob", "role": "reader", "on": ["**"]},
                               {"who": "user/alice", "role": "reader", "on": ["models/**"]})",
                            Identity::User("alice"));

  EXPECT_EQ(alice.RuleText(alice.Allows(Verb::kRead, kLlamaV1, FakeMemberships())),
            "grants[1]: reader on models/**");
  EXPECT_EQ(alice.RuleText(alice.Allows(Verb::kRead, "nodes/n1", FakeMemberships())), "no grant");
  EXPECT_THAT(alice.Grants(), ElementsAre("reader on models/**"));
}

TEST(PolicyTest, PoliciesAreToldApart) {
  EXPECT_EQ(PolicyOf("{}")->digest(),
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
  EXPECT_NE(PolicyOf("{ }")->digest(), PolicyOf("{}")->digest());
}

TEST(PolicyTest, RolesAreSetsOfVerbs) {
  EXPECT_EQ(RoleVerbs("reader"), VerbSet{Verb::kRead});
  EXPECT_EQ(RoleVerbs("publisher"), (VerbSet{Verb::kRead, Verb::kPublish}));
  EXPECT_EQ(RoleVerbs("operator"), (VerbSet{Verb::kRead, Verb::kAssemble, Verb::kOperate}));
  EXPECT_EQ(RoleVerbs("node"), (VerbSet{Verb::kJoin, Verb::kReport}));
  EXPECT_EQ(RoleVerbs("admin"), VerbSet::All());
  EXPECT_EQ(RoleVerbs("root"), std::nullopt);
  EXPECT_EQ(VerbNames(VerbSet::All()),
            "read, publish, delete, assemble, join, operate, report, sign, admin");
  for (int bit = 0; bit < kVerbCount; ++bit) {
    EXPECT_EQ(VerbOf(VerbName(static_cast<Verb>(bit))), static_cast<Verb>(bit));
  }
  EXPECT_EQ(VerbOf("write"), std::nullopt);
}

}  // namespace
}  // namespace muster
