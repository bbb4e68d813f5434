#include "server/registry/read_place_table.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/random.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using absl::Seconds;
using absl::StatusCode;
using testing::ElementsAre;
using testing::IsEmpty;

// A call that waits or was answered.
struct Call {
  std::optional<absl::StatusOr<ReadPlaceTable::Answer>> answer;

  bool waits() const { return !answer.has_value(); }
  bool granted() const { return answer.has_value() && answer->ok() && (*answer)->granted; }
  bool refused() const { return answer.has_value() && answer->ok() && !(*answer)->granted; }
  absl::Status status() const { return answer->status(); }
};

// Nodes n1 to n9 of epoch 10 hold shard 0 in assembly 1; the table has seen its first tick.
class ReadPlaceTableTest : public testing::Test {
 protected:
  ReadPlaceTableTest() {
    for (uint64_t i = 1; i <= 9; ++i) table_.Apply(NodeOf(i));
    table_.Tick(now_);
  }

  static std::string Name(uint64_t number) { return absl::StrCat("nodes/n", number); }
  static NodeChange NodeOf(uint64_t number, uint64_t epoch = 10) {
    NodeChange change;
    change.uid = NodeUid(number);
    change.name = Name(number);
    change.epoch = Epoch(epoch);
    return change;
  }
  ReadPlaceTable::Request Ask(uint64_t node, absl::Duration wait = Seconds(30)) const {
    ReadPlaceTable::Request request;
    request.node = Name(node);
    request.epoch = Epoch(10);
    request.location = location_;
    request.assemblies = {AssemblyUid(1)};
    request.max_readers = max_readers_;
    request.max_wait = wait;
    return request;
  }
  std::shared_ptr<Call> Acquire(ReadPlaceTable::Request request) {
    auto call = std::make_shared<Call>();
    table_.Acquire(std::move(request), [call](absl::StatusOr<ReadPlaceTable::Answer> answer) {
      EXPECT_TRUE(call->waits()) << "answered twice";
      call->answer = std::move(answer);
    });
    return call;
  }
  std::shared_ptr<Call> Acquire(uint64_t node, absl::Duration wait = Seconds(30)) {
    return Acquire(Ask(node, wait));
  }
  absl::Status Release(uint64_t node) { return table_.Release(Name(node), Epoch(10), location_); }
  void Advance(absl::Duration by) { table_.Tick(now_ += by); }
  // Of shard 0 in the assembly.
  void Unassign(uint64_t node, AssemblyUid assembly, uint32_t shard = 0,
                Revision revision = Revision(1)) {
    AssignmentChange change;
    change.node = NodeUid(node);
    change.assembly_uid = assembly;
    change.version = location_.version;
    change.unassigned = {shard};
    table_.Apply(change, revision);
  }

  ReadPlaceTable::Options options_;
  ReadPlaceTable table_{options_};
  ReadPlaceTable::Location location_{VersionUid(7), 0, "file:///a"};
  uint32_t max_readers_ = 1;
  absl::Duration now_ = Seconds(100);
};

TEST_F(ReadPlaceTableTest, PlacesAreGivenOutUpToTheBoundAndThenInOrderOfAsking) {
  max_readers_ = 2;
  const auto first = Acquire(1);
  const auto second = Acquire(2);
  const auto third = Acquire(3);
  const auto fourth = Acquire(4);
  ASSERT_TRUE(first->granted() && second->granted());
  EXPECT_EQ((*second->answer)->readers, 2);
  EXPECT_EQ((*second->answer)->max_readers, 2);
  EXPECT_TRUE(third->waits() && fourth->waits());

  MUSTER_EXPECT_OK(Release(2));

  EXPECT_TRUE(third->granted());
  EXPECT_TRUE(fourth->waits());
}

TEST_F(ReadPlaceTableTest, OtherLocationsAndShardsHavePlacesOfTheirOwn) {
  ASSERT_TRUE(Acquire(1)->granted());
  location_.uri = "file:///b";
  EXPECT_TRUE(Acquire(2)->granted());
  location_.shard = 1;
  EXPECT_TRUE(Acquire(3)->granted());
}

