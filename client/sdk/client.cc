#include "client/sdk/client.h"

#include <utility>

#include "absl/strings/string_view.h"
#include "client/sdk/grpc_channel.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

template <typename Response, typename Request>
absl::StatusOr<Response> Call(Channel& channel, absl::string_view method, const Request& request,
                              const CallOptions& options) {
  Response response;
  MUSTER_RETURN_IF_ERROR(channel.Unary(method, request, response, options));
  return response;
}

// For requests with a `request_id`.
template <typename Response, typename Request>
absl::StatusOr<Response> CallOnce(Channel& channel, Random& random, absl::string_view method,
                                  const Request& request, const CallOptions& options) {
  if (!request.request_id().empty()) return Call<Response>(channel, method, request, options);
  Request with_id = request;
  with_id.set_request_id(random.NextId());
  return Call<Response>(channel, method, with_id, options);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const ClientOptions& options, Clock& clock,
                                                        Random& random) {
  MUSTER_ASSIGN_OR_RETURN(auto channel, NewGrpcChannel(options.servers, options.security));
  return std::make_unique<Client>(
      NewRetryingChannel(std::move(channel), clock, random, options.retry), random);
}

Client::Client(std::unique_ptr<Channel> channel, Random& random)
    : channel_(std::move(channel)), random_(random) {}

absl::StatusOr<v1::CreateModelVersionResponse> Client::CreateModelVersion(
    const v1::CreateModelVersionRequest& request, const CallOptions& options) {
  return CallOnce<v1::CreateModelVersionResponse>(
      *channel_, random_, "/muster.v1.ModelService/CreateModelVersion", request, options);
}

absl::StatusOr<v1::AddShardsResponse> Client::AddShards(const v1::AddShardsRequest& request,
                                                        const CallOptions& options) {
  return Call<v1::AddShardsResponse>(*channel_, "/muster.v1.ModelService/AddShards", request,
                                     options);
}

absl::StatusOr<v1::AddTensorsResponse> Client::AddTensors(const v1::AddTensorsRequest& request,
                                                          const CallOptions& options) {
  return Call<v1::AddTensorsResponse>(*channel_, "/muster.v1.ModelService/AddTensors", request,
                                      options);
}

absl::StatusOr<v1::AddCompanionsResponse> Client::AddCompanions(
    const v1::AddCompanionsRequest& request, const CallOptions& options) {
  return Call<v1::AddCompanionsResponse>(*channel_, "/muster.v1.ModelService/AddCompanions",
                                         request, options);
}

absl::StatusOr<v1::CommitModelVersionResponse> Client::CommitModelVersion(
    const v1::CommitModelVersionRequest& request, const CallOptions& options) {
  return Call<v1::CommitModelVersionResponse>(
      *channel_, "/muster.v1.ModelService/CommitModelVersion", request, options);
}

absl::StatusOr<v1::GetModelVersionResponse> Client::GetModelVersion(
    const v1::GetModelVersionRequest& request, const CallOptions& options) {
  return Call<v1::GetModelVersionResponse>(*channel_, "/muster.v1.ModelService/GetModelVersion",
                                           request, options);
}

absl::StatusOr<v1::ListModelVersionsResponse> Client::ListModelVersions(
    const v1::ListModelVersionsRequest& request, const CallOptions& options) {
  return Call<v1::ListModelVersionsResponse>(*channel_, "/muster.v1.ModelService/ListModelVersions",
                                             request, options);
}

absl::StatusOr<v1::DeleteModelVersionResponse> Client::DeleteModelVersion(
    const v1::DeleteModelVersionRequest& request, const CallOptions& options) {
  return CallOnce<v1::DeleteModelVersionResponse>(
      *channel_, random_, "/muster.v1.ModelService/DeleteModelVersion", request, options);
}

absl::StatusOr<v1::GetShardResponse> Client::GetShard(const v1::GetShardRequest& request,
                                                      const CallOptions& options) {
  return Call<v1::GetShardResponse>(*channel_, "/muster.v1.ModelService/GetShard", request,
                                    options);
}

absl::StatusOr<v1::ListShardsResponse> Client::ListShards(const v1::ListShardsRequest& request,
                                                          const CallOptions& options) {
  return Call<v1::ListShardsResponse>(*channel_, "/muster.v1.ModelService/ListShards", request,
                                      options);
}

