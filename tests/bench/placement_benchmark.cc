// Placement at scale, beside rendezvous hashing over the same members and beside rendezvous hashing
// with a cap of 10 % over the mean. Prints one JSON object per figure: name, value, unit, aim
// ("" where there is none) and baseline (of plain rendezvous, or null).
//
// The planner alone: what it costs to take an input out of the registry is not in these figures.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/placement/hash.h"
#include "server/placement/placement.h"
#include "storage/base/random.h"

namespace muster {
namespace {

struct Options {
  uint32_t shards = 1'000'000;
  uint32_t nodes = 10'000;
  uint32_t assemblies = 1'000;
  // Of each assembly; each node is in as many assemblies as any other, give or take one.
  uint32_t members = 200;
  uint64_t seed = 1;
};

constexpr uint32_t kReplicas = 2;
constexpr uint32_t kZones = 5;
constexpr double kFull = 0.7;

double CpuSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

void Print(const std::string& name, double value, const std::string& unit, const std::string& aim,
           std::optional<double> baseline) {
  nlohmann::ordered_json row;
  row["name"] = name;
  row["value"] = value;
  row["unit"] = unit;
  row["aim"] = aim;
  row["baseline"] = baseline ? nlohmann::ordered_json(*baseline) : nullptr;
  std::printf("%s\n", row.dump().c_str());
  std::fflush(stdout);
}

struct Assembly {
  std::vector<PlanShard> shards;
  std::vector<uint32_t> members;
  // Per member, what it has.
  std::vector<std::vector<PlanAssignment>> present;
};

struct Cluster {
  // Capacities 1:2:4, by zone in turn.
  std::vector<uint64_t> capacities;
  std::vector<Assembly> assemblies;
  std::vector<uint64_t> loads;

  std::string ZoneOf(uint32_t node) const { return absl::StrCat("z", node % kZones); }