TEST_F(ReadPlaceTableTest, ARepeatOfAGrantedCallIsGrantedAgainAndTakesNoSecondPlace) {
  max_readers_ = 2;
  ASSERT_TRUE(Acquire(1)->granted());

  const auto again = Acquire(1);

  ASSERT_TRUE(again->granted());
  EXPECT_EQ((*again->answer)->readers, 1);
}

TEST_F(ReadPlaceTableTest, CallEndsAfterItsWaitAndSaysHowManyAreAhead) {
  ASSERT_TRUE(Acquire(1)->granted());
  const auto second = Acquire(2);
  const auto third = Acquire(3, Seconds(5));

  Advance(Seconds(4));
  EXPECT_TRUE(third->waits());
  Advance(Seconds(1));

  ASSERT_TRUE(third->refused());
  EXPECT_EQ((*third->answer)->ahead, 1);
  EXPECT_TRUE(second->waits());
}

TEST_F(ReadPlaceTableTest, AskingAgainAtOnceKeepsTheTurn) {
  ASSERT_TRUE(Acquire(1)->granted());
  const auto second = Acquire(2, Seconds(5));
  const auto third = Acquire(3);
  Advance(Seconds(5));
  ASSERT_TRUE(second->refused());

  const auto again = Acquire(2);
  MUSTER_EXPECT_OK(Release(1));

  EXPECT_TRUE(again->granted());
  EXPECT_TRUE(third->waits());
}

TEST_F(ReadPlaceTableTest, AKeptTurnHoldsUpNobodyAndIsForgotten) {
  ASSERT_TRUE(Acquire(1)->granted());
  ASSERT_TRUE(Acquire(2, Seconds(0))->refused());
  const auto third = Acquire(3);

  MUSTER_EXPECT_OK(Release(1));
  EXPECT_TRUE(third->granted());
  EXPECT_EQ(table_.WaitingFor(location_.version, std::nullopt).size(), 1);
  Advance(options_.turn_kept);

  EXPECT_THAT(table_.WaitingFor(location_.version, std::nullopt), IsEmpty());
}

// The shard was taken away at revision 5 and given back at 6. The call came when the state had both,
// and the table is told of the first only then.
TEST_F(ReadPlaceTableTest, ChangeThatTheCallWasAheadOfTakesNothingAway) {
  ReadPlaceTable::Request holder = Ask(1);
  holder.seen = Revision(6);
  ASSERT_TRUE(Acquire(holder)->granted());
  ReadPlaceTable::Request waiter = Ask(2);
  waiter.seen = Revision(6);
  const auto second = Acquire(waiter);
  for (const uint64_t node : {1, 2}) Unassign(node, AssemblyUid(1), 0, Revision(5));
  for (const uint64_t node : {1, 2}) Unassign(node, AssemblyUid(2), 0, Revision(5));
  EXPECT_TRUE(second->waits()) << "node 1 still has the place, and node 2 its turn";

  for (const uint64_t assembly : {1, 2}) Unassign(1, AssemblyUid(assembly), 0, Revision(7));
  EXPECT_TRUE(second->granted()) << "a later one counts";
}

TEST_F(ReadPlaceTableTest, LostNodeLosesItsPlaceAndItsWait) {
  ASSERT_TRUE(Acquire(1)->granted());
  const auto second = Acquire(2);
  const auto third = Acquire(3);
  NodeChange lost = NodeOf(2);
  lost.lost = true;
  table_.Apply(lost);
  EXPECT_THAT(second->status(), ErrorIs(StatusCode::kUnavailable, "NODE_LOST"));

  lost = NodeOf(1);
  lost.lost = true;
  table_.Apply(lost);

  EXPECT_TRUE(third->granted());
}