absl::StatusOr<v1::ListPiecesResponse> Client::ListPieces(const v1::ListPiecesRequest& request,
                                                          const CallOptions& options) {
  return Call<v1::ListPiecesResponse>(*channel_, "/muster.v1.ModelService/ListPieces", request,
                                      options);
}

absl::StatusOr<v1::ListTensorsResponse> Client::ListTensors(const v1::ListTensorsRequest& request,
                                                            const CallOptions& options) {
  return Call<v1::ListTensorsResponse>(*channel_, "/muster.v1.ModelService/ListTensors", request,
                                       options);
}

absl::StatusOr<v1::ListCompanionsResponse> Client::ListCompanions(
    const v1::ListCompanionsRequest& request, const CallOptions& options) {
  return Call<v1::ListCompanionsResponse>(*channel_, "/muster.v1.ModelService/ListCompanions",
                                          request, options);
}

absl::StatusOr<v1::AddLocationsResponse> Client::AddLocations(
    const v1::AddLocationsRequest& request, const CallOptions& options) {
  return Call<v1::AddLocationsResponse>(*channel_, "/muster.v1.ModelService/AddLocations", request,
                                        options);
}

absl::StatusOr<v1::RemoveLocationsResponse> Client::RemoveLocations(
    const v1::RemoveLocationsRequest& request, const CallOptions& options) {
  return Call<v1::RemoveLocationsResponse>(*channel_, "/muster.v1.ModelService/RemoveLocations",
                                           request, options);
}

absl::StatusOr<v1::RegisterNodeResponse> Client::RegisterNode(
    const v1::RegisterNodeRequest& request, const CallOptions& options) {
  return CallOnce<v1::RegisterNodeResponse>(
      *channel_, random_, "/muster.v1.NodeService/RegisterNode", request, options);
}

absl::StatusOr<v1::HeartbeatResponse> Client::Heartbeat(const v1::HeartbeatRequest& request,
                                                        const CallOptions& options) {
  return Call<v1::HeartbeatResponse>(*channel_, "/muster.v1.NodeService/Heartbeat", request,
                                     options);
}

absl::StatusOr<v1::UpdateNodeResponse> Client::UpdateNode(const v1::UpdateNodeRequest& request,
                                                          const CallOptions& options) {
  return CallOnce<v1::UpdateNodeResponse>(*channel_, random_, "/muster.v1.NodeService/UpdateNode",
                                          request, options);
}

absl::StatusOr<v1::DrainNodeResponse> Client::DrainNode(const v1::DrainNodeRequest& request,
                                                        const CallOptions& options) {
  return CallOnce<v1::DrainNodeResponse>(*channel_, random_, "/muster.v1.NodeService/DrainNode",
                                         request, options);
}

absl::StatusOr<v1::AcquireReadResponse> Client::AcquireRead(const v1::AcquireReadRequest& request,
                                                            const CallOptions& options) {
  CallOptions waiting = options;
  waiting.server_wait =
      absl::Seconds(request.max_wait().seconds()) + absl::Nanoseconds(request.max_wait().nanos());
  return Call<v1::AcquireReadResponse>(*channel_, "/muster.v1.NodeService/AcquireRead", request,
                                       waiting);
}

absl::StatusOr<v1::ReleaseReadResponse> Client::ReleaseRead(const v1::ReleaseReadRequest& request,
                                                            const CallOptions& options) {
  return Call<v1::ReleaseReadResponse>(*channel_, "/muster.v1.NodeService/ReleaseRead", request,
                                       options);
}

absl::StatusOr<v1::DeregisterNodeResponse> Client::DeregisterNode(
    const v1::DeregisterNodeRequest& request, const CallOptions& options) {
  return CallOnce<v1::DeregisterNodeResponse>(
      *channel_, random_, "/muster.v1.NodeService/DeregisterNode", request, options);
}

absl::StatusOr<v1::ResumeMovesResponse> Client::ResumeMoves(const v1::ResumeMovesRequest& request,
                                                            const CallOptions& options) {
  return CallOnce<v1::ResumeMovesResponse>(*channel_, random_, "/muster.v1.NodeService/ResumeMoves",
                                           request, options);
}

absl::StatusOr<v1::GetNodeResponse> Client::GetNode(const v1::GetNodeRequest& request,
                                                    const CallOptions& options) {
  return Call<v1::GetNodeResponse>(*channel_, "/muster.v1.NodeService/GetNode", request, options);
}

