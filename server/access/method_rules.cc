// The table itself. Each line was thought about by itself; where it isn't plain, it says why.

#include <vector>

#include "muster/v1/access.pb.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/enrolment.pb.h"
#include "muster/v1/event.pb.h"
#include "muster/v1/key.pb.h"
#include "muster/v1/model.pb.h"
#include "muster/v1/node.pb.h"
#include "muster/v1/server.pb.h"
#include "server/access/method_table.h"

namespace muster {
namespace {

using Name = MethodLine::Name;
using Form = MethodLine::Name::Form;

constexpr VerbSet kRead = {Verb::kRead};
constexpr VerbSet kPublish = {Verb::kPublish};
constexpr VerbSet kAssemble = {Verb::kAssemble};
constexpr VerbSet kReport = {Verb::kReport};
constexpr VerbSet kAdmin = {Verb::kAdmin};
constexpr VerbSet kOperate = {Verb::kOperate};
// Who may join an assembly may look at it: agents do so before they join, and to see what their joining would change.
constexpr VerbSet kReadOrJoin = {Verb::kRead, Verb::kJoin};
// A node may end its own service; so may who runs the cluster.
constexpr VerbSet kOperateOrReport = {Verb::kOperate, Verb::kReport};

Name Version(VerbSet verbs, const char* field = "name") {
  return {verbs, Form::kModelVersion, field};
}
Name OfShard(VerbSet verbs, const char* field = "name") { return {verbs, Form::kShard, field}; }
Name Node(VerbSet verbs, const char* field = "name") { return {verbs, Form::kNode, field}; }
Name Assembly(VerbSet verbs, const char* field = "name") { return {verbs, Form::kAssembly, field}; }

Name IfSet(Name name) {
  name.optional = true;
  return name;
}
// Lists show what may be read; who may read nothing at all is told so.
Name Somewhere(VerbSet verbs, const char* collection) {
  return {verbs, Form::kCollection, collection, false, Scope::kSomewhere};
}
Name Everywhere(VerbSet verbs, const char* collection) {
  return {verbs, Form::kCollection, collection, false, Scope::kEverywhere};
}

void AddModelService(std::vector<MethodLine>& lines) {
  const auto add = [&](const char* method, AnswerRule answer, std::vector<Name> names) {
    lines.push_back({method, answer, std::move(names)});
  };
  const auto add_read = [&](const char* method, AnswerRule answer, std::vector<Name> names) {
    lines.push_back({method, answer, std::move(names), AuditRule::kRead});
  };
  using enum AnswerRule;
  add("muster.v1.ModelService/CreateModelVersion", kWhole,
      {Version(kPublish, "model_version.name")});
  add("muster.v1.ModelService/AddShards", kWhole, {Version(kPublish)});
  add("muster.v1.ModelService/AddTensors", kWhole, {OfShard(kPublish)});
  add("muster.v1.ModelService/AddCompanions", kWhole, {Version(kPublish)});
  add("muster.v1.ModelService/CommitModelVersion", kWhole, {Version(kPublish)});
  add_read("muster.v1.ModelService/GetModelVersion", kWhole, {Version(kRead)});
  add_read("muster.v1.ModelService/ListModelVersions", kFiltered, {Somewhere(kRead, "models/")});
  add("muster.v1.ModelService/DeleteModelVersion", kWhole, {Version({Verb::kDelete})});
  add_read("muster.v1.ModelService/GetShard", kWhole, {OfShard(kRead)});
  add_read("muster.v1.ModelService/ListShards", kWhole, {Version(kRead)});
  add_read("muster.v1.ModelService/ListPieces", kWhole, {OfShard(kRead)});
  add_read("muster.v1.ModelService/ListTensors", kWhole, {Version(kRead)});
  add_read("muster.v1.ModelService/ListCompanions", kWhole, {Version(kRead)});
  // Where bytes come from is as good as what they are, to who does not check them.
  add("muster.v1.ModelService/AddLocations", kWhole, {Version(kPublish)});
  add("muster.v1.ModelService/RemoveLocations", kWhole, {Version(kPublish)});
}

void AddNodeService(std::vector<MethodLine>& lines) {
  const auto add = [&](const char* method, AnswerRule answer, std::vector<Name> names) {
    lines.push_back({method, answer, std::move(names)});
  };
  const auto add_read = [&](const char* method, AnswerRule answer, std::vector<Name> names) {
    lines.push_back({method, answer, std::move(names), AuditRule::kRead});
  };
  const auto add_never = [&](const char* method, AnswerRule answer, std::vector<Name> names) {
    lines.push_back({method, answer, std::move(names), AuditRule::kNever});
  };
  using enum AnswerRule;
  // Fences off who had the name before.
  add("muster.v1.NodeService/RegisterNode", kWhole, {Node(kReport, "node.name")});
  add_never("muster.v1.NodeService/Heartbeat", kWhole, {Node(kReport)});
  // An operator's change; the agent says its labels and capacity when it registers.
  add("muster.v1.NodeService/UpdateNode", kWhole, {Node(kOperate, "node.name")});
  add("muster.v1.NodeService/DrainNode", kPlansFiltered, {Node(kOperateOrReport)});
  // The shard's version, too, or the errors would tell which versions and locations there are.
  add_never("muster.v1.NodeService/AcquireRead", kWhole, {Node(kReport), OfShard(kRead, "shard")});
  // Not the version: the place is given back after the assembly has gone, and the answer says nothing about it.
  add_never("muster.v1.NodeService/ReleaseRead", kWhole, {Node(kReport)});
  add("muster.v1.NodeService/DeregisterNode", kPlansFiltered, {Node(kOperateOrReport)});
  // Concerns whichever nodes are held back, so that one that is denied makes it denied.
  add("muster.v1.NodeService/ResumeMoves", kPlansFiltered, {Everywhere(kOperate, "nodes/")});
  add_read("muster.v1.NodeService/GetNode", kWhole, {Node(kRead)});
  add_read("muster.v1.NodeService/ListNodes", kFiltered, {Somewhere(kRead, "nodes/")});
}

void AddAssemblyService(std::vector<MethodLine>& lines) {
  const auto add = [&](const char* method, AnswerRule answer, std::vector<Name> names) {
    lines.push_back({method, answer, std::move(names)});
  };
  const auto add_read = [&](const char* method, AnswerRule answer, std::vector<Name> names) {
    lines.push_back({method, answer, std::move(names), AuditRule::kRead});
  };
  using enum AnswerRule;
  // Its members read the version, so who makes it has to be allowed to.
  add("muster.v1.AssemblyService/CreateAssembly", kWhole,
      {Assembly(kAssemble, "assembly.name"), Version(kRead, "assembly.model_version")});
  add("muster.v1.AssemblyService/UpdateAssembly", kWhole, {Assembly(kAssemble, "assembly.name")});
  add("muster.v1.AssemblyService/DeleteAssembly", kWhole, {Assembly(kAssemble)});
  // A member may read the version, so this right gives that one.
  add("muster.v1.AssemblyService/JoinAssembly", kPlansFiltered,
      {Node(kReport, "node"), Assembly({Verb::kJoin})});
  // Reading is enough: a member whose grant has ended can still leave.
  add("muster.v1.AssemblyService/LeaveAssembly", kPlansFiltered,
      {Node(kOperateOrReport, "node"), Assembly(kReadOrJoin)});
  add("muster.v1.AssemblyService/ReportShards", kWhole,
      {Node(kReport, "node"), Assembly(kReadOrJoin, "assembly")});
  add_read("muster.v1.AssemblyService/WatchAssignments", kWhole, {Node(kReport, "node")});
  add_read("muster.v1.AssemblyService/GetAssembly", kWhole, {Assembly(kReadOrJoin)});
  add_read("muster.v1.AssemblyService/ListAssemblyMembers", kWhole, {Assembly(kReadOrJoin)});
  add_read("muster.v1.AssemblyService/ListAssemblies", kFiltered,
           {Somewhere(kReadOrJoin, "assemblies/"), IfSet(Version(kRead, "model_version"))});
  // A node that is not a member looks the same as one that does not exist, so its name needs no right.
  add_read("muster.v1.AssemblyService/WatchAssembly", kOfItsVersion, {Assembly(kReadOrJoin)});
  add_read("muster.v1.AssemblyService/GetShardStatus", kOfItsVersion, {Assembly(kReadOrJoin)});
  // Here the two have different errors.
  add_read("muster.v1.AssemblyService/ExplainAssignment", kOfItsVersion,
           {Assembly(kReadOrJoin), IfSet(Node(kRead, "node"))});
}

void AddKeyService(std::vector<MethodLine>& lines) {
  const auto add = [&](const char* method, std::vector<Name> names) {
    lines.push_back({method, AnswerRule::kWhole, std::move(names)});
  };
  // Who may add to a draft may encrypt what is added.
  add("muster.v1.KeyService/CreateContentKey", {Version(kPublish)});
  // Who may read the version may have its key: this is what makes the right one on bytes.
  add("muster.v1.KeyService/GetContentKey", {Version(kRead)});
  // Master keys are the server's own, and the counts tell of all versions.
  add("muster.v1.KeyService/GetKeyStatus", {Everywhere({Verb::kAdmin}, "")});
}

void AddEventService(std::vector<MethodLine>& lines) {
  for (const char* method :
       {"muster.v1.EventService/ListEvents", "muster.v1.EventService/WatchEvents"}) {
    lines.push_back(
        {method,
         AnswerRule::kFiltered,
         {Somewhere(kRead, ""), IfSet(Node(kRead, "filter.node")),
          IfSet(Assembly(kRead, "filter.assembly")), IfSet(Version(kRead, "filter.model_version"))},
         AuditRule::kRead});
  }
}

// What a caller is told about itself is no secret to it.
void AddAccessService(std::vector<MethodLine>& lines) {
  for (const char* method :
       {"muster.v1.AccessService/WhoAmI", "muster.v1.AccessService/CheckAccess"}) {
    lines.push_back({method, AnswerRule::kWhole, {}, AuditRule::kRead, /*open=*/true});
  }
}

// Shows which build it is and nothing that anybody keeps in it: for whoever may read something.
void AddServerService(std::vector<MethodLine>& lines) {
  lines.push_back({"muster.v1.ServerService/GetServerInfo",
                   AnswerRule::kWhole,
                   {Somewhere(kRead, "")},
                   AuditRule::kRead});
}

void AddEnrolmentService(std::vector<MethodLine>& lines) {
  const auto add = [&](const char* method, std::vector<Name> names) {
    lines.push_back({method, AnswerRule::kWhole, std::move(names)});
  };
  // A token makes nodes, so it is as good as the policy.
  add("muster.v1.EnrolmentService/CreateJoinToken", {Everywhere(kAdmin, "")});
  add("muster.v1.EnrolmentService/ListJoinTokens", {Everywhere(kAdmin, "")});
  add("muster.v1.EnrolmentService/DeleteJoinToken", {Everywhere(kAdmin, "")});
  // Who enrols is nobody yet.
  lines.push_back({"muster.v1.EnrolmentService/Enrol",
                   AnswerRule::kWhole,
                   {},
                   AuditRule::kAlways,
                   /*open=*/true});
  // As itself; that it holds the name is for the registry to say.
  add("muster.v1.EnrolmentService/RenewCertificate", {Node(kReport, "node")});
  add("muster.v1.EnrolmentService/ReleaseName", {Node(kOperate, "node")});
}

}  // namespace

absl::Span<const MethodLine> MethodLines() {
  static const auto* const lines = [] {
    // The lines name their methods by text; without a use of its messages the linker leaves a proto's descriptors out.
    (void)v1::Assembly::descriptor();
    (void)v1::ContentKey::descriptor();
    (void)v1::Event::descriptor();
    (void)v1::WhoAmIRequest::descriptor();
    (void)v1::JoinToken::descriptor();
    (void)v1::ModelVersion::descriptor();
    (void)v1::Node::descriptor();
    (void)v1::GetServerInfoResponse::descriptor();
    auto* made = new std::vector<MethodLine>;
    AddModelService(*made);
    AddNodeService(*made);
    AddAssemblyService(*made);
    AddKeyService(*made);
    AddEventService(*made);
    AddAccessService(*made);
    AddServerService(*made);
    AddEnrolmentService(*made);
    return made;
  }();
  return *lines;
}

absl::Span<const ItemLine> ItemLines() {
  static const auto* const lines = new std::vector<ItemLine>{
      {"muster.v1.ModelVersion", kRead, {"name"}},
      {"muster.v1.Node", kRead, {"name"}},
      {"muster.v1.Assembly", kReadOrJoin, {"name"}},
      // Its message names whatever it is about.
      {"muster.v1.Event", kRead, {"node", "assembly", "model_version"}},
      {"muster.v1.PlanPreview", kReadOrJoin, {"assembly"}},
  };
  return *lines;
}

}  // namespace muster
