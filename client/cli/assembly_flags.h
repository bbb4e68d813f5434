// The flags that describe an assembly, shared by the commands that may create one.
#ifndef MUSTER_CLIENT_CLI_ASSEMBLY_FLAGS_H_
#define MUSTER_CLIENT_CLI_ASSEMBLY_FLAGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "muster/v1/assembly.pb.h"

namespace CLI {
class App;
}

namespace muster {

// As typed.
struct AssemblyFlags {
  std::string model;
  std::string policy;
  uint32_t min_nodes = 0;
  uint32_t replicas = 0;
  std::vector<std::string> select;
  std::string move_budget;

  // Whether any of them was given.
  bool any() const {
    return !model.empty() || !policy.empty() || min_nodes != 0 || replicas != 0 ||
           !select.empty() || !move_budget.empty();
  }
};

// `flags` outlives the parsing.
void AddAssemblyFlags(CLI::App& command, AssemblyFlags& flags, bool required);

// The assembly that the flags describe. kInvalidArgument USAGE: the model is missing, or a value is none. Without a policy it is FULL.
absl::StatusOr<v1::Assembly> ToAssembly(const std::string& full_name, const AssemblyFlags& flags);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_ASSEMBLY_FLAGS_H_
