#include "server/access/method_table.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::MethodDescriptor;

using Form = MethodLine::Name::Form;

// The singular text field at `path`.
absl::StatusOr<std::vector<const FieldDescriptor*>> FindPath(const Descriptor* message,
                                                             absl::string_view path) {
  std::vector<const FieldDescriptor*> fields;
  for (const absl::string_view part : absl::StrSplit(path, '.')) {
    const FieldDescriptor* field =
        message == nullptr ? nullptr : message->FindFieldByName(std::string(part));
    if (field == nullptr || field->is_repeated()) {
      return absl::InternalError(absl::StrCat("there is no single field ", path));
    }
    fields.push_back(field);
    message = field->message_type();
  }
  if (fields.back()->cpp_type() != FieldDescriptor::CPPTYPE_STRING) {
    return absl::InternalError(absl::StrCat("the field ", path, " is no text"));
  }
  return fields;
}

absl::string_view TextAt(const Message& message, const std::vector<const FieldDescriptor*>& path) {
  const Message* at = &message;
  for (size_t i = 0; i + 1 < path.size(); ++i) at = &at->GetReflection()->GetMessage(*at, path[i]);
  std::string scratch;
  const std::string& text = at->GetReflection()->GetStringReference(*at, path.back(), &scratch);
  // A view into the message. Generated messages never need the scratch; one that does has no name.
  return &text == &scratch ? absl::string_view() : absl::string_view(text);
}

// The version of a shard's name; "" for what is no such name.
absl::string_view VersionOfShard(absl::string_view name) {
  const size_t split = name.rfind("/shards/");
  if (split == absl::string_view::npos || name.size() > kMaxResourceNameBytes) return "";
  const absl::string_view index = name.substr(split + 8);
  if (index.empty() || index.find_first_not_of("0123456789") != absl::string_view::npos) return "";
  return name.substr(0, split);
}

// The name if it is one of the form, else "", which nobody has rights on.
absl::string_view OfForm(Form form, absl::string_view name) {
  if (form == Form::kCollection) return name;
  if (form == Form::kShard) name = VersionOfShard(name);
  const ResourceKind wanted = form == Form::kNode       ? ResourceKind::kNode
                              : form == Form::kAssembly ? ResourceKind::kAssembly
                                                        : ResourceKind::kModelVersion;
  return KindOfResource(name) == wanted ? name : "";
}

// Whether one of the verbs is allowed; if not, the last one's denial.
CallDecision AllowsAny(const Caller& caller, const Requirement& requirement,
                       const MembershipView& members) {
  CallDecision call;
  call.name = requirement.name;
  for (int bit = 0; bit < kVerbCount && !call.allowed; ++bit) {
    const Verb verb = static_cast<Verb>(bit);
    if (!requirement.any_of.Has(verb)) continue;
    call.verb = verb;
    call.decision = caller.Allows(verb, requirement.scope, requirement.name, members);
    call.allowed = call.decision.allowed;
  }
  return call;
}

// `call` was allowed to look at the assembly.
void AskForItsVersion(const Caller& caller, absl::string_view assembly,
                      const MembershipView& members, CallDecision& call) {
  if (caller.identity().kind == Identity::Kind::kLocal) return;
  // Of an assembly that does not exist there is nothing to be kept from anybody.
  std::string version = members.VersionOf(assembly);
  if (version.empty()) return;
  const CallDecision read =
      AllowsAny(caller, Requirement{{Verb::kRead}, Scope::kName, version}, members);
  if (read.allowed) return;
  call.allowed = false;
  call.decision = read.decision;
  call.verb = read.verb;
  call.version = std::move(version);
}

}  // namespace

absl::StatusOr<MethodTable> MethodTable::Make(absl::Span<const MethodLine> methods,
                                              absl::Span<const ItemLine> items) {
  MethodTable table;
  for (const MethodLine& line : methods) MUSTER_RETURN_IF_ERROR(table.AddMethod(line));
  for (const ItemLine& line : items) MUSTER_RETURN_IF_ERROR(table.AddItem(line));
  return table;
}

absl::Status MethodTable::AddMethod(const MethodLine& line) {
  const MethodDescriptor* found = DescriptorPool::generated_pool()->FindMethodByName(
      absl::StrReplaceAll(line.method, {{"/", "."}}));
  if (found == nullptr)
    return absl::InternalError(absl::StrCat("there is no method ", line.method));
  Method method{found->input_type(), line.answer, line.audit, {}};
  for (const MethodLine::Name& name : line.names) {
    Name resolved{name, {}};
    if (name.form != Form::kCollection) {
      absl::StatusOr<Path> path = FindPath(method.request, name.field);
      if (!path.ok())
        return absl::InternalError(absl::StrCat(line.method, ": ", path.status().message()));
      resolved.path = *std::move(path);
    }
    method.names.push_back(std::move(resolved));
  }
  if (method.names.empty() != line.open) {
    return absl::InternalError(
        absl::StrCat(line.method, line.open ? " is open, and needs a right" : " needs no right"));
  }
  if (line.answer == AnswerRule::kOfItsVersion &&
      (line.open || line.names.front().form != Form::kAssembly)) {
    return absl::InternalError(absl::StrCat(line.method, " does not name its assembly first"));
  }
  if (!by_name_.emplace(line.method, methods_.size()).second ||
      !by_request_.emplace(method.request, methods_.size()).second) {
    return absl::InternalError(
        absl::StrCat(line.method, " has two lines, or the request of another method"));
  }
  methods_.push_back(std::move(method));
  return absl::OkStatus();
}

