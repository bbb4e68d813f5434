// What each RPC does to what: the one table that says which rights a call needs.
//
// A method that is not in the table needs rights that nobody has, so that a forgotten line is a denial. A unit test walks
// the descriptors and fails on it, too.
#ifndef MUSTER_SERVER_ACCESS_METHOD_TABLE_H_
#define MUSTER_SERVER_ACCESS_METHOD_TABLE_H_

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/access/membership_view.h"
#include "server/access/policy.h"
#include "server/access/resource_pattern.h"
#include "server/access/verb.h"

namespace muster {

// What an answer shows beside what was authorised.
enum class AnswerRule : uint8_t {
  // Nothing: the resource itself, and the names of those next to it.
  kWhole,
  // Items of which each is shown only where MethodTable::MayShow says so.
  kFiltered,
  // With validate_only, plans of assemblies: the same for each.
  kPlansFiltered,
  // How the shards of an assembly are doing: which of their locations failed, and how. Reading the assembly's version is
  // needed, too; the assembly is the first of the names.
  kOfItsVersion,
};

// One right that a call needs.
struct Requirement {
  // Any of these is enough.
  VerbSet any_of;
  Scope scope = Scope::kName;
  // Lies in the request. Of a shard it is the version.
  absl::string_view name;
};
using Requirements = absl::InlinedVector<Requirement, 4>;

// What the audit log tells of a call that is allowed. One that is denied is always told.
enum class AuditRule : uint8_t {
  // Only where reads are asked for, too.
  kRead,
  kAlways,
  // What agents do all the time, and what changes nothing that is kept.
  kNever,
};

// A line of the table, as it is written.
struct MethodLine {
  struct Name {
    enum class Form : uint8_t { kModelVersion, kShard, kNode, kAssembly, kCollection };

    VerbSet any_of;
    Form form;
    // The field's path in the request, "assembly.model_version"; of a collection, its name.
    const char* field;
    // The field may be empty, which then needs no right.
    bool optional = false;
    Scope scope = Scope::kName;
  };

  // "muster.v1.NodeService/DrainNode"
  const char* method;
  AnswerRule answer;
  std::vector<Name> names;
  AuditRule audit = AuditRule::kAlways;
  // Needs no right of the caller, and so no names: anybody may ask, or the request itself carries the right, a join token,
  // which the registry judges.
  bool open = false;
};

// What the lists, watches and plans show, and the fields with the names that have to be readable for it: all that are
// not empty, and at least one.
struct ItemLine {
  const char* message;
  // Any of these is enough, for each name.
  VerbSet any_of;
  std::vector<const char*> fields;
};

absl::Span<const MethodLine> MethodLines();
absl::Span<const ItemLine> ItemLines();

// The first right that a call lacks.
struct CallDecision {
  bool allowed = false;
  Decision decision;
  Verb verb = Verb::kAdmin;
  // Of what; lies in the request.
  absl::string_view name;
  // Of what, where the request does not say it: the version of its assembly.
  std::string version;
  // No line says who may call it.
  bool unknown = false;

  absl::string_view resource() const { return version.empty() ? name : version; }
};

// The lines with their fields looked up. Immutable; thread-safe.
class MethodTable {
 public:
  // kInternal: a line names a method or a field that there is not, or a field of another kind.
  static absl::StatusOr<MethodTable> Make(absl::Span<const MethodLine> methods,
                                          absl::Span<const ItemLine> items);

  // All rights that a call of the method needs, by its full name; "/muster.v1.NodeService/DrainNode", too. kInternal:
  // the method has no line, or the request is of another one. What is asked about a field that holds no name is denied
  // by the caller's rights, so that malformed requests are refused before or by them.
  absl::StatusOr<Requirements> RequirementsOf(absl::string_view method,
                                              const google::protobuf::Message& request) const;

  // Whether the caller has all of them; each method has a request of its own, by which it is known. Methods without a
  // line are denied.
  CallDecision Authorise(const Caller& caller, const google::protobuf::Message& request,
                         const MembershipView& members) const;

  // kAlways for a request of no method.
  AuditRule AuditOf(const google::protobuf::Message& request) const;
  // Full names of what the request is about, for audit lines: "models/llama/versions/v1".
  std::vector<std::string> NamesIn(const google::protobuf::Message& request) const;

  // How the method's answer is filtered; kFiltered for one without a line.
  AnswerRule AnswerOf(absl::string_view method) const;

  // Whether a model version, a node, an assembly, an event or a plan may be shown. Not for a message of another kind.
  bool MayShow(const Caller& caller, const google::protobuf::Message& item,
               const MembershipView& members) const;

 private:
  using Path = std::vector<const google::protobuf::FieldDescriptor*>;
  struct Name {
    MethodLine::Name line;
    Path path;
  };
  struct Method {
    const google::protobuf::Descriptor* request;
    AnswerRule answer;
    AuditRule audit;
    std::vector<Name> names;
  };

  struct Item {
    VerbSet any_of;
    std::vector<Path> paths;
  };

  absl::Status AddMethod(const MethodLine& line);
  absl::Status AddItem(const ItemLine& line);
  const Method* Find(absl::string_view method) const;
  const Method* FindByRequest(const google::protobuf::Message& request) const;
  static Requirements RequirementsOf(const Method& method,
                                     const google::protobuf::Message& request);

  std::vector<Method> methods_;
  absl::flat_hash_map<std::string, size_t> by_name_;
  absl::flat_hash_map<const google::protobuf::Descriptor*, size_t> by_request_;
  absl::flat_hash_map<const google::protobuf::Descriptor*, Item> items_;
};

// Services that gRPC brings, which have no names in their requests.
enum class ServiceAccess : uint8_t {
  // Probes show nothing.
  kEverybody,
  // The descriptors are public, but not for those who only scan ports.
  kIdentified,
  // Channelz shows peers and sockets.
  kAdmin,
};
// By a method's full name; kAdmin for services that nobody thought of.
ServiceAccess AccessOfService(absl::string_view method);

}  // namespace muster

#endif  // MUSTER_SERVER_ACCESS_METHOD_TABLE_H_
