#include "tests/simulation/checks.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "muster/store/rows.pb.h"
#include "server/registry/row_keys.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

// What the members say, added up.
struct Sums {
  // Of the members that are waited for.
  uint64_t required = 0;
  uint64_t ready = 0;
  uint32_t live = 0;
  // Members that may get shards.
  uint32_t open = 0;
  // Members that hold what is theirs; that do, or may come to; that are on their way and not waited for.
  uint32_t holding = 0;
  uint32_t able = 0;
  uint32_t joining = 0;
  // Replicas that are to take over from others, and their bytes.
  uint32_t extra = 0;
  uint64_t extra_bytes = 0;
  std::vector<uint32_t> holders;
  std::vector<uint32_t> claim_holders;
  std::vector<uint32_t> ready_holders;
  // Live members, of those that are waited for, that lack something that the policy or their claim gives them.
  uint32_t lacking = 0;
};

// Whether shards are the node's by its claim or by the policy, and not by the planner's choice.
bool ClaimsShards(const Assembly& assembly, const v1::Claim& claim) {
  switch (assembly.row().policy()) {
    case v1::Assembly::FULL:
      return true;
    case v1::Assembly::DECLARED:
    case v1::Assembly::RANKED:
      return claim.kind() != v1::Claim::ANY;
    default:
      return false;
  }
}

// What one member adds to the sums over its assignments.
struct Share {
  size_t required = 0;
  size_t ready = 0;
};

Share AddAssignments(const Assembly& assembly, const Assembly::Member& member, bool counts,
                     Sums& sums) {
  Share share;
  for (size_t i = 0; i < member.assignments.size(); ++i) {
    const uint32_t shard = member.assignments[i].shard;
    if (member.replaces.count(shard) > 0) {
      ++sums.extra;
      sums.extra_bytes += assembly.version().shards[shard].size_bytes;
      continue;
    }
    ++share.required;
    ++sums.holders[shard];
    if (ClaimsShards(assembly, member.claim)) ++sums.claim_holders[shard];
    if (!counts || member.states[i] != v1::ShardReport::READY) continue;
    ++share.ready;
    ++sums.ready_holders[shard];
  }
  return share;
}

Sums AddUp(const Registry& registry, const Assembly& assembly, bool was_ready,
           const std::set<std::string>& established) {
  Sums sums;
  sums.holders.resize(assembly.version().shards.size());
  sums.claim_holders = sums.ready_holders = sums.holders;
  for (const auto& [name, member] : assembly.members()) {
    const Node* node = registry.nodes().FindByUid(member.node);
    const bool live = node != nullptr && !node->row.lost();
    if (live) ++sums.live;
    const bool open =
        live && node->row.drain_deadline_us() == 0 && assembly.Selects(node->row.labels());
    if (open) ++sums.open;
    const size_t own = OwnShardsOf(assembly, member.claim);
    const bool fits = !member.shortage.has_value();
    const bool counts = live && member.epoch == node->epoch();
    const Share share = AddAssignments(assembly, member, counts, sums);
    const bool waits = !ClaimsShards(assembly, member.claim) ||
                       (fits && (!was_ready || established.count(name) > 0));
    const bool holds = live && share.ready == share.required &&
                       (open ? share.required >= own : share.required > 0);
    if (holds) ++sums.holding;
    if (open ? fits : share.required > 0) ++sums.able;
    if (!waits && open && fits && !holds) ++sums.joining;
    if (!waits) continue;
    sums.required += share.required;
    sums.ready += share.ready;
    if (open && share.required < own) ++sums.lacking;
  }
  return sums;
}

// Whether the members' assignments are what the policy asks for.
bool IsCovered(const Assembly& assembly, const Sums& sums) {
  if (sums.lacking > 0) return false;
  for (size_t shard = 0; shard < sums.holders.size(); ++shard) {
    const bool enough = sums.holders[shard] >= assembly.row().replicas();
    switch (assembly.row().policy()) {
      case v1::Assembly::FULL:
        if (sums.holders[shard] == 0) return false;
        break;
      case v1::Assembly::DECLARED:
      case v1::Assembly::RANKED:
        if (sums.claim_holders[shard] == 0 && !enough) return false;
        break;
      default:
        if (!enough) return false;
    }
  }
  return true;
}

