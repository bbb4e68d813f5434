// Which assemblies an agent joins, creates and leaves, at its start and when that changes.
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/agent/agent_fixture.h"

namespace muster {
namespace {

TEST_F(AgentTest, UnknownAssemblyIsAnErrorBeforeAnyRegistration) {
  server_.SetAssembly(std::nullopt);

  StartAgent();

  EXPECT_THAT(Ended(), ErrorIs(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN"));
  EXPECT_TRUE(server_.registrations().empty());
}

TEST_F(AgentTest, AbsentAssemblyIsCreatedWhereThatIsAskedFor) {
  server_.SetAssembly(std::nullopt);
  v1::Assembly wanted;
  wanted.set_model_version("models/m/versions/v");
  wanted.set_policy(v1::Assembly::FULL);
  options_.memberships[0].create = wanted;

  StartAgent();

  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 1; }));
  EXPECT_EQ(server_.calls("CreateAssembly"), 1);
  EXPECT_TRUE(Eventually([&] { return observer_.created.load(); }));
}

TEST_F(AgentTest, AssemblyThatDiffersIsRefusedNamingBoth) {
  v1::Assembly wanted;
  wanted.set_model_version("models/m/versions/v2");
  wanted.set_policy(v1::Assembly::BALANCED);
  options_.memberships[0].create = wanted;

  StartAgent();

  const absl::Status status = Ended();
  EXPECT_THAT(status, ErrorIs(absl::StatusCode::kFailedPrecondition, "ASSEMBLY_DIFFERS"));
  EXPECT_THAT(std::string(status.message()),
              testing::AllOf(testing::HasSubstr("models/m/versions/v,"),
                             testing::HasSubstr("models/m/versions/v2,")));
  EXPECT_TRUE(server_.registrations().empty());
}

TEST_F(AgentTest, EqualAssemblyIsJoinedWithoutCreation) {
  v1::Assembly wanted;
  wanted.set_model_version("models/m/versions/v");
  wanted.set_policy(v1::Assembly::BALANCED);
  options_.memberships[0].create = wanted;

  StartAgent();

  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 1; }));
  EXPECT_EQ(server_.calls("CreateAssembly"), 0);
}

TEST_F(AgentTest, OtherClaimIsAnErrorWithTheWayOut) {
  server_.Refuse("JoinAssembly",
                 MakeError(absl::StatusCode::kFailedPrecondition, "CLAIM_DIFFERS", "differs"));

  StartAgent();

  const absl::Status status = Ended();
  EXPECT_THAT(status, ErrorIs(absl::StatusCode::kFailedPrecondition, "CLAIM_DIFFERS"));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("leave the assembly first"));
}

TEST_F(AgentTest, NodeThatIsTooSmallForItsClaimEndsAtItsStart) {
  server_.Refuse("JoinAssembly", MakeError(absl::StatusCode::kFailedPrecondition, "NODE_TOO_SMALL",
                                           "needs 2.0 GiB, and its capacity is 1.0 GiB"));

  StartAgent();

  EXPECT_THAT(Ended(), ErrorIs(absl::StatusCode::kFailedPrecondition, "NODE_TOO_SMALL"));
}

TEST_F(AgentTest, NodeThatIsTooSmallLaterGoesOnAndTriesAgain) {
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 1; }));
  server_.Refuse("JoinAssembly",
                 MakeError(absl::StatusCode::kFailedPrecondition, "NODE_TOO_SMALL", "too small"));

  server_.ForgetNode();
  EXPECT_TRUE(Eventually([&] {
    MutexLock lock(observer_.mutex);
    return observer_.refused.size() == 1;
  }));
  server_.Refuse("JoinAssembly", absl::OkStatus());

  EXPECT_TRUE(Eventually([&] { return server_.joins().size() == 2; }));
  EXPECT_FALSE(ended_);
}

// Others have taken the room: the plan leaves the node without shards, and nothing else tells it.
TEST_F(AgentTest, NodeWithoutRoomIsToldOnceForEachOfItsNumbers) {
  v1::AssemblyMember other, own;
  other.set_node("nodes/other");
  other.set_problem("needs 1 B for its shards, has 0 B left");
  own.set_node(options_.node.name());
  own.set_problem("needs 9 B for its shards, has 5 B left");
  server_.SetMembers({other, own});
  const auto told = [&] {
    MutexLock lock(observer_.mutex);
    return observer_.no_room;
  };
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return told().size() == 1; }));
  const int looks = server_.calls("GetAssembly");
  ASSERT_TRUE(Eventually([&] { return server_.calls("GetAssembly") > looks + 2; }));
  EXPECT_THAT(told(), testing::ElementsAre("needs 9 B for its shards, has 5 B left"));

  own.set_problem("needs 9 B for its shards, has 6 B left");
  server_.SetMembers({other, own});

  EXPECT_TRUE(Eventually([&] { return told().size() == 2; }));
}

