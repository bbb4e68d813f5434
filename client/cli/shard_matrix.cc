#include "client/cli/shard_matrix.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "client/cli/display.h"
#include "client/cli/table.h"
#include "client/cli/values.h"

namespace muster {
namespace {

constexpr size_t kMinWidth = 40;
constexpr size_t kMaxNameWidth = 24;
constexpr size_t kMaxFailedShardsBytes = 32;

// What a cell shows; the later one wins where a cell stands for several shards.
enum class Mark { kNone, kReady, kFetching, kPending, kWaiting, kFailed };
constexpr size_t kMarks = 6;
constexpr char kSigns[kMarks + 1] = " #>.?!";
constexpr const char* kMeanings[kMarks] = {
    "", "ready", "fetching", "pending", "waits for a place", "failed"};

Mark MarkOf(const v1::ShardReplica& replica) {
  switch (replica.state()) {
    case v1::ShardReport::READY:
      return replica.counted() ? Mark::kReady : Mark::kPending;
    case v1::ShardReport::FETCHING:
      return replica.waiting_for_location().empty() ? Mark::kFetching : Mark::kWaiting;
    case v1::ShardReport::FAILED:
      return Mark::kFailed;
    default:
      return replica.waiting_for_location().empty() ? Mark::kPending : Mark::kWaiting;
  }
}

// Replicas that failed for one cause, with the first of them.
struct FailedTogether {
  const v1::ShardReplica* first = nullptr;
  std::vector<uint32_t> shards;
};

// Equal for replicas whose failures are one and the same: faults of a node are, whatever each shard's message says.
std::string CauseOf(const v1::ShardReplica& replica) {
  v1::ShardFailure failure = replica.failure();
  failure.clear_attempts();
  if (failure.code() == v1::ShardFailure::NO_SPACE ||
      failure.code() == v1::ShardFailure::NODE_ERROR) {
    return absl::StrCat(replica.node(), " ", failure.code(), " ", failure.reason());
  }
  return absl::StrCat(replica.node(), " ", failure.SerializeAsString());
}

// Bytes that are there or on their way, of those that are assigned.
double ShareOf(const v1::AssemblyMember& member) {
  if (member.assigned_bytes() == 0) return 1;
  const double there = static_cast<double>(member.ready_bytes() + member.fetching_bytes());
  return std::min(there / static_cast<double>(member.assigned_bytes()), 1.0);
}

// 100 is said of what is whole only.
std::string Percent(const v1::AssemblyMember& member) {
  if (member.assigned_bytes() == 0) return "-";
  const int percent = static_cast<int>(ShareOf(member) * 100);
  return absl::StrCat(member.ready_bytes() < member.assigned_bytes() ? std::min(percent, 99) : 100,
                      "%");
}

std::string BarOf(const v1::AssemblyMember& member, size_t width) {
  if (member.assigned_bytes() == 0) return "";
  const auto columns = static_cast<double>(width);
  const double all = static_cast<double>(member.assigned_bytes());
  const auto ready = static_cast<size_t>(static_cast<double>(member.ready_bytes()) / all * columns);
  const auto there = static_cast<size_t>(ShareOf(member) * columns);
  std::string bar(width, '.');
  for (size_t i = 0; i < std::min(there, width); ++i) bar[i] = i < ready ? '#' : '>';
  return bar;
}

// By node: one mark for each shard.
using Rows = std::map<std::string, std::vector<Mark>>;

Rows RowsOf(absl::Span<const v1::GetShardStatusResponse> statuses) {
  Rows rows;
  for (size_t shard = 0; shard < statuses.size(); ++shard) {
    for (const v1::ShardReplica& replica : statuses[shard].replicas()) {
      std::vector<Mark>& row = rows[replica.node()];
      row.resize(statuses.size(), Mark::kNone);
      row[shard] = std::max(row[shard], MarkOf(replica));
    }
  }
  return rows;
}

std::string CellsOf(const std::vector<Mark>& row, size_t shards_per_cell, std::set<Mark>& used) {
  std::string cells;
  for (size_t begin = 0; begin < row.size(); begin += shards_per_cell) {
    const auto end =
        row.begin() + static_cast<std::ptrdiff_t>(std::min(begin + shards_per_cell, row.size()));
    const Mark worst = *std::max_element(row.begin() + static_cast<std::ptrdiff_t>(begin), end);
    used.insert(worst);
    cells.push_back(kSigns[static_cast<size_t>(worst)]);
  }
  return cells;
}

std::string Legend(const std::set<Mark>& used, size_t shards_per_cell, bool shares) {
  std::string legend;
  for (const Mark mark : used) {
    if (mark == Mark::kNone) continue;
    const auto i = static_cast<size_t>(mark);
    absl::StrAppend(&legend, legend.empty() ? "" : "  ", std::string(1, kSigns[i]), " ",
                    kMeanings[i]);
  }
  if (shares) return absl::StrCat(legend, "; of each node's bytes");
  const std::string each = shards_per_cell == 1
                               ? "a column is one shard"
                               : absl::StrCat("a column is ", shards_per_cell, " shards");
  return absl::StrCat(legend, legend.empty() ? "" : "; ", each);
}

bool NeedsALook(const v1::AssemblyMember& member) {
  return !member.ready() || !member.live() || member.draining() || member.shards_failed() > 0 ||
         member.shards_given_up() > 0;
}

// The less, the more it needs a look.
int RankOf(const v1::AssemblyMember& member) {
  if (member.shards_failed() + member.shards_given_up() > 0) return 0;
  if (!member.live()) return 1;
  return NeedsALook(member) ? 2 : 3;
}

}  // namespace

std::vector<v1::AssemblyMember> MembersToShow(absl::Span<const v1::AssemblyMember> members,
                                              size_t rows) {
  std::vector<size_t> order;
  for (size_t i = 0; i < members.size(); ++i) order.push_back(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return RankOf(members[a]) < RankOf(members[b]); });
  order.resize(std::min(order.size(), std::max<size_t>(rows, 1)));
  std::sort(order.begin(), order.end());
  std::vector<v1::AssemblyMember> shown;
  for (const size_t i : order) shown.push_back(members[i]);
  return shown;
}