  double MeanRatio() const {
    const double load = std::accumulate(loads.begin(), loads.end(), 0.0);
    return load / std::accumulate(capacities.begin(), capacities.end(), 0.0);
  }
  // Highest load ÷ capacity over the mean.
  double Imbalance() const {
    double peak = 0;
    for (size_t node = 0; node < loads.size(); ++node) {
      if (capacities[node] == 0) continue;
      peak =
          std::max(peak, static_cast<double>(loads[node]) / static_cast<double>(capacities[node]));
    }
    return peak / MeanRatio();
  }
};

uint64_t LogNormal(Random& random) {
  const double u = 1 - random.NextDouble();
  const double normal =
      std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * random.NextDouble());
  return static_cast<uint64_t>(1e9 * std::exp(0.8 * normal));
}

Cluster MakeCluster(const Options& options) {
  const std::unique_ptr<Random> random = NewSeededRandom(options.seed);
  Cluster cluster;
  cluster.loads.assign(options.nodes, 0);
  cluster.assemblies.resize(options.assemblies);
  std::vector<uint32_t> permutation(options.nodes);
  std::iota(permutation.begin(), permutation.end(), 0);
  size_t next = permutation.size();
  double total = 0;
  for (size_t i = 0; i < cluster.assemblies.size(); ++i) {
    Assembly& assembly = cluster.assemblies[i];
    for (uint32_t k = 0; k < options.shards / options.assemblies; ++k) {
      assembly.shards.push_back({LogNormal(*random), {i + 1, k + 1}, {}, 0});
      total += static_cast<double>(assembly.shards.back().size_bytes) * kReplicas;
    }
    const size_t members = std::min<size_t>(options.members, options.nodes);
    if (next + members > permutation.size()) {
      for (size_t k = permutation.size(); k > 1; --k) {
        std::swap(permutation[k - 1], permutation[random->Below(k)]);
      }
      next = 0;
    }
    assembly.members.assign(permutation.begin() + static_cast<std::ptrdiff_t>(next),
                            permutation.begin() + static_cast<std::ptrdiff_t>(next + members));
    next += members;
    assembly.present.resize(members);
  }
  double weight = 0;
  for (uint32_t node = 0; node < options.nodes; ++node) weight += 1 << (node / kZones % 3);
  for (uint32_t node = 0; node < options.nodes; ++node) {
    const double unit = total / kFull / weight;
    cluster.capacities.push_back(static_cast<uint64_t>(unit * (1 << (node / kZones % 3))));
  }
  return cluster;
}

uint64_t BytesOf(const Assembly& assembly, const std::vector<PlanAssignment>& assignments) {
  uint64_t bytes = 0;
  for (const PlanAssignment& assignment : assignments) {
    bytes += assembly.shards[assignment.shard.value].size_bytes;
  }
  return bytes;
}

PlanInput InputOf(const Cluster& cluster, const Assembly& assembly, std::optional<uint32_t> lost,
                  double budget_share) {
  PlanInput input;
  for (const PlanShard& shard : assembly.shards) input.move_budget_bytes += shard.size_bytes;
  input.move_budget_bytes =
      static_cast<uint64_t>(budget_share * static_cast<double>(input.move_budget_bytes));
  input.move_epsilon = 0.005;
  input.policy = PlacementPolicy::kBalanced;
  input.shards = assembly.shards;
  input.replicas = kReplicas;
  input.nodes.resize(assembly.members.size());
  for (size_t i = 0; i < assembly.members.size(); ++i) {
    const uint32_t member = assembly.members[i];
    PlanNode& node = input.nodes[i];
    node.uid = member + 1;
    node.name = absl::StrCat("n", member);
    node.zone = cluster.ZoneOf(member);
    node.capacity_bytes = cluster.capacities[member];
    node.used_bytes = cluster.loads[member] - BytesOf(assembly, assembly.present[i]);
    node.live = member != lost;
    node.keeps_assignments = node.live;
    node.present = assembly.present[i];
  }
  return input;
}

// Returns the bytes that the plan adds.
uint64_t PlanAndAccept(Cluster& cluster, Assembly& assembly, std::optional<uint32_t> lost,
                       uint64_t& unplaced, double budget_share = 0) {
  const absl::StatusOr<Plan> plan = MakePlan(InputOf(cluster, assembly, lost, budget_share));
  if (!plan.ok()) {
    std::fprintf(stderr, "%s\n", plan.status().ToString().c_str());
    std::exit(1);
  }
  for (const Unplaced& group : plan->unplaced) unplaced += group.shards.size();
  for (size_t i = 0; i < assembly.members.size(); ++i) {
    if (!plan->nodes[i].changed) continue;
    uint64_t& load = cluster.loads[assembly.members[i]];
    load -= BytesOf(assembly, assembly.present[i]);
    assembly.present[i] = plan->nodes[i].assignments;
    for (PlanAssignment& assignment : assembly.present[i]) {
      assignment.generation = Generation(1);
      assignment.ready = true;
    }
    load += BytesOf(assembly, assembly.present[i]);
  }
  return plan->added_bytes;
}

// What hashing makes of the same cluster: per assembly and shard, the chosen members.
class Rendezvous {
 public:
  // `cap`: no node is filled beyond that much over the mean; 0 means no cap.
  Rendezvous(const Cluster& cluster, double cap)
      : cluster_(cluster), cap_(cap), loads_(cluster.loads.size(), 0) {
    double total = 0;
    for (const Assembly& assembly : cluster.assemblies) {
      for (const PlanShard& shard : assembly.shards) {
        total += static_cast<double>(shard.size_bytes) * kReplicas;
      }
    }
    limit_ = (1 + cap) * total /
             std::accumulate(cluster.capacities.begin(), cluster.capacities.end(), 0.0);
    for (const Assembly& assembly : cluster.assemblies) {
      chosen_.push_back(Place(assembly, std::nullopt));
    }
  }

  double Imbalance() const {
    Cluster after;
    after.capacities = cluster_.capacities;
    after.loads = loads_;
    return after.Imbalance();
  }

