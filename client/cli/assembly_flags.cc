#include "client/cli/assembly_flags.h"

#include <CLI/CLI.hpp>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/cli/values.h"
#include "storage/base/limits.h"
#include "storage/base/placement_policy.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// "full: every node gets all; balanced: …".
std::string PolicyHelp() {
  std::string help;
  for (const PolicyTraits& traits : PlacementPolicies()) {
    absl::StrAppend(&help, help.empty() ? "" : "; ", absl::AsciiStrToLower(traits.name), ": ",
                    traits.summary);
  }
  return help;
}

}  // namespace

void AddAssemblyFlags(CLI::App& command, AssemblyFlags& flags, bool required) {
  command.add_option("--model", flags.model, "MODEL@VERSION that it loads")->required(required);
  command.add_option("--policy", flags.policy, absl::StrCat(PolicyHelp(), " (default: full)"));
  command
      .add_option("--min-nodes", flags.min_nodes,
                  "Nodes that have to hold what is theirs; nothing is assigned before that many "
                  "joined (default: 1)")
      ->check(CLI::Range(1u, uint32_t{kMaxMinNodes}));
  command.add_option("--replicas", flags.replicas, "Nodes that hold each shard (default: 1)")
      ->check(CLI::Range(1u, uint32_t{kMaxReplicas}));
  command
      .add_option("--select", flags.select,
                  "Only nodes with these labels get shards: key=value, several as a comma list or "
                  "by repeating it")
      ->delimiter(',')
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--move-budget", flags.move_budget,
                     "Bytes that may be on the move at once to even out the loads, such as 10GiB; "
                     "0 moves nothing (default: a tenth of the model)");
}

absl::StatusOr<v1::Assembly> ToAssembly(const std::string& full_name, const AssemblyFlags& flags) {
  if (flags.model.empty()) return UsageError("creating an assembly takes --model MODEL@VERSION");
  v1::Assembly assembly;
  assembly.set_name(full_name);
  MUSTER_ASSIGN_OR_RETURN(*assembly.mutable_model_version(), FullModelVersionName(flags.model));
  MUSTER_ASSIGN_OR_RETURN(const v1::Assembly::Policy policy,
                          ParsePolicy(flags.policy.empty() ? "full" : flags.policy));
  assembly.set_policy(policy);
  assembly.set_min_nodes(flags.min_nodes);
  assembly.set_replicas(flags.replicas);
  MUSTER_ASSIGN_OR_RETURN(const auto labels, ParseLabels(flags.select));
  assembly.mutable_node_selector()->insert(labels.begin(), labels.end());
  if (!flags.move_budget.empty()) {
    MUSTER_ASSIGN_OR_RETURN(const int64_t bytes, ParseSize(flags.move_budget));
    assembly.set_move_budget_bytes(static_cast<uint64_t>(bytes));
  }
  return assembly;
}

}  // namespace muster