TEST_F(ReadPlaceTableTest, LostNodeGetsAPlaceOnlyAfterItsHeartbeat) {
  NodeChange node = NodeOf(1);
  node.lost = true;
  table_.Apply(node);
  const auto refused = Acquire(1);
  EXPECT_THAT(refused->status(), ErrorIs(StatusCode::kUnavailable, "NODE_LOST"));
  EXPECT_TRUE(DetailOf(refused->status()).retry_delay.has_value());

  node.lost = false;
  table_.Apply(node);

  EXPECT_TRUE(Acquire(1)->granted());
}

TEST_F(ReadPlaceTableTest, NewEpochEndsPlacesAndFencesWhoWaits) {
  ASSERT_TRUE(Acquire(1)->granted());
  const auto second = Acquire(2);
  table_.Apply(NodeOf(2, 11));
  EXPECT_THAT(second->status(), ErrorIs(StatusCode::kAborted, "NODE_FENCED"));
  EXPECT_THAT(Acquire(2)->status(), ErrorIs(StatusCode::kAborted, "NODE_FENCED"));
  EXPECT_THAT(Release(2), ErrorIs(StatusCode::kAborted, "NODE_FENCED"));

  table_.Apply(NodeOf(1, 12));

  EXPECT_TRUE(Acquire(3)->granted());
}

TEST_F(ReadPlaceTableTest, RemovedNodeIsUnknown) {
  ASSERT_TRUE(Acquire(1)->granted());
  const auto second = Acquire(2);
  NodeChange removed = NodeOf(1);
  removed.removed = true;

  table_.Apply(removed);

  EXPECT_TRUE(second->granted());
  EXPECT_THAT(Acquire(1)->status(), ErrorIs(StatusCode::kNotFound, "NODE_UNKNOWN"));
  EXPECT_THAT(Release(1), ErrorIs(StatusCode::kNotFound, "NODE_UNKNOWN"));
}

TEST_F(ReadPlaceTableTest, PlaceEndsWithTheLastAssignmentOfTheShard) {
  ReadPlaceTable::Request twice = Ask(1);
  twice.assemblies = {AssemblyUid(1), AssemblyUid(2)};
  ASSERT_TRUE(Acquire(twice)->granted());
  const auto second = Acquire(2);
  const auto third = Acquire(3);
  Unassign(1, AssemblyUid(1));
  Unassign(1, AssemblyUid(2), 5);
  EXPECT_TRUE(second->waits());

  Unassign(3, AssemblyUid(1));
  EXPECT_THAT(third->status(), ErrorIs(StatusCode::kAborted, "ASSIGNMENT_GONE"));
  Unassign(1, AssemblyUid(2));

  EXPECT_TRUE(second->granted());
}

TEST_F(ReadPlaceTableTest, AHigherBoundServesThoseWhoWait) {
  ASSERT_TRUE(Acquire(1)->granted());
  const auto second = Acquire(2);
  max_readers_ = 3;

  const auto third = Acquire(3);

  EXPECT_TRUE(second->granted() && third->granted());
}

TEST_F(ReadPlaceTableTest, CallsThatWaitAreBoundedPerNodeAndInAll) {
  options_.max_waiting_per_node = 2;
  options_.max_waiting = 3;
  ReadPlaceTable table(options_);
  for (uint64_t i = 1; i <= 3; ++i) table.Apply(NodeOf(i));
  std::vector<Call> calls(12);
  const auto ask = [&](uint64_t node, uint32_t shard) {
    Call& call = calls[node * 3 + shard];
    ReadPlaceTable::Request request = Ask(node);
    request.location.shard = shard;
    table.Acquire(request, [&call](auto answer) { call.answer = std::move(answer); });
    return call;
  };
  for (uint32_t shard = 0; shard < 3; ++shard) {
    ReadPlaceTable::Request request = Ask(1);
    request.location.shard = shard;
    table.Acquire(request, [](auto answer) { EXPECT_TRUE(answer.ok() && answer->granted); });
  }
  EXPECT_TRUE(ask(2, 0).waits());
  EXPECT_TRUE(ask(2, 1).waits());
  EXPECT_THAT(ask(2, 2).status(), ErrorIs(StatusCode::kResourceExhausted, "TOO_MANY_ITEMS"));
  EXPECT_TRUE(ask(3, 0).waits());

  const Call last = ask(3, 1);

  EXPECT_THAT(last.status(), ErrorIs(StatusCode::kResourceExhausted, "TOO_MANY_ITEMS"));
  EXPECT_TRUE(DetailOf(last.status()).retry_delay.has_value());
  table.Stop();
}

