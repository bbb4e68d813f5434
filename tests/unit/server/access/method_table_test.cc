#include "server/access/method_table.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor_database.h>
#include <google/protobuf/dynamic_message.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/enrolment.pb.h"
#include "muster/v1/event.pb.h"
#include "muster/v1/model.pb.h"
#include "muster/v1/node.pb.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/access/fake_memberships.h"

namespace muster {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::MethodDescriptor;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using Form = MethodLine::Name::Form;

const MethodTable& Table() {
  static const auto* const table =
      new absl::StatusOr<MethodTable>(MethodTable::Make(MethodLines(), ItemLines()));
  MUSTER_EXPECT_OK(*table);
  return **table;
}

// Of all services that the protos of the API have.
std::vector<const MethodDescriptor*> AllMethods() {
  // The descriptors of a message bring its whole file in.
  (void)v1::ModelVersion::descriptor();
  (void)v1::JoinToken::descriptor();
  std::vector<std::string> files;
  EXPECT_TRUE(DescriptorPool::internal_generated_database()->FindAllFileNames(&files));
  std::vector<const MethodDescriptor*> methods;
  for (const std::string& name : files) {
    if (!absl::StartsWith(name, "muster/")) continue;
    const auto* file = DescriptorPool::generated_pool()->FindFileByName(name);
    for (int i = 0; i < file->service_count(); ++i) {
      for (int j = 0; j < file->service(i)->method_count(); ++j)
        methods.push_back(file->service(i)->method(j));
    }
  }
  return methods;
}

std::string PathOf(const MethodDescriptor& method) {
  return absl::StrCat("/", method.service()->full_name(), "/", method.name());
}

std::string ScopeText(const Requirement& requirement) {
  const char* scope = requirement.scope == Scope::kName        ? ""
                      : requirement.scope == Scope::kSomewhere ? "some "
                                                               : "all ";
  return absl::StrCat(absl::StrJoin(absl::StrSplit(VerbNames(requirement.any_of), ", "), "|"), " ",
                      scope, requirement.name);
}

std::vector<std::string> NeedsOf(absl::string_view method,
                                 const google::protobuf::Message& request) {
  const auto requirements = Table().RequirementsOf(absl::StrCat("/muster.v1.", method), request);
  MUSTER_EXPECT_OK(requirements);
  std::vector<std::string> needs;
  if (!requirements.ok()) return needs;
  for (const Requirement& requirement : *requirements) needs.push_back(ScopeText(requirement));
  return needs;
}

constexpr char kVersion[] = "models/llama/versions/v1";
constexpr char kShard[] = "models/llama/versions/v1/shards/7";

// Fills every text field of a request with a name that fits it: "node" and the "name" of what NodeService takes are
// nodes. What no name fits stays empty.
std::string NameFor(const FieldDescriptor& field, absl::string_view service) {
  const absl::string_view name = field.name();
  if (name == "model_version") return kVersion;
  if (name == "shard") return kShard;
  if (name == "node") return "nodes/n1";
  if (name == "assembly") return "assemblies/demo";
  if (name != "name") return "";
  const absl::string_view in = field.containing_type()->name();
  if (in == "Node" || absl::StrContains(service, "NodeService")) return "nodes/n1";
  if (in == "Assembly" || absl::StrContains(service, "AssemblyService")) return "assemblies/demo";
  // Read from the proto's comment.
  const std::set<absl::string_view> of_shards = {"AddTensorsRequest", "GetShardRequest",
                                                 "ListPiecesRequest"};
  return of_shards.contains(in) ? kShard : kVersion;
}

void Fill(google::protobuf::Message& message, absl::string_view service, int depth = 0) {
  const Descriptor* descriptor = message.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    if (field->is_repeated()) continue;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (depth < 2)
        Fill(*message.GetReflection()->MutableMessage(&message, field), service, depth + 1);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      message.GetReflection()->SetString(&message, field, NameFor(*field, service));
    }
  }
}