// A second registration could take the name from a process that registered in between.
TEST_F(AgentTest, JoinThatFailsForAWhileDoesNotRegisterAgain) {
  server_.Refuse("JoinAssembly", absl::UnavailableError("busy"));
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return server_.calls("JoinAssembly") >= 3; }));

  server_.Refuse("JoinAssembly", absl::OkStatus());

  ASSERT_TRUE(Eventually([&] { return !server_.heartbeats().empty(); }));
  EXPECT_EQ(server_.registrations().size(), 1);
}

TEST_F(AgentTest, MembershipThatIsTakenBackIsLeftAndOneThatIsNewIsJoined) {
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 1; }));

  agent_->SetMemberships({});
  EXPECT_TRUE(Eventually([&] { return observer_.left == 1; }));
  EXPECT_EQ(server_.calls("LeaveAssembly"), 1);

  agent_->SetMemberships(options_.memberships);
  EXPECT_TRUE(Eventually([&] { return server_.joins().size() == 2; }));
  EXPECT_EQ(server_.registrations().size(), 1);
  EXPECT_EQ(server_.watches().size(), 1) << "the session goes on";
}

TEST_F(AgentTest, MembershipThatIsWantedAgainWhileItIsLeftIsJoinedAgain) {
  observer_.on_left = [this] { agent_->SetMemberships(options_.memberships); };
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 1; }));

  agent_->SetMemberships({});

  EXPECT_TRUE(Eventually([&] { return server_.joins().size() >= 2; }));
  EXPECT_EQ(observer_.left, 1);
}

TEST_F(AgentTest, MembershipThatIsTakenBackBeforeTheStartIsNeverJoined) {
  MakeAgent();
  agent_->SetMemberships({});
  RunAgent();

  ASSERT_TRUE(Eventually([&] { return !server_.heartbeats().empty(); }));
  EXPECT_EQ(server_.joins().size(), 0);
}

TEST_F(AgentTest, MembershipWithAnotherClaimIsLeftAndJoinedAgain) {
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 1; }));

  options_.memberships[0].claim.set_kind(v1::Claim::ALL);
  agent_->SetMemberships(options_.memberships);

  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 2; }));
  EXPECT_EQ(observer_.left, 1);
  EXPECT_EQ(server_.joins()[1].claim().kind(), v1::Claim::ALL);
  agent_->SetMemberships(options_.memberships);
  server_.ForgetNode();
  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 3; }));
  EXPECT_EQ(observer_.left, 1) << "the same claim is nothing new";
}

TEST_F(AgentTest, NewAssemblyThatIsUnknownIsToldOnceAndTheOthersGoOn) {
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));

  Membership other;
  other.assembly = "assemblies/other";
  other.claim.set_kind(v1::Claim::ANY);
  agent_->SetMemberships({options_.memberships[0], other});
  const int looks = server_.calls("GetAssembly");
  ASSERT_TRUE(Eventually([&] { return server_.calls("GetAssembly") > looks + 3; }));
  const size_t beats = server_.heartbeats().size();

  EXPECT_TRUE(Eventually([&] { return server_.heartbeats().size() > beats; }));
  EXPECT_FALSE(ended_.load());
  MutexLock lock(observer_.mutex);
  ASSERT_EQ(observer_.refused.size(), 1u);
  EXPECT_THAT(observer_.refused[0], ErrorIs(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN"));
}

TEST_F(AgentTest, WhatOthersKeepForAssembliesThatAreGoneIsLetGo) {
  using Ids = std::set<ShardFetcher::AssemblyId>;
  options_.node.set_uid("c1-3");
  v1::Assembly named = *server_.SetAssembly(std::nullopt);
  named.set_uid("c1-9");
  server_.SetAssembly(named);
  server_.Assign(0);
  const Ids stay = {{FakeMuster::kAssembly, "c1-9"},
                    // Another cluster's, and one of which nobody knows whose it is.
                    {"assemblies/gone", "c2-5"},
                    {"assemblies/gone", ""}};
  Ids all = stay;
  all.insert({FakeMuster::kAssembly, "c1-4"});
  all.insert({"assemblies/gone", "c1-5"});
  fetcher_.PutNeededByOthers(all);

  StartAgent();

  EXPECT_TRUE(Eventually([&] { return *fetcher_.NeededByOthers() == stay; }));
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  EXPECT_EQ(fetcher_.uids()[FakeMuster::kAssembly], "c1-9");

  // Learnt later: the agent's own assembly is gone.
  server_.SetAssembly(std::nullopt);
  server_.Unassign(0);
  EXPECT_TRUE(Eventually([&] { return fetcher_.NeededByOthers()->size() == 2; }));
}

TEST_F(AgentTest, NothingIsLetGoOnTheWordOfAServerThatSaysNothing) {
  using Ids = std::set<ShardFetcher::AssemblyId>;
  options_.node.set_uid("c1-3");
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return server_.joins().size() == 1; }));
  const Ids gone = {{"assemblies/gone", "c1-5"}};
  fetcher_.PutNeededByOthers(gone);
  server_.Refuse("GetAssembly", absl::PermissionDeniedError("not today"));

  server_.ForgetNode();
  const int calls = server_.calls("GetAssembly");
  ASSERT_TRUE(Eventually([&] { return server_.calls("GetAssembly") > calls + 3; }));
  EXPECT_EQ(*fetcher_.NeededByOthers(), gone);

  server_.Refuse("GetAssembly", absl::OkStatus());
  EXPECT_TRUE(Eventually([&] { return fetcher_.NeededByOthers()->empty(); }));
}

