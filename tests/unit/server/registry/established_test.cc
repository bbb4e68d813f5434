// Invariant 5 (docs/design.md): whom the barrier waits for, and how many have to hold what is theirs.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/registry/row_keys.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using testing::HasSubstr;

constexpr char kA[] = "nodes/a";
constexpr char kB[] = "nodes/b";
constexpr char kC[] = "nodes/c";

// A version of two shards of 1,000 bytes, of which each member claims all.
class EstablishedTest : public testing::Test {
 protected:
  EstablishedTest() { fixture_.Publish(kVersion, 2); }

  void Create(uint32_t min_nodes) {
    MUSTER_EXPECT_OK(
        fixture_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::FULL, min_nodes)));
  }
  void AddMember(const std::string& node) {
    MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, node, fixture_.Register(node))));
  }
  void GiveAll(const std::vector<std::string>& nodes) {
    std::vector<RegistryFixture::Part> parts;
    for (const std::string& node : nodes) parts.push_back({node, {0, 1}});
    fixture_.Plan(kAssembly, parts);
  }
  void Say(const std::string& node, const std::vector<uint32_t>& shards,
           v1::ShardReport::State state = v1::ShardReport::READY) {
    const Assembly::Member& member = fixture_.MemberOf(kAssembly, node);
    v1::ReportShardsRequest report = Report(kAssembly, node, fixture_.NodeOf(node).epoch().value,
                                            member.assignments[0].generation.value, shards);
    for (v1::ShardReport& one : *report.mutable_reports()) one.set_state(state);
    MUSTER_EXPECT_OK(fixture_.Do(report));
  }
  // Members that have all of it.
  void AddReady(const std::vector<std::string>& nodes) {
    for (const std::string& node : nodes) AddMember(node);
    GiveAll(nodes);
    for (const std::string& node : nodes) Say(node, {0, 1});
  }
  // What is lost and released has nothing left.
  void Release(const std::string& node) { fixture_.Plan(kAssembly, {{node, {}}}); }
  void GiveNoRoom(const std::string& node) {
    RegistryFixture::Part part{node, {}};
    part.shortage = PlanShortage{2'000, 500};
    fixture_.Plan(kAssembly, {part});
  }

  v1::Assembly Shown() { return fixture_.Shown(kAssembly); }
  v1::Assembly::State State() { return Shown().state(); }
  void ExpectSameAfterRestart() {
    const std::string before = Describe(fixture_.registry());
    const v1::Assembly shown = Shown();
    MUSTER_ASSERT_OK(fixture_.Restart());
    EXPECT_EQ(Describe(fixture_.registry()), before);
    EXPECT_EQ(Shown().state(), shown.state());
    EXPECT_EQ(Shown().nodes_ready(), shown.nodes_ready());
    EXPECT_EQ(Shown().nodes_joining(), shown.nodes_joining());
  }

  RegistryFixture fixture_;
};

TEST_F(EstablishedTest, OneThatJoinsTakesReadyFromNobody) {
  Create(1);
  AddReady({kA});
  ASSERT_EQ(State(), v1::Assembly::READY);
  AddMember(kB);
  EXPECT_EQ(State(), v1::Assembly::READY) << "joined";
  GiveAll({kB});
  Say(kB, {0});
  EXPECT_EQ(State(), v1::Assembly::READY) << "loads";
  EXPECT_EQ(Shown().nodes_ready(), 1u);
  EXPECT_EQ(Shown().nodes_joining(), 1u);
  EXPECT_EQ(Shown().replicas_required(), 2u) << "those of a";
  EXPECT_TRUE(fixture_.Member(kAssembly, kB).joining());
  EXPECT_FALSE(fixture_.Member(kAssembly, kB).ready());
  Say(kB, {1}, v1::ShardReport::FAILED);
  EXPECT_EQ(State(), v1::Assembly::READY) << "fails";
  ExpectSameAfterRestart();
  Say(kB, {1});
  EXPECT_EQ(State(), v1::Assembly::READY);
  EXPECT_EQ(Shown().nodes_ready(), 2u);
  EXPECT_EQ(Shown().nodes_joining(), 0u);
  EXPECT_FALSE(fixture_.Member(kAssembly, kB).joining());
  ExpectSameAfterRestart();
}

TEST_F(EstablishedTest, BeforeTheFirstReadyAllThatFitAreWaitedFor) {
  Create(1);
  AddMember(kA);
  AddMember(kB);
  GiveAll({kA, kB});
  Say(kA, {0, 1});
  EXPECT_EQ(State(), v1::Assembly::LOADING);
  EXPECT_EQ(Shown().nodes_joining(), 0u);
  AddMember(kC);
  Say(kB, {0, 1});
  EXPECT_EQ(State(), v1::Assembly::LOADING) << "c has nothing yet";
  GiveNoRoom(kC);
  EXPECT_EQ(State(), v1::Assembly::READY);
}