std::unique_ptr<google::protobuf::Message> RequestOf(const MethodDescriptor& method) {
  return std::unique_ptr<google::protobuf::Message>(
      google::protobuf::MessageFactory::generated_factory()
          ->GetPrototype(method.input_type())
          ->New());
}

// A file whose messages nobody uses is not linked, and so not found above.
TEST(MethodTableTest, EveryFileOfTheApiIsLookedAt) {
  std::set<std::string> seen;
  for (const MethodDescriptor* method : AllMethods()) seen.insert(method->file()->name());
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(MUSTER_PROTO_FOLDER)) {
    if (entry.path().extension() != ".proto") continue;
    ++files;
    std::ifstream proto(entry.path());
    const std::string text((std::istreambuf_iterator<char>(proto)),
                           std::istreambuf_iterator<char>());
    if (!absl::StrContains(text, "\nservice ")) continue;
    EXPECT_TRUE(seen.contains(absl::StrCat("muster/v1/", entry.path().filename().string())))
        << entry.path() << " has a service: use one of its messages in this test";
  }
  EXPECT_GE(files, 4u);
}

TEST(MethodTableTest, EveryMethodHasALine) {
  const std::vector<const MethodDescriptor*> methods = AllMethods();
  ASSERT_GE(methods.size(), 40u);
  for (const MethodDescriptor* method : methods) {
    EXPECT_THAT(Table().RequirementsOf(PathOf(*method), *RequestOf(*method)), IsOk())
        << "server/access/method_rules.cc says nothing about " << PathOf(*method);
  }
  EXPECT_EQ(MethodLines().size(), methods.size());
}

TEST(MethodTableTest, WithoutALineEverybodyIsDenied) {
  const v1::GetNodeRequest request;
  const auto local = Caller::Admit(Policy::Empty(), Identity::Local(), absl::UnixEpoch());
  MUSTER_ASSERT_OK(local);

  EXPECT_THAT(Table().RequirementsOf("/muster.v1.NodeService/Forgotten", request),
              StatusIs(absl::StatusCode::kInternal));
  // A call is known by its request, and no method takes this one.
  const CallDecision forgotten = Table().Authorise(*local, v1::Node(), FakeMemberships());
  EXPECT_FALSE(forgotten.allowed);
  EXPECT_TRUE(forgotten.unknown);
  EXPECT_EQ(Table().AuditOf(v1::Node()), AuditRule::kAlways);
  EXPECT_TRUE(Table().Authorise(*local, request, FakeMemberships()).allowed);
  EXPECT_EQ(Table().AnswerOf("/muster.v1.NodeService/Forgotten"), AnswerRule::kFiltered);
  // Neither does a request of another method pass.
  EXPECT_THAT(Table().RequirementsOf("/muster.v1.NodeService/DrainNode", request),
              StatusIs(absl::StatusCode::kInternal));
}

// The one way to need no right: a line that says so. It is never the default.
TEST(MethodTableTest, FewMethodsNeedNoRightOfTheCaller) {
  std::vector<std::string> open;
  for (const MethodLine& line : MethodLines()) {
    if (line.open) open.emplace_back(line.method);
  }
  EXPECT_THAT(open, UnorderedElementsAre("muster.v1.AccessService/WhoAmI",
                                         "muster.v1.AccessService/CheckAccess",
                                         "muster.v1.EnrolmentService/Enrol"));
  const auto policy = Policy::Parse(R"({"grants": []})");
  MUSTER_ASSERT_OK(policy);
  const auto nobody = Caller::Admit(*policy, Identity(), absl::UnixEpoch());
  MUSTER_ASSERT_OK(nobody);
  const auto may = [&](const google::protobuf::Message& request) {
    return Table().Authorise(*nobody, request, FakeMemberships()).allowed;
  };
  EXPECT_TRUE(may(v1::EnrolRequest()));
  EXPECT_FALSE(may(v1::CreateJoinTokenRequest()));

  using Lines = std::vector<MethodLine>;
  const Lines forgotten = {{"muster.v1.EnrolmentService/Enrol", AnswerRule::kWhole, {}}};
  EXPECT_THAT(MethodTable::Make(forgotten, {}), StatusIs(absl::StatusCode::kInternal));
  const Lines both = {{"muster.v1.EnrolmentService/ReleaseName",
                       AnswerRule::kWhole,
                       {{{Verb::kOperate}, Form::kNode, "node"}},
                       AuditRule::kAlways,
                       /*open=*/true}};
  EXPECT_THAT(MethodTable::Make(both, {}), StatusIs(absl::StatusCode::kInternal));
}

