#include "server/rpc/assembly_service.h"

#include "absl/strings/str_cat.h"
#include "muster/v1/assembly.grpc.pb.h"
#include "server/registry/validation.h"
#include "server/rpc/explain.h"
#include "server/rpc/list_page.h"
#include "server/rpc/previews.h"
#include "server/rpc/read_places.h"
#include "server/rpc/watch_stream.h"
#include "server/watch/assembly_cursor.h"
#include "server/watch/assignment_cursor.h"
#include "storage/base/limits.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using grpc::ServerWriteReactor;

// Of the shards that the node fetches as far as it has reported. A heartbeat may be older than the report that a shard is
// READY, and bytes that are counted as ready are not on their way any more.
uint64_t FetchingBytes(const Registry& registry, const Assembly& assembly,
                       const Assembly::Member& member) {
  const auto bound = [&](uint32_t shard) -> uint64_t {
    const size_t position = member.PositionOf(shard);
    const bool is_fetching =
        position < member.states.size() && member.states[position] == v1::ShardReport::FETCHING;
    return is_fetching ? assembly.version().shards[shard].size_bytes : 0;
  };
  return registry.leases().ProgressOf(member.node, assembly.name(), bound);
}

// One node's part in one shard.
void FillReplica(const Registry& registry, const Assembly& assembly, const std::string& node,
                 const Assembly::Member& member, size_t position, v1::ShardReplica& out) {
  const Assignment& assignment = member.assignments[position];
  const auto state = static_cast<v1::ShardReport::State>(member.states[position]);
  out.set_node(node);
  out.set_state(state);
  out.set_counted(state == v1::ShardReport::READY && member.live);
  out.set_node_live(member.live);
  out.set_generation(assignment.generation.value);
  const auto failure = member.failures.find(assignment.shard);
  if (failure != member.failures.end()) *out.mutable_failure() = failure->second;
  if (member.IsExtra(assignment.shard)) {
    const Node* replaced = registry.nodes().FindByUid(member.replaces.at(assignment.shard));
    out.set_replaces(replaced == nullptr ? "" : replaced->row.name());
    out.set_counted(false);
  }
  if (state == v1::ShardReport::FETCHING) {
    out.set_done_bytes(
        registry.leases().ProgressOf(member.node, assembly.name(), assignment.shard));
  }
}

absl::Status FillShardStatus(const Registry& registry, const v1::GetShardStatusRequest& request,
                             v1::GetShardStatusResponse& out) {
  if (!request.has_shard()) return InvalidField("shard", "", "required (0 is valid)");
  MUSTER_ASSIGN_OR_RETURN(const Assembly* assembly, registry.assemblies().Find(request.name()));
  const uint32_t shard = request.shard();
  MUSTER_RETURN_IF_ERROR(registry.catalogue().CheckShardExists(assembly->version(), shard));
  out.set_shard(shard);
  out.set_size_bytes(assembly->version().shards[shard].size_bytes);
  uint32_t required = 0, ready = 0;
  for (const auto& [node, member] : assembly->members()) {
    const size_t position = member.PositionOf(shard);
    if (position == member.assignments.size()) continue;
    v1::ShardReplica replica;
    FillReplica(registry, *assembly, node, member, position, replica);
    // As the assembly counts them: who is joining is not waited for.
    if (!member.IsExtra(shard) && assembly->Waits(member)) {
      ++required;
      if (replica.counted()) ++ready;
    }
    if (out.replicas_size() < kMaxMembersShown) *out.add_replicas() = std::move(replica);
  }
  ShowWaiting(registry, assembly->version().uid, out);
  out.set_replicas_required(required);
  out.set_replicas_ready(ready);
  return absl::OkStatus();
}

// Which locations failed, and how, is for those who may read the version: to others the reasons of an assembly stay,
// without what they say.
void HideReasons(const UnaryCall& call, const Registry& registry, v1::Assembly& assembly) {
  if (call.CheckVersion(assembly.model_version(), RegistryMembers(registry)).ok()) return;
  for (v1::AssemblyReason& reason : *assembly.mutable_reasons()) {
    reason.set_message("what is known of it is for those who may read the model version");
    reason.clear_node();
    reason.clear_shards();
  }
}

v1::Assembly Shown(const UnaryCall& call, const Registry& registry, const Assembly& assembly) {
  v1::Assembly shown = registry.DescribeAssembly(assembly);
  HideReasons(call, registry, shown);
  return shown;
}

// WatchAssembly is raw, so that an event's bytes are made once for all followers of the assembly.
using CallbackService =
    v1::AssemblyService::WithRawCallbackMethod_WatchAssembly<v1::AssemblyService::CallbackService>;

