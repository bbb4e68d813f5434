#include "client/cli/top_screen.h"

#include <algorithm>
#include <functional>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/display.h"
#include "client/cli/json_output.h"
#include "client/cli/live_screen.h"
#include "client/cli/table.h"
#include "client/cli/values.h"
#include "storage/base/resource_name.h"

namespace muster {
namespace {

constexpr char kNotKnown[] = "-";

int64_t BytesThereOf(const v1::AssemblyMember& member) {
  return static_cast<int64_t>(
      std::min(member.ready_bytes() + member.fetching_bytes(), member.assigned_bytes()));
}

int64_t TotalBytesOf(const v1::AssemblyMember& member) {
  return static_cast<int64_t>(member.assigned_bytes());
}

void Add(const v1::AssemblyMember& member, double bytes_per_second, TopProgress& sum) {
  sum.there_bytes += BytesThereOf(member);
  sum.total_bytes += TotalBytesOf(member);
  sum.bytes_per_second += bytes_per_second;
  sum.shards_failed += member.shards_failed();
}

// The smaller, the sooner somebody should look.
int RankOf(const TopAssembly& row) {
  switch (row.assembly.state()) {
    case v1::Assembly::DEGRADED:
      return 0;
    case v1::Assembly::WAITING:
      return 1;
    case v1::Assembly::READY:
      return row.progress.done() ? 4 : 3;
    default:
      return 2;
  }
}

int RankOf(const TopNode& row) {
  if (row.node.state() == v1::Node::LOST) return 0;
  if (row.progress.shards_failed > 0) return 1;
  return row.progress.done() ? 3 : 2;
}

template <typename Row, typename NameOf>
void SortRows(std::vector<Row>& rows, NameOf name_of) {
  std::sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) {
    // The longest time first.
    return std::make_tuple(RankOf(a), -a.progress.TimeLeft(), name_of(a)) <
           std::make_tuple(RankOf(b), -b.progress.TimeLeft(), name_of(b));
  });
}

std::string PercentCell(const TopProgress& progress) {
  if (progress.total_bytes == 0) return kNotKnown;
  const double share =
      static_cast<double>(progress.there_bytes) / static_cast<double>(progress.total_bytes);
  return absl::StrCat(static_cast<int>(std::min(share, 1.0) * 100), "%");
}

std::string RateCell(const TopProgress& progress) {
  if (progress.bytes_per_second <= 0) return kNotKnown;
  return absl::StrCat(FormatSize(static_cast<int64_t>(progress.bytes_per_second)), "/s");
}

std::string LeftCell(const TopProgress& progress) {
  if (progress.done() || progress.bytes_per_second <= 0) return kNotKnown;
  return HumanDuration(progress.TimeLeft());
}

std::string BytesCell(const TopProgress& progress) {
  if (progress.total_bytes == 0) return kNotKnown;
  return absl::StrCat(FormatSize(progress.there_bytes), " of ", FormatSize(progress.total_bytes));
}

std::string FailedCell(const TopProgress& progress) { return absl::StrCat(progress.shards_failed); }

// A column. Where there is not room for all, those that go first have the highest number; those with a 0 stay.
template <typename Row>
struct TopColumn {
  Table::Column title;
  int goes = 0;
  std::function<std::string(const Row&)> cell;
};

// A name that is cut shows that it is.
std::string Cut(const std::string& text, size_t columns) {
  if (DisplayWidth(text) <= columns) return text;
  return absl::StrCat(CutToColumns(text, columns - 1), "…");
}

