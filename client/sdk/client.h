// The typed calls of a Muster server.
#ifndef MUSTER_CLIENT_SDK_CLIENT_H_
#define MUSTER_CLIENT_SDK_CLIENT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "client/sdk/channel.h"
#include "client/sdk/grpc_channel.h"
#include "client/sdk/retrying_channel.h"
#include "muster/v1/access.pb.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/enrolment.pb.h"
#include "muster/v1/event.pb.h"
#include "muster/v1/key.pb.h"
#include "muster/v1/model.pb.h"
#include "muster/v1/node.pb.h"
#include "muster/v1/server.pb.h"

namespace muster {

struct ClientOptions {
  // "host:port" of one or more servers of the same cluster.
  std::vector<std::string> servers = {"127.0.0.1:7070"};
  ChannelSecurity security;
  RetryOptions retry;
};

// One method per RPC; proto/muster/v1 says what each does and which errors it has.
//
// Thread-safe; calls block. Unary calls are retried as retrying_channel.h says, so an error that
// arrives here is final within the call's timeout. Where a request has a `request_id` and it is
// empty, the client fills it once before the first attempt, so that a retry whose first attempt did
// succeed is answered with the first reply. Errors keep their ErrorDetail: ReasonOf(status) gives
// the reason, DetailOf(status).metadata the values. Listing, waiting and piece lists have
// conveniences in pages.h, wait.h and pieces.h.
class Client {
 public:
  template <typename Response>
  using OnMessage = absl::FunctionRef<bool(const Response&)>;

  // Over gRPC, with retries. Connects lazily. kInvalidArgument: a server is not "host:port".
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const ClientOptions& options, Clock& clock,
                                                         Random& random);

  // Over any channel, as it is.
  Client(std::unique_ptr<Channel> channel, Random& random);

