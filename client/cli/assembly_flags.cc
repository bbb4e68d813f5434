#include "client/cli/assembly_flags.h"

#include <CLI/CLI.hpp>

#include "client/cli/values.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {

void AddAssemblyFlags(CLI::App& command, AssemblyFlags& flags, bool required) {
  command.add_option("--model", flags.model, "MODEL@VERSION that it loads")->required(required);
  command
      .add_option("--policy", flags.policy,
                  "full: every node gets all; declared: each gets what it claims; balanced: split "
                  "by bytes within the capacities")
      ->required(required);
  command
      .add_option("--min-nodes", flags.min_nodes,
                  "Nothing is assigned before this many nodes joined (default: 1)")
      ->check(CLI::Range(1u, 10'000u));
  command.add_option("--replicas", flags.replicas, "Nodes that hold each shard (default: 1)")
      ->check(CLI::Range(1u, 100u));
}

absl::StatusOr<v1::Assembly> ToAssembly(const std::string& full_name, const AssemblyFlags& flags) {
  if (flags.model.empty() || flags.policy.empty()) {
    return UsageError("creating an assembly takes both --model and --policy");
  }
  v1::Assembly assembly;
  assembly.set_name(full_name);
  MUSTER_ASSIGN_OR_RETURN(*assembly.mutable_model_version(), FullModelVersionName(flags.model));
  MUSTER_ASSIGN_OR_RETURN(const v1::Assembly::Policy policy, ParsePolicy(flags.policy));
  assembly.set_policy(policy);
  assembly.set_min_nodes(flags.min_nodes);
  assembly.set_replicas(flags.replicas);
  return assembly;
}

}  // namespace muster