TEST_F(ReadPlaceTableTest, StopEndsWhoWaitsAndRefusesWhoComes) {
  ASSERT_TRUE(Acquire(1)->granted());
  const auto second = Acquire(2);

  table_.Stop();

  EXPECT_THAT(second->status(), ErrorIs(StatusCode::kUnavailable, "SHUTTING_DOWN"));
  EXPECT_THAT(Acquire(3)->status(), ErrorIs(StatusCode::kUnavailable, "SHUTTING_DOWN"));
}

TEST_F(ReadPlaceTableTest, AfterARestartOnlyPlacesThatWereHeldAreGivenOutForATtl) {
  ReadPlaceTable table(options_);
  for (uint64_t i = 1; i <= 3; ++i) table.Apply(NodeOf(i));
  table.BeginGuard();
  table.Tick(Seconds(1'000));
  Call fresh, held;
  table.Acquire(Ask(1), [&](auto answer) { fresh.answer = std::move(answer); });
  ReadPlaceTable::Request holding = Ask(2);
  holding.held = true;
  table.Acquire(holding, [&](auto answer) { held.answer = std::move(answer); });
  EXPECT_TRUE(held.granted());
  MUSTER_EXPECT_OK(table.Release(Name(2), Epoch(10), location_));
  table.Tick(Seconds(1'000) + options_.guard - Seconds(1));
  EXPECT_TRUE(fresh.waits());

  table.Tick(Seconds(1'000) + options_.guard);

  EXPECT_TRUE(fresh.granted());
}

TEST_F(ReadPlaceTableTest, WhoWaitsIsShownPerShard) {
  ASSERT_TRUE(Acquire(1)->granted());
  Acquire(2);
  location_.shard = 4;
  ASSERT_TRUE(Acquire(1)->granted());
  Acquire(3);

  const auto all = table_.WaitingFor(VersionUid(7), std::nullopt);
  const auto one = table_.WaitingFor(VersionUid(7), 4);

  EXPECT_EQ(all.size(), 2);
  ASSERT_EQ(one.size(), 1);
  EXPECT_EQ(one[0].node, "nodes/n3");
  EXPECT_EQ(one[0].shard, 4);
  EXPECT_EQ(one[0].uri, "file:///a");
  EXPECT_THAT(table_.WaitingFor(VersionUid(8), std::nullopt), IsEmpty());
}

// Twelve nodes come and go at random. Checks after every step against a model: the holders that it
// knows never exceed the bound, calls are granted in the order of asking (a kept turn counts from
// its first call), and none waits while a place is free.
class ReadPlaceTableProperty : public testing::TestWithParam<uint64_t> {
 protected:
  struct Node {
    bool holds = false;
    bool lost = false;
    std::shared_ptr<Call> call;
    // Its turn is kept so long after a call that ended without a place.
    absl::Duration turn_end;
  };
  static constexpr uint32_t kBound = 3;

  ReadPlaceTableProperty() {
    for (uint64_t i = 0; i < nodes_.size(); ++i) table_.Apply(ChangeOf(i));
    table_.Tick(now_);
  }

  NodeChange ChangeOf(uint64_t i) const {
    NodeChange change;
    change.uid = NodeUid(i + 1);
    change.name = absl::StrCat("nodes/n", i);
    change.epoch = Epoch(epochs_[i]);
    change.lost = nodes_[i].lost;
    return change;
  }
  void Ask(uint64_t i, absl::Duration wait) {
    auto call = std::make_shared<Call>();
    nodes_[i].call = call;
    if (std::find(order_.begin(), order_.end(), i) == order_.end()) order_.push_back(i);
    ReadPlaceTable::Request request{absl::StrCat("nodes/n", i),
                                    Epoch(epochs_[i]),
                                    location_,
                                    {AssemblyUid(1)},
                                    Revision(),
                                    kBound,
                                    wait,
                                    false};
    table_.Acquire(request, [call](auto answer) { call->answer = std::move(answer); });
  }
  void Forget(uint64_t i) {
    nodes_[i].holds = false;
    nodes_[i].turn_end = {};
    order_.erase(std::remove(order_.begin(), order_.end(), i), order_.end());
  }
  void Step(Random& random) {
    const uint64_t i = random.Below(nodes_.size());
    Node& node = nodes_[i];
    switch (random.Below(6)) {
      case 0:
      case 1:
        if (!node.lost && !node.holds && node.call == nullptr) {
          Ask(i, Seconds(random.Below(10)));
        }
        return;
      case 2:
        if (node.holds) {
          Forget(i);
          MUSTER_EXPECT_OK(
              table_.Release(absl::StrCat("nodes/n", i), Epoch(epochs_[i]), location_));
        }
        return;
      case 3:
        node.lost = !node.lost;
        if (node.lost) Forget(i);
        table_.Apply(ChangeOf(i));
        return;
      case 4:
        ++epochs_[i];
        Forget(i);
        table_.Apply(ChangeOf(i));
        return;
      default:
        table_.Tick(now_ += Seconds(1));
    }
  }
  // Takes the answers over and compares.
  void Check() {
    std::vector<uint64_t> granted;
    for (uint64_t i = 0; i < nodes_.size(); ++i) {
      Node& node = nodes_[i];
      if (node.call == nullptr || node.call->waits()) continue;
      if (node.call->granted()) {
        granted.push_back(i);
        node.holds = true;
        node.turn_end = {};
      } else if (node.call->refused()) {
        node.turn_end = now_ + ReadPlaceTable::Options{}.turn_kept;
      } else {
        Forget(i);
      }
      node.call = nullptr;
    }
    size_t holders = 0;
    size_t waiting = 0;
    for (const Node& node : nodes_) {
      if (node.holds) ++holders;
      if (node.call != nullptr) ++waiting;
    }
    ASSERT_LE(holders, kBound);
    if (waiting > 0) {
      ASSERT_EQ(holders, kBound) << "somebody waits beside a free place";
    }
    // Granted nodes asked before all waiting ones.
    for (const uint64_t i : order_) {
      if (nodes_[i].call != nullptr) break;
      granted.erase(std::remove(granted.begin(), granted.end(), i), granted.end());
    }
    ASSERT_THAT(granted, IsEmpty()) << "served out of order";
    order_.erase(std::remove_if(order_.begin(), order_.end(),
                                [this](uint64_t i) {
                                  return nodes_[i].call == nullptr && nodes_[i].turn_end <= now_;
                                }),
                 order_.end());
  }

  ReadPlaceTable table_{ReadPlaceTable::Options{}};
  ReadPlaceTable::Location location_{VersionUid(7), 0, "file:///a"};
  absl::Duration now_ = Seconds(1);
  std::vector<Node> nodes_ = std::vector<Node>(12);
  std::vector<uint64_t> epochs_ = std::vector<uint64_t>(12, 1);
  // The nodes that asked, in order.
  std::deque<uint64_t> order_;
};

TEST_P(ReadPlaceTableProperty, BoundOrderAndNoIdlePlaceHoldAfterEveryStep) {
  const auto random = NewSeededRandom(GetParam());
  for (int step = 0; step < 2'000; ++step) {
    Step(*random);
    ASSERT_NO_FATAL_FAILURE(Check()) << "seed " << GetParam() << ", step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, ReadPlaceTableProperty, testing::Range<uint64_t>(1, 21));

}  // namespace
}  // namespace muster