v1::Assembly::State ExpectedState(const Assembly& assembly, const Sums& sums, bool was_ready) {
  const auto& row = assembly.row();
  const bool planned = row.generation() != 0;
  const bool complete = std::all_of(sums.ready_holders.begin(), sums.ready_holders.end(),
                                    [](uint32_t holders) { return holders > 0; });
  if (planned && row.plan_reasons().empty() && complete && sums.ready == sums.required &&
      sums.holding >= row.min_nodes() && IsCovered(assembly, sums)) {
    return v1::Assembly::READY;
  }
  if (planned ? !row.plan_reasons().empty() || sums.able < row.min_nodes()
              : sums.open < row.min_nodes()) {
    return v1::Assembly::WAITING;
  }
  return was_ready ? v1::Assembly::DEGRADED : v1::Assembly::LOADING;
}

std::string CheckMembers(const Registry& registry, const Assembly& assembly,
                         const std::set<std::string>& established) {
  for (const auto& [name, member] : assembly.members()) {
    const Node* node = registry.nodes().FindByUid(member.node);
    if (node == nullptr || node->row.name() != name) {
      return absl::StrCat(name, " is a member and no node");
    }
    if (node->memberships.count(assembly.uid()) == 0) return absl::StrCat(name, " does not know");
    if (member.live == node->row.lost()) return absl::StrCat(name, ": member's life differs");
    if (member.epoch != node->epoch()) return absl::StrCat(name, ": member's epoch differs");
    if (member.established != (established.count(name) > 0)) {
      return absl::StrCat(name, ": established is ", member.established);
    }
    uint32_t ready = 0;
    uint64_t bytes = 0, ready_bytes = 0;
    size_t failed = 0;
    for (size_t i = 0; i < member.assignments.size(); ++i) {
      const uint64_t size = assembly.version().shards[member.assignments[i].shard].size_bytes;
      const bool extra = member.replaces.count(member.assignments[i].shard) > 0;
      bytes += size;
      if (member.states[i] == v1::ShardReport::READY && !extra) ++ready, ready_bytes += size;
      if (member.states[i] == v1::ShardReport::FAILED) ++failed;
      if (i > 0 && member.assignments[i - 1].shard >= member.assignments[i].shard) {
        return absl::StrCat(name, ": assignments out of order");
      }
    }
    if (ready != member.ready || bytes != member.assigned_bytes ||
        ready_bytes != member.ready_bytes || failed != member.failures.size() ||
        member.states.size() != member.assignments.size()) {
      return absl::StrCat(name, ": counters differ from the assignments");
    }
  }
  return "";
}

}  // namespace

size_t OwnShardsOf(const Assembly& assembly, const v1::Claim& claim) {
  const size_t all = assembly.version().shards.size();
  if (!ClaimsShards(assembly, claim)) return 0;
  if (assembly.row().policy() == v1::Assembly::FULL || claim.kind() == v1::Claim::ALL) return all;
  if (claim.kind() != v1::Claim::RANKS) return claim.shards_size();
  size_t own = 0;
  for (const Version::Shard& shard : assembly.version().shards) {
    for (const uint32_t rank : claim.ranks()) own += shard.rank == rank ? 1 : 0;
  }
  return own;
}

std::string CheckBarrier(const Registry& registry, const Assembly& assembly, bool was_ready,
                         const std::set<std::string>& established) {
  if (std::string wrong = CheckMembers(registry, assembly, established); !wrong.empty()) {
    return wrong;
  }
  const Sums sums = AddUp(registry, assembly, was_ready, established);
  const uint32_t holding = assembly.row().generation() == 0 ? 0 : sums.holding;
  const v1::Assembly shown = registry.assemblies().Describe(assembly);
  uint32_t shards_ready = 0;
  for (const uint32_t holders : sums.ready_holders) shards_ready += holders > 0 ? 1 : 0;
  const v1::Assembly::State expected = ExpectedState(assembly, sums, was_ready);
  if (shown.state() != expected) {
    return absl::StrCat("is ", v1::Assembly::State_Name(shown.state()), ", expected ",
                        v1::Assembly::State_Name(expected), ": ", shown.ShortDebugString());
  }
  if (shown.replicas_required() != sums.required || shown.replicas_ready() != sums.ready ||
      shown.shards_ready() != shards_ready || shown.nodes_live() != sums.live ||
      shown.nodes_joined() != assembly.members().size() ||
      shown.complete() != (shards_ready == sums.holders.size()) || shown.nodes_ready() != holding ||
      shown.nodes_joining() != sums.joining || shown.moves_in_progress() != sums.extra ||
      shown.moving_bytes() != sums.extra_bytes) {
    return absl::StrCat("counters differ, expected ", sums.ready, " of ", sums.required,
                        " replicas, ", shards_ready, " shards, ", sums.live, " live, ", holding,
                        " holding, ", sums.joining, " joining: ", shown.ShortDebugString());
  }
  if ((expected == v1::Assembly::READY) != shown.reasons().empty()) {
    return absl::StrCat("reasons don't fit the state: ", shown.ShortDebugString());
  }
  return "";
}