template <typename Row>
std::vector<std::string> TableLines(const std::vector<Row>& rows,
                                    const std::vector<TopColumn<Row>>& all, size_t columns,
                                    size_t lines, const std::string& rest) {
  constexpr size_t kNameColumnsMin = 10;
  if (rows.empty() || lines < 2) return {};
  const bool fits = rows.size() + 1 <= lines;
  const size_t shown = fits ? rows.size() : lines - 2;
  int most = 0;
  for (const auto& column : all) most = std::max(most, column.goes);
  std::vector<std::string> out;
  // With fewer and fewer columns, and at last with shorter names.
  for (int keep = most; keep >= -1; --keep) {
    std::vector<Table::Column> titles;
    for (const auto& column : all) {
      if (column.goes <= std::max(keep, 0)) titles.push_back(column.title);
    }
    Table table(titles);
    for (size_t i = 0; i < shown; ++i) {
      std::vector<std::string> cells;
      for (const auto& column : all) {
        if (column.goes > std::max(keep, 0)) continue;
        const std::string cell = Printable(column.cell(rows[i]));
        cells.push_back(keep < 0 && cells.empty() ? Cut(cell, kNameColumnsMin) : cell);
      }
      table.Add(std::move(cells));
    }
    out = absl::StrSplit(table.ToString(), '\n');
    out.pop_back();
    const bool narrow = std::all_of(out.begin(), out.end(), [&](const std::string& line) {
      return DisplayWidth(line) <= columns;
    });
    if (narrow) break;
  }
  if (!fits) out.push_back(absl::StrCat("… and ", rows.size() - shown, " more ", rest));
  return out;
}

constexpr auto kRight = Table::Align::kRight;

std::vector<TopColumn<TopAssembly>> AssemblyColumns() {
  using Row = TopAssembly;
  return {
      {{"ASSEMBLY"}, 0, [](const Row& row) { return ShortName(row.assembly.name()); }},
      {{"MODEL"},
       3,
       [](const Row& row) { return ShortModelVersionName(row.assembly.model_version()); }},
      {{"STATE"}, 0, [](const Row& row) { return v1::Assembly::State_Name(row.assembly.state()); }},
      {{"DONE", kRight}, 0, [](const Row& row) { return PercentCell(row.progress); }},
      {{"BYTES", kRight}, 4, [](const Row& row) { return BytesCell(row.progress); }},
      {{"RATE", kRight}, 0, [](const Row& row) { return RateCell(row.progress); }},
      {{"LEFT", kRight}, 1, [](const Row& row) { return LeftCell(row.progress); }},
      {{"NODES", kRight},
       2,
       [](const Row& row) {
         return absl::StrCat(row.assembly.nodes_live(), "/", row.assembly.nodes_joined());
       }},
      {{"FAILED", kRight}, 5, [](const Row& row) { return FailedCell(row.progress); }},
  };
}

std::vector<TopColumn<TopNode>> NodeColumns() {
  using Row = TopNode;
  return {
      {{"NODE"}, 0, [](const Row& row) { return ShortName(row.node.name()); }},
      {{"STATE"}, 0, [](const Row& row) { return NodeState(row.node); }},
      {{"DONE", kRight}, 0, [](const Row& row) { return PercentCell(row.progress); }},
      {{"BYTES", kRight}, 3, [](const Row& row) { return BytesCell(row.progress); }},
      {{"RATE", kRight}, 0, [](const Row& row) { return RateCell(row.progress); }},
      {{"LEFT", kRight}, 2, [](const Row& row) { return LeftCell(row.progress); }},
      {{"FAILED", kRight}, 1, [](const Row& row) { return FailedCell(row.progress); }},
      {{"ZONE"},
       4,
       [](const Row& row) { return row.node.zone().empty() ? kNotKnown : row.node.zone(); }},
  };
}

std::string Summary(const TopRows& rows) {
  size_t ready = 0, live = 0;
  double bytes_per_second = 0;
  for (const TopAssembly& row : rows.assemblies) {
    ready += row.assembly.state() == v1::Assembly::READY ? 1 : 0;
    bytes_per_second += row.progress.bytes_per_second;
  }
  for (const TopNode& row : rows.nodes) live += row.node.state() == v1::Node::LIVE ? 1 : 0;
  return absl::StrCat(ready, "/", rows.assemblies.size(), " READY, ", live, "/", rows.nodes.size(),
                      " nodes live, ", FormatSize(static_cast<int64_t>(bytes_per_second)), "/s");
}