absl::StatusOr<v1::ListNodesResponse> Client::ListNodes(const v1::ListNodesRequest& request,
                                                        const CallOptions& options) {
  return Call<v1::ListNodesResponse>(*channel_, "/muster.v1.NodeService/ListNodes", request,
                                     options);
}

absl::StatusOr<v1::CreateAssemblyResponse> Client::CreateAssembly(
    const v1::CreateAssemblyRequest& request, const CallOptions& options) {
  return CallOnce<v1::CreateAssemblyResponse>(
      *channel_, random_, "/muster.v1.AssemblyService/CreateAssembly", request, options);
}

absl::StatusOr<v1::UpdateAssemblyResponse> Client::UpdateAssembly(
    const v1::UpdateAssemblyRequest& request, const CallOptions& options) {
  return CallOnce<v1::UpdateAssemblyResponse>(
      *channel_, random_, "/muster.v1.AssemblyService/UpdateAssembly", request, options);
}

absl::StatusOr<v1::JoinAssemblyResponse> Client::JoinAssembly(
    const v1::JoinAssemblyRequest& request, const CallOptions& options) {
  return Call<v1::JoinAssemblyResponse>(*channel_, "/muster.v1.AssemblyService/JoinAssembly",
                                        request, options);
}

absl::StatusOr<v1::LeaveAssemblyResponse> Client::LeaveAssembly(
    const v1::LeaveAssemblyRequest& request, const CallOptions& options) {
  return Call<v1::LeaveAssemblyResponse>(*channel_, "/muster.v1.AssemblyService/LeaveAssembly",
                                         request, options);
}

absl::StatusOr<v1::GetAssemblyResponse> Client::GetAssembly(const v1::GetAssemblyRequest& request,
                                                            const CallOptions& options) {
  return Call<v1::GetAssemblyResponse>(*channel_, "/muster.v1.AssemblyService/GetAssembly", request,
                                       options);
}

absl::StatusOr<v1::ListAssemblyMembersResponse> Client::ListAssemblyMembers(
    const v1::ListAssemblyMembersRequest& request, const CallOptions& options) {
  return Call<v1::ListAssemblyMembersResponse>(
      *channel_, "/muster.v1.AssemblyService/ListAssemblyMembers", request, options);
}

absl::StatusOr<v1::ListAssembliesResponse> Client::ListAssemblies(
    const v1::ListAssembliesRequest& request, const CallOptions& options) {
  return Call<v1::ListAssembliesResponse>(*channel_, "/muster.v1.AssemblyService/ListAssemblies",
                                          request, options);
}

absl::StatusOr<v1::DeleteAssemblyResponse> Client::DeleteAssembly(
    const v1::DeleteAssemblyRequest& request, const CallOptions& options) {
  return CallOnce<v1::DeleteAssemblyResponse>(
      *channel_, random_, "/muster.v1.AssemblyService/DeleteAssembly", request, options);
}

absl::StatusOr<v1::ReportShardsResponse> Client::ReportShards(
    const v1::ReportShardsRequest& request, const CallOptions& options) {
  return Call<v1::ReportShardsResponse>(*channel_, "/muster.v1.AssemblyService/ReportShards",
                                        request, options);
}

absl::StatusOr<v1::WhoAmIResponse> Client::WhoAmI(const v1::WhoAmIRequest& request,
                                                  const CallOptions& options) {
  return Call<v1::WhoAmIResponse>(*channel_, "/muster.v1.AccessService/WhoAmI", request, options);
}

absl::StatusOr<v1::CheckAccessResponse> Client::CheckAccess(const v1::CheckAccessRequest& request,
                                                            const CallOptions& options) {
  return Call<v1::CheckAccessResponse>(*channel_, "/muster.v1.AccessService/CheckAccess", request,
                                       options);
}

absl::StatusOr<v1::ExplainAssignmentResponse> Client::ExplainAssignment(
    const v1::ExplainAssignmentRequest& request, const CallOptions& options) {
  return Call<v1::ExplainAssignmentResponse>(
      *channel_, "/muster.v1.AssemblyService/ExplainAssignment", request, options);
}

absl::StatusOr<v1::GetShardStatusResponse> Client::GetShardStatus(
    const v1::GetShardStatusRequest& request, const CallOptions& options) {
  return Call<v1::GetShardStatusResponse>(*channel_, "/muster.v1.AssemblyService/GetShardStatus",
                                          request, options);
}