TEST_F(AgentTest, AssemblyThatIsMadeAgainIsJoinedAgainAndItsAbsenceToldOnce) {
  const v1::Assembly first = *server_.SetAssembly(std::nullopt);
  v1::Assembly named = first;
  named.set_uid("1");
  server_.SetAssembly(named);
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));

  server_.SetAssembly(std::nullopt);
  server_.Unassign(0);
  const int looks = server_.calls("GetAssembly");
  ASSERT_TRUE(Eventually([&] { return server_.calls("GetAssembly") > looks + 1; }));
  {
    MutexLock lock(observer_.mutex);
    ASSERT_EQ(observer_.refused.size(), 1u);
    EXPECT_THAT(observer_.refused[0], ErrorIs(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN"));
  }
  EXPECT_EQ(server_.joins().size(), 1u);
  named.set_uid("2");
  server_.SetAssembly(named);

  EXPECT_TRUE(Eventually([&] { return server_.joins().size() == 2; }));
  EXPECT_EQ(server_.registrations().size(), 1u);
}

TEST_F(AgentTest, MembershipThatSomebodyEndedIsLookedAtButStaysEnded) {
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  const int looks = server_.calls("GetAssembly");

  server_.Unassign(0);

  ASSERT_TRUE(Eventually([&] { return server_.calls("GetAssembly") > looks + 2; }));
  EXPECT_EQ(server_.joins().size(), 1u);
}

TEST_F(AgentTest, AssembliesWithShardsAreNotLookedAt) {
  server_.Assign(0);
  StartAgent();
  ASSERT_TRUE(BecomesReported(0, v1::ShardReport::READY));
  const int looks = server_.calls("GetAssembly");
  const size_t beats = server_.heartbeats().size();

  // Every 3 s.
  ASSERT_TRUE(Eventually([&] { return server_.heartbeats().size() > beats + 2; }));

  EXPECT_LE(server_.calls("GetAssembly"), looks + 1);
}

TEST_F(AgentTest, AssignmentsOfOthersAreLeftOutUntilTheirAssemblyIsWanted) {
  Membership other;
  other.assembly = "assemblies/other";
  other.claim.set_kind(v1::Claim::ANY);
  const std::vector<Membership> mine = options_.memberships;
  options_.memberships = {other};
  v1::Assembly assembly = *server_.SetAssembly(std::nullopt);
  const std::string demo = assembly.name();
  assembly.set_name(other.assembly);
  server_.SetAssembly(assembly);
  server_.Assign(0);
  StartAgent();

  ASSERT_TRUE(Eventually([&] { return observer_.assignments_refused == 1; }));
  EXPECT_EQ(fetcher_.fetches(0), 0);
  EXPECT_TRUE(server_.reports().empty());
  assembly.set_name(demo);
  server_.SetAssembly(assembly);
  agent_->SetMemberships(mine);

  // What was left out does not come again by itself.
  EXPECT_TRUE(Eventually([&] { return server_.calls("LeaveAssembly") >= 2; }));
  EXPECT_TRUE(Eventually([&] { return server_.joins().size() == 2; }));
}

}  // namespace
}  // namespace muster
