// Tables of the catalogue's things, shared by several commands.
#ifndef MUSTER_CLIENT_CLI_DISPLAY_H_
#define MUSTER_CLIENT_CLI_DISPLAY_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/model.pb.h"
#include "muster/v1/node.pb.h"

namespace muster {

// "demo" for "assemblies/demo", "n1" for "nodes/n1".
std::string ShortName(absl::string_view name);

// "3 min 5 s ago"; "-" for an unset time.
std::string Age(const google::protobuf::Timestamp& time, absl::Time now);

// A `now` at which nothing has an age, so that tables of the same things are the same.
inline constexpr absl::Time kNoAges = absl::InfinitePast();

// "live", "lost", "released", "braked", "draining 3 left", "drained", "overdue 3 left"; "lost,
// draining 3 left" where both apply.
std::string NodeState(const v1::Node& node);

// With `wide`, more columns, and nothing cut.
std::string ModelVersionsTable(const std::vector<v1::ModelVersion>& versions, absl::Time now,
                               bool wide = false);
std::string ShardsTable(const std::vector<v1::Shard>& shards);
// `with_why`: with the first reason of each, where the reasons are not listed beside the table.
std::string AssembliesTable(const std::vector<v1::Assembly>& assemblies, bool with_why = true,
                            bool wide = false);
// Columns that are about moves, waits, drains or failures are there when a member has some.
std::string MembersTable(const std::vector<v1::AssemblyMember>& members);
std::string NodesTable(const std::vector<v1::Node>& nodes, absl::Time now, bool wide = false);

// "key: value" lines with the values aligned.
std::string KeyValues(const std::vector<std::pair<std::string, std::string>>& lines);

// A shard's failure with its code; "" where there is none.
std::string FailureText(const v1::ShardFailure& failure);

// An assembly with its reasons and members.
std::string AssemblyDetails(const v1::GetAssemblyResponse& response);

// "3 nodes ready"; "8 of 9 nodes ready, n9 joining at 40 %" where some came after the first READY. Without members it
// counts those.
std::string NodesReadyText(const v1::Assembly& assembly,
                           const std::vector<v1::AssemblyMember>& members);

// The part of it that is about the assembly as a whole.
std::string AssemblySummary(const v1::GetAssemblyResponse& response);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_DISPLAY_H_