// Every text field of a request that a resource's name can stand in is authorised, or named here with the reason.
TEST(MethodTableTest, EveryNameInARequestIsAuthorised) {
  const std::map<std::string, std::string> not_authorised = {
      {"/muster.v1.AssemblyService/GetAssembly nodes/n1",
       "unknown nodes look as those that have not joined"},
      {"/muster.v1.AssemblyService/WatchAssembly nodes/n1",
       "unknown nodes look as those that have not joined"},
      {"/muster.v1.AssemblyService/UpdateAssembly models/llama/versions/v1",
       "can't be changed, so that it is not read"},
      {"/muster.v1.NodeService/ReleaseRead models/llama/versions/v1",
       "the answer says nothing about it"},
      {"/muster.v1.EnrolmentService/DeleteJoinToken models/llama/versions/v1",
       "names a join token, which needs the right to everything"},
      {"/muster.v1.EnrolmentService/Enrol nodes/n1", "the join token says for which names it is"},
  };
  std::set<std::string> seen;
  for (const MethodDescriptor* method : AllMethods()) {
    const auto request = RequestOf(*method);
    Fill(*request, method->service()->full_name());
    const auto requirements = Table().RequirementsOf(PathOf(*method), *request);
    ASSERT_THAT(requirements, IsOk());
    std::set<std::string> authorised;
    for (const Requirement& requirement : *requirements) {
      EXPECT_TRUE(requirement.scope != Scope::kName || !requirement.name.empty())
          << PathOf(*method) << " takes a field of another kind for a name";
      authorised.insert(std::string(requirement.name));
    }
    for (const char* name : {kVersion, "nodes/n1", "assemblies/demo"}) {
      if (!absl::StrContains(request->ShortDebugString(), absl::StrCat("\"", name))) continue;
      if (authorised.contains(name)) continue;
      const std::string missing = absl::StrCat(PathOf(*method), " ", name);
      EXPECT_TRUE(not_authorised.contains(missing))
          << missing << " is in the request and nobody asks about it";
      seen.insert(missing);
    }
  }
  EXPECT_EQ(seen.size(), not_authorised.size());
}