uint64_t BytesOn(const Registry& registry, const Node& node) {
  std::map<VersionUid, std::set<uint32_t>> shards;
  uint64_t bytes = 0;
  for (const AssemblyUid uid : node.memberships) {
    const Assembly& assembly = *registry.assemblies().FindByUid(uid);
    for (const Assignment& assignment : assembly.FindMember(node.row.name())->assignments) {
      if (!shards[assembly.version().uid].insert(assignment.shard).second) continue;
      bytes += assembly.version().shards[assignment.shard].size_bytes;
    }
  }
  return bytes;
}

std::string CheckNodes(const Registry& registry) {
  for (const auto& [name, node] : registry.nodes().by_name()) {
    uint64_t bytes = 0, shards = 0;
    for (const AssemblyUid uid : node->memberships) {
      const Assembly* assembly = registry.assemblies().FindByUid(uid);
      if (assembly == nullptr || assembly->FindMember(name) == nullptr) {
        return absl::StrCat(name, " is a member of an assembly that does not know");
      }
      bytes += assembly->FindMember(name)->assigned_bytes;
      shards += assembly->FindMember(name)->assignments.size();
    }
    const auto drain = node->row.drain_state();
    if ((drain == v1::Drain::DRAINED) != (node->row.drain_deadline_us() != 0 && shards == 0)) {
      return absl::StrCat(name, " has ", shards, " shards, and its drain is ",
                          v1::Drain::State_Name(drain));
    }
    if (bytes != node->assigned_bytes) {
      return absl::StrCat(name, " has ", bytes, " bytes assigned, and its books say ",
                          node->assigned_bytes);
    }
  }
  return "";
}

namespace {

// The rows that begin with a prefix; none when they can't be read.
std::vector<MetadataStore::Row> RowsOf(MetadataStore& store, const std::string& prefix) {
  auto rows = store.Scan(prefix, PrefixEnd(prefix), 100'000);
  return rows.ok() ? *std::move(rows) : std::vector<MetadataStore::Row>();
}

// Shards and their tensors, by the rows alone.
std::string CheckShardRows(const Version& version, MetadataStore& store) {
  std::set<std::pair<std::optional<uint32_t>, std::string>> names;
  uint64_t tensors = 0;
  for (uint32_t index = 0; index < version.row.shard_count(); ++index) {
    const auto packed = store.Get(ShardKey(version.uid, ShardIndex(index)));
    store::ShardRow shard;
    if (!packed.ok() || !shard.ParseFromString(*packed)) return absl::StrCat("no shard ", index);
    if (shard.size_bytes() == 0 || shard.locations().empty() ||
        (shard.md5().size() != 16 && shard.root().size() != 16)) {
      return absl::StrCat("shard ", index, " lacks size, digest or location");
    }
    size_t digests = 0;
    const std::string pieces = PiecesKey(version.uid, ShardIndex(index), 0).substr(0, 13);
    for (const auto& row : RowsOf(store, pieces)) {
      store::PiecesRow run;
      if (!run.ParseFromString(row.value)) return "a damaged row of pieces";
      digests += run.md5s().size();
    }
    if (digests != size_t{16} * shard.piece_count()) return absl::StrCat("pieces of shard ", index);
    uint64_t end = 0, count = 0;
    const std::string prefix = TensorsKey(version.uid, ShardIndex(index), 0).substr(0, 13);
    for (const auto& row : RowsOf(store, prefix)) {
      store::TensorsRow batch;
      if (!batch.ParseFromString(row.value)) return "a damaged row of tensors";
      for (const auto& tensor : batch.tensors()) {
        if (tensor.begin_bytes() < end || tensor.end_bytes() > shard.size_bytes()) {
          return absl::StrCat("tensor ", tensor.name(), " overlaps or is outside its shard");
        }
        end = tensor.end_bytes();
        ++count;
        const auto rank = shard.has_rank() ? std::optional<uint32_t>(shard.rank()) : std::nullopt;
        if (!names.emplace(rank, tensor.name()).second) {
          return absl::StrCat("tensor ", tensor.name(), " appears twice");
        }
      }
    }
    if (count != shard.tensor_count()) return absl::StrCat("tensors of shard ", index);
    tensors += count;
  }
  return tensors == version.row.tensor_count() ? "" : "the number of tensors";
}

}  // namespace

std::string CheckComplete(const Version& version, MetadataStore& store) {
  if (std::string wrong = CheckShardRows(version, store); !wrong.empty()) return wrong;
  const size_t companions = RowsOf(store, AllCompanionsPrefix(version.uid)).size();
  return companions == version.row.companion_count() ? "" : "the number of companions";
}

}  // namespace muster
