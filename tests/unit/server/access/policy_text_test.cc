#include "server/access/policy_text.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "storage/base/quote.h"
#include "storage/base/random.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

std::string Mistakes(absl::string_view text) {
  const auto policy = ParsePolicyText(text);
  EXPECT_THAT(policy, ErrorIs(absl::StatusCode::kInvalidArgument, "POLICY_INVALID")) << text;
  return std::string(policy.status().message());
}

constexpr char kWholePolicy[] = R"({
    // CI publishes; people read.
    "tokens": [{"id": "ci", "user": "ci", "expires": "2027-01-01",
                "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
               {"id": "n9", "node": "n9", "expires": "2027-01-01T12:00:00+01:00",
                "sha256": "0000000000000000000000000000000000000000000000000000000000000001"}],
    "groups": {"team-a": ["user/alice", "user/ci"], "empty": []},
    "grants": [{"who": "group/team-a", "role": "publisher", "on": ["models/team-a/**"]},
               {"who": "node/gpu-*", "verbs": ["join", "read"], "on": ["assemblies/prod-*", "**"], "effect": "deny"},
               {"who": "anonymous", "role": "reader", "on": ["models/public/**"], "effect": "allow"}],
    "match": [{"uri": "spiffe://corp/{name}", "as": "node/{name}"}, {"dns": "a.org", "as": "user/a"},
              {"cn": "Bob", "as": "user/bob"}],
    "revoked": ["node/n7", "user/eve", "serial:00:3F:A2", "token:old"]})";

