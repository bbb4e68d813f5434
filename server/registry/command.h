// What the core is asked to do. One command is one transaction: at most kMaxRowsPerCommand rows and
// kMaxBytesPerCommand bytes, and one revision if it changes something.
#ifndef MUSTER_SERVER_REGISTRY_COMMAND_H_
#define MUSTER_SERVER_REGISTRY_COMMAND_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "muster/store/rows.pb.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/enrolment.pb.h"
#include "muster/v1/model.pb.h"
#include "muster/v1/node.pb.h"
#include "server/registry/planned_assembly.h"
#include "server/registry/uid.h"
#include "storage/base/numbers.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// Stores a run of kPiecesPerRow digests of a shard that AddShard makes visible afterwards; nothing
// shows it before.
struct StagePieces {
  std::string version;
  ShardIndex shard;
  uint32_t chunk = 0;
  std::string md5s;
};

// One shard of an AddShardsRequest. The digests are in the command, or were all staged.
struct AddShard {
  std::string version;
  muster::v1::Shard shard;
  bool pieces_staged = false;
};

struct AddCompanion {
  std::string version;
  muster::v1::Companion companion;
};

struct AddLocation {
  std::string version;
  muster::v1::AddLocationsRequest::Entry entry;
};

struct RemoveLocation {
  std::string version;
  muster::v1::RemoveLocationsRequest::Entry entry;
};

// Gives a draft its content key, wrapped. One that has a key keeps it.
struct SetContentKey {
  std::string version;
  // It is wrapped for this very draft, and for no other under the name.
  VersionUid uid;
  muster::store::WrappedKeyRow key;
};

// Stores the same content key as another master key wraps it, unless that of `from` was replaced meanwhile.
struct RewrapContentKey {
  VersionUid version;
  std::string from;
  muster::store::WrappedKeyRow key;
};

// The time, from outside; the only way in which it enters.
struct Tick {
  // The time of day: microseconds since 1970. It may jump.
  int64_t wall_us = 0;
  // Microseconds since an arbitrary start, of one process. It never goes back.
  int64_t monotonic_us = 0;
  // What the store's device has left, where it is bounded and known.
  std::optional<int64_t> free_bytes;
};

// Declares a node lost, unless its lease was renewed or its epoch has passed.
struct ExpireLease {
  NodeUid node;
  Epoch epoch;
};

// Gives a lost node's shards to others, unless it has come back.
struct ReleaseNode {
  NodeUid node;
  Epoch epoch;
};

// Forgets a node that was released long ago, as if it were deregistered.
struct ForgetNode {
  NodeUid node;
  Epoch epoch;
};

// Takes a lost node back after a heartbeat of its present epoch.
struct ReviveNode {
  NodeUid node;
  Epoch epoch;
};

// Logs how far a node's drain is, where that is news.
struct NoteDrain {
  NodeUid node;
};

// The leases are trusted again after a start or a stall: assemblies may even out their loads, and
// released nodes' shards may move.
struct ResumePlans {};

// Lets a node try again what it has given up ten minutes ago.
struct ExpireGivenUp {
  AssemblyUid assembly;
  NodeUid node;
};

// Makes a run of members of a plan the assembly's own: all of a small plan, one step of a plan that
// is too big for one transaction. Steps come in order, with other commands in between.
struct ApplyPlan {
  std::shared_ptr<const PlannedAssembly> plan;
  size_t begin = 0;
  // At most the number of members.
  size_t end = 0;
};

// Shows why no plan can be made from the inputs.
struct NotePlanFailure {
  AssemblyUid assembly;
  uint64_t inputs_version = 0;
  std::string message;
};

// Takes note of what a node's report said of locations.
struct NoteLocations {
  struct Finding {
    uint32_t shard = 0;
    // One of the shard's locations.
    std::string uri;
    // Unspecified: bytes read from it were verified.
    muster::v1::ShardFailure::Code found = muster::v1::ShardFailure::CODE_UNSPECIFIED;
  };
  VersionUid version;
  NodeUid node;
  // At most kMaxFindingsPerCommand.
  std::vector<Finding> findings;
};

// Removes a draft that nobody has added to for a day.
struct ExpireDraft {
  VersionUid version;
};

// Takes some members out of an assembly that was deleted.
struct RemoveMembers {
  AssemblyUid assembly;
};

// Forgets a deregistered node's membership in one assembly.
struct ForgetMember {
  AssemblyUid assembly;
  NodeUid node;
};

// Removes what a plan of an older server left behind that never became the assembly's own.
struct ForgetPlanDirectory {
  AssemblyUid assembly;
  Generation directory;
};

// Stores that the assembly has been READY.
struct RememberReady {
  AssemblyUid assembly;
};

// Stores whether a member is established, where that changed without a report of its own.
struct RememberMember {
  AssemblyUid assembly;
  NodeUid node;
};