  // Bytes that go to another node than before, over those of the lost node.
  double LoseNode(uint32_t lost) {
    const double lost_bytes = static_cast<double>(loads_[lost]);
    double moved_bytes = 0;
    for (size_t i = 0; i < chosen_.size(); ++i) {
      const Assembly& assembly = cluster_.assemblies[i];
      const auto& members = assembly.members;
      if (std::find(members.begin(), members.end(), lost) == members.end()) continue;
      for (size_t k = 0; k < chosen_[i].size(); ++k) {
        loads_[chosen_[i][k]] -= assembly.shards[k / kReplicas].size_bytes;
      }
      const std::vector<uint32_t> before = std::exchange(chosen_[i], Place(assembly, lost));
      for (size_t k = 0; k < before.size(); ++k) {
        const auto first = before.begin() + static_cast<std::ptrdiff_t>(k / kReplicas * kReplicas);
        if (std::find(first, first + kReplicas, chosen_[i][k]) != first + kReplicas) continue;
        moved_bytes += static_cast<double>(assembly.shards[k / kReplicas].size_bytes);
      }
    }
    return moved_bytes / lost_bytes;
  }

 private:
  // The members with the highest scores, in different zones.
  std::vector<uint32_t> Place(const Assembly& assembly, std::optional<uint32_t> lost) {
    std::vector<uint32_t> chosen;
    chosen.reserve(assembly.shards.size() * kReplicas);
    std::vector<std::pair<double, uint32_t>> scores;
    for (const PlanShard& shard : assembly.shards) {
      scores.clear();
      for (const uint32_t member : assembly.members) {
        if (member == lost) continue;
        const uint64_t hash =
            MixBits(shard.content.low ^ MixBits(shard.content.high ^ MixBits(member)));
        const double uniform = (static_cast<double>(hash >> 11) + 0.5) * 0x1.0p-53;
        scores.emplace_back(std::log(uniform) / static_cast<double>(cluster_.capacities[member]),
                            member);
      }
      std::make_heap(scores.begin(), scores.end());
      const size_t wanted = chosen.size() + kReplicas;
      while (chosen.size() < wanted && !scores.empty()) {
        std::pop_heap(scores.begin(), scores.end());
        const uint32_t node = scores.back().second;
        scores.pop_back();
        const bool same_zone =
            chosen.size() + 1 == wanted && chosen.back() % kZones == node % kZones;
        const double ratio = static_cast<double>(loads_[node] + shard.size_bytes) /
                             static_cast<double>(cluster_.capacities[node]);
        if (same_zone || (cap_ > 0 && ratio > limit_)) continue;
        chosen.push_back(node);
        loads_[node] += shard.size_bytes;
      }
      // Where nobody is below the cap, anybody will do.
      while (chosen.size() < wanted) chosen.push_back(assembly.members[wanted % 2]);
    }
    return chosen;
  }

