#include "client/cli/contexts.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/habits.h"
#include "client/cli/mistakes.h"
#include "client/cli/values.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// What a context may set: flags of all commands, and the variables that go before it.
struct ContextFlag {
  const char* name;
  const char* variable;
  bool names_a_file = false;
};
constexpr ContextFlag kContextFlags[] = {
    {"server", "MUSTER_SERVER"},
    {"output", nullptr},
    {"tls-ca", "MUSTER_TLS_CA", true},
    {"tls-cert", "MUSTER_TLS_CERT", true},
    {"tls-key", "MUSTER_TLS_KEY", true},
    {"tls-server-name", "MUSTER_TLS_SERVER_NAME"},
    {"token-file", "MUSTER_TOKEN_FILE", true},
};

absl::Status RefuseFile(const YAML::Node& node, absl::string_view why) {
  return UsageError(absl::StrCat("line ", node.Mark().line + 1, ": ", why));
}

absl::Status AddContext(const std::string& name, const YAML::Node& flags, Contexts& all) {
  std::map<std::string, std::string>& context = all.contexts[name];
  if (flags.IsNull()) return absl::OkStatus();
  if (!flags.IsMap()) return RefuseFile(flags, "a context has to be a map of flags");
  for (const auto& entry : flags) {
    const std::string key = entry.first.Scalar();
    const bool known = std::any_of(std::begin(kContextFlags), std::end(kContextFlags),
                                   [&](const ContextFlag& flag) { return key == flag.name; });
    if (!known || !entry.second.IsScalar()) {
      return RefuseFile(entry.first, absl::StrCat("a context has server, output, tls-… and "
                                                  "token-file, of one value each; \"",
                                                  Printable(ShortText(key, 100)), "\" is not one"));
    }
    context[key] = entry.second.Scalar();
  }
  return absl::OkStatus();
}

absl::StatusOr<Contexts> ToContexts(const YAML::Node& root) {
  Contexts all;
  if (root.IsNull()) return all;
  if (!root.IsMap()) return RefuseFile(root, "the file has to be a map of current and contexts");
  for (const auto& entry : root) {
    const std::string key = entry.first.Scalar();
    if (key == "current" && entry.second.IsScalar()) {
      all.current = entry.second.Scalar();
    } else if (key == "contexts" && entry.second.IsMap()) {
      for (const auto& context : entry.second) {
        MUSTER_RETURN_IF_ERROR(AddContext(context.first.Scalar(), context.second, all));
      }
    } else {
      return RefuseFile(entry.first, "the file has to be a map of current, a name, and contexts");
    }
  }
  return all;
}

// yaml-cpp throws; nothing else does.
absl::StatusOr<Contexts> ParseContexts(const std::string& text) {
  try {
    return ToContexts(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    return UsageError(absl::StrCat("line ", error.mark.line + 1, ": ", error.msg));
  }
}

bool HasFlag(const std::vector<std::string>& arguments, absl::string_view flag) {
  return std::any_of(arguments.begin(), arguments.end(), [&](const std::string& argument) {
    return argument == flag || absl::StartsWith(argument, absl::StrCat(flag, "=")) ||
           (flag == "--output" && absl::StartsWith(argument, "-o"));
  });
}

// The value of `--context`; "" where it is not there.
std::string NamedContext(const std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--context" && i + 1 < arguments.size()) return arguments[i + 1];
    if (absl::StartsWith(arguments[i], "--context=")) return arguments[i].substr(10);
  }
  return "";
}

}  // namespace

std::vector<std::string> ContextFlagNames() {
  std::vector<std::string> names;
  for (const ContextFlag& flag : kContextFlags) names.emplace_back(flag.name);
  return names;
}

bool NamesAFile(absl::string_view context_flag) {
  return std::any_of(
      std::begin(kContextFlags), std::end(kContextFlags),
      [&](const ContextFlag& flag) { return context_flag == flag.name && flag.names_a_file; });
}

