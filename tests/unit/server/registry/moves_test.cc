// Moves, drains, what was given up, inventories and selectors: what they do to the barrier
// (invariant 5), and that a restart keeps them.

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/md5.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// An assembly of four shards: a has 0 and 1, b has 2 and 3, c has nothing. All is READY.
class MovesTest : public testing::Test {
 protected:
  MovesTest() {
    fixture_.Publish(kVersion, 4);
    MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED)));
    for (const char* node : {"nodes/a", "nodes/b", "nodes/c"}) {
      MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, node, fixture_.Register(node))));
    }
    first_ = fixture_.Plan(kAssembly, {{"nodes/a", {0, 1}}, {"nodes/b", {2, 3}}});
    MUSTER_EXPECT_OK(Ready("nodes/a", first_, {0, 1}));
    MUSTER_EXPECT_OK(Ready("nodes/b", first_, {2, 3}));
    fixture_.plans_wanted().clear();
  }

  uint64_t EpochOf(const std::string& node) { return fixture_.NodeOf(node).epoch().value; }
  absl::Status Ready(const std::string& node, uint64_t generation,
                     const std::vector<uint32_t>& shards) {
    return fixture_.Do(Report(kAssembly, node, EpochOf(node), generation, shards));
  }
  absl::Status Failed(const std::string& node, uint32_t shard, uint32_t attempts) {
    return fixture_.Do(FailedReport(kAssembly, node, EpochOf(node), first_, shard, attempts));
  }
  v1::Assembly Shown() { return fixture_.Shown(kAssembly); }
  v1::Drain DrainOf(const std::string& node) {
    return fixture_.registry().nodes().Describe(fixture_.NodeOf(node)).drain();
  }
  bool PlanWanted() { return !fixture_.plans_wanted().empty(); }
  // c gets shard 0 in place of a; returns the plan's generation.
  uint64_t BeginMove() { return fixture_.Plan(kAssembly, {{"nodes/c", {0}, {{0, "nodes/a"}}}}); }
  void ExpectSameAfterRestart() {
    const std::string before = Describe(fixture_.registry());
    MUSTER_ASSERT_OK(fixture_.Restart());
    EXPECT_EQ(Describe(fixture_.registry()), before);
  }
  void TickTo(int64_t seconds) { fixture_.TickTo(seconds * kSecondUs); }

  RegistryFixture fixture_;
  uint64_t first_ = 0;
};

