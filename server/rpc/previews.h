// validate_only of the calls that plans follow: what those would change.
#ifndef MUSTER_SERVER_RPC_PREVIEWS_H_
#define MUSTER_SERVER_RPC_PREVIEWS_H_

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "muster/v1/assembly.pb.h"
#include "server/planning/planning.h"
#include "server/registry/registry.h"
#include "server/rpc/calls.h"
#include "server/rpc/members.h"

namespace muster {

// What a call would bring about, as far as plans are concerned.
struct Supposed {
  std::vector<WhatIf> changes;
  // Whose plans are shown.
  std::vector<AssemblyUid> assemblies;
};

// The plans of all assemblies that the nodes are members of; of the first 100.
Supposed SupposeForNodes(const Registry& registry, std::vector<WhatIf> changes);

// Makes the plans, and calls `add` for each. By a planner: takes the shared lock once per
// assembly, for its input only.
absl::Status MakePreviews(Committer& committer, const Supposed& supposed,
                          const std::function<void(muster::v1::PlanPreview)>& add);

// A mutation that is one command. With validate_only, once the committer has checked the call,
// `suppose` runs under the shared lock, and `add` for each plan that would follow; both see the
// response that the committer gave.
template <typename Request, typename Response>
grpc::ServerUnaryReactor* MutateOrPreview(
    ServiceContext& services, grpc::CallbackServerContext* context, const char* method,
    const Request* request, Response* response,
    std::function<absl::StatusOr<Supposed>(const Registry&, const Response&)> suppose,
    std::function<void(muster::v1::PlanPreview, Response&)> add) {
  if (!request->validate_only()) return Mutate(services, context, method, request, response);
  const UnaryCall call(services, context, method, *request);
  if (call.refused()) return call.reactor();
  auto work = [&services, call, response, suppose = std::move(suppose), add = std::move(add)] {
    absl::StatusOr<Supposed> supposed = Supposed();
    services.committer.Read(
        [&](const Registry& registry) { supposed = suppose(registry, *response); },
        [](Revision) {});
    absl::Status status = supposed.status();
    if (status.ok()) {
      const CommittedMembers members(services.committer);
      status = MakePreviews(services.committer, *supposed, [&](muster::v1::PlanPreview preview) {
        if (call.MayShow(preview, members)) add(std::move(preview), *response);
      });
    }
    // What the plans were made from may not be stored yet; a later read saw at least as much.
    services.committer.Read([](const Registry&) {},
                            [call, status](Revision) { call.Finish(status); });
  };
  services.committer.Submit(
      Job{{*request}, [&services, call, response, work = std::move(work)](JobResult result) {
            call.NoteRevision(result.revision);
            if (!result.status.ok()) return call.Finish(result.status);
            response->Swap(static_cast<Response*>(result.reply.get()));
            call.WorkAlone(services.planners, work);
          }});
  return call.reactor();
}

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_PREVIEWS_H_