class AssemblyServiceRpc final : public CallbackService {
 public:
  AssemblyServiceRpc(ServiceContext& services, WatchHub& hub) : services_(services), hub_(hub) {}

  ServerUnaryReactor* CreateAssembly(CallbackServerContext* context,
                                     const v1::CreateAssemblyRequest* request,
                                     v1::CreateAssemblyResponse* response) override {
    return Mutate(services_, context, "CreateAssembly", request, response);
  }

  ServerUnaryReactor* UpdateAssembly(CallbackServerContext* context,
                                     const v1::UpdateAssemblyRequest* request,
                                     v1::UpdateAssemblyResponse* response) override {
    return Mutate(services_, context, "UpdateAssembly", request, response);
  }

  ServerUnaryReactor* JoinAssembly(CallbackServerContext* context,
                                   const v1::JoinAssemblyRequest* request,
                                   v1::JoinAssemblyResponse* response) override {
    const auto suppose = [request](const Registry& registry,
                                   const v1::JoinAssemblyResponse&) -> absl::StatusOr<Supposed> {
      MUSTER_ASSIGN_OR_RETURN(const Node* node, registry.nodes().Find(request->node()));
      MUSTER_ASSIGN_OR_RETURN(const Assembly* assembly,
                              registry.assemblies().Find(request->name()));
      return Supposed{{{WhatIf::Change::kJoined, node->uid, request->claim()}}, {assembly->uid()}};
    };
    const auto add = [](v1::PlanPreview preview, v1::JoinAssemblyResponse& out) {
      *out.mutable_plan() = std::move(preview);
    };
    return MutateOrPreview<v1::JoinAssemblyRequest, v1::JoinAssemblyResponse>(
        services_, context, "JoinAssembly", request, response, suppose, add);
  }

  ServerUnaryReactor* LeaveAssembly(CallbackServerContext* context,
                                    const v1::LeaveAssemblyRequest* request,
                                    v1::LeaveAssemblyResponse* response) override {
    const auto suppose = [request](const Registry& registry,
                                   const v1::LeaveAssemblyResponse&) -> absl::StatusOr<Supposed> {
      MUSTER_ASSIGN_OR_RETURN(const Assembly* assembly,
                              registry.assemblies().Find(request->name()));
      const Assembly::Member* member = assembly->FindMember(request->node());
      // A node that is not a member leaves nothing behind.
      const NodeUid node = member == nullptr ? NodeUid(0) : member->node;
      return Supposed{{{WhatIf::Change::kGone, node}}, {assembly->uid()}};
    };
    const auto add = [](v1::PlanPreview preview, v1::LeaveAssemblyResponse& out) {
      *out.mutable_plan() = std::move(preview);
    };
    return MutateOrPreview<v1::LeaveAssemblyRequest, v1::LeaveAssemblyResponse>(
        services_, context, "LeaveAssembly", request, response, suppose, add);
  }

  ServerUnaryReactor* DeleteAssembly(CallbackServerContext* context,
                                     const v1::DeleteAssemblyRequest* request,
                                     v1::DeleteAssemblyResponse* response) override {
    return Mutate(services_, context, "DeleteAssembly", request, response);
  }

  ServerUnaryReactor* ReportShards(CallbackServerContext* context,
                                   const v1::ReportShardsRequest* request,
                                   v1::ReportShardsResponse* response) override {
    return Mutate(services_, context, "ReportShards", request, response);
  }

  ServerUnaryReactor* GetAssembly(CallbackServerContext* context,
                                  const v1::GetAssemblyRequest* request,
                                  v1::GetAssemblyResponse* response) override {
    return Read(services_, context, "GetAssembly", request, response,
                [request](const UnaryCall& call, const Registry& registry,
                          v1::GetAssemblyResponse& out) -> absl::Status {
                  MUSTER_ASSIGN_OR_RETURN(const Assembly* assembly,
                                          registry.assemblies().Find(request->name()));
                  *out.mutable_assembly() = Shown(call, registry, *assembly);
                  const auto show = [&](const std::string& node, const Assembly::Member& member) {
                    v1::AssemblyMember* item = out.add_members();
                    *item = assembly->DescribeMember(node, member, kMaxClaimShown);
                    item->set_fetching_bytes(FetchingBytes(registry, *assembly, member));
                  };
                  if (!request->node().empty()) {
                    MUSTER_RETURN_IF_ERROR(ParseNodeName(request->node()).status());
                    const Assembly::Member* member = assembly->FindMember(request->node());
                    if (member != nullptr) show(request->node(), *member);
                    return absl::OkStatus();
                  }
                  for (const auto& [node, member] : assembly->members()) {
                    if (out.members_size() == kMaxMembersShown) break;
                    show(node, member);
                  }
                  ShowOrigins(registry, *assembly, out);
                  HideReasons(call, registry, *out.mutable_assembly());
                  return absl::OkStatus();
                });
  }