std::string HiddenMembers(absl::Span<const v1::AssemblyMember> members,
                          absl::Span<const v1::AssemblyMember> shown, size_t joined) {
  if (shown.size() >= joined) return "";
  const auto count = [](absl::Span<const v1::AssemblyMember> all) {
    return static_cast<size_t>(std::count_if(all.begin(), all.end(), NeedsALook));
  };
  std::string text = absl::StrCat("… and ", CountOf(joined - shown.size(), "more node"));
  const size_t looks = count(members) - count(shown);
  if (members.size() < joined) {
    // The server names a thousand.
    absl::StrAppend(&text, ", of which ", members.size() - shown.size(), " are looked at here");
  }
  return absl::StrCat(text, looks == 0 ? ", all ready" : absl::StrCat(", ", looks, " not ready"),
                      "; --all shows them");
}

std::string ShardMatrix(absl::Span<const v1::AssemblyMember> members,
                        absl::Span<const v1::GetShardStatusResponse> statuses, size_t width) {
  size_t name_width = 0;
  for (const v1::AssemblyMember& member : members) {
    name_width = std::max(name_width, DisplayWidth(ShortName(member.node())));
  }
  name_width = std::min(name_width, kMaxNameWidth);
  // Name, two spaces, "100%", two spaces.
  const size_t cells = std::max(width, kMinWidth) - name_width - 8;
  const size_t shards_per_cell = statuses.empty() ? 1 : (statuses.size() - 1) / cells + 1;
  const Rows rows = RowsOf(statuses);
  std::set<Mark> used;
  std::string out;
  for (const v1::AssemblyMember& member : members) {
    const std::string name = ShortText(ShortName(member.node()), name_width);
    const std::string percent = Percent(member);
    std::string line = absl::StrCat(
        Printable(name), std::string(name_width - std::min(DisplayWidth(name), name_width), ' '),
        "  ", std::string(4 - std::min<size_t>(percent.size(), 4), ' '), percent, "  ");
    if (statuses.empty()) {
      absl::StrAppend(&line, BarOf(member, std::min<size_t>(cells, 50)));
      used = {Mark::kReady, Mark::kFetching, Mark::kPending};
    } else if (const auto row = rows.find(member.node()); row != rows.end()) {
      absl::StrAppend(&line, CellsOf(row->second, shards_per_cell, used));
    }
    while (line.back() == ' ') line.pop_back();
    absl::StrAppend(&out, line, "\n");
  }
  return absl::StrCat(out, Legend(used, shards_per_cell, statuses.empty()), "\n");
}

std::string FailedReplicas(absl::Span<const v1::GetShardStatusResponse> statuses, size_t lines) {
  std::vector<FailedTogether> all;
  std::map<std::string, size_t> position_of;
  for (const v1::GetShardStatusResponse& status : statuses) {
    for (const v1::ShardReplica& replica : status.replicas()) {
      if (replica.state() != v1::ShardReport::FAILED) continue;
      const auto [found, added] = position_of.emplace(CauseOf(replica), all.size());
      if (added) all.push_back({&replica, {}});
      all[found->second].shards.push_back(status.shard());
    }
  }
  std::string out;
  for (size_t i = 0; i < std::min(all.size(), lines); ++i) {
    const auto& [replica, shards] = all[i];
    absl::StrAppend(&out, "  ! ", Printable(ShortName(replica->node())), ", shard",
                    shards.size() == 1 ? " " : "s ",
                    ShortText(FormatShardList(shards), kMaxFailedShardsBytes), ": ",
                    Printable(FailureText(replica->failure())), "\n");
  }
  if (all.size() > lines) absl::StrAppend(&out, "  ! … and ", all.size() - lines, " more\n");
  return out;
}

}  // namespace muster