TEST_F(MovesTest, ExtraReplicaNeitherHelpsNorHurts) {
  const v1::Assembly before = Shown();
  ASSERT_EQ(before.state(), v1::Assembly::READY);

  const uint64_t second = BeginMove();

  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
  EXPECT_EQ(Shown().replicas_required(), before.replicas_required());
  EXPECT_EQ(Shown().moves_in_progress(), 1u);
  EXPECT_EQ(Shown().moving_bytes(), 1'000u);
  EXPECT_EQ(fixture_.Member(kAssembly, "nodes/c").shards_incoming(), 1u);
  EXPECT_EQ(fixture_.Member(kAssembly, "nodes/c").shards_assigned(), 0u);
  EXPECT_EQ(fixture_.NodeOf("nodes/c").assigned_bytes, 1'000u) << "it takes room on both sides";
  ExpectSameAfterRestart();

  MUSTER_EXPECT_OK(Ready("nodes/c", second, {0}));
  EXPECT_EQ(Shown().replicas_ready(), before.replicas_ready());

  // The extra one is not a replica that counts.
  fixture_.SetLost("nodes/a", true);
  EXPECT_EQ(Shown().state(), v1::Assembly::DEGRADED);
  EXPECT_EQ(Shown().shards_ready(), 2u);
}

TEST_F(MovesTest, ReadyExtraReplicaAsksForAPlanAndTakesOverWithoutAGap) {
  const uint64_t second = BeginMove();
  EXPECT_FALSE(PlanWanted());

  MUSTER_EXPECT_OK(Ready("nodes/c", second, {0}));
  EXPECT_TRUE(PlanWanted());
  const size_t before = fixture_.changes().size();
  fixture_.Plan(kAssembly, {{"nodes/a", {1}}, {"nodes/c", {0}}});

  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
  EXPECT_EQ(Shown().moves_in_progress(), 0u);
  EXPECT_EQ(fixture_.Member(kAssembly, "nodes/c").shards_ready(), 1u);
  for (size_t i = before; i < fixture_.changes().size(); ++i) {
    const auto* change = std::get_if<AssignmentChange>(&fixture_.changes()[i].what);
    if (change == nullptr) continue;
    EXPECT_EQ(change->node, fixture_.NodeOf("nodes/a").uid) << "c has the shard already";
    EXPECT_THAT(change->unassigned, ElementsAre(0));
  }
  ExpectSameAfterRestart();
}

TEST_F(MovesTest, ReadyThatIsTakenBackKeepsWhatItWasToReplace) {
  const uint64_t second = BeginMove();
  MUSTER_EXPECT_OK(Ready("nodes/c", second, {0}));
  const auto plan = std::make_shared<PlannedAssembly>(
      fixture_.PlanOf(kAssembly, {{"nodes/a", {1}}, {"nodes/c", {0}}}));
  plan->members[0].stand_ins[0] = {fixture_.NodeOf("nodes/c").uid};
  MUSTER_EXPECT_OK(
      fixture_.Do(FailedReport(kAssembly, "nodes/c", EpochOf("nodes/c"), second, 0, 1)));

  EXPECT_THAT(fixture_.Do(ApplyPlan{plan, 0, 2}), ErrorIs(StatusCode::kAborted, "PLAN_OUTDATED"));

  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
}

TEST_F(MovesTest, DrainingNodeKeepsAssemblyReadyUntilReplacementIsReady) {
  MUSTER_EXPECT_OK(fixture_.Do(DrainNode("nodes/a")));
  EXPECT_TRUE(PlanWanted());
  EXPECT_EQ(DrainOf("nodes/a").state(), v1::Drain::DRAINING);
  EXPECT_EQ(DrainOf("nodes/a").shards_left(), 2u);
  EXPECT_EQ(DrainOf("nodes/a").bytes_left(), 2'000u);
  EXPECT_TRUE(fixture_.Member(kAssembly, "nodes/a").draining());
  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
  ExpectSameAfterRestart();

  const uint64_t second =
      fixture_.Plan(kAssembly, {{"nodes/c", {0, 1}, {{0, "nodes/a"}, {1, "nodes/a"}}}});
  MUSTER_EXPECT_OK(Ready("nodes/c", second, {0, 1}));
  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
  fixture_.Plan(kAssembly, {{"nodes/a", {}}, {"nodes/c", {0, 1}}});

  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
  EXPECT_EQ(DrainOf("nodes/a").state(), v1::Drain::DRAINED);
  EXPECT_EQ(DrainOf("nodes/a").shards_left(), 0u);
  v1::Drain::State told = v1::Drain::STATE_UNSPECIFIED;
  for (const Change& change : fixture_.changes()) {
    if (const auto* node = std::get_if<NodeChange>(&change.what)) told = node->drain;
  }
  EXPECT_EQ(told, v1::Drain::DRAINED);
  ExpectSameAfterRestart();
}

TEST_F(MovesTest, ReadyReplicaElsewhereAsksForAPlanWhileItsTwinIsDrained) {
  const uint64_t second = fixture_.Plan(kAssembly, {{"nodes/c", {0}}});
  MUSTER_EXPECT_OK(fixture_.Do(DrainNode("nodes/a")));
  fixture_.plans_wanted().clear();
  MUSTER_EXPECT_OK(Ready("nodes/c", second, {0}));
  EXPECT_TRUE(PlanWanted());
}

TEST_F(MovesTest, DrainOfANodeWithoutShardsIsDoneAtOnce) {
  MUSTER_EXPECT_OK(fixture_.Do(DrainNode("nodes/c")));
  EXPECT_EQ(DrainOf("nodes/c").state(), v1::Drain::DRAINED);
}

TEST_F(MovesTest, DrainPastItsDeadlineIsOverdueAndDropsNothing) {
  MUSTER_EXPECT_OK(fixture_.Do(DrainNode("nodes/a", 60)));
  TickTo(60);
  EXPECT_EQ(DrainOf("nodes/a").state(), v1::Drain::DRAINING);
  TickTo(61);
  EXPECT_EQ(DrainOf("nodes/a").state(), v1::Drain::OVERDUE);
  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
  ExpectSameAfterRestart();

  MUSTER_EXPECT_OK(fixture_.Do(DrainNode("nodes/a", 60)));
  EXPECT_EQ(DrainOf("nodes/a").state(), v1::Drain::DRAINING) << "with another deadline";
  EXPECT_EQ(DrainOf("nodes/a").start_time().seconds(), 1);
}

TEST_F(MovesTest, DrainOutlivesRegistrationAndEndsByCancelOrDeregistration) {
  MUSTER_EXPECT_OK(fixture_.Do(DrainNode("nodes/a")));
  fixture_.Register("nodes/a");
  EXPECT_EQ(DrainOf("nodes/a").state(), v1::Drain::DRAINING);
  EXPECT_TRUE(fixture_.Member(kAssembly, "nodes/a").draining());

  v1::DrainNodeRequest cancel;
  cancel.set_name("nodes/a");
  cancel.set_cancel(true);
  fixture_.plans_wanted().clear();
  MUSTER_EXPECT_OK(fixture_.Do(cancel));
  EXPECT_TRUE(PlanWanted());
  EXPECT_FALSE(fixture_.registry().nodes().Describe(fixture_.NodeOf("nodes/a")).has_drain());
  EXPECT_FALSE(fixture_.Member(kAssembly, "nodes/a").draining());
  const Revision revision = fixture_.revision();
  MUSTER_EXPECT_OK(fixture_.Do(cancel));
  EXPECT_EQ(fixture_.revision(), revision) << "there is nothing to cancel";

  MUSTER_EXPECT_OK(fixture_.Do(DrainNode("nodes/a")));
  MUSTER_EXPECT_OK(fixture_.Do(DeregisterNode("nodes/a")));
  fixture_.Register("nodes/a");
  EXPECT_EQ(DrainOf("nodes/a").state(), v1::Drain::STATE_UNSPECIFIED);
  TickTo(1'000);
}

TEST_F(MovesTest, DrainIsRefusedForAnotherEpochAndForAnUnknownNode) {
  v1::DrainNodeRequest request = DrainNode("nodes/a");
  request.set_epoch(EpochOf("nodes/a") - 1);
  EXPECT_THAT(fixture_.Do(request), ErrorIs(StatusCode::kAborted, "NODE_FENCED"));
  EXPECT_THAT(fixture_.Do(DrainNode("nodes/z")), ErrorIs(StatusCode::kNotFound, "NODE_UNKNOWN"));
}

TEST_F(MovesTest, LostMemberSaysWhenItsShardsMove) {
  fixture_.SetLost("nodes/a", true);
  EXPECT_EQ(Shown().state(), v1::Assembly::DEGRADED);
  EXPECT_THAT(Shown().reasons(0).message(), HasSubstr("after a grace of 30s"));
}

TEST_F(MovesTest, ThirdFailureGivesTheShardUpForTenMinutes) {
  MUSTER_EXPECT_OK(Failed("nodes/a", 1, 2));
  EXPECT_FALSE(PlanWanted());
  MUSTER_EXPECT_OK(Failed("nodes/a", 1, 3));
  EXPECT_TRUE(PlanWanted());
  EXPECT_EQ(fixture_.Member(kAssembly, "nodes/a").shards_given_up(), 1u);
  const Revision revision = fixture_.revision();
  MUSTER_EXPECT_OK(Failed("nodes/a", 1, 3));
  EXPECT_EQ(fixture_.revision(), revision) << "a repeat is harmless";

  fixture_.Plan(kAssembly, {{"nodes/a", {0}}, {"nodes/c", {1}}});
  ASSERT_EQ(Shown().reasons_size(), 2);
  EXPECT_EQ(Shown().reasons(0).code(), v1::AssemblyReason::SHARD_FAILED);
  EXPECT_THAT(Shown().reasons(0).message(),
              HasSubstr("a: CORRUPT bad bytes (shard 1, 3 times); given to another node"));
  ExpectSameAfterRestart();
  fixture_.Register("nodes/a");
  EXPECT_EQ(fixture_.Member(kAssembly, "nodes/a").shards_given_up(), 1u);
  ExpectSameAfterRestart();

  TickTo(600);
  fixture_.plans_wanted().clear();
  EXPECT_EQ(fixture_.Member(kAssembly, "nodes/a").shards_given_up(), 1u);
  TickTo(601);
  EXPECT_EQ(fixture_.Member(kAssembly, "nodes/a").shards_given_up(), 0u);
  EXPECT_TRUE(PlanWanted());
  ExpectSameAfterRestart();
}

TEST_F(MovesTest, ShardThatIsReadyAfterAllIsNotGivenUp) {
  MUSTER_EXPECT_OK(Failed("nodes/a", 1, 3));
  MUSTER_EXPECT_OK(Ready("nodes/a", first_, {1}));
  EXPECT_EQ(fixture_.Member(kAssembly, "nodes/a").shards_given_up(), 0u);
  EXPECT_EQ(Shown().state(), v1::Assembly::READY);
}

TEST_F(MovesTest, SixtyFourShardsAreGivenUpAtMostAndTheOldestGoes) {
  fixture_.Publish("models/big/versions/v", 70);
  MUSTER_EXPECT_OK(
      fixture_.Do(CreateAssembly("assemblies/big", "models/big/versions/v", v1::Assembly::FULL)));
  const uint64_t epoch = EpochOf("nodes/a");
  MUSTER_EXPECT_OK(fixture_.Do(Join("assemblies/big", "nodes/a", epoch)));
  std::vector<uint32_t> shards(70);
  for (uint32_t i = 0; i < 70; ++i) shards[i] = i;
  const uint64_t generation = fixture_.Plan("assemblies/big", {{"nodes/a", shards}});
  for (uint32_t i = 0; i < 65; ++i) {
    TickTo(10 + i);
    MUSTER_EXPECT_OK(
        fixture_.Do(FailedReport("assemblies/big", "nodes/a", epoch, generation, i, 3)));
  }
  const auto& given_up = fixture_.MemberOf("assemblies/big", "nodes/a").given_up;
  EXPECT_EQ(given_up.size(), 64u);
  EXPECT_FALSE(given_up.contains(0));
  EXPECT_TRUE(given_up.contains(64));
}

TEST_F(MovesTest, InventoryNamesTheShardsThatANodeHolds) {
  const auto digest = [](uint32_t shard) {
    const Md5Digest md5 = Md5Of(absl::StrCat(kVersion, shard));
    return std::string(md5.begin(), md5.end());
  };
  v1::RegisterNodeRequest request = RegisterNode("nodes/d");
  request.set_cached_digests(digest(3) + digest(1) + std::string(16, 'x'));
  const uint64_t epoch = fixture_.Ask<v1::RegisterNodeResponse>(request).epoch();
  MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, "nodes/d", epoch)));
  EXPECT_THAT(fixture_.MemberOf(kAssembly, "nodes/d").cached, ElementsAre(1, 3));
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_THAT(fixture_.MemberOf(kAssembly, "nodes/d").cached, ElementsAre(1, 3));

  request.set_cached_digests(digest(0));
  MUSTER_EXPECT_OK(fixture_.Do(request));
  EXPECT_THAT(fixture_.MemberOf(kAssembly, "nodes/d").cached, ElementsAre(0));

  fixture_.Register("nodes/d");
  EXPECT_THAT(fixture_.MemberOf(kAssembly, "nodes/d").cached, IsEmpty());
  MUSTER_EXPECT_OK(fixture_.Do(request));
  MUSTER_EXPECT_OK(fixture_.Do(DeregisterNode("nodes/d")));
  for (const MetadataStore::Row& row : RowsOf(fixture_.store())) EXPECT_NE(row.key[0], 'i');
}

// An assembly that takes nodes of the pool "a" only.
class SelectorTest : public testing::Test {
 protected:
  SelectorTest() {
    fixture_.Publish(kVersion, 2);
    request_ = CreateAssembly(kAssembly, kVersion, v1::Assembly::FULL, 2);
    (*request_.mutable_assembly()->mutable_node_selector())["pool"] = "a";
    request_.mutable_assembly()->set_move_budget_bytes(0);
    MUSTER_EXPECT_OK(fixture_.Do(request_));
  }
  void AddNode(const std::string& node, const std::string& pool) {
    v1::RegisterNodeRequest request = RegisterNode(node);
    (*request.mutable_node()->mutable_labels())["pool"] = pool;
    const uint64_t epoch = fixture_.Ask<v1::RegisterNodeResponse>(request).epoch();
    MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, node, epoch)));
  }

  RegistryFixture fixture_;
  v1::CreateAssemblyRequest request_;
};