TEST(MethodTableTest, CallsNeedTheRightsOfWhatTheyDo) {
  const std::map<std::string, std::vector<std::string>> wanted = {
      {"ModelService/CreateModelVersion", {"publish models/llama/versions/v1"}},
      {"ModelService/AddShards", {"publish models/llama/versions/v1"}},
      {"ModelService/AddTensors", {"publish models/llama/versions/v1"}},
      {"ModelService/AddCompanions", {"publish models/llama/versions/v1"}},
      {"ModelService/CommitModelVersion", {"publish models/llama/versions/v1"}},
      {"ModelService/GetModelVersion", {"read models/llama/versions/v1"}},
      {"ModelService/ListModelVersions", {"read some models/"}},
      {"ModelService/DeleteModelVersion", {"delete models/llama/versions/v1"}},
      {"ModelService/GetShard", {"read models/llama/versions/v1"}},
      {"ModelService/ListShards", {"read models/llama/versions/v1"}},
      {"ModelService/ListPieces", {"read models/llama/versions/v1"}},
      {"ModelService/ListTensors", {"read models/llama/versions/v1"}},
      {"ModelService/ListCompanions", {"read models/llama/versions/v1"}},
      {"ModelService/AddLocations", {"publish models/llama/versions/v1"}},
      {"ModelService/RemoveLocations", {"publish models/llama/versions/v1"}},
      {"NodeService/RegisterNode", {"report nodes/n1"}},
      {"NodeService/Heartbeat", {"report nodes/n1"}},
      {"NodeService/UpdateNode", {"operate nodes/n1"}},
      {"NodeService/DrainNode", {"operate|report nodes/n1"}},
      {"NodeService/AcquireRead", {"report nodes/n1", "read models/llama/versions/v1"}},
      {"NodeService/ReleaseRead", {"report nodes/n1"}},
      {"NodeService/DeregisterNode", {"operate|report nodes/n1"}},
      {"NodeService/ResumeMoves", {"operate all nodes/"}},
      {"NodeService/GetNode", {"read nodes/n1"}},
      {"NodeService/ListNodes", {"read some nodes/"}},
      {"AssemblyService/CreateAssembly",
       {"assemble assemblies/demo", "read models/llama/versions/v1"}},
      {"AssemblyService/JoinAssembly", {"report nodes/n1", "join assemblies/demo"}},
      {"AssemblyService/LeaveAssembly", {"operate|report nodes/n1", "read|join assemblies/demo"}},
      {"AssemblyService/UpdateAssembly", {"assemble assemblies/demo"}},
      {"AssemblyService/GetAssembly", {"read|join assemblies/demo"}},
      {"AssemblyService/ListAssemblyMembers", {"read|join assemblies/demo"}},
      {"AssemblyService/ListAssemblies",
       {"read|join some assemblies/", "read models/llama/versions/v1"}},
      {"AssemblyService/DeleteAssembly", {"assemble assemblies/demo"}},
      {"AssemblyService/WatchAssignments", {"report nodes/n1"}},
      {"AssemblyService/ReportShards", {"report nodes/n1", "read|join assemblies/demo"}},
      {"AssemblyService/WatchAssembly", {"read|join assemblies/demo"}},
      {"AssemblyService/ExplainAssignment", {"read|join assemblies/demo", "read nodes/n1"}},
      {"AssemblyService/GetShardStatus", {"read|join assemblies/demo"}},
      {"KeyService/CreateContentKey", {"publish models/llama/versions/v1"}},
      {"KeyService/GetContentKey", {"read models/llama/versions/v1"}},
      {"KeyService/GetKeyStatus", {"admin all "}},
      {"EventService/ListEvents",
       {"read some ", "read nodes/n1", "read assemblies/demo", "read models/llama/versions/v1"}},
      {"EventService/WatchEvents",
       {"read some ", "read nodes/n1", "read assemblies/demo", "read models/llama/versions/v1"}},
      {"AccessService/WhoAmI", {}},
      {"AccessService/CheckAccess", {}},
      {"ServerService/GetServerInfo", {"read some "}},
      {"EnrolmentService/CreateJoinToken", {"admin all "}},
      {"EnrolmentService/ListJoinTokens", {"admin all "}},
      {"EnrolmentService/DeleteJoinToken", {"admin all "}},
      // The join token is the right.
      {"EnrolmentService/Enrol", {}},
      {"EnrolmentService/RenewCertificate", {"report nodes/n1"}},
      {"EnrolmentService/ReleaseName", {"operate nodes/n1"}},
  };
  for (const MethodDescriptor* method : AllMethods()) {
    const std::string name = absl::StrCat(method->service()->name(), "/", method->name());
    const auto request = RequestOf(*method);
    Fill(*request, method->service()->full_name());
    const auto line = wanted.find(name);
    ASSERT_NE(line, wanted.end()) << name << " is not in this test";
    EXPECT_EQ(NeedsOf(name, *request), line->second) << name;
  }
}

TEST(MethodTableTest, OptionalNamesNeedARightOnlyWhereTheyAreGiven) {
  EXPECT_THAT(NeedsOf("EventService/ListEvents", v1::ListEventsRequest()),
              UnorderedElementsAre("read some "));
  EXPECT_THAT(NeedsOf("AssemblyService/ListAssemblies", v1::ListAssembliesRequest()),
              UnorderedElementsAre("read|join some assemblies/"));
  v1::ExplainAssignmentRequest explain;
  explain.set_name("assemblies/demo");
  EXPECT_THAT(NeedsOf("AssemblyService/ExplainAssignment", explain),
              UnorderedElementsAre("read|join assemblies/demo"));
}