  // ModelService.
  absl::StatusOr<v1::CreateModelVersionResponse> CreateModelVersion(
      const v1::CreateModelVersionRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::AddShardsResponse> AddShards(const v1::AddShardsRequest& request,
                                                  const CallOptions& options = {});
  absl::StatusOr<v1::AddTensorsResponse> AddTensors(const v1::AddTensorsRequest& request,
                                                    const CallOptions& options = {});
  absl::StatusOr<v1::AddCompanionsResponse> AddCompanions(const v1::AddCompanionsRequest& request,
                                                          const CallOptions& options = {});
  absl::StatusOr<v1::CommitModelVersionResponse> CommitModelVersion(
      const v1::CommitModelVersionRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::GetModelVersionResponse> GetModelVersion(
      const v1::GetModelVersionRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::ListModelVersionsResponse> ListModelVersions(
      const v1::ListModelVersionsRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::DeleteModelVersionResponse> DeleteModelVersion(
      const v1::DeleteModelVersionRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::GetShardResponse> GetShard(const v1::GetShardRequest& request,
                                                const CallOptions& options = {});
  absl::StatusOr<v1::ListShardsResponse> ListShards(const v1::ListShardsRequest& request,
                                                    const CallOptions& options = {});
  absl::StatusOr<v1::ListPiecesResponse> ListPieces(const v1::ListPiecesRequest& request,
                                                    const CallOptions& options = {});
  absl::StatusOr<v1::ListTensorsResponse> ListTensors(const v1::ListTensorsRequest& request,
                                                      const CallOptions& options = {});
  absl::StatusOr<v1::ListCompanionsResponse> ListCompanions(
      const v1::ListCompanionsRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::AddLocationsResponse> AddLocations(const v1::AddLocationsRequest& request,
                                                        const CallOptions& options = {});
  absl::StatusOr<v1::RemoveLocationsResponse> RemoveLocations(
      const v1::RemoveLocationsRequest& request, const CallOptions& options = {});

  // NodeService.
  absl::StatusOr<v1::RegisterNodeResponse> RegisterNode(const v1::RegisterNodeRequest& request,
                                                        const CallOptions& options = {});
  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const v1::HeartbeatRequest& request,
                                                  const CallOptions& options = {});
  absl::StatusOr<v1::UpdateNodeResponse> UpdateNode(const v1::UpdateNodeRequest& request,
                                                    const CallOptions& options = {});
  absl::StatusOr<v1::DrainNodeResponse> DrainNode(const v1::DrainNodeRequest& request,
                                                  const CallOptions& options = {});
  // The server may hold its answer back for `request.max_wait`; the call's timeouts allow for that.
  absl::StatusOr<v1::AcquireReadResponse> AcquireRead(const v1::AcquireReadRequest& request,
                                                      const CallOptions& options = {});
  absl::StatusOr<v1::ReleaseReadResponse> ReleaseRead(const v1::ReleaseReadRequest& request,
                                                      const CallOptions& options = {});
  absl::StatusOr<v1::DeregisterNodeResponse> DeregisterNode(
      const v1::DeregisterNodeRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::ResumeMovesResponse> ResumeMoves(const v1::ResumeMovesRequest& request,
                                                      const CallOptions& options = {});
  absl::StatusOr<v1::GetNodeResponse> GetNode(const v1::GetNodeRequest& request,
                                              const CallOptions& options = {});
  absl::StatusOr<v1::ListNodesResponse> ListNodes(const v1::ListNodesRequest& request,
                                                  const CallOptions& options = {});

  // AssemblyService.
  absl::StatusOr<v1::CreateAssemblyResponse> CreateAssembly(
      const v1::CreateAssemblyRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::UpdateAssemblyResponse> UpdateAssembly(
      const v1::UpdateAssemblyRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::JoinAssemblyResponse> JoinAssembly(const v1::JoinAssemblyRequest& request,
                                                        const CallOptions& options = {});
  absl::StatusOr<v1::LeaveAssemblyResponse> LeaveAssembly(const v1::LeaveAssemblyRequest& request,
                                                          const CallOptions& options = {});
  absl::StatusOr<v1::GetAssemblyResponse> GetAssembly(const v1::GetAssemblyRequest& request,
                                                      const CallOptions& options = {});
  absl::StatusOr<v1::ListAssemblyMembersResponse> ListAssemblyMembers(
      const v1::ListAssemblyMembersRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::ListAssembliesResponse> ListAssemblies(
      const v1::ListAssembliesRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::DeleteAssemblyResponse> DeleteAssembly(
      const v1::DeleteAssemblyRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::ReportShardsResponse> ReportShards(const v1::ReportShardsRequest& request,
                                                        const CallOptions& options = {});
  absl::StatusOr<v1::ExplainAssignmentResponse> ExplainAssignment(
      const v1::ExplainAssignmentRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::GetShardStatusResponse> GetShardStatus(
      const v1::GetShardStatusRequest& request, const CallOptions& options = {});

  // AccessService.
  absl::StatusOr<v1::WhoAmIResponse> WhoAmI(const v1::WhoAmIRequest& request,
                                            const CallOptions& options = {});
  absl::StatusOr<v1::CheckAccessResponse> CheckAccess(const v1::CheckAccessRequest& request,
                                                      const CallOptions& options = {});

  // KeyService.
  absl::StatusOr<v1::CreateContentKeyResponse> CreateContentKey(
      const v1::CreateContentKeyRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::GetContentKeyResponse> GetContentKey(const v1::GetContentKeyRequest& request,
                                                          const CallOptions& options = {});
  absl::StatusOr<v1::GetKeyStatusResponse> GetKeyStatus(const v1::GetKeyStatusRequest& request,
                                                        const CallOptions& options = {});

  // EventService.
  absl::StatusOr<v1::ListEventsResponse> ListEvents(const v1::ListEventsRequest& request,
                                                    const CallOptions& options = {});

  // ServerService. kUnimplemented: a server that is older than this call.
  absl::StatusOr<v1::GetServerInfoResponse> GetServerInfo(const v1::GetServerInfoRequest& request,
                                                          const CallOptions& options = {});

  // EnrolmentService. A CreateJoinToken whose answer is lost is made again, and its token with it; nobody has the first.
  absl::StatusOr<v1::CreateJoinTokenResponse> CreateJoinToken(
      const v1::CreateJoinTokenRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::ListJoinTokensResponse> ListJoinTokens(
      const v1::ListJoinTokensRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::DeleteJoinTokenResponse> DeleteJoinToken(
      const v1::DeleteJoinTokenRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::EnrolResponse> Enrol(const v1::EnrolRequest& request,
                                          const CallOptions& options = {});
  absl::StatusOr<v1::RenewCertificateResponse> RenewCertificate(
      const v1::RenewCertificateRequest& request, const CallOptions& options = {});
  absl::StatusOr<v1::ReleaseNameResponse> ReleaseName(const v1::ReleaseNameRequest& request,
                                                      const CallOptions& options = {});

  // One stream each: it is not resumed here. `on_message` runs on the calling thread; false ends
  // the stream with OK.
  absl::Status WatchAssignments(const v1::WatchAssignmentsRequest& request,
                                OnMessage<v1::WatchAssignmentsResponse> on_message,
                                const CallOptions& options = {});
  absl::Status WatchAssembly(const v1::WatchAssemblyRequest& request,
                             OnMessage<v1::WatchAssemblyResponse> on_message,
                             const CallOptions& options = {});
  absl::Status WatchEvents(const v1::WatchEventsRequest& request,
                           OnMessage<v1::WatchEventsResponse> on_message,
                           const CallOptions& options = {});

 private:
  const std::unique_ptr<Channel> channel_;
  Random& random_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_SDK_CLIENT_H_