TEST_F(SelectorTest, NodesThatDoNotFitAreNotWaitedFor) {
  AddNode("nodes/a", "a");
  AddNode("nodes/b", "b");
  v1::Assembly shown = fixture_.Shown(kAssembly);
  EXPECT_EQ(shown.state(), v1::Assembly::WAITING);
  ASSERT_EQ(shown.reasons_size(), 2);
  EXPECT_EQ(shown.reasons(0).message(), "1 of 2 nodes joined");
  EXPECT_EQ(shown.reasons(1).code(), v1::AssemblyReason::LABELS_DIFFER);
  EXPECT_EQ(shown.reasons(1).node(), "nodes/b");
  EXPECT_THAT(shown.reasons(1).message(), HasSubstr("pool=a"));
  EXPECT_TRUE(fixture_.plans_wanted().empty());

  AddNode("nodes/b2", "a");
  EXPECT_FALSE(fixture_.plans_wanted().empty());
  fixture_.Plan(kAssembly, {{"nodes/a", {0, 1}}, {"nodes/b2", {0, 1}}});
  shown = fixture_.Shown(kAssembly);
  EXPECT_EQ(shown.state(), v1::Assembly::LOADING);
  const std::string before = Describe(fixture_.registry());
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(Describe(fixture_.registry()), before);
}