// Keeps a join token, of which whoever asked has the secret. Not a request: a stored reply would hold that.
struct AddJoinToken {
  // 1 to 63 lowercase letters and digits; drawn at random.
  std::string id;
  // Of the whole token: 32 bytes, as below.
  std::string sha256;
  std::string node_pattern;
  uint32_t uses = 1;
  // Time of day.
  int64_t create_time_us = 0;
  int64_t ttl_us = 0;
};

// Takes a use of a join token, where the key has not done so before, and notes whose certificate holds the name. The
// certificate is made already, and leaves the server only where this succeeds.
struct EnrolNode {
  std::string token_id;
  std::string token_sha256;
  // "nodes/{node}", checked.
  std::string node;
  // Of the SubjectPublicKeyInfo.
  std::string key_sha256;
  std::string serial;
  // Time of day.
  int64_t valid_until_us = 0;
};

// Notes the certificate that takes the place of the one that a node has shown; the same holds.
struct RenewNode {
  std::string node;
  std::string shown_key_sha256;
  std::string key_sha256;
  std::string serial;
  int64_t valid_until_us = 0;
};

// A request that is one command, and its response.
template <typename RequestType, typename ResponseType>
struct Mutation {
  using Request = RequestType;
  using Response = ResponseType;
};

template <typename... Types>
struct TypeList {};

// All such requests: the one list of them.
using RequestTypes = TypeList<
    Mutation<muster::v1::CreateModelVersionRequest, muster::v1::CreateModelVersionResponse>,
    Mutation<muster::v1::AddTensorsRequest, muster::v1::AddTensorsResponse>,
    Mutation<muster::v1::CommitModelVersionRequest, muster::v1::CommitModelVersionResponse>,
    Mutation<muster::v1::DeleteModelVersionRequest, muster::v1::DeleteModelVersionResponse>,
    Mutation<muster::v1::RegisterNodeRequest, muster::v1::RegisterNodeResponse>,
    Mutation<muster::v1::UpdateNodeRequest, muster::v1::UpdateNodeResponse>,
    Mutation<muster::v1::DeregisterNodeRequest, muster::v1::DeregisterNodeResponse>,
    Mutation<muster::v1::DrainNodeRequest, muster::v1::DrainNodeResponse>,
    Mutation<muster::v1::ResumeMovesRequest, muster::v1::ResumeMovesResponse>,
    Mutation<muster::v1::CreateAssemblyRequest, muster::v1::CreateAssemblyResponse>,
    Mutation<muster::v1::UpdateAssemblyRequest, muster::v1::UpdateAssemblyResponse>,
    Mutation<muster::v1::JoinAssemblyRequest, muster::v1::JoinAssemblyResponse>,
    Mutation<muster::v1::LeaveAssemblyRequest, muster::v1::LeaveAssemblyResponse>,
    Mutation<muster::v1::DeleteAssemblyRequest, muster::v1::DeleteAssemblyResponse>,
    Mutation<muster::v1::ReportShardsRequest, muster::v1::ReportShardsResponse>,
    Mutation<muster::v1::DeleteJoinTokenRequest, muster::v1::DeleteJoinTokenResponse>,
    Mutation<muster::v1::ReleaseNameRequest, muster::v1::ReleaseNameResponse>>;

// The others: entries of requests that are a command each, and what the server asks of itself.
using OtherCommands =
    TypeList<StagePieces, AddShard, AddCompanion, AddLocation, RemoveLocation, SetContentKey,
             RewrapContentKey, Tick, ExpireLease, ReleaseNode, ForgetNode, ReviveNode, NoteDrain,
             ResumePlans, ExpireGivenUp, ApplyPlan, NotePlanFailure, NoteLocations, ExpireDraft,
             RemoveMembers, ForgetMember, ForgetPlanDirectory, RememberReady, RememberMember, AddJoinToken, EnrolNode,
             RenewNode>;

template <typename Requests, typename Others>
struct CommandFrom;
template <typename... Mutations, typename... Others>
struct CommandFrom<TypeList<Mutations...>, TypeList<Others...>> {
  using Type = std::variant<typename Mutations::Request..., Others...>;
};
using Command = CommandFrom<RequestTypes, OtherCommands>::Type;

template <typename What, typename Requests>
struct ReplyFrom {
  using Type = void;
};
template <typename Request, typename Response, typename... Rest>
struct ReplyFrom<Request, TypeList<Mutation<Request, Response>, Rest...>> {
  using Type = Response;
};
template <typename What, typename First, typename... Rest>
struct ReplyFrom<What, TypeList<First, Rest...>> : ReplyFrom<What, TypeList<Rest...>> {};
// The response of a command that is a request; void of others.
template <typename What>
using ReplyOf = typename ReplyFrom<What, RequestTypes>::Type;

// What asks for the command, as events show it: an RPC's name, or a rule of the server. Valid for
// ever.
absl::string_view CauseOf(const Command& command);

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_COMMAND_H_
