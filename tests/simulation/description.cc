#include "tests/simulation/description.h"

#include <algorithm>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/message.h"
#include "server/registry/row_keys.h"

namespace muster {
namespace {

bool readable = false;

size_t HashOf(absl::string_view bytes) { return absl::Hash<absl::string_view>()(bytes); }

// Equal for equal messages, also where they have maps.
std::string TextOf(const google::protobuf::Message& message) {
  if (readable) return message.ShortDebugString();
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return absl::StrCat(HashOf(bytes));
}

void DescribeVersion(const Registry& registry, const Version& version, std::string& out) {
  absl::StrAppend(&out, TextOf(registry.catalogue().Describe(version)), "\n");
  for (uint32_t index = 0; index < version.shards.size(); ++index) {
    // The API shows nothing but what is in the row; as text it would take most of a run's time.
    absl::StrAppend(&out, " ", index, ":", HashOf(version.shards[index].row.view()));
  }
  absl::StrAppend(&out, "\n");
}

void DescribeAssignments(const Assembly::Member& member, std::string& out) {
  for (size_t i = 0; i < member.assignments.size(); ++i) {
    const Assignment& assignment = member.assignments[i];
    absl::StrAppend(&out, " ", assignment.shard, "@", assignment.generation.value, "=",
                    member.states[i]);
    const auto failure = member.failures.find(assignment.shard);
    if (failure != member.failures.end()) {
      absl::StrAppend(&out, "{", TextOf(failure->second), "}");
    }
  }
  absl::StrAppend(&out, "\n");
}

}  // namespace

void DescribeReadably() { readable = true; }

std::string DescribeAll(const Registry& registry) {
  std::string out = absl::StrCat("revision ", registry.revision().value, "\n");
  for (const auto& [name, version] : registry.catalogue().by_name()) {
    DescribeVersion(registry, *version, out);
    absl::StrAppend(&out, TextOf(version->row.content_key()), "\n");
  }
  for (const auto& [master, keys] : registry.catalogue().content_keys().by_master_key()) {
    absl::StrAppend(&out, master, " wraps ", keys, "\n");
  }
  for (const auto& [name, node] : registry.nodes().by_name()) {
    absl::StrAppend(&out, TextOf(registry.nodes().Describe(*node)), " in");
    for (const AssemblyUid uid : node->memberships) absl::StrAppend(&out, " ", uid.value);
    absl::StrAppend(&out, "\n");
  }
  for (const auto& [name, assembly] : registry.assemblies().by_name()) {
    muster::v1::Assembly shown = registry.assemblies().Describe(*assembly);
    shown.clear_revision();
    absl::StrAppend(&out, TextOf(shown), " directory ", assembly->row().plan_directory(),
                    " was_ready ", assembly->row().was_ready(), "\n");
    for (const auto& [node, member] : assembly->members()) {
      absl::StrAppend(&out, "  ", TextOf(assembly->DescribeMember(node, member)), " epoch ",
                      member.epoch.value, member.established ? " established" : "");
      DescribeAssignments(member, out);
    }
  }
  return out;
}

std::set<NodeUid> ReleasedNodes(const Registry& registry) {
  std::set<NodeUid> released;
  for (const auto& [name, node] : registry.nodes().by_name()) {
    if (node->row.released()) released.insert(node->uid);
  }
  return released;
}

std::string DescribeFacts(const Registry& registry, absl::string_view without,
                          const std::set<NodeUid>& leaving) {
  std::string out;
  for (const auto& [name, version] : registry.catalogue().by_name()) {
    if (version->draft == nullptr) DescribeVersion(registry, *version, out);
  }
  for (const auto& [name, node] : registry.nodes().by_name()) {
    if (leaving.contains(node->uid)) continue;
    absl::StrAppend(&out, name, " uid ", node->uid.value, " epoch ", node->epoch().value,
                    " capacity ", node->row.capacity_bytes(), "\n");
  }
  for (const auto& [name, assembly] : registry.assemblies().by_name()) {
    if (name == without) continue;
    const auto& row = assembly->row();
    absl::StrAppend(&out, name, " uid ", row.uid(), " of ", row.version_uid(), " policy ",
                    row.policy(), " min_nodes ", row.min_nodes(), " generation ", row.generation(),
                    "\n");
    for (const auto& [node, member] : assembly->members()) {
      if (leaving.contains(member.node)) continue;
      absl::StrAppend(&out, "  ", node, " ", TextOf(member.claim));
      DescribeAssignments(member, out);
    }
  }
  return out;
}

std::string DescribeContent(const Registry& registry, const Version& version,
                            MetadataStore& store) {
  muster::v1::ModelVersion shown = registry.catalogue().Describe(version);
  std::string out = absl::StrCat(TextOf(shown), "\n");
  for (uint32_t index = 0; index < version.shards.size(); ++index) {
    muster::v1::Shard shard = registry.catalogue().DescribeShard(version, index);
    shard.clear_locations();
    shard.clear_revision();
    absl::StrAppend(&out, "shard ", index, " ", HashOf(shard.SerializeAsString()), "\n");
  }
  for (const std::string& prefix : {AllPiecesPrefix(version.uid), AllTensorsPrefix(version.uid),
                                    AllCompanionsPrefix(version.uid)}) {
    const auto rows = store.Scan(prefix, PrefixEnd(prefix), 100'000);
    if (!rows.ok()) return rows.status().ToString();
    for (const MetadataStore::Row& row : *rows) {
      absl::StrAppend(&out, absl::BytesToHexString(row.key), " ", row.value.size(), " ",
                      HashOf(row.value), "\n");
    }
  }
  return out;
}

std::string FirstDifference(absl::string_view before, absl::string_view after) {
  const std::vector<absl::string_view> old_lines = absl::StrSplit(before, '\n');
  const std::vector<absl::string_view> new_lines = absl::StrSplit(after, '\n');
  for (size_t i = 0; i < std::max(old_lines.size(), new_lines.size()); ++i) {
    const absl::string_view a = i < old_lines.size() ? old_lines[i] : "(nothing)";
    const absl::string_view b = i < new_lines.size() ? new_lines[i] : "(nothing)";
    if (a != b) return absl::StrCat("\n    was: ", a, "\n    is:  ", b);
  }
  return "(no difference)";
}

}  // namespace muster
