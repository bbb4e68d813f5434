// A registry with one assembly, and its plans as steps.
#ifndef MUSTER_TESTS_UNIT_SERVER_PLANNING_PLANNING_FIXTURE_H_
#define MUSTER_TESTS_UNIT_SERVER_PLANNING_PLANNING_FIXTURE_H_

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/planning/planning.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {

class PlanningTest : public testing::Test {
 protected:
  void Create(uint32_t shards, muster::v1::Assembly::Policy policy = muster::v1::Assembly::BALANCED,
              uint32_t min_nodes = 1) {
    fixture_.Publish(kVersion, shards);
    MUSTER_EXPECT_OK(fixture_.Do(CreateAssembly(kAssembly, kVersion, policy, min_nodes)));
  }
  void JoinNodes(int count) {
    for (int i = 0; i < count; ++i) {
      const std::string node = absl::StrCat("nodes/n", ++nodes_);
      MUSTER_EXPECT_OK(fixture_.Do(Join(kAssembly, node, fixture_.Register(node))));
    }
  }
  AssemblyUid Uid() { return (*fixture_.registry().assemblies().Find(kAssembly))->uid(); }
  // The commands of a plan of the present state; none when it changes nothing.
  std::vector<Command> Commands() {
    auto task = TakePlanTask(fixture_.registry(), Uid());
    EXPECT_TRUE(task.has_value());
    if (!task.has_value()) return {};
    auto commands = MakePlanCommands(*std::move(task));
    EXPECT_THAT(commands, IsOk());
    return commands.ok() && commands->has_value() ? **commands : std::vector<Command>();
  }
  void Plan() {
    for (const Command& command : Commands()) MUSTER_ASSERT_OK(fixture_.Do(command));
  }
  // Every shard is assigned, once.
  void ExpectWhole(uint32_t shards) {
    std::set<uint32_t> assigned;
    for (const auto& [name, member] :
         (*fixture_.registry().assemblies().Find(kAssembly))->members()) {
      for (const Assignment& assignment : member.assignments) {
        EXPECT_TRUE(assigned.insert(assignment.shard).second);
      }
    }
    EXPECT_EQ(assigned.size(), shards);
  }

  // Everything that is assigned to the nodes is READY.
  void ReportAll() {
    for (const auto& [name, member] :
         (*fixture_.registry().assemblies().Find(kAssembly))->members()) {
      for (const Assignment& assignment : member.assignments) {
        MUSTER_EXPECT_OK(fixture_.Do(Report(kAssembly, name, member.epoch.value,
                                            assignment.generation.value, {assignment.shard})));
      }
    }
  }
  muster::v1::Assembly::State State() { return fixture_.Shown(kAssembly).state(); }
  uint32_t ShardsOn(const std::string& node) {
    return static_cast<uint32_t>(fixture_.MemberOf(kAssembly, node).assignments.size());
  }

  RegistryFixture fixture_;
  int nodes_ = 0;
};

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_SERVER_PLANNING_PLANNING_FIXTURE_H_
