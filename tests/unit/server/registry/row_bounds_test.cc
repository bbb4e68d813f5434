// The largest row of each kind that commands can make. A row beyond the limit is refused by the store, and a server
// whose store refuses a write has to stop (invariant 8, docs/design.md), so that each would end it.

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/registry/limits.h"
#include "server/registry/member_rows.h"
#include "storage/base/limits.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using State = v1::ShardReport;

constexpr char kOnlyNode[] = "nodes/n1";
constexpr uint32_t kManyShards = kMaxShardsPerVersion;

std::string Long(size_t bytes) { return std::string(bytes, 'x'); }

// As long as names of nodes get.
std::string LongNodeName(int number) {
  return "nodes/" + absl::StrFormat("%04d", number) + Long(kMaxNodeNameLength - 4);
}

class RowBoundsTest : public testing::Test {
 protected:
  // Carries the command out, and looks at each row that it puts. The fixture's store refuses what
  // is too big in those that follow from it.
  absl::Status Do(const Command& command) {
    const Applied applied = fixture_.Apply(command);
    size_t bytes = 0;
    for (const auto& operation : applied.operations) {
      const auto* put = std::get_if<MetadataBatch::Put>(&operation);
      if (put == nullptr) continue;
      EXPECT_LE(put->value.size(), kMaxRowBytes) << "of kind " << put->key.substr(0, 1);
      bytes += put->key.size() + put->value.size();
      size_t& largest = largest_[put->key[0]];
      largest = std::max(largest, put->value.size());
    }
    EXPECT_LE(bytes, kMaxBytesPerCommand);
    return applied.status;
  }