TEST_F(SelectorTest, RegistrationWithOtherLabelsCountsAnew) {
  AddNode("nodes/a", "a");
  AddNode("nodes/b", "b");
  v1::RegisterNodeRequest request = RegisterNode("nodes/b");
  (*request.mutable_node()->mutable_labels())["pool"] = "a";
  MUSTER_EXPECT_OK(fixture_.Do(request));
  EXPECT_FALSE(fixture_.plans_wanted().empty());
}

TEST_F(SelectorTest, CreateOverExistingSaysWhatIsThere) {
  request_.mutable_assembly()->clear_node_selector();
  const absl::Status status = fixture_.Do(request_);
  EXPECT_THAT(status, ErrorIs(StatusCode::kAlreadyExists, "ASSEMBLY_EXISTS"));
  EXPECT_EQ(DetailOf(status).metadata.at("node_selector"), "pool=a");
  EXPECT_EQ(DetailOf(status).metadata.at("move_budget_bytes"), "0");
}

TEST_F(SelectorTest, RankedNeedsARankForEachShard) {
  EXPECT_THAT(fixture_.Do(CreateAssembly("assemblies/r", kVersion, v1::Assembly::RANKED)),
              ErrorIs(StatusCode::kFailedPrecondition, "SHARDS_WITHOUT_RANK"));
}