  const Cluster& cluster_;
  double cap_;
  double limit_ = 0;
  std::vector<uint64_t> loads_;
  std::vector<std::vector<uint32_t>> chosen_;
};

struct Figures {
  double fresh_s = 0;
  double fresh_balance = 0;
  // After each assembly was planned again, with a budget of a tenth of its bytes and an epsilon of
  // 0.005: what that leaves, and the bytes that it moves over all that are assigned.
  double settled_balance = 0;
  double settled_moved = 0;
  double loss_ms = 0;
  double loss_moved = 0;
  double loss_balance = 0;
  uint64_t unplaced = 0;
};

Figures Measure(Cluster& cluster, uint32_t lost) {
  Figures figures;
  double begin = CpuSeconds();
  for (Assembly& assembly : cluster.assemblies) {
    PlanAndAccept(cluster, assembly, std::nullopt, figures.unplaced);
  }
  figures.fresh_s = CpuSeconds() - begin;
  figures.fresh_balance = cluster.Imbalance();

  const double all_bytes = std::accumulate(cluster.loads.begin(), cluster.loads.end(), 0.0);
  for (Assembly& assembly : cluster.assemblies) {
    figures.settled_moved +=
        static_cast<double>(PlanAndAccept(cluster, assembly, std::nullopt, figures.unplaced, 0.1)) /
        all_bytes;
    // Now the moves are ready, and end.
    PlanAndAccept(cluster, assembly, std::nullopt, figures.unplaced);
  }
  figures.settled_balance = cluster.Imbalance();

  const double lost_bytes = static_cast<double>(cluster.loads[lost]);
  double added_bytes = 0;
  begin = CpuSeconds();
  for (Assembly& assembly : cluster.assemblies) {
    const auto& members = assembly.members;
    if (std::find(members.begin(), members.end(), lost) == members.end()) continue;
    added_bytes += static_cast<double>(PlanAndAccept(cluster, assembly, lost, figures.unplaced));
  }
  figures.loss_ms = (CpuSeconds() - begin) * 1000;
  figures.loss_moved = added_bytes / lost_bytes;
  cluster.capacities[lost] = 0;
  figures.loss_balance = cluster.Imbalance();
  return figures;
}

void Run(const Options& options) {
  const uint32_t lost = options.nodes / 3;
  Cluster cluster = MakeCluster(options);
  Rendezvous plain(cluster, 0);
  Rendezvous capped(cluster, 0.1);
  const double plain_balance = plain.Imbalance();
  const double capped_balance = capped.Imbalance();
  const double plain_moved = plain.LoseNode(lost);
  const double capped_moved = capped.LoseNode(lost);
  const Figures figures = Measure(cluster, lost);
  Print("plan_fresh_balance", figures.fresh_balance, "max/mean", "<= 1.01", plain_balance);
  Print("plan_fresh_s", figures.fresh_s, "s of CPU", "<= 3", std::nullopt);
  Print("plan_settled_balance", figures.settled_balance, "max/mean", "<= 1.01", plain_balance);
  Print("plan_settled_moved", figures.settled_moved, "of all bytes", "", std::nullopt);
  Print("plan_loss_moved", figures.loss_moved, "x the lost bytes", "<= 1.05", plain_moved);
  Print("plan_loss_balance", figures.loss_balance, "max/mean", "<= 1.05", plain.Imbalance());
  Print("plan_loss_ms", figures.loss_ms, "ms of CPU", "<= 20", std::nullopt);
  Print("plan_unplaced", static_cast<double>(figures.unplaced), "shards", "<= 0", std::nullopt);
  Print("rendezvous_cap_balance", capped_balance, "max/mean", "", std::nullopt);
  Print("rendezvous_cap_loss_moved", capped_moved, "x the lost bytes", "", std::nullopt);

  Options one = options;
  one.assemblies = 1;
  one.members = options.nodes;
  Cluster whole = MakeCluster(one);
  const Figures whole_figures = Measure(whole, lost);
  Print("plan_one_fresh_balance", whole_figures.fresh_balance, "max/mean", "<= 1.01", std::nullopt);
  Print("plan_one_fresh_s", whole_figures.fresh_s, "s of CPU", "", std::nullopt);
  Print("plan_one_loss_moved", whole_figures.loss_moved, "x the lost bytes", "<= 1.05",
        std::nullopt);
  Print("plan_one_loss_ms", whole_figures.loss_ms, "ms of CPU", "", std::nullopt);
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  muster::Options options;
  CLI::App app{"Measures the planner; one JSON object per figure."};
  app.add_option("--shards", options.shards, "in all assemblies together");
  app.add_option("--nodes", options.nodes, "in the cluster");
  app.add_option("--assemblies", options.assemblies, "number of assemblies");
  app.add_option("--members", options.members, "nodes of each assembly");
  app.add_option("--seed", options.seed, "of the sizes and members");
  CLI11_PARSE(app, argc, argv);
  muster::Run(options);
  return 0;
}
