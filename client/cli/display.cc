#include "client/cli/display.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/table.h"
#include "client/cli/values.h"
#include "storage/base/resource_name.h"

namespace muster {
namespace {

// Of a claim in a table; `muster status --json` has what the server tells of it.
constexpr size_t kMaxClaimBytes = 32;

std::string OrDash(const std::string& text) { return text.empty() ? "-" : text; }

std::string Size(uint64_t bytes) { return FormatSize(static_cast<int64_t>(bytes)); }

std::string Ratio(uint64_t done, uint64_t all) { return absl::StrCat(done, "/", all); }

// Of a READY assembly: members that are live and get nothing, as they have no room or other labels. READY waits for all
// others but those that are joining. An older server does not say who is ready.
uint32_t NodesWithoutShards(const v1::Assembly& assembly) {
  const uint32_t with = assembly.nodes_ready() + assembly.nodes_joining();
  const bool known = assembly.state() == v1::Assembly::READY && assembly.nodes_ready() > 0;
  return known && assembly.nodes_live() > with ? assembly.nodes_live() - with : 0;
}

// The first reason, cut for a table; details list all of them.
std::string Why(const v1::Assembly& assembly, bool wide) {
  const size_t max_bytes = wide ? SIZE_MAX : 72;
  if (const uint32_t without = NodesWithoutShards(assembly); without > 0) {
    return absl::StrCat(CountOf(without, "live node"), without == 1 ? " gets" : " get",
                        " no shards: `muster status ", ShortName(assembly.name()), "`");
  }
  if (assembly.reasons_size() == 0) return "";
  return ShortText(assembly.reasons(0).message(), max_bytes);
}

std::string Lower(const std::string& text) { return absl::AsciiStrToLower(text); }

std::string DrainState(const v1::Drain& drain) {
  const std::string state = Lower(v1::Drain::State_Name(drain.state()));
  if (drain.state() == v1::Drain::DRAINED) return state;
  return absl::StrCat(state, " ", drain.shards_left(), " left");
}

std::string MemberLife(const v1::AssemblyMember& member) {
  return absl::StrCat(member.live() ? "yes" : "no", member.draining() ? ", draining" : "");
}

std::string Suspicion(const v1::Location& location) {
  return location.suspect() ? " (suspect)" : "";
}

}  // namespace

std::string ShortName(absl::string_view name) {
  const size_t slash = name.rfind('/');
  return std::string(slash == absl::string_view::npos ? name : name.substr(slash + 1));
}

std::string Age(const google::protobuf::Timestamp& time, absl::Time now) {
  if (time.seconds() == 0) return "-";
  const absl::Time then = absl::FromUnixSeconds(time.seconds());
  return absl::StrCat(HumanDuration(std::max(now - then, absl::ZeroDuration())), " ago");
}

std::string NodeState(const v1::Node& node) {
  std::string state = Lower(v1::Node::State_Name(node.state()));
  if (node.released()) state = "released";
  if (node.moves_braked()) state = "braked";
  if (!node.has_drain()) return state;
  const std::string drain = DrainState(node.drain());
  return node.state() == v1::Node::LIVE ? drain : absl::StrCat(state, ", ", drain);
}

std::string ModelVersionsTable(const std::vector<v1::ModelVersion>& versions, absl::Time now,
                               bool wide) {
  std::vector<Table::Column> columns = {{"MODEL"},
                                        {"STATE"},
                                        {"STRATEGY"},
                                        {"SHARDS", Table::Align::kRight},
                                        {"TENSORS", Table::Align::kRight},
                                        {"SIZE", Table::Align::kRight},
                                        {"CREATED"}};
  if (wide) columns.insert(columns.end(), {{"FILES", Table::Align::kRight}, {"UID"}});
  Table table(std::move(columns));
  for (const v1::ModelVersion& version : versions) {
    const bool draft = version.state() == v1::ModelVersion::DRAFT;
    std::vector<std::string> cells = {ShortModelVersionName(version.name()),
                                      v1::ModelVersion::State_Name(version.state()),
                                      OrDash(version.strategy()),
                                      draft ? Ratio(version.shards_added(), version.shard_count())
                                            : absl::StrCat(version.shard_count()),
                                      absl::StrCat(version.tensor_count()),
                                      Size(version.size_bytes()),
                                      Age(version.create_time(), now)};
    if (wide) {
      cells.insert(cells.end(), {absl::StrCat(version.companion_count()), version.uid()});
    }
    table.Add(std::move(cells));
  }
  return table.ToString();
}

std::string ShardsTable(const std::vector<v1::Shard>& shards) {
  Table table({{"SHARD", Table::Align::kRight},
               {"SIZE", Table::Align::kRight},
               {"PIECES", Table::Align::kRight},
               {"TENSORS", Table::Align::kRight},
               {"MD5"},
               {"LOCATIONS"}});
  for (const v1::Shard& shard : shards) {
    std::string locations;
    for (const v1::Location& location : shard.locations()) {
      absl::StrAppend(&locations, locations.empty() ? "" : " ", location.uri(),
                      Suspicion(location));
    }
    table.Add({absl::StrCat(shard.index()), Size(shard.size_bytes()),
               absl::StrCat(shard.piece_count()), absl::StrCat(shard.tensor_count()),
               OrDash(shard.md5()), locations});
  }
  return table.ToString();
}

std::string AssembliesTable(const std::vector<v1::Assembly>& assemblies, bool with_why, bool wide) {
  std::vector<Table::Column> columns = {{"ASSEMBLY"},
                                        {"MODEL"},
                                        {"POLICY"},
                                        {"STATE"},
                                        {"SHARDS", Table::Align::kRight},
                                        {"REPLICAS", Table::Align::kRight},
                                        {"NODES", Table::Align::kRight}};
  if (with_why) columns.push_back({"WHY"});
  Table table(std::move(columns));
  for (const v1::Assembly& assembly : assemblies) {
    std::vector<std::string> cells = {
        ShortName(assembly.name()),
        ShortModelVersionName(assembly.model_version()),
        Lower(v1::Assembly::Policy_Name(assembly.policy())),
        v1::Assembly::State_Name(assembly.state()),
        Ratio(assembly.shards_ready(), assembly.shard_count()),
        Ratio(assembly.replicas_ready(), assembly.replicas_required()),
        Ratio(assembly.nodes_live(), assembly.nodes_joined())};
    if (with_why) cells.push_back(Why(assembly, wide));
    table.Add(std::move(cells));
  }
  return table.ToString();
}

std::string MembersTable(const std::vector<v1::AssemblyMember>& members) {
  constexpr auto kRight = Table::Align::kRight;
  struct Extra {
    std::string title;
    uint32_t (v1::AssemblyMember::*count)() const;
  };
  const Extra all_extras[] = {{"INCOMING", &v1::AssemblyMember::shards_incoming},
                              {"WAITING", &v1::AssemblyMember::shards_waiting},
                              {"GIVEN UP", &v1::AssemblyMember::shards_given_up}};
  std::vector<Extra> extras;
  std::copy_if(std::begin(all_extras), std::end(all_extras), std::back_inserter(extras),
               [&](const Extra& extra) {
                 return std::any_of(members.begin(), members.end(), [&](const auto& member) {
                   return (member.*extra.count)() > 0;
                 });
               });
  std::vector<Table::Column> columns = {{"NODE"},
                                        {"LIVE"},
                                        {"READY"},
                                        {"CLAIM"},
                                        {"SHARDS", kRight},
                                        {"FAILED", kRight},
                                        {"READY BYTES", kRight},
                                        {"OF", kRight},
                                        {"FETCHING", kRight}};
  for (const Extra& extra : extras) columns.push_back({extra.title, kRight});
  Table table(std::move(columns));
  for (const v1::AssemblyMember& member : members) {
    std::vector<std::string> cells = {ShortName(member.node()),
                                      MemberLife(member),
                                      member.ready() ? "yes" : "no",
                                      ShortText(FormatClaim(member.claim()), kMaxClaimBytes),
                                      Ratio(member.shards_ready(), member.shards_assigned()),
                                      absl::StrCat(member.shards_failed()),
                                      Size(member.ready_bytes()),
                                      Size(member.assigned_bytes()),
                                      Size(member.fetching_bytes())};
    for (const Extra& extra : extras) cells.push_back(absl::StrCat((member.*extra.count)()));
    table.Add(std::move(cells));
  }
  return table.ToString();
}

std::string NodesTable(const std::vector<v1::Node>& nodes, absl::Time now, bool wide) {
  std::vector<Table::Column> columns = {{"NODE"},
                                        {"STATE"},
                                        {"ZONE"},
                                        {"ADDRESS"},
                                        {"ASSIGNED", Table::Align::kRight},
                                        {"CAPACITY", Table::Align::kRight},
                                        {"EPOCH", Table::Align::kRight},
                                        {"REGISTERED"}};
  if (wide) columns.insert(columns.end(), {{"LABELS"}, {"INSTANCE"}});
  Table table(std::move(columns));
  for (const v1::Node& node : nodes) {
    std::vector<std::string> cells = {
        ShortName(node.name()),
        NodeState(node),
        OrDash(node.zone()),
        OrDash(node.address()),
        Size(node.assigned_bytes()),
        node.capacity_bytes() == 0 ? "no bound" : Size(node.capacity_bytes()),
        absl::StrCat(node.epoch()),
        Age(node.register_time(), now)};
    if (wide) {
      // The map has no order of its own.
      const std::map<std::string, std::string> labels(node.labels().begin(), node.labels().end());
      cells.insert(cells.end(), {OrDash(absl::StrJoin(labels, ",", absl::PairFormatter("="))),
                                 node.instance_id()});
    }
    table.Add(std::move(cells));
  }
  return table.ToString();
}

std::string KeyValues(const std::vector<std::pair<std::string, std::string>>& lines) {
  size_t width = 0;
  for (const auto& [key, value] : lines) width = std::max(width, key.size());
  std::string out;
  for (const auto& [key, value] : lines) {
    absl::StrAppend(&out, key, ":", std::string(width - key.size() + 2, ' '), Printable(value),
                    "\n");
  }
  return out;
}

std::string FailureText(const v1::ShardFailure& failure) {
  if (failure.code() == v1::ShardFailure::CODE_UNSPECIFIED) return "";
  std::string text = v1::ShardFailure::Code_Name(failure.code());
  if (!failure.message().empty()) absl::StrAppend(&text, ": ", failure.message());
  const bool is_said = absl::StrContains(failure.message(), failure.expected_md5());
  if (!failure.expected_md5().empty() && !is_said) {
    absl::StrAppend(&text, " (expected MD5 ", failure.expected_md5());
    // Of a file it stays on the node.
    if (!failure.found_md5().empty()) absl::StrAppend(&text, ", found ", failure.found_md5());
    absl::StrAppend(&text, ")");
  }
  if (failure.attempts() > 1) absl::StrAppend(&text, ", ", failure.attempts(), " times in a row");
  return text;
}

std::string NodesReadyText(const v1::Assembly& assembly,
                           const std::vector<v1::AssemblyMember>& members) {
  constexpr uint32_t kMaxNamed = 3;
  const uint32_t ready = assembly.nodes_ready();
  const uint32_t joining = assembly.nodes_joining();
  if (joining == 0) return absl::StrCat(CountOf(ready, "node"), " ready");
  std::string out = absl::StrCat(ready, " of ", CountOf(ready + joining, "node"), " ready, ");
  uint32_t named = 0;
  for (const v1::AssemblyMember& member : members) {
    if (!member.joining() || named == kMaxNamed) continue;
    const uint64_t done = member.ready_bytes() + member.fetching_bytes();
    const uint64_t all = std::max<uint64_t>(1, member.assigned_bytes());
    absl::StrAppend(&out, named == 0 ? "" : ", ", ShortName(member.node()), " joining at ",
                    100 * std::min(done, all) / all, " %");
    ++named;
  }
  if (named == 0) return absl::StrCat(out, joining, " joining");
  if (named < joining) absl::StrAppend(&out, ", ", joining - named, " more joining");
  return out;
}

std::string AssemblySummary(const v1::GetAssemblyResponse& response) {
  const v1::Assembly& assembly = response.assembly();
  const std::vector<v1::AssemblyMember> members(response.members().begin(),
                                                response.members().end());
  std::string out = AssembliesTable({assembly}, /*with_why=*/false);
  if (assembly.nodes_joining() > 0) {
    absl::StrAppend(&out, "  - ", NodesReadyText(assembly, members), "\n");
  }
  if (assembly.state() == v1::Assembly::READY) {
    // Elsewhere the reasons say it.
    for (const v1::AssemblyMember& member : members) {
      if (member.problem().empty()) continue;
      absl::StrAppend(&out, "  - ", ShortName(member.node()), " gets no shards: it ",
                      Printable(member.problem()), "\n");
    }
  }
  for (const v1::AssemblyReason& reason : assembly.reasons()) {
    absl::StrAppend(&out, "  - ", Printable(reason.message()), "\n");
  }
  if (assembly.moves_in_progress() > 0) {
    absl::StrAppend(&out, "  - ", CountOf(assembly.moves_in_progress(), "move"), " in progress, ",
                    Size(assembly.moving_bytes()), "; what moves stays until it is replaced\n");
  }
  absl::StrAppend(&out, "\n");
  return response.members_size() == 0 ? absl::StrCat(out, "no node has joined\n") : out;
}

std::string AssemblyDetails(const v1::GetAssemblyResponse& response) {
  std::string out = AssemblySummary(response);
  if (response.members_size() == 0) return out;
  absl::StrAppend(&out, MembersTable({response.members().begin(), response.members().end()}));
  const auto shown = static_cast<uint32_t>(response.members_size());
  const uint32_t joined = response.assembly().nodes_joined();
  if (shown < joined) absl::StrAppend(&out, "… and ", CountOf(joined - shown, "more node"), "\n");
  return out;
}

}  // namespace muster
