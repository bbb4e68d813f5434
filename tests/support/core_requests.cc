#include "tests/support/core_requests.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/planning/planning.h"
#include "storage/base/limits.h"
#include "storage/base/md5.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

SimulatedServer::Options DefaultOptions() {
  SimulatedServer::Options options;
  options.limits.batch_operations_max = 100;
  options.limits.batch_bytes_max = 1u << 20;
  options.limits.value_bytes_max = 256u << 10;
  return options;
}

}  // namespace

v1::Shard SimpleShard(uint32_t index, uint64_t size_bytes) {
  v1::Shard shard;
  shard.set_index(index);
  shard.set_size_bytes(size_bytes);
  shard.set_md5(Md5ToHex(Md5Of(absl::StrCat("shard ", index))));
  shard.add_locations()->set_uri(absl::StrCat("file:///weights/", index));
  return shard;
}

std::vector<Command> PublishCommands(absl::string_view version, uint32_t shards,
                                     uint64_t size_bytes) {
  std::vector<Command> commands;
  v1::CreateModelVersionRequest create;
  create.mutable_model_version()->set_name(std::string(version));
  create.mutable_model_version()->set_shard_count(shards);
  commands.push_back(create);
  for (uint32_t i = 0; i < shards; ++i) {
    commands.push_back(AddShard{std::string(version), SimpleShard(i, size_bytes), false});
  }
  v1::CommitModelVersionRequest commit;
  commit.set_name(std::string(version));
  commands.push_back(commit);
  return commands;
}

v1::RegisterNodeRequest RegisterRequest(absl::string_view node, uint64_t capacity_bytes) {
  v1::RegisterNodeRequest request;
  request.mutable_node()->set_name(std::string(node));
  request.mutable_node()->set_capacity_bytes(capacity_bytes);
  return request;
}

v1::CreateAssemblyRequest CreateAssemblyRequestOf(absl::string_view assembly,
                                                  absl::string_view version,
                                                  v1::Assembly::Policy policy) {
  v1::CreateAssemblyRequest request;
  request.mutable_assembly()->set_name(std::string(assembly));
  request.mutable_assembly()->set_model_version(std::string(version));
  request.mutable_assembly()->set_policy(policy);
  return request;
}

v1::JoinAssemblyRequest JoinRequest(absl::string_view assembly, absl::string_view node, Epoch epoch,
                                    v1::Claim::Kind kind) {
  v1::JoinAssemblyRequest request;
  request.set_name(std::string(assembly));
  request.set_node(std::string(node));
  request.set_epoch(epoch.value);
  request.mutable_claim()->set_kind(kind);
  return request;
}

CoreUnderTest::CoreUnderTest() : CoreUnderTest(DefaultOptions()) {}

CoreUnderTest::CoreUnderTest(const SimulatedServer::Options& options) : server_(clock_, options) {
  clock_.Advance(absl::Hours(24 * 365));
  Restart();
}

void CoreUnderTest::Restart() {
  server_.Stop();
  if (const absl::Status started = server_.Start(); !started.ok()) {
    server_.AddViolation(started.ToString());
  }
}

JobResult CoreUnderTest::Do(std::vector<Command> commands) {
  const auto ticket = server_.Submit(std::move(commands));
  const absl::Status ran = server_.Run();
  JobResult result;
  result.status = ran;
  return ticket->result.has_value() ? *std::move(ticket->result) : std::move(result);
}

JobResult CoreUnderTest::Do(Command command) {
  std::vector<Command> commands;
  commands.push_back(std::move(command));
  return Do(std::move(commands));
}

Epoch CoreUnderTest::AddNode(absl::string_view node, uint64_t capacity_bytes) {
  const JobResult result = Do(RegisterRequest(node, capacity_bytes));
  const auto* reply = dynamic_cast<const v1::RegisterNodeResponse*>(result.reply.get());
  return Epoch(reply == nullptr ? 0 : reply->epoch());
}

void CoreUnderTest::Join(absl::string_view assembly, absl::string_view node, v1::Claim::Kind kind) {
  const auto found = registry().nodes().Find(node);
  const Epoch epoch = found.ok() ? (*found)->epoch() : Epoch(0);
  const JobResult result = Do(JoinRequest(assembly, node, epoch, kind));
  if (!result.status.ok()) server_.AddViolation(result.status.ToString());
}

void CoreUnderTest::Plan() {
  auto& wanted = server_.plans_wanted();
  while (!wanted.empty()) {
    const AssemblyUid uid = *wanted.begin();
    wanted.erase(wanted.begin());
    std::optional<PlanTask> task = TakePlanTask(registry(), uid);
    if (!task.has_value()) continue;
    auto commands = MakePlanCommands(*std::move(task));
    if (!commands.ok()) return server_.AddViolation(commands.status().ToString());
    if (commands->has_value()) Do(**std::move(commands));
  }
}

JobResult CoreUnderTest::ReportAll(absl::string_view assembly, absl::string_view node,
                                   v1::ShardReport::State state) {
  JobResult last;
  const Assembly::Member& member = *AssemblyOf(assembly).FindMember(std::string(node));
  for (size_t begin = 0; begin < member.assignments.size(); begin += kMaxItemsPerCall) {
    v1::ReportShardsRequest request;
    request.set_assembly(std::string(assembly));
    request.set_node(std::string(node));
    request.set_epoch(member.epoch.value);
    const size_t end = std::min(begin + kMaxItemsPerCall, member.assignments.size());
    for (size_t i = begin; i < end; ++i) {
      v1::ShardReport& report = *request.add_reports();
      report.set_shard(member.assignments[i].shard);
      report.set_generation(member.assignments[i].generation.value);
      report.set_state(state);
      if (state != v1::ShardReport::FAILED) continue;
      report.mutable_failure()->set_code(v1::ShardFailure::CORRUPT);
      report.mutable_failure()->set_message(std::string(kMaxFailureMessageBytes, 'm'));
      report.mutable_failure()->set_location(std::string(kMaxFailureMessageBytes, 'l'));
      report.mutable_failure()->set_found_md5(std::string(32, 'f'));
    }
    last = Do(std::move(request));
    if (!last.status.ok()) return last;
  }
  return last;
}

void CoreUnderTest::AdvanceAndTick(absl::Duration by) {
  clock_.Advance(by);
  server_.SubmitTick();
  if (const absl::Status ran = server_.Run(); !ran.ok()) server_.AddViolation(ran.ToString());
}

const Assembly& CoreUnderTest::AssemblyOf(absl::string_view name) const {
  return **registry().assemblies().Find(name);
}

}  // namespace muster