absl::StatusOr<v1::CreateContentKeyResponse> Client::CreateContentKey(
    const v1::CreateContentKeyRequest& request, const CallOptions& options) {
  return Call<v1::CreateContentKeyResponse>(*channel_, "/muster.v1.KeyService/CreateContentKey",
                                            request, options);
}

absl::StatusOr<v1::GetContentKeyResponse> Client::GetContentKey(
    const v1::GetContentKeyRequest& request, const CallOptions& options) {
  return Call<v1::GetContentKeyResponse>(*channel_, "/muster.v1.KeyService/GetContentKey", request,
                                         options);
}

absl::StatusOr<v1::GetKeyStatusResponse> Client::GetKeyStatus(
    const v1::GetKeyStatusRequest& request, const CallOptions& options) {
  return Call<v1::GetKeyStatusResponse>(*channel_, "/muster.v1.KeyService/GetKeyStatus", request,
                                        options);
}

absl::StatusOr<v1::ListEventsResponse> Client::ListEvents(const v1::ListEventsRequest& request,
                                                          const CallOptions& options) {
  return Call<v1::ListEventsResponse>(*channel_, "/muster.v1.EventService/ListEvents", request,
                                      options);
}

absl::StatusOr<v1::GetServerInfoResponse> Client::GetServerInfo(
    const v1::GetServerInfoRequest& request, const CallOptions& options) {
  return Call<v1::GetServerInfoResponse>(*channel_, "/muster.v1.ServerService/GetServerInfo",
                                         request, options);
}

absl::StatusOr<v1::CreateJoinTokenResponse> Client::CreateJoinToken(
    const v1::CreateJoinTokenRequest& request, const CallOptions& options) {
  return Call<v1::CreateJoinTokenResponse>(*channel_, "/muster.v1.EnrolmentService/CreateJoinToken",
                                           request, options);
}

absl::StatusOr<v1::ListJoinTokensResponse> Client::ListJoinTokens(
    const v1::ListJoinTokensRequest& request, const CallOptions& options) {
  return Call<v1::ListJoinTokensResponse>(*channel_, "/muster.v1.EnrolmentService/ListJoinTokens",
                                          request, options);
}

absl::StatusOr<v1::DeleteJoinTokenResponse> Client::DeleteJoinToken(
    const v1::DeleteJoinTokenRequest& request, const CallOptions& options) {
  return CallOnce<v1::DeleteJoinTokenResponse>(
      *channel_, random_, "/muster.v1.EnrolmentService/DeleteJoinToken", request, options);
}

absl::StatusOr<v1::EnrolResponse> Client::Enrol(const v1::EnrolRequest& request,
                                                const CallOptions& options) {
  return Call<v1::EnrolResponse>(*channel_, "/muster.v1.EnrolmentService/Enrol", request, options);
}

absl::StatusOr<v1::RenewCertificateResponse> Client::RenewCertificate(
    const v1::RenewCertificateRequest& request, const CallOptions& options) {
  return Call<v1::RenewCertificateResponse>(
      *channel_, "/muster.v1.EnrolmentService/RenewCertificate", request, options);
}

absl::StatusOr<v1::ReleaseNameResponse> Client::ReleaseName(const v1::ReleaseNameRequest& request,
                                                            const CallOptions& options) {
  return CallOnce<v1::ReleaseNameResponse>(
      *channel_, random_, "/muster.v1.EnrolmentService/ReleaseName", request, options);
}

absl::Status Client::WatchAssignments(const v1::WatchAssignmentsRequest& request,
                                      OnMessage<v1::WatchAssignmentsResponse> on_message,
                                      const CallOptions& options) {
  v1::WatchAssignmentsResponse message;
  return channel_->Stream(
      "/muster.v1.AssemblyService/WatchAssignments", request, message,
      [&] { return on_message(message); }, options);
}

absl::Status Client::WatchAssembly(const v1::WatchAssemblyRequest& request,
                                   OnMessage<v1::WatchAssemblyResponse> on_message,
                                   const CallOptions& options) {
  v1::WatchAssemblyResponse message;
  return channel_->Stream(
      "/muster.v1.AssemblyService/WatchAssembly", request, message,
      [&] { return on_message(message); }, options);
}

absl::Status Client::WatchEvents(const v1::WatchEventsRequest& request,
                                 OnMessage<v1::WatchEventsResponse> on_message,
                                 const CallOptions& options) {
  v1::WatchEventsResponse message;
  return channel_->Stream(
      "/muster.v1.EventService/WatchEvents", request, message, [&] { return on_message(message); },
      options);
}

}  // namespace muster