absl::Status MethodTable::AddItem(const ItemLine& line) {
  const Descriptor* message = DescriptorPool::generated_pool()->FindMessageTypeByName(line.message);
  if (message == nullptr)
    return absl::InternalError(absl::StrCat("there is no message ", line.message));
  Item& item = items_[message];
  item.any_of = line.any_of;
  for (const char* field : line.fields) {
    MUSTER_ASSIGN_OR_RETURN(Path path, FindPath(message, field));
    item.paths.push_back(std::move(path));
  }
  return absl::OkStatus();
}

const MethodTable::Method* MethodTable::Find(absl::string_view method) const {
  const auto found = by_name_.find(absl::StripPrefix(method, "/"));
  return found == by_name_.end() ? nullptr : &methods_[found->second];
}

const MethodTable::Method* MethodTable::FindByRequest(const Message& request) const {
  const auto found = by_request_.find(request.GetDescriptor());
  return found == by_request_.end() ? nullptr : &methods_[found->second];
}

Requirements MethodTable::RequirementsOf(const Method& method, const Message& request) {
  Requirements requirements;
  for (const Name& name : method.names) {
    const absl::string_view text =
        name.path.empty() ? absl::string_view(name.line.field) : TextAt(request, name.path);
    if (name.line.optional && text.empty()) continue;
    requirements.push_back(
        Requirement{name.line.any_of, name.line.scope, OfForm(name.line.form, text)});
  }
  return requirements;
}

absl::StatusOr<Requirements> MethodTable::RequirementsOf(absl::string_view method,
                                                         const Message& request) const {
  const Method* found = Find(method);
  if (found == nullptr)
    return absl::InternalError(absl::StrCat("no rule says who may call ", method));
  if (request.GetDescriptor() != found->request) {
    return absl::InternalError(
        absl::StrCat(method, " got a ", request.GetDescriptor()->full_name()));
  }
  return RequirementsOf(*found, request);
}

CallDecision MethodTable::Authorise(const Caller& caller, const Message& request,
                                    const MembershipView& members) const {
  const Method* method = FindByRequest(request);
  CallDecision call;
  call.unknown = method == nullptr;
  if (call.unknown) return call;
  call.allowed = true;
  const Requirements requirements = RequirementsOf(*method, request);
  for (const Requirement& requirement : requirements) {
    call = AllowsAny(caller, requirement, members);
    if (!call.allowed) return call;
  }
  if (method->answer == AnswerRule::kOfItsVersion) {
    AskForItsVersion(caller, requirements.front().name, members, call);
  }
  return call;
}

AuditRule MethodTable::AuditOf(const Message& request) const {
  const Method* method = FindByRequest(request);
  return method == nullptr ? AuditRule::kAlways : method->audit;
}

std::vector<std::string> MethodTable::NamesIn(const Message& request) const {
  std::vector<std::string> names;
  const Method* method = FindByRequest(request);
  if (method == nullptr) return names;
  for (const Name& name : method->names) {
    if (name.path.empty()) continue;
    const absl::string_view text = TextAt(request, name.path);
    if (!text.empty()) names.emplace_back(text.substr(0, kMaxResourceNameBytes));
  }
  return names;
}

AnswerRule MethodTable::AnswerOf(absl::string_view method) const {
  const Method* found = Find(method);
  return found == nullptr ? AnswerRule::kFiltered : found->answer;
}

bool MethodTable::MayShow(const Caller& caller, const Message& item,
                          const MembershipView& members) const {
  const auto found = items_.find(item.GetDescriptor());
  if (found == items_.end()) return false;
  bool named = false;
  for (const Path& path : found->second.paths) {
    const absl::string_view name = TextAt(item, path);
    if (name.empty()) continue;
    named = true;
    const Requirement requirement{found->second.any_of, Scope::kName, name};
    if (!AllowsAny(caller, requirement, members).allowed) return false;
  }
  return named;
}

ServiceAccess AccessOfService(absl::string_view method) {
  const absl::string_view name = absl::StripPrefix(method, "/");
  if (absl::StartsWith(name, "grpc.health.v1.Health/")) return ServiceAccess::kEverybody;
  if (absl::StartsWith(name, "grpc.reflection.v1alpha.ServerReflection/") ||
      absl::StartsWith(name, "grpc.reflection.v1.ServerReflection/")) {
    return ServiceAccess::kIdentified;
  }
  return ServiceAccess::kAdmin;
}

}  // namespace muster