TEST_F(EstablishedTest, AnEstablishedMemberThatFailsOrStartsAgainIsWaitedFor) {
  Create(1);
  AddReady({kA});
  AddReady({kB});
  Say(kB, {1}, v1::ShardReport::FAILED);
  EXPECT_EQ(State(), v1::Assembly::DEGRADED);
  ExpectSameAfterRestart();
  Say(kB, {1});
  EXPECT_EQ(State(), v1::Assembly::READY);
  fixture_.Register(kB);
  EXPECT_EQ(State(), v1::Assembly::DEGRADED) << "another epoch";
  EXPECT_FALSE(fixture_.Member(kAssembly, kB).joining());
  ExpectSameAfterRestart();
  Say(kB, {0, 1});
  EXPECT_EQ(State(), v1::Assembly::READY);
}

TEST_F(EstablishedTest, ALostOneDegradesUntilItIsReleased) {
  Create(1);
  AddReady({kA, kB});
  fixture_.SetLost(kB, true);
  EXPECT_EQ(State(), v1::Assembly::DEGRADED);
  ExpectSameAfterRestart();
  Release(kB);
  EXPECT_EQ(State(), v1::Assembly::READY);
  EXPECT_EQ(Shown().nodes_ready(), 1u);
  ExpectSameAfterRestart();
  // Back, it is one that joins.
  fixture_.SetLost(kB, false);
  EXPECT_EQ(State(), v1::Assembly::READY);
  EXPECT_EQ(Shown().nodes_joining(), 1u);
  ExpectSameAfterRestart();
}

TEST_F(EstablishedTest, OneThatWasReleasedIsNotEstablishedByAnOlderRow) {
  Create(1);
  AddReady({kA, kB});
  fixture_.SetLost(kB, true);
  Release(kB);
  fixture_.SetLost(kB, false);
  GiveAll({kB});
  EXPECT_EQ(State(), v1::Assembly::READY);
  ExpectSameAfterRestart();
  EXPECT_EQ(State(), v1::Assembly::READY);
}

TEST_F(EstablishedTest, BelowMinNodesItWaitsWithTheNumbers) {
  Create(2);
  AddReady({kA, kB});
  ASSERT_EQ(State(), v1::Assembly::READY);
  fixture_.SetLost(kB, true);
  EXPECT_EQ(State(), v1::Assembly::DEGRADED) << "it may come back";
  Release(kB);
  EXPECT_EQ(State(), v1::Assembly::WAITING);
  ASSERT_GT(Shown().reasons_size(), 0);
  EXPECT_EQ(Shown().reasons(0).code(), v1::AssemblyReason::TOO_FEW_NODES);
  EXPECT_THAT(Shown().reasons(0).message(), HasSubstr("1 of 2 nodes"));
  ExpectSameAfterRestart();
  AddMember(kC);
  GiveAll({kC});
  Say(kC, {0});
  EXPECT_EQ(State(), v1::Assembly::DEGRADED);
  EXPECT_GT(Shown().reasons_size(), 0);
  Say(kC, {1});
  EXPECT_EQ(State(), v1::Assembly::READY);
}

TEST_F(EstablishedTest, OneThatLeavesCountsForMinNodes) {
  Create(2);
  AddReady({kA, kB});
  MUSTER_EXPECT_OK(fixture_.Do(Leave(kAssembly, kB)));
  EXPECT_EQ(State(), v1::Assembly::WAITING);
}

TEST_F(EstablishedTest, AnotherMinNodesCountsAtOnce) {
  Create(1);
  AddReady({kA});
  v1::UpdateAssemblyRequest request;
  request.mutable_assembly()->set_name(kAssembly);
  request.mutable_assembly()->set_min_nodes(2);
  request.mutable_update_mask()->add_paths("min_nodes");
  MUSTER_EXPECT_OK(fixture_.Do(request));
  EXPECT_EQ(State(), v1::Assembly::WAITING);
  request.mutable_assembly()->set_min_nodes(1);
  MUSTER_EXPECT_OK(fixture_.Do(request));
  EXPECT_EQ(State(), v1::Assembly::READY);
}

TEST_F(EstablishedTest, OneWithoutRoomSaysSoAndChangesNothing) {
  Create(2);
  AddReady({kA, kB});
  AddMember(kC);
  GiveNoRoom(kC);
  EXPECT_EQ(State(), v1::Assembly::READY);
  EXPECT_EQ(Shown().nodes_joining(), 0u) << "it never will";
  EXPECT_EQ(fixture_.Member(kAssembly, kC).problem(),
            "needs 2.0 KiB for its shards, has 500 B left");
  ExpectSameAfterRestart();
  // It does not stand in for one that is gone.
  MUSTER_EXPECT_OK(fixture_.Do(Leave(kAssembly, kB)));
  EXPECT_EQ(State(), v1::Assembly::WAITING);
  EXPECT_EQ(Shown().reasons(1).code(), v1::AssemblyReason::NO_ROOM);
  EXPECT_EQ(Shown().reasons(1).node(), kC);
  GiveAll({kC});
  EXPECT_EQ(fixture_.Member(kAssembly, kC).problem(), "");
  EXPECT_EQ(Shown().nodes_joining(), 1u);
}