  ServerUnaryReactor* ListAssemblyMembers(CallbackServerContext* context,
                                          const v1::ListAssemblyMembersRequest* request,
                                          v1::ListAssemblyMembersResponse* response) override {
    return Read(services_, context, "ListAssemblyMembers", request, response,
                [request](const UnaryCall& call, const Registry& registry,
                          v1::ListAssemblyMembersResponse& out) -> absl::Status {
                  MUSTER_ASSIGN_OR_RETURN(const Assembly* assembly,
                                          registry.assemblies().Find(request->name()));
                  const PageTokens tokens(
                      absl::StrCat("ListAssemblyMembers ", assembly->uid().value), call);
                  return FillPage(
                      assembly->members(), tokens, registry.revision(), *request, out,
                      [&](const std::string& node, const Assembly::Member& member) {
                        v1::AssemblyMember* item = out.add_members();
                        *item = assembly->DescribeMember(node, member);
                        item->set_fetching_bytes(FetchingBytes(registry, *assembly, member));
                        return item->ByteSizeLong();
                      });
                });
  }

  ServerUnaryReactor* ListAssemblies(CallbackServerContext* context,
                                     const v1::ListAssembliesRequest* request,
                                     v1::ListAssembliesResponse* response) override {
    return Read(services_, context, "ListAssemblies", request, response,
                [request](const UnaryCall& call, const Registry& registry,
                          v1::ListAssembliesResponse& out) {
                  const PageTokens tokens(absl::StrCat("ListAssemblies ", request->model_version()),
                                          call);
                  return FillPage(registry.assemblies().by_name(), tokens, registry.revision(),
                                  *request, out, [&](const Assembly& assembly) -> size_t {
                                    if (!request->model_version().empty() &&
                                        assembly.version().row.name() != request->model_version()) {
                                      return 0;
                                    }
                                    return AddShown(call, registry, Shown(call, registry, assembly),
                                                    out.mutable_assemblies());
                                  });
                });
  }

  ServerUnaryReactor* ExplainAssignment(CallbackServerContext* context,
                                        const v1::ExplainAssignmentRequest* request,
                                        v1::ExplainAssignmentResponse* response) override {
    return ReadAndWork<ExplainTask, v1::ExplainAssignmentRequest, v1::ExplainAssignmentResponse>(
        services_, context, "ExplainAssignment", request, response,
        [request](const Registry& registry) -> absl::StatusOr<ExplainTask> {
          v1::GetShardStatusRequest shard;
          shard.set_name(request->name());
          if (request->has_shard()) shard.set_shard(request->shard());
          v1::GetShardStatusResponse status;
          MUSTER_RETURN_IF_ERROR(FillShardStatus(registry, shard, status));
          return TakeExplainTask(registry, *request, std::move(status));
        },
        FillExplanation);
  }

  ServerUnaryReactor* GetShardStatus(CallbackServerContext* context,
                                     const v1::GetShardStatusRequest* request,
                                     v1::GetShardStatusResponse* response) override {
    return Read(services_, context, "GetShardStatus", request, response,
                [request](const Registry& registry, v1::GetShardStatusResponse& out) {
                  return FillShardStatus(registry, *request, out);
                });
  }

  ServerWriteReactor<v1::WatchAssignmentsResponse>* WatchAssignments(
      CallbackServerContext* context, const v1::WatchAssignmentsRequest* request) override {
    return OpenWatch<AssignmentCursor, v1::WatchAssignmentsResponse>(services_, hub_, context,
                                                                     "WatchAssignments", *request);
  }

  ServerWriteReactor<grpc::ByteBuffer>* WatchAssembly(CallbackServerContext* context,
                                                      const grpc::ByteBuffer* packed) override {
    v1::WatchAssemblyRequest request;
    grpc::ByteBuffer bytes(*packed);
    // What can't be read has no name, which the cursor refuses.
    if (!grpc::SerializationTraits<v1::WatchAssemblyRequest>::Deserialize(&bytes, &request).ok())
      request.Clear();
    return OpenWatch<AssemblyCursor, grpc::ByteBuffer>(services_, hub_, context, "WatchAssembly",
                                                       request);
  }

 private:
  ServiceContext& services_;
  WatchHub& hub_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewAssemblyService(ServiceContext& services, WatchHub& hub) {
  return std::make_unique<AssemblyServiceRpc>(services, hub);
}

}  // namespace muster