std::string ContextsPath(const EnvironmentLookup& variables) {
  const std::string path = variables("MUSTER_CONFIG");
  if (!path.empty()) return path;
  const std::string folder = variables("XDG_CONFIG_HOME");
  if (!folder.empty()) return absl::StrCat(folder, "/muster/config.yaml");
  const std::string home = variables("HOME");
  return home.empty() ? "" : absl::StrCat(home, "/.config/muster/config.yaml");
}

absl::StatusOr<Contexts> ReadContexts(const std::string& path) {
  constexpr std::uintmax_t kMaxBytes = std::uintmax_t{1} << 20;
  std::error_code error;
  if (path.empty() || !std::filesystem::exists(path, error)) return Contexts();
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error || size > kMaxBytes) {
    return UsageError(absl::StrCat(path, ": is not a file of at most 1 MiB"));
  }
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return UsageError(absl::StrCat(path, ": can't be read"));
  absl::StatusOr<Contexts> contexts = ParseContexts(text.str());
  if (contexts.ok()) return contexts;
  return UsageError(absl::StrCat(path, ": ", contexts.status().message()));
}

absl::Status WriteContexts(const std::string& path, const Contexts& all) {
  if (path.empty()) return UsageError("there is no home directory; MUSTER_CONFIG names a file");
  YAML::Emitter out;
  out << YAML::BeginMap << YAML::Key << "current" << YAML::Value << YAML::DoubleQuoted
      << all.current << YAML::Key << "contexts" << YAML::Value << YAML::BeginMap;
  for (const auto& [name, flags] : all.contexts) {
    out << YAML::Key << YAML::DoubleQuoted << name << YAML::Value << YAML::BeginMap;
    for (const auto& [flag, value] : flags) {
      out << YAML::Key << flag << YAML::Value << YAML::DoubleQuoted << value;
    }
    out << YAML::EndMap;
  }
  out << YAML::EndMap << YAML::EndMap;
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  const std::string fresh = absl::StrCat(path, ".new");
  std::ofstream file(fresh, std::ios::trunc);
  file << out.c_str() << "\n";
  file.close();
  if (file) {
    std::filesystem::rename(fresh, path, error);
    if (!error) return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(path, ": can't be written"));
}

absl::StatusOr<std::vector<std::string>> WithContext(std::vector<std::string> arguments,
                                                     const EnvironmentLookup& variables) {
  // The one mends what others would stumble over, and the other makes a context.
  const std::string command = CommandWord(arguments);
  if (command == "context" || command == "login") return arguments;
  const std::string path = ContextsPath(variables);
  MUSTER_ASSIGN_OR_RETURN(const Contexts all, ReadContexts(path));
  std::string name = NamedContext(arguments);
  if (name.empty()) name = variables("MUSTER_CONTEXT");
  if (name.empty()) name = all.current;
  if (name.empty()) return arguments;
  const auto found = all.contexts.find(name);
  if (found == all.contexts.end()) {
    std::vector<std::string> names;
    for (const auto& [one, flags] : all.contexts) names.push_back(one);
    const std::string near = NearestWord(name, names);
    return UsageError(absl::StrCat(
        "there is no context \"", Printable(ShortText(name, 100)), "\" in ", path,
        near.empty() ? "" : absl::StrCat("; did you mean \"", near, "\"?"),
        names.empty() ? "; `muster context set` makes one"
                      : absl::StrCat(". There are ", Printable(absl::StrJoin(names, ", ")))));
  }
  for (const ContextFlag& flag : kContextFlags) {
    const auto value = found->second.find(flag.name);
    if (value == found->second.end()) continue;
    const bool by_variable = flag.variable != nullptr && !variables(flag.variable).empty();
    if (by_variable || HasFlag(arguments, absl::StrCat("--", flag.name))) continue;
    // The token itself.
    if (flag.name == absl::string_view("token-file") && !variables("MUSTER_TOKEN").empty())
      continue;
    // --json is an output, too.
    if (flag.name == absl::string_view("output") && HasFlag(arguments, "--json")) continue;
    arguments.insert(arguments.begin(), absl::StrCat("--", flag.name, "=", value->second));
  }
  return arguments;
}

}  // namespace muster
