#include "client/cli/agent_config.h"

#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/values.h"
#include "client/format/byte_source.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr char kAssembliesKey[] = "assemblies";

absl::Status RefuseConfig(const YAML::Node& node, absl::string_view why) {
  return UsageError(absl::StrCat("line ", node.Mark().line + 1, ": ", why));
}

absl::StatusOr<std::string> ScalarOf(const YAML::Node& node, absl::string_view key) {
  if (node.IsScalar()) return node.Scalar();
  return RefuseConfig(node, absl::StrCat("\"", key, "\" has to be one value"));
}

absl::StatusOr<AgentConfig::Assembly> ToAssembly(const YAML::Node& node) {
  AgentConfig::Assembly assembly;
  if (node.IsScalar()) {
    assembly.name = node.Scalar();
    return assembly;
  }
  if (!node.IsMap())
    return RefuseConfig(node, "an assembly is a name, or a map with name, claim, view");
  for (const auto& entry : node) {
    MUSTER_ASSIGN_OR_RETURN(const std::string key, ScalarOf(entry.first, "a key"));
    std::string* const field = key == "name"    ? &assembly.name
                               : key == "claim" ? &assembly.claim
                               : key == "view"  ? &assembly.view
                                                : nullptr;
    if (field == nullptr) {
      return RefuseConfig(entry.first, absl::StrCat("an assembly has no \"", key,
                                                    "\"; it has name, claim and view"));
    }
    MUSTER_ASSIGN_OR_RETURN(*field, ScalarOf(entry.second, key));
  }
  if (assembly.name.empty()) return RefuseConfig(node, "an assembly has no name");
  return assembly;
}

absl::Status AddAssemblies(const YAML::Node& list, AgentConfig& config) {
  if (!list.IsSequence()) return RefuseConfig(list, "\"assemblies\" has to be a list");
  for (const YAML::Node& node : list) {
    MUSTER_ASSIGN_OR_RETURN(config.assemblies.emplace_back(), ToAssembly(node));
  }
  return absl::OkStatus();
}

absl::Status AddFlag(const std::string& key, const YAML::Node& value, AgentConfig& config) {
  std::vector<std::string>& values = config.flags[key];
  if (!value.IsSequence()) {
    MUSTER_ASSIGN_OR_RETURN(values.emplace_back(), ScalarOf(value, key));
    return absl::OkStatus();
  }
  for (const YAML::Node& one : value) {
    MUSTER_ASSIGN_OR_RETURN(values.emplace_back(), ScalarOf(one, key));
  }
  return absl::OkStatus();
}

absl::StatusOr<AgentConfig> ToConfig(const YAML::Node& root) {
  AgentConfig config;
  if (root.IsNull()) return config;
  if (!root.IsMap())
    return RefuseConfig(root, "the file has to be a map of flags and \"assemblies\"");
  for (const auto& entry : root) {
    MUSTER_ASSIGN_OR_RETURN(const std::string key, ScalarOf(entry.first, "a key"));
    const bool is_new =
        key == kAssembliesKey ? config.assemblies.empty() : !config.flags.contains(key);
    if (!is_new) return RefuseConfig(entry.first, absl::StrCat("\"", key, "\" appears twice"));
    MUSTER_RETURN_IF_ERROR(key == kAssembliesKey ? AddAssemblies(entry.second, config)
                                                 : AddFlag(key, entry.second, config));
  }
  return config;
}

// yaml-cpp throws; nothing else does.
absl::StatusOr<AgentConfig> Parse(const std::string& text) {
  try {
    return ToConfig(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    return UsageError(absl::StrCat("line ", error.mark.line + 1, ": ", error.msg));
  }
}

}  // namespace

absl::StatusOr<AgentConfig> ReadAgentConfig(const std::string& path) {
  MUSTER_ASSIGN_OR_RETURN(const auto source, OpenFileByteSource(path));
  if (source->size_bytes() > static_cast<int64_t>(kMaxConfigBytes)) {
    return UsageError(absl::StrCat("--config ", path, ": has ", source->size_bytes(),
                                   " bytes; at most ", kMaxConfigBytes, " are read"));
  }
  std::string text(static_cast<size_t>(source->size_bytes()), '\0');
  MUSTER_RETURN_IF_ERROR(source->Read(0, absl::MakeSpan(text)));
  absl::StatusOr<AgentConfig> config = Parse(text);
  if (config.ok()) return config;
  return UsageError(absl::StrCat("--config ", path, ": ", config.status().message()));
}

void TakeFlags(const AgentConfig& config, const std::string& path, CLI::App& command) {
  for (const auto& [name, values] : config.flags) {
    const std::string flag = absl::StrCat("--", name);
    CLI::Option* option = command.get_option_no_throw(flag);
    if (option == nullptr) option = command.get_parent()->get_option_no_throw(flag);
    if (option == nullptr || name == "config" || name == "help" || name == "version") {
      throw CLI::ConfigError(absl::StrCat("--config ", path, ": unknown flag ", flag));
    }
    if (option->count() > 0) continue;
    for (const std::string& value : values) option->add_result(value);
    option->run_callback();
  }
}

}  // namespace muster
