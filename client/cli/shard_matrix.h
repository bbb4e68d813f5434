// Nodes and shards of an assembly as a picture that fits a terminal.
#ifndef MUSTER_CLIENT_CLI_SHARD_MATRIX_H_
#define MUSTER_CLIENT_CLI_SHARD_MATRIX_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "muster/v1/assembly.pb.h"

namespace muster {

// At most `rows` of `members`, in their order: those that need a look come before those that are
// READY. Never fewer than one, where there is one.
std::vector<v1::AssemblyMember> MembersToShow(absl::Span<const v1::AssemblyMember> members,
                                              size_t rows);

// What a line says of the members that are not shown; "" when there are none. `joined` counts all.
std::string HiddenMembers(absl::Span<const v1::AssemblyMember> members,
                          absl::Span<const v1::AssemblyMember> shown, size_t joined);

// One line per member, at most `width` columns wide (at least 40): its name, how much of its bytes
// is there, and a cell per shard, or per several shards where there is no room for one each; then a
// line that explains the marks. A cell that stands for several shows the worst of them. `statuses`
// are those of all shards in their order; without any, cells are shares of the member's bytes.
std::string ShardMatrix(absl::Span<const v1::AssemblyMember> members,
                        absl::Span<const v1::GetShardStatusResponse> statuses, size_t width);

// What the replicas that failed say of it, a line each: the first `lines` of them, and how many more
// there are. "" where none did.
std::string FailedReplicas(absl::Span<const v1::GetShardStatusResponse> statuses, size_t lines);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_SHARD_MATRIX_H_