void AddProgress(const TopProgress& progress, JsonObject& json) {
  json.Add("there_bytes", progress.there_bytes);
  json.Add("total_bytes", progress.total_bytes);
  json.Add("bytes_per_second", static_cast<int64_t>(progress.bytes_per_second));
  json.Add("shards_failed", static_cast<int64_t>(progress.shards_failed));
}

}  // namespace

absl::Duration TopProgress::TimeLeft() const {
  if (done()) return absl::ZeroDuration();
  if (bytes_per_second <= 0) return absl::InfiniteDuration();
  return absl::Seconds(static_cast<double>(total_bytes - there_bytes) / bytes_per_second);
}

TopRows TopMeter::Add(absl::Duration now, const ClusterLook& look) {
  TopRows rows;
  std::map<std::string, TopProgress> by_node;
  std::set<std::pair<std::string, std::string>> seen;
  for (const v1::Assembly& assembly : look.assemblies) {
    TopAssembly row{assembly, {}};
    const auto found = look.members.find(assembly.name());
    if (found != look.members.end()) {
      for (const v1::AssemblyMember& member : found->second) {
        // Not one of an assembly that was made again under its name.
        const auto key = std::make_pair(assembly.uid(), member.node());
        seen.insert(key);
        RateMeter& rate = rates_[key];
        rate.Add(now, BytesThereOf(member));
        // What a node did last is not what it does, when it is lost or has everything.
        const bool goes_on = member.live() && BytesThereOf(member) < TotalBytesOf(member);
        const double per_second = goes_on ? rate.PerSecond() : 0;
        muster::Add(member, per_second, row.progress);
        muster::Add(member, per_second, by_node[member.node()]);
      }
    }
    rows.assemblies.push_back(std::move(row));
  }
  std::erase_if(rates_, [&](const auto& one) { return !seen.contains(one.first); });
  for (const v1::Node& node : look.nodes) rows.nodes.push_back({node, by_node[node.name()]});
  SortRows(rows.assemblies, [](const TopAssembly& row) { return row.assembly.name(); });
  SortRows(rows.nodes, [](const TopNode& row) { return row.node.name(); });
  return rows;
}

std::vector<std::string> TopLines(const TopRows& rows, size_t columns, size_t lines) {
  std::vector<std::string> out = {CutToColumns(Summary(rows), columns)};
  // The summary, and an empty line before each table.
  const size_t room = lines > 3 ? lines - 3 : 0;
  const size_t of_nodes = std::min(rows.nodes.size() + 1, room - std::min(room, room / 3));
  const auto add = [&out](const std::vector<std::string>& table) {
    if (table.empty()) return;
    out.emplace_back();
    out.insert(out.end(), table.begin(), table.end());
  };
  add(TableLines(rows.assemblies, AssemblyColumns(), columns, room - of_nodes, "assemblies"));
  const size_t used = out.size() + 1;
  add(TableLines(rows.nodes, NodeColumns(), columns, lines > used ? lines - used : 0, "nodes"));
  return out;
}

std::string TopJson(const TopRows& rows) {
  std::vector<std::string> assemblies, nodes;
  for (const TopAssembly& row : rows.assemblies) {
    JsonObject json;
    json.Add("name", row.assembly.name());
    json.Add("model_version", row.assembly.model_version());
    json.Add("state", v1::Assembly::State_Name(row.assembly.state()));
    AddProgress(row.progress, json);
    json.Add("nodes_live", static_cast<int64_t>(row.assembly.nodes_live()));
    json.Add("nodes_joined", static_cast<int64_t>(row.assembly.nodes_joined()));
    assemblies.push_back(json.ToString());
  }
  for (const TopNode& row : rows.nodes) {
    JsonObject json;
    json.Add("name", row.node.name());
    json.Add("state", v1::Node::State_Name(row.node.state()));
    json.Add("zone", row.node.zone());
    AddProgress(row.progress, json);
    nodes.push_back(json.ToString());
  }
  JsonObject all;
  all.AddRaw("assemblies", JsonArray(assemblies));
  all.AddRaw("nodes", JsonArray(nodes));
  return all.ToString();
}

}  // namespace muster