// One call counts as a whole.
TEST_F(EstablishedTest, ACallThatTakesSomethingBackEstablishesNobody) {
  Create(1);
  AddReady({kA});
  AddMember(kB);
  GiveAll({kB});
  Say(kB, {1});
  const uint64_t generation = fixture_.MemberOf(kAssembly, kB).assignments[0].generation.value;
  v1::ReportShardsRequest both =
      Report(kAssembly, kB, fixture_.NodeOf(kB).epoch().value, generation, {0, 1});
  both.mutable_reports(1)->set_state(v1::ShardReport::FETCHING);
  MUSTER_EXPECT_OK(fixture_.Do(both));
  EXPECT_EQ(State(), v1::Assembly::READY);
  EXPECT_TRUE(fixture_.Member(kAssembly, kB).joining());
}

TEST_F(EstablishedTest, ReportsOfALostOneEstablishItWhenItIsBack) {
  Create(1);
  AddReady({kA});
  AddMember(kB);
  GiveAll({kB});
  fixture_.SetLost(kB, true);
  Say(kB, {0, 1});
  EXPECT_EQ(State(), v1::Assembly::READY) << "it was never ready here";
  ExpectSameAfterRestart();
  fixture_.SetLost(kB, false);
  EXPECT_EQ(Shown().nodes_ready(), 2u);
  fixture_.SetLost(kB, true);
  EXPECT_EQ(State(), v1::Assembly::DEGRADED);
  ExpectSameAfterRestart();
}

TEST_F(EstablishedTest, ADrainedOneCountsWhileItHasSomething) {
  Create(2);
  AddReady({kA, kB});
  MUSTER_EXPECT_OK(fixture_.Do(DrainNode(kB)));
  EXPECT_EQ(State(), v1::Assembly::READY);
  fixture_.Plan(kAssembly, {{kB, {1}}});
  EXPECT_EQ(State(), v1::Assembly::READY);
  fixture_.Plan(kAssembly, {{kB, {}}});
  EXPECT_EQ(State(), v1::Assembly::WAITING);
  ExpectSameAfterRestart();
}

// The epoch before says nothing of this one.
TEST_F(EstablishedTest, WhatALostOneSaidUnderAnOldEpochEstablishesNothing) {
  Create(1);
  AddReady({kA});
  AddMember(kB);
  GiveAll({kB});
  fixture_.SetLost(kB, true);
  Say(kB, {0, 1});
  fixture_.Register(kB);
  EXPECT_EQ(State(), v1::Assembly::READY);
  EXPECT_EQ(Shown().nodes_joining(), 1u);
}

TEST_F(EstablishedTest, AnAnyMemberWithoutShardsHoldsWhatIsIts) {
  MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED, 2)));
  AddMember(kA);
  AddMember(kB);
  EXPECT_EQ(Shown().nodes_ready(), 0u) << "before the plan nobody is to have anything";
  fixture_.Plan(kAssembly, {{kA, {0, 1}}});
  EXPECT_EQ(Shown().nodes_ready(), 1u);
  Say(kA, {0, 1});
  EXPECT_EQ(State(), v1::Assembly::READY);
  EXPECT_EQ(Shown().nodes_ready(), 2u);
  fixture_.SetLost(kB, true);
  EXPECT_EQ(State(), v1::Assembly::WAITING) << "it had nothing that could be released";
}

// Rows of 0.1.0 don't say who is established.
TEST_F(EstablishedTest, OlderRowsAreOfEstablishedMembersWhereAllIsReady) {
  Create(1);
  AddReady({kA, kB});
  AddMember(kC);
  GiveAll({kC});
  Say(kC, {0});
  for (const char* node : {kA, kB, kC}) {
    const Assembly& assembly = **fixture_.registry().assemblies().Find(kAssembly);
    const Assembly::Member& member = fixture_.MemberOf(kAssembly, node);
    store::ReadinessRow row = assembly.ReadinessRowOf(member);
    row.clear_established();
    MetadataBatch batch;
    batch.operations.push_back(
        MetadataBatch::Put{ReadinessKey(assembly.uid(), member.node), row.SerializeAsString()});
    MUSTER_ASSERT_OK(fixture_.store().Commit(batch));
  }
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(State(), v1::Assembly::READY);
  EXPECT_EQ(Shown().nodes_joining(), 1u);
  fixture_.Register(kB);
  EXPECT_EQ(State(), v1::Assembly::DEGRADED);
  ExpectSameAfterRestart();
}

}  // namespace
}  // namespace muster
