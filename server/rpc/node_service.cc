#include "server/rpc/node_service.h"

#include "muster/v1/node.grpc.pb.h"
#include "server/registry/timestamps.h"
#include "server/registry/validation.h"
#include "server/rpc/list_page.h"
#include "server/rpc/node_filter.h"
#include "server/rpc/previews.h"
#include "server/rpc/read_places.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

class NodeServiceRpc final : public v1::NodeService::CallbackService {
 public:
  explicit NodeServiceRpc(ServiceContext& services) : services_(services) {}

  ServerUnaryReactor* RegisterNode(CallbackServerContext* context,
                                   const v1::RegisterNodeRequest* request,
                                   v1::RegisterNodeResponse* response) override {
    return Mutate(services_, context, "RegisterNode", request, response);
  }

  ServerUnaryReactor* Heartbeat(CallbackServerContext* context, const v1::HeartbeatRequest* request,
                                v1::HeartbeatResponse* response) override {
    const UnaryCall call(services_, context, "Heartbeat", *request);
    if (!call.refused()) call.Finish(Renew(*request, *response));
    return call.reactor();
  }

  ServerUnaryReactor* AcquireRead(CallbackServerContext* context,
                                  const v1::AcquireReadRequest* request,
                                  v1::AcquireReadResponse* response) override {
    return AcquireReadPlace(services_, context, *request, response);
  }

  ServerUnaryReactor* ReleaseRead(CallbackServerContext* context,
                                  const v1::ReleaseReadRequest* request,
                                  v1::ReleaseReadResponse* response) override {
    return Read(services_, context, "ReleaseRead", request, response,
                [this, request](const Registry& registry, v1::ReleaseReadResponse&) {
                  return ReleaseReadPlace(registry, services_.live.read_places, *request);
                });
  }

  ServerUnaryReactor* UpdateNode(CallbackServerContext* context,
                                 const v1::UpdateNodeRequest* request,
                                 v1::UpdateNodeResponse* response) override {
    return Mutate(services_, context, "UpdateNode", request, response);
  }

  ServerUnaryReactor* DeregisterNode(CallbackServerContext* context,
                                     const v1::DeregisterNodeRequest* request,
                                     v1::DeregisterNodeResponse* response) override {
    return MutateOrPreview<v1::DeregisterNodeRequest, v1::DeregisterNodeResponse>(
        services_, context, "DeregisterNode", request, response,
        [request](const Registry& registry, const auto&) {
          return SupposeOne(registry, WhatIf::Change::kGone, request->name());
        },
        AddPlan<v1::DeregisterNodeResponse>);
  }

  ServerUnaryReactor* DrainNode(CallbackServerContext* context, const v1::DrainNodeRequest* request,
                                v1::DrainNodeResponse* response) override {
    return MutateOrPreview<v1::DrainNodeRequest, v1::DrainNodeResponse>(
        services_, context, "DrainNode", request, response,
        [request](const Registry& registry, const auto&) -> absl::StatusOr<Supposed> {
          // The end of a drain moves nothing by itself.
          if (request->cancel()) return Supposed();
          return SupposeOne(registry, WhatIf::Change::kDrained, request->name());
        },
        AddPlan<v1::DrainNodeResponse>);
  }

  ServerUnaryReactor* ResumeMoves(CallbackServerContext* context,
                                  const v1::ResumeMovesRequest* request,
                                  v1::ResumeMovesResponse* response) override {
    return MutateOrPreview<v1::ResumeMovesRequest, v1::ResumeMovesResponse>(
        services_, context, "ResumeMoves", request, response,
        [](const Registry& registry,
           const v1::ResumeMovesResponse& checked) -> absl::StatusOr<Supposed> {
          std::vector<WhatIf> changes;
          for (const std::string& name : checked.nodes()) {
            const auto node = registry.nodes().Find(name);
            if (node.ok()) changes.push_back({WhatIf::Change::kReleased, (*node)->uid});
          }
          return SupposeForNodes(registry, std::move(changes));
        },
        AddPlan<v1::ResumeMovesResponse>);
  }

  ServerUnaryReactor* GetNode(CallbackServerContext* context, const v1::GetNodeRequest* request,
                              v1::GetNodeResponse* response) override {
    return Read(services_, context, "GetNode", request, response,
                [request](const Registry& registry, v1::GetNodeResponse& out) -> absl::Status {
                  MUSTER_ASSIGN_OR_RETURN(const Node* node, registry.nodes().Find(request->name()));
                  *out.mutable_node() = registry.DescribeNode(*node);
                  return absl::OkStatus();
                });
  }

  ServerUnaryReactor* ListNodes(CallbackServerContext* context, const v1::ListNodesRequest* request,
                                v1::ListNodesResponse* response) override {
    return Read(services_, context, "ListNodes", request, response,
                [request](const UnaryCall& call, const Registry& registry,
                          v1::ListNodesResponse& out) -> absl::Status {
                  MUSTER_RETURN_IF_ERROR(CheckNodeList(*request));
                  return FillPage(registry.nodes().by_name(), PageTokens(ListName(*request), call),
                                  registry.revision(), *request, out,
                                  [&](const Node& node) -> size_t {
                                    if (!Matches(*request, node)) return 0;
                                    return AddShown(call, registry, registry.DescribeNode(node),
                                                    out.mutable_nodes());
                                  });
                });
  }

 private:
  static absl::StatusOr<Supposed> SupposeOne(const Registry& registry, WhatIf::Change change,
                                             const std::string& name) {
    MUSTER_ASSIGN_OR_RETURN(const Node* node, registry.nodes().Find(name));
    return SupposeForNodes(registry, {{change, node->uid}});
  }

  template <typename Response>
  static void AddPlan(v1::PlanPreview preview, Response& out) {
    *out.add_plans() = std::move(preview);
  }

  // Touches the lease table only; a lost node's return is a transaction, which nobody waits for.
  absl::Status Renew(const v1::HeartbeatRequest& request, v1::HeartbeatResponse& response) {
    MUSTER_RETURN_IF_ERROR(ParseNodeName(request.name()).status());
    MUSTER_ASSIGN_OR_RETURN(const LeaseTable::HeartbeatResult result,
                            services_.live.leases.Heartbeat(request));
    if (result.revive.has_value()) {
      services_.committer.SubmitInternal(
          Job{.commands = {ReviveNode{result.revive->node, result.revive->epoch}}});
    }
    response.set_revision(services_.committer.durable().value);
    *response.mutable_lease_ttl() = ToDuration(result.lease_ttl_us);
    *response.mutable_heartbeat_interval() = ToDuration(result.heartbeat_interval_us);
    return absl::OkStatus();
  }

  ServiceContext& services_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewNodeService(ServiceContext& services) {
  return std::make_unique<NodeServiceRpc>(services);
}

}  // namespace muster