TEST(CachedShardsTest, EveryShardOfACachedContentIsFoundOnce) {
  RegistryFixture fixture;
  MUSTER_EXPECT_OK(fixture.Do(CreateVersion(kVersion, 4)));
  for (uint32_t index = 0; index < 4; ++index) {
    AddShard shard = ShardOf(kVersion, index);
    // 0 and 3 are equal.
    shard.shard.set_md5(std::string(32, index % 3 == 0 ? 'f' : static_cast<char>('0' + index)));
    MUSTER_EXPECT_OK(fixture.Do(shard));
  }
  MUSTER_EXPECT_OK(fixture.Do(CommitVersion(kVersion)));
  MUSTER_EXPECT_OK(fixture.Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED)));
  v1::RegisterNodeRequest request = RegisterNode("nodes/n1");
  request.set_cached_digests(std::string(16, '\x22') + std::string(32, '\xff') +
                             std::string(16, '\x33'));
  const uint64_t epoch = fixture.Ask<v1::RegisterNodeResponse>(request).epoch();

  MUSTER_EXPECT_OK(fixture.Do(Join(kAssembly, "nodes/n1", epoch)));

  EXPECT_THAT(fixture.MemberOf(kAssembly, "nodes/n1").cached, ElementsAre(0, 2, 3));
  MUSTER_ASSERT_OK(fixture.Restart());
  EXPECT_THAT(fixture.MemberOf(kAssembly, "nodes/n1").cached, ElementsAre(0, 2, 3));
}

}  // namespace
}  // namespace muster