TEST(PolicyTextTest, AWholePolicyIsUnderstood) {
  const auto policy = ParsePolicyText(kWholePolicy);

  MUSTER_ASSERT_OK(policy);
  ASSERT_EQ(policy->tokens.size(), 2u);
  EXPECT_EQ(policy->tokens[0].sha256, Sha256Of("abc"));
  EXPECT_EQ(policy->tokens[0].kind, Identity::Kind::kUser);
  EXPECT_EQ(policy->tokens[0].expires, absl::FromUnixSeconds(1'798'761'600));
  EXPECT_EQ(policy->tokens[1].kind, Identity::Kind::kNode);
  EXPECT_EQ(policy->tokens[1].expires, absl::FromUnixSeconds(1'798'761'600 + 11 * 3600));
  ASSERT_EQ(policy->groups.size(), 2u);
  EXPECT_THAT(policy->groups[0].members,
              ElementsAre(Pattern{"user/alice", true}, Pattern{"user/ci", true}));
  ASSERT_EQ(policy->grants.size(), 3u);
  EXPECT_EQ(policy->grants[0].group, 0u);
  EXPECT_EQ(policy->grants[0].verbs, (VerbSet{Verb::kRead, Verb::kPublish}));
  EXPECT_FALSE(policy->grants[0].deny);
  EXPECT_EQ(policy->grants[1].who_pattern, (Pattern{"node/gpu-", false}));
  EXPECT_EQ(policy->grants[1].verbs, (VerbSet{Verb::kRead, Verb::kJoin}));
  EXPECT_TRUE(policy->grants[1].deny);
  EXPECT_THAT(policy->grants[1].on_patterns,
              ElementsAre(Pattern{"assemblies/prod-", false}, Pattern{"", false}));
  EXPECT_FALSE(policy->grants[2].deny);
  ASSERT_EQ(policy->matches.size(), 3u);
  EXPECT_EQ(policy->matches[2].field, CertificateMatch::Field::kCommonName);
  EXPECT_THAT(policy->revoked,
              UnorderedElementsAre("node/n7", "user/eve", "serial:3fa2", "token:old"));
}

TEST(PolicyTextTest, AnEmptyPolicyIsOne) { MUSTER_EXPECT_OK(ParsePolicyText("{}")); }

struct MistakeCase {
  const char* text;
  const char* mistake;
};
constexpr MistakeCase kMistakeCases[] = {
    {"", "line 1: is not JSON"},
    {"[]", "line 1: the policy has to be an object"},
    {"{\n\"grant\": []}",
     "line 2: the policy has the unknown key \"grant\"; known are tokens, groups, grants"},
    {"{\"grants\": [],\n\"grants\": []}", "line 2: has the key \"grants\" twice"},
    {"{\"grants\": {}}", "line 1: grants has to be a list"},
    {"{\"grants\": [7]}", "grants[0] has to be an object"},
    {R"({"grants": [{}]})",
     "grants[0] lacks \"who\"; line 1: grants[0] lacks one of role, verbs; line 1: grants[0] "
     "lacks \"on\""},
    {R"({"grants": [{"who": "user/a", "role": "reader", "on": ["**"], "if": "x"}]})",
     "unknown key \"if\""},
    {R"({"grants": [{"who": 7, "role": "reader", "on": ["**"]}]})",
     "grants[0].who has to be a text"},
    {R"({"grants": [{"who": "alice", "role": "reader", "on": ["**"]}]})",
     "grants[0].who \"alice\" is not user/NAME"},
    {R"({"grants": [{"who": "*", "role": "reader", "on": ["**"]}]})", "grants[0].who \"*\" is not"},
    {R"({"grants": [{"who": "local", "role": "reader", "on": ["**"]}]})",
     "grants[0].who \"local\" is not"},
    {R"({"grants": [{"who": "group/x", "role": "reader", "on": ["**"]}]})",
     "\"group/x\" is none of the policy's groups"},
    {R"({"grants": [{"who": "user/a", "role": "boss", "on": ["**"]}]})",
     "grants[0].role \"boss\" is none of the roles reader, publisher, operator, node, admin"},
    {R"({"grants": [{"who": "user/a", "role": "reader", "verbs": ["read"], "on": ["**"]}]})",
     "more than one of role, verbs"},
    {R"({"grants": [{"who": "user/a", "verbs": "read", "on": ["**"]}]})",
     "grants[0].verbs has to be a list"},
    {R"({"grants": [{"who": "user/a", "verbs": [], "on": ["**"]}]})", "grants[0].verbs is empty"},
    {R"({"grants": [{"who": "user/a", "verbs": ["write"], "on": ["**"]}]})",
     "grants[0].verbs[0] \"write\" is none of the verbs read, publish, delete"},
    {R"({"grants": [{"who": "user/a", "role": "reader", "on": []}]})", "grants[0].on is empty"},
    {R"({"grants": [{"who": "user/a", "role": "reader", "on": "**"}]})",
     "grants[0].on has to be a list"},
    {R"({"grants": [{"who": "user/a", "role": "reader", "on": ["models/llama"]}]})",
     "grants[0].on[0] \"models/llama\" matches no"},
    {R"({"grants": [{"who": "user/a", "role": "reader", "on": ["**"], "effect": "maybe"}]})",
     "grants[0].effect \"maybe\" is neither allow nor deny"},
    {R"({"groups": []})", "groups has to be an object"},
    {R"({"groups": {"a b": []}})", "groups has the group \"a b\""},
    {R"({"groups": {"a": {}}})", "groups.a has to be a list"},
    {R"({"groups": {"a": ["group/b"], "b": []}})", "groups.a[0] \"group/b\" is a group"},
    {R"({"groups": {"a": ["alice"]}})", "groups.a[0] \"alice\" is not user/NAME"},
    {R"({"tokens": [{"id": "A", "user": "a", "sha256": "00"}]})",
     "tokens[0].id \"A\" is not 1 to 63"},
    {R"({"tokens": [{"id": "a", "user": "a"}]})", "tokens[0] lacks \"sha256\""},
    {R"({"tokens": [{"id": "a", "user": "a", "sha256": "mst_a_secret"}]})",
     "tokens[0].sha256 is not 64 lowercase hex digits"},
    {R"({"tokens": [{"id": "a", "user": "a", "node": "b", "sha256": "0"}]})",
     "more than one of user, node"},
    {R"({"tokens": [{"id": "a", "user": "a/b", "sha256": "0"}]})",
     "tokens[0].user \"a/b\" is not a name"},
    {R"({"tokens": [{"id": "a", "node": "a@b", "sha256": "0"}]})",
     "tokens[0].node \"a@b\" is not a name"},
    {R"({"tokens": [{"id": "a", "user": "a", "expires": "soon", "sha256": "0"}]})",
     "tokens[0].expires \"soon\" is neither"},
    {R"({"tokens": [{"id": "a", "user": "a", "expires": 7, "sha256": "0"}]})",
     "tokens[0].expires has to be a text"},
    {R"({"tokens": [{"id": "a", "user": "a", "sha256": "0"}, {"id": "a", "user": "b", "sha256": "1"}]})",
     "tokens[1].id \"a\" is another token's"},
    {R"({"match": [{"as": "user/a"}]})", "match[0] lacks one of uri, dns, cn"},
    {R"({"match": [{"dns": "a", "cn": "b", "as": "user/a"}]})", "match[0] has more than one of"},
    {R"({"match": [{"dns": "*.a", "as": "user/a"}]})", "match[0] has a * in its pattern"},
    {R"({"revoked": ["n7"]})", "revoked[0] \"n7\" is not user/NAME"},
    {R"({"revoked": ["node/*"]})", "revoked[0] \"node/*\" is not"},
    {R"({"revoked": ["serial:xyz"]})", "revoked[0] \"serial:xyz\" is not a serial number"},
    {R"({"revoked": ["token:A"]})", "revoked[0] \"token:A\" is not a token's id"},
    {R"({"revoked": [7]})", "revoked[0] has to be a text"},
};

TEST(PolicyTextTest, EachMistakeSaysWhereAndWhat) {
  for (const MistakeCase& test : kMistakeCases)
    EXPECT_THAT(Mistakes(test.text), HasSubstr(test.mistake)) << test.text;
}

TEST(PolicyTextTest, AllMistakesAreNamedAtOnce) {
  const std::string mistakes = Mistakes(R"({"grants": [
    {"who": "alice", "role": "reader", "on": ["**"]},
    {"who": "user/a", "role": "boss", "on": ["nodes"]}]})");

  EXPECT_THAT(mistakes,
              AllOf(HasSubstr("line 2: grants[0].who"), HasSubstr("line 3: grants[1].role"),
                    HasSubstr("line 3: grants[1].on[0]")));
}

TEST(PolicyTextTest, ManyMistakesAreCounted) {
  std::string text = "{\"revoked\": [7";
  for (int i = 1; i < 500; ++i) text += ",7";

  const std::string mistakes = Mistakes(text + "]}");

  EXPECT_THAT(mistakes, AllOf(HasSubstr("revoked[19]"), HasSubstr("and 480 more"),
                              Not(HasSubstr("revoked[20]"))));
}

TEST(PolicyTextTest, SecretsAreNotQuoted) {
  const std::string mistakes =
      Mistakes(R"({"tokens": [{"id": "a", "user": "a", "sha256": "mst_a_0123456789"}]})");

  EXPECT_THAT(mistakes, Not(HasSubstr("0123456789")));
}

// Whatever a file holds, it is a policy or is refused with a message that can be shown.
TEST(PolicyTextTest, DamagedPoliciesAreReadOrRefused) {
  const auto random = NewSeededRandom(17);
  int refused = 0;
  for (int i = 0; i < 2'000; ++i) {
    std::string text = kWholePolicy;
    for (uint64_t damages = random->Below(4) + 1; damages > 0; --damages) {
      const size_t at = random->Below(text.size());
      switch (random->Below(3)) {
        case 0:
          text[at] = static_cast<char>(random->Below(256));
          break;
        case 1:
          text.erase(at, random->Below(20));
          break;
        default:
          text.insert(at, text.substr(random->Below(text.size()), random->Below(20)));
      }
    }
    const auto policy = ParsePolicyText(text);
    if (policy.ok()) continue;
    ++refused;
    ASSERT_THAT(policy, ErrorIs(absl::StatusCode::kInvalidArgument, "POLICY_INVALID"));
    ASSERT_FALSE(HasControlCharacter(policy.status().message())) << text;
    ASSERT_TRUE(IsValidUtf8(policy.status().message())) << text;
    ASSERT_LT(policy.status().message().size(), 10'000u);
  }
  EXPECT_GT(refused, 1'000);
}

TEST(PolicyTextTest, SizesAreBounded) {
  EXPECT_THAT(Mistakes(std::string(kMaxPolicyBytes + 1, ' ')), HasSubstr("the limit is"));
  EXPECT_THAT(Mistakes(std::string(1'000'000, '[')), HasSubstr("brackets within each other"));
  std::string matches = R"({"match": [{"cn": "a", "as": "user/a"})";
  for (size_t i = 0; i < kMaxPolicyMatches; ++i) matches += R"(,{"cn": "a", "as": "user/a"})";
  EXPECT_THAT(Mistakes(matches + "]}"), HasSubstr("match has 101 items; the limit is 100"));
  std::string patterns = "\"**\"";
  for (int i = 1; i < 50'001; ++i) patterns += ",\"**\"";
  std::string grants;
  for (int i = 0; i < 4; ++i) {
    absl::StrAppend(&grants, i == 0 ? "" : ",", R"({"who": "user/a", "role": "reader", "on": [)",
                    patterns, "]}");
  }
  EXPECT_THAT(Mistakes("{\"grants\": [" + grants + "]}"),
              HasSubstr("grants[3].on makes more than 200000 patterns"));
}

}  // namespace
}  // namespace muster