  void Join() {
    epoch_ = fixture_.Register(kOnlyNode);
    MUSTER_EXPECT_OK(Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED)));
    MUSTER_EXPECT_OK(Do(muster::Join(kAssembly, kOnlyNode, epoch_)));
  }

  // Gives all shards to the node, shard i under the generation that `generation` says, as if plans
  // of long ago had made them, and with the replica of another node to replace where it says one.
  template <typename GenerationOf, typename ReplacedOf>
  void Give(uint32_t shards, GenerationOf generation, ReplacedOf replaced) {
    auto plan = std::make_shared<PlannedAssembly>(fixture_.PlanOf(kAssembly, {{kOnlyNode, {}}}));
    PlannedAssembly::Member& member = plan->members.at(0);
    for (uint32_t shard = 0; shard < shards; ++shard) {
      member.assignments.push_back(Assignment{shard, Generation(generation(shard))});
      if (replaced(shard) != 0) member.replaces[shard] = NodeUid(replaced(shard));
    }
    MUSTER_ASSERT_OK(Do(ApplyPlan{plan, 0, plan->members.size()}));
  }

  const Assembly::Member& TheMember() { return fixture_.MemberOf(kAssembly, kOnlyNode); }

  // Reports what the node holds in turn as READY, FETCHING, and FAILED with each code.
  void ReportAll(bool all_ready) {
    const std::vector<Assignment> assignments = TheMember().assignments;
    for (size_t begin = 0; begin < assignments.size(); begin += kMaxItemsPerCall) {
      v1::ReportShardsRequest request = Report(kAssembly, kOnlyNode, epoch_, 0, {});
      for (size_t i = begin; i < std::min(begin + kMaxItemsPerCall, assignments.size()); ++i) {
        v1::ShardReport& report = *request.add_reports();
        report.set_shard(assignments[i].shard);
        report.set_generation(assignments[i].generation.value);
        const int turn = static_cast<int>(i % 9);
        report.set_state(turn == 0 || all_ready ? State::READY
                         : turn == 1            ? State::FETCHING
                                                : State::FAILED);
        if (report.state() != State::FAILED) continue;
        v1::ShardFailure& failure = *report.mutable_failure();
        failure.set_code(static_cast<v1::ShardFailure::Code>(turn - 2));
        failure.set_message(Long(4'000));
        failure.set_location(Long(4'000));
        failure.set_expected_md5(Long(40));
        failure.set_found_md5(Long(40));
        failure.set_attempts(UINT32_MAX);
      }
      MUSTER_ASSERT_OK(Do(request));
    }
  }

  RegistryFixture fixture_;
  uint64_t epoch_ = 0;
  // By the kind of row.
  std::map<char, size_t> largest_;
};

uint64_t None(uint32_t) { return 0; }

TEST_F(RowBoundsTest, MemberWithManyGenerations) {
  fixture_.Publish(kVersion, 14'000);
  Join();
  Give(
      14'000, [](uint32_t shard) { return (uint64_t{1} << 40) + shard * 1'000; }, None);
  EXPECT_EQ(TheMember().assignments.size(), 14'000u);
  ReportAll(false);
  ReportAll(true);
  EXPECT_EQ(fixture_.Shown(kAssembly).state(), v1::Assembly::READY);
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(fixture_.Shown(kAssembly).state(), v1::Assembly::READY);
}

// Below the limit generations stay: nothing is reported twice without need.
TEST_F(RowBoundsTest, MemberWithSomeGenerationsKeepsThem) {
  fixture_.Publish(kVersion, 5'000);
  Join();
  Give(
      5'000, [](uint32_t shard) { return (uint64_t{1} << 40) + shard; }, None);
  EXPECT_EQ(TheMember().assignments[7].generation, Generation((uint64_t{1} << 40) + 7));
  ReportAll(false);
}

TEST_F(RowBoundsTest, MemberThatReplacesManyNodes) {
  fixture_.Publish(kVersion, 14'000);
  Join();
  Give(14'000, None,
       [](uint32_t shard) { return shard < 2'000 ? 0 : (uint64_t{1} << 40) + shard; });
  // What it is to keep is all there; of the moves as many as have room.
  const size_t moves = TheMember().replaces.size();
  EXPECT_EQ(TheMember().assignments.size(), 2'000 + moves);
  EXPECT_GT(moves, 5'000u);
  EXPECT_LT(moves, 12'000u);
  ReportAll(false);
  ReportAll(true);
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(TheMember().replaces.size(), moves);
}

TEST_F(RowBoundsTest, MemberWithAllShardsInTheWorstOrder) {
  fixture_.Publish(kVersion, kManyShards);
  Join();
  Give(
      kManyShards, [](uint32_t shard) { return 1 + shard % 200; }, None);
  EXPECT_EQ(TheMember().assignments.size(), kManyShards);
  ReportAll(false);
  // READY outlives a restart, whatever else had no room.
  const uint32_t ready = TheMember().ready;
  EXPECT_GT(ready, kManyShards / 10);
  MUSTER_ASSERT_OK(fixture_.Restart());
  EXPECT_EQ(TheMember().ready, ready);
}

TEST(MemberRowsTest, FittedRowsAreBelowTheirBound) {
  for (const uint32_t shards : {1u, 1'000u, 20'000u, kManyShards}) {
    for (const uint32_t generations : {1u, 50u, 130u, 20'000u}) {
      for (const uint32_t nodes : {0u, 1u, 300u, 20'000u}) {
        std::vector<Assignment> assignments;
        Replacements replaces;
        for (uint32_t shard = 0; shard < shards; ++shard) {
          assignments.push_back(Assignment{shard, Generation(UINT64_MAX - shard % generations)});
          if (nodes > 0 && shard % 2 == 1) replaces[shard] = NodeUid(UINT64_MAX - shard % nodes);
        }
        const size_t required = assignments.size() - replaces.size();
        FitIntoRows(Generation(UINT64_MAX), assignments, replaces);
        EXPECT_LE(MemberRowBound(assignments, replaces), kMaxMemberRowBytes);
        EXPECT_EQ(assignments.size() - replaces.size(), required);
      }
    }
  }
}

TEST_F(RowBoundsTest, Claim) {
  fixture_.Publish(kVersion, 1);
  epoch_ = fixture_.Register(kOnlyNode);
  MUSTER_EXPECT_OK(Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::DECLARED)));
  v1::JoinAssemblyRequest join = muster::Join(kAssembly, kOnlyNode, epoch_);
  join.mutable_claim()->set_kind(v1::Claim::RANKS);
  for (uint32_t i = 0; i < kMaxClaimedShards; ++i) join.mutable_claim()->add_ranks(UINT32_MAX - i);
  v1::JoinAssemblyRequest foreign = muster::Join(kAssembly, kOnlyNode, epoch_, {0});
  *foreign.mutable_claim()->mutable_ranks() = join.claim().ranks();
  EXPECT_THAT(Do(foreign), ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_FIELD"));
  MUSTER_EXPECT_OK(Do(join));
  EXPECT_GT(largest_['b'], 200'000u);
}

TEST_F(RowBoundsTest, ReplyUnderARequestId) {
  for (int i = 0; i < 1'100; ++i) fixture_.Register(LongNodeName(i));
  for (int i = 0; i < 1'100; ++i) fixture_.SetLost(LongNodeName(i), true);
  v1::ResumeMovesRequest resume;
  resume.set_request_id(Long(kMaxIdBytes));
  MUSTER_EXPECT_OK(Do(resume));
  EXPECT_GT(largest_['q'], 100'000u);
}

TEST_F(RowBoundsTest, ModelVersionAndWhatBelongsToIt) {
  v1::CreateModelVersionRequest create = CreateVersion(
      absl::StrCat("models/", Long(kMaxNameLength), "/versions/", Long(kMaxNameLength)), 1, 100, 1);
  const std::string version = create.model_version().name();
  create.set_request_id(Long(kMaxIdBytes));
  create.mutable_model_version()->set_strategy(Long(kMaxShortTextBytes));
  (*create.mutable_model_version()->mutable_annotations())["a"] = Long(kMaxAnnotationBytes - 1);
  MUSTER_EXPECT_OK(Do(create));

  AddShard shard = ShardOf(version, 0, 100);
  shard.shard.set_source_path(Long(kMaxPathBytes));
  shard.shard.clear_locations();
  for (int i = 0; i < kMaxLocationsPerShard; ++i) {
    v1::Location& location = *shard.shard.add_locations();
    location.set_uri(absl::StrCat("file:///", 10 + i, Long(kMaxUriBytes - 10)));
    location.set_zone(Long(kMaxShortTextBytes));
    location.set_version(Long(kMaxLocationVersionBytes));
  }
  MUSTER_EXPECT_OK(Do(shard));
  AddCompanion companion = CompanionOf(version, Long(kMaxPathBytes));
  *companion.companion.mutable_locations() = shard.shard.locations();
  MUSTER_EXPECT_OK(Do(companion));
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i)
    names.push_back(absl::StrCat(100 + i, Long(kMaxTensorNameBytes - 3)));
  MUSTER_EXPECT_OK(Do(TensorsOf(version, 0, 0, names)));
  MUSTER_EXPECT_OK(Do(StagePieces{version, ShardIndex(0), 0, Long(16 * kPiecesPerRow)}));
  EXPECT_GT(largest_['v'], 32'000u);
  EXPECT_GT(largest_['s'], 80'000u);
  EXPECT_GT(largest_['t'], 100'000u);
}

TEST_F(RowBoundsTest, NodeAndAssembly) {
  fixture_.Publish(kVersion, 2'000);
  v1::RegisterNodeRequest node = RegisterNode(LongNodeName(1));
  node.mutable_node()->set_address(Long(kMaxAddressBytes));
  node.set_cached_digests(Long(16 * kMaxInventoryDigests));
  v1::CreateAssemblyRequest create = CreateAssembly(kAssembly, kVersion, v1::Assembly::BALANCED);
  for (int i = 0; i < kMaxMapEntries; ++i) {
    const std::string label = absl::StrCat(10 + i, Long(kMaxShortTextBytes - 2));
    (*node.mutable_node()->mutable_labels())[label] = Long(kMaxShortTextBytes);
    (*create.mutable_assembly()->mutable_node_selector())[label] = Long(kMaxShortTextBytes);
  }
  MUSTER_EXPECT_OK(Do(node));
  MUSTER_EXPECT_OK(Do(create));
  // As many reasons, of as many shards, as a plan gives.
  auto plan = std::make_shared<PlannedAssembly>(fixture_.PlanOf(kAssembly, {}));
  for (int i = 0; i < kMaxReasons; ++i) {
    v1::AssemblyReason& reason = plan->reasons.emplace_back();
    reason.set_code(v1::AssemblyReason::NO_ROOM);
    reason.set_node(LongNodeName(i));
    reason.set_message(Long(2'000));
    for (int shard = 0; shard < kMaxReasonShards; ++shard) reason.add_shards(1'000 + shard);
  }
  MUSTER_EXPECT_OK(Do(ApplyPlan{plan, 0, plan->members.size()}));
  EXPECT_GT(largest_['i'], 150'000u);
  EXPECT_GT(largest_['a'], 50'000u);
}

TEST_F(RowBoundsTest, ClaimsOfAnAssemblyAreBoundedInAll) {
  fixture_.Publish(kVersion, kManyShards);
  MUSTER_EXPECT_OK(Do(CreateAssembly(kAssembly, kVersion, v1::Assembly::FULL)));
  const int most = static_cast<int>(kMaxClaimedAssignments / kManyShards);
  for (int i = 0; i <= most; ++i) {
    const std::string node = absl::StrCat("nodes/n", i);
    const absl::Status joined = Do(muster::Join(kAssembly, node, fixture_.Register(node)));
    EXPECT_EQ(joined.ok(), i < most) << joined;
    if (i == most) {
      EXPECT_THAT(joined, ErrorIs(absl::StatusCode::kResourceExhausted, "TOO_MANY_ITEMS"));
    }
  }
  // One that waits for more nodes than can join says so from the beginning.
  v1::CreateAssemblyRequest waiting =
      CreateAssembly("assemblies/waiting", kVersion, v1::Assembly::FULL, most + 1);
  MUSTER_EXPECT_OK(Do(waiting));
  const v1::Assembly shown = fixture_.Shown("assemblies/waiting");
  ASSERT_EQ(shown.reasons_size(), 2);
  EXPECT_EQ(shown.reasons(0).code(), v1::AssemblyReason::TOO_FEW_NODES);
  EXPECT_EQ(shown.reasons(1).code(), v1::AssemblyReason::TOO_BIG);
  EXPECT_THAT(shown.reasons(1).message(),
              testing::HasSubstr(absl::StrCat("at most ", most, " nodes can join")));
  MUSTER_EXPECT_OK(Do(Leave(kAssembly, "nodes/n0")));
  const std::string last = absl::StrCat("nodes/n", most);
  const uint64_t epoch = fixture_.NodeOf(last).epoch().value;
  MUSTER_EXPECT_OK(Do(muster::Join(kAssembly, last, epoch)));
}

}  // namespace
}  // namespace muster