TEST(MethodTableTest, WhatIsNoNameIsNobodys) {
  const auto admin = Caller::Admit(
      *Policy::Parse(R"({"grants": [{"who": "user/*", "role": "admin", "on": ["**"]}]})"),
      Identity::User("root"), absl::UnixEpoch());
  MUSTER_ASSERT_OK(admin);
  v1::GetShardRequest request;
  const auto may = [&] { return Table().Authorise(*admin, request, FakeMemberships()).allowed; };
  for (const std::string& name :
       {std::string(), std::string(kVersion), absl::StrCat(kVersion, "/shards/"),
        absl::StrCat(kVersion, "/shards/x"), absl::StrCat(kVersion, "/shards/-1"),
        absl::StrCat(kVersion, "/shards/1/"), absl::StrCat("/", kShard),
        std::string("nodes/n1/shards/1"), std::string("models/llama/versions/../shards/1"),
        std::string("/shards/1"), absl::StrCat(kShard, "/shards/1"),
        std::string(1 << 20, 'x') + "/shards/1"}) {
    request.set_name(name);
    EXPECT_FALSE(may()) << name.substr(0, 100);
  }
  request.set_name(kShard);
  EXPECT_TRUE(may());
  // A name of another kind is none.
  v1::GetNodeRequest node;
  node.set_name("assemblies/demo");
  EXPECT_FALSE(Table().Authorise(*admin, node, FakeMemberships()).allowed);
  // Nor is an optional one that is malformed left out.
  v1::ListEventsRequest events;
  events.mutable_filter()->set_node("n1");
  EXPECT_FALSE(Table().Authorise(*admin, events, FakeMemberships()).allowed);
}

TEST(MethodTableTest, TheFirstRightThatIsMissingIsNamed) {
  const auto alice = Caller::Admit(
      *Policy::Parse(
          R"({"grants": [{"who": "user/alice", "verbs": ["assemble"], "on": ["assemblies/**"]}]})"),
      Identity::User("alice"), absl::UnixEpoch());
  MUSTER_ASSERT_OK(alice);
  v1::CreateAssemblyRequest request;
  request.mutable_assembly()->set_name("assemblies/demo");
  request.mutable_assembly()->set_model_version(kVersion);

  const CallDecision call = Table().Authorise(*alice, request, FakeMemberships());

  EXPECT_FALSE(call.allowed);
  EXPECT_EQ(call.verb, Verb::kRead);
  EXPECT_EQ(call.name, kVersion);
}

// A node with a role on assemblies does all that an agent does, for itself; and nothing for another.
TEST(MethodTableTest, ANodeActsAsItself) {
  const auto policy = Policy::Parse(
      R"({"grants": [{"who": "node/*", "role": "node", "on": ["assemblies/demo"]}]})");
  MUSTER_ASSERT_OK(policy);
  const auto n1 = Caller::Admit(*policy, Identity::Node("n1"), absl::UnixEpoch());
  const auto n2 = Caller::Admit(*policy, Identity::Node("n2"), absl::UnixEpoch());
  MUSTER_ASSERT_OK(n1);
  MUSTER_ASSERT_OK(n2);
  FakeMemberships members;
  members.Join("nodes/n1", "assemblies/demo", kVersion);
  members.Join("nodes/n2", "assemblies/demo", kVersion);
  std::set<std::string> as_itself, as_another;
  for (const MethodDescriptor* method : AllMethods()) {
    const auto request = RequestOf(*method);
    Fill(*request, method->service()->full_name());
    if (Table().Authorise(*n1, *request, members).allowed) as_itself.insert(method->name());
    if (Table().Authorise(*n2, *request, members).allowed) as_another.insert(method->name());
  }

  EXPECT_THAT(as_itself,
              UnorderedElementsAre(
                  "GetModelVersion", "ListModelVersions", "GetShard", "ListShards", "ListPieces",
                  "ListTensors", "ListCompanions", "RegisterNode", "Heartbeat", "Enrol",
                  "RenewCertificate", "DrainNode", "AcquireRead", "ReleaseRead", "DeregisterNode",
                  "GetNode", "ListNodes", "JoinAssembly", "LeaveAssembly", "GetAssembly",
                  "ListAssemblyMembers", "ListAssemblies", "WatchAssignments", "ReportShards",
                  "WatchAssembly", "GetShardStatus", "GetContentKey", "ExplainAssignment",
                  "ListEvents", "WatchEvents", "WhoAmI", "CheckAccess", "GetServerInfo"));
  EXPECT_THAT(as_another,
              UnorderedElementsAre("Enrol", "GetModelVersion", "ListModelVersions", "GetShard",
                                   "ListShards", "ListPieces", "ListTensors", "ListCompanions",
                                   "ListNodes", "GetAssembly", "ListAssemblyMembers",
                                   "ListAssemblies", "WatchAssembly", "GetShardStatus", "WhoAmI",
                                   "CheckAccess", "GetServerInfo", "GetContentKey"));
}

// Without any one of the rights that a line asks for, somebody gets in who should not: no line, and no part of one, is
// there for nothing, and the calls of these callers would show it if one were lost.
TEST(MethodTableTest, EachRightOfEachLineKeepsSomebodyOut) {
  const std::vector<std::string> verbs = {
      "read",           "publish", "delete", "assemble", "join",
      "operate",        "report",  "sign",   "admin",    R"(operate", "report)",
      R"(read", "join)"};
  const std::vector<std::string> names = {kVersion, "nodes/n1", "assemblies/demo"};
  // Each of them may do all but one thing, or two that stand for each other, to one name or to any.
  std::vector<Caller> callers;
  for (const std::string& verb : verbs) {
    for (const std::string& name : {names[0], names[1], names[2], std::string("**")}) {
      const auto policy = Policy::Parse(
          absl::StrCat(R"({"grants": [{"who": "user/a", "role": "admin", "on": ["**"]},)",
                       R"( {"who": "user/a", "verbs": [")", verb, R"("], "on": [")", name,
                       R"("], "effect": "deny"}]})"));
      MUSTER_ASSERT_OK(policy);
      const auto caller = Caller::Admit(*policy, Identity::User("a"), absl::UnixEpoch());
      MUSTER_ASSERT_OK(caller);
      callers.push_back(*caller);
    }
  }
  const auto nobody = Caller::Admit(Policy::Empty(), Identity(), absl::UnixEpoch());
  MUSTER_ASSERT_OK(nobody);
  callers.push_back(*nobody);
  // With all fields that may be empty, and without.
  std::map<std::string, std::vector<std::unique_ptr<google::protobuf::Message>>> requests;
  for (const MethodDescriptor* method : AllMethods()) {
    auto& of_method = requests[PathOf(*method).substr(1)];
    of_method.push_back(RequestOf(*method));
    of_method.push_back(RequestOf(*method));
    Fill(*of_method.back(), method->service()->full_name());
  }
  size_t taken_out = 0;
  const std::vector<MethodLine> lines(MethodLines().begin(), MethodLines().end());
  for (size_t line = 0; line < lines.size(); ++line) {
    for (size_t name = 0; name < lines[line].names.size(); ++name) {
      std::vector<MethodLine> mutated = lines;
      mutated[line].names.erase(mutated[line].names.begin() + static_cast<std::ptrdiff_t>(name));
      mutated[line].open = mutated[line].names.empty();
      const auto table = MethodTable::Make(mutated, ItemLines());
      ++taken_out;
      // One without which no table can be made.
      if (!table.ok()) continue;
      bool noticed = false;
      for (const auto& request : requests.at(lines[line].method)) {
        noticed |= std::any_of(callers.begin(), callers.end(), [&](const Caller& caller) {
          return !Table().Authorise(caller, *request, FakeMemberships()).allowed &&
                 table->Authorise(caller, *request, FakeMemberships()).allowed;
        });
      }
      EXPECT_TRUE(noticed) << lines[line].method << " without its right number " << name;
    }
  }
  EXPECT_GE(taken_out, 50u);
}

// Who may look at an assembly and not read its version learns nothing of its shards' locations.
TEST(MethodTableTest, ShardsOfAnAssemblyAreForThoseWhoMayReadItsVersion) {
  const auto policy = Policy::Parse(
      R"({"grants": [{"who": "user/a", "role": "reader", "on": ["assemblies/**"]}]})");
  MUSTER_ASSERT_OK(policy);
  const auto caller = Caller::Admit(*policy, Identity::User("a"), absl::UnixEpoch());
  MUSTER_ASSERT_OK(caller);
  FakeMemberships members;
  members.Join("nodes/n1", "assemblies/demo", kVersion);
  v1::GetShardStatusRequest request;
  request.set_name("assemblies/demo");

  const CallDecision call = Table().Authorise(*caller, request, members);
  EXPECT_FALSE(call.allowed);
  EXPECT_EQ(call.resource(), kVersion);
  EXPECT_EQ(call.verb, Verb::kRead);
  v1::GetAssemblyRequest whole;
  whole.set_name("assemblies/demo");
  EXPECT_TRUE(Table().Authorise(*caller, whole, members).allowed);
  // There is nothing to be kept from anybody.
  request.set_name("assemblies/none");
  EXPECT_TRUE(Table().Authorise(*caller, request, members).allowed);
}

// Before it joins, and where a policy gives its role on everything.
TEST(MethodTableTest, WhoMayJoinAnAssemblySeesItAndNoModels) {
  const auto policy =
      Policy::Parse(R"({"grants": [{"who": "node/*", "role": "node", "on": ["**"]}]})");
  MUSTER_ASSERT_OK(policy);
  const auto n1 = Caller::Admit(*policy, Identity::Node("n1"), absl::UnixEpoch());
  MUSTER_ASSERT_OK(n1);
  const FakeMemberships members;
  v1::GetAssemblyRequest get;
  get.set_name("assemblies/demo");
  v1::GetShardRequest shard;
  shard.set_name(kShard);
  v1::PlanPreview plan;
  plan.set_assembly("assemblies/demo");

  EXPECT_TRUE(Table().Authorise(*n1, get, members).allowed);
  EXPECT_TRUE(Table().MayShow(*n1, plan, members));
  EXPECT_FALSE(Table().Authorise(*n1, shard, members).allowed);
}

// Answers with items of their own names are filtered; nobody has to remember to say so.
TEST(MethodTableTest, AnswersThatShowOthersAreFiltered) {
  const std::set<std::string> items = {"muster.v1.ModelVersion", "muster.v1.Node",
                                       "muster.v1.Assembly", "muster.v1.Event"};
  for (const MethodDescriptor* method : AllMethods()) {
    AnswerRule wanted = AnswerRule::kWhole;
    for (int i = 0; i < method->output_type()->field_count(); ++i) {
      const FieldDescriptor* field = method->output_type()->field(i);
      if (field->message_type() == nullptr) continue;
      if (field->message_type()->full_name() == "muster.v1.PlanPreview")
        wanted = AnswerRule::kPlansFiltered;
      if (field->is_repeated() && items.contains(field->message_type()->full_name()))
        wanted = AnswerRule::kFiltered;
    }
    // How shards of an assembly are doing.
    const std::set<std::string> of_shards = {"WatchAssembly", "GetShardStatus",
                                             "ExplainAssignment"};
    if (of_shards.contains(method->name())) wanted = AnswerRule::kOfItsVersion;
    EXPECT_EQ(Table().AnswerOf(PathOf(*method)), wanted) << PathOf(*method);
  }
}

TEST(MethodTableTest, ItemsAreShownToThoseWhoMayReadAllThatTheyName) {
  const auto alice = Caller::Admit(
      *Policy::Parse(
          R"({"grants": [{"who": "user/alice", "role": "reader", "on": ["assemblies/demo", "nodes/n1", "models/llama/**"]}]})"),
      Identity::User("alice"), absl::UnixEpoch());
  MUSTER_ASSERT_OK(alice);
  const auto may = [&](const google::protobuf::Message& item) {
    return Table().MayShow(*alice, item, FakeMemberships());
  };

  v1::Event event;
  EXPECT_FALSE(may(event));
  event.set_assembly("assemblies/demo");
  EXPECT_TRUE(may(event));
  event.set_node("nodes/n2");
  EXPECT_FALSE(may(event));
  event.set_node("nodes/n1");
  event.set_model_version(kVersion);
  EXPECT_TRUE(may(event));
  event.set_model_version("models/hidden/versions/v1");
  EXPECT_FALSE(may(event));

  v1::Node node;
  node.set_name("nodes/n1");
  EXPECT_TRUE(may(node));
  node.set_name("nodes/n2");
  EXPECT_FALSE(may(node));
  v1::Assembly assembly;
  assembly.set_name("assemblies/other");
  EXPECT_FALSE(may(assembly));
  v1::ModelVersion version;
  version.set_name(kVersion);
  EXPECT_TRUE(may(version));
  v1::PlanPreview plan;
  EXPECT_FALSE(may(plan));
  plan.set_assembly("assemblies/demo");
  EXPECT_TRUE(may(plan));
  // Not in the table.
  EXPECT_FALSE(may(v1::Shard()));
}

TEST(MethodTableTest, LinesAreChecked) {
  const auto make = [](MethodLine line) { return MethodTable::Make({{line}}, {}).status(); };
  const VerbSet read = {Verb::kRead};

  MUSTER_EXPECT_OK(
      make({"muster.v1.NodeService/GetNode", AnswerRule::kWhole, {{read, Form::kNode, "name"}}}));
  for (const MethodLine& line : std::vector<MethodLine>{
           {"muster.v1.NodeService/GetNodes", AnswerRule::kWhole, {{read, Form::kNode, "name"}}},
           {"muster.v1.NodeService/GetNode", AnswerRule::kWhole, {{read, Form::kNode, "nmae"}}},
           {"muster.v1.NodeService/GetNode", AnswerRule::kWhole, {{read, Form::kNode, "name.x"}}},
           {"muster.v1.NodeService/GetNode", AnswerRule::kWhole, {}},
           {"muster.v1.NodeService/Heartbeat", AnswerRule::kWhole, {{read, Form::kNode, "epoch"}}},
           {"muster.v1.NodeService/Heartbeat",
            AnswerRule::kWhole,
            {{read, Form::kNode, "progress.assembly"}}},
           {"muster.v1.NodeService/RegisterNode",
            AnswerRule::kWhole,
            {{read, Form::kNode, "node"}}},
       }) {
    EXPECT_THAT(make(line), StatusIs(absl::StatusCode::kInternal)) << line.method;
  }
  const MethodLine line{
      "muster.v1.NodeService/GetNode", AnswerRule::kWhole, {{read, Form::kNode, "name"}}};
  EXPECT_THAT(MethodTable::Make({{line, line}}, {}),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("two lines")));
  EXPECT_THAT(MethodTable::Make({}, {{ItemLine{"muster.v1.Nodes", read, {"name"}}}}),
              StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(MethodTable::Make({}, {{ItemLine{"muster.v1.Node", read, {"nmae"}}}}),
              StatusIs(absl::StatusCode::kInternal));
}

TEST(MethodTableTest, ServicesOfGrpcAreForWhoMayHaveThem) {
  EXPECT_EQ(AccessOfService("/grpc.health.v1.Health/Check"), ServiceAccess::kEverybody);
  EXPECT_EQ(AccessOfService("/grpc.health.v1.Health/Watch"), ServiceAccess::kEverybody);
  EXPECT_EQ(AccessOfService("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
            ServiceAccess::kIdentified);
  EXPECT_EQ(AccessOfService("/grpc.channelz.v1.Channelz/GetTopChannels"), ServiceAccess::kAdmin);
  EXPECT_EQ(AccessOfService("/grpc.health.v1.HealthX/Check"), ServiceAccess::kAdmin);
  EXPECT_EQ(AccessOfService(""), ServiceAccess::kAdmin);
}

}  // namespace
}  // namespace muster
