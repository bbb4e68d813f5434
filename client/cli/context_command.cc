#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/cli/contexts.h"
#include "client/cli/display.h"
#include "client/cli/json_output.h"
#include "client/cli/list_output.h"
#include "client/cli/table.h"
#include "client/cli/values.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct ContextArguments {
  std::string name;
  // What `set` gives it.
  std::map<std::string, std::string> flags;
  ListFlags list;
};

std::string PathOf(const Invocation& invocation) {
  return ContextsPath([&](const char* name) { return invocation.Variable(name); });
}

std::string FlagOf(const std::map<std::string, std::string>& flags, const std::string& name) {
  const auto found = flags.find(name);
  return found == flags.end() ? "" : found->second;
}

absl::Status UnknownContext(const std::string& name) {
  return UsageError(absl::StrCat("there is no context \"", Printable(ShortText(name, 100)),
                                 "\"; `muster context list` shows those there are"));
}

std::string ContextJson(const Contexts& all, const std::string& name) {
  const auto& flags = all.contexts.at(name);
  JsonObject json;
  json.Add("name", name);
  json.AddRaw("current", name == all.current ? "true" : "false");
  for (const std::string& flag : ContextFlagNames()) {
    json.Add(absl::StrReplaceAll(flag, {{"-", "_"}}), FlagOf(flags, flag));
  }
  return json.ToString();
}

absl::Status ListContexts(Invocation& invocation, const ContextArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const Contexts all, ReadContexts(PathOf(invocation)));
  List list;
  for (const auto& [name, flags] : all.contexts) {
    list.items.push_back({name, ContextJson(all, name)});
  }
  list.none = "no contexts; `muster context set NAME --server HOST:PORT` makes one";
  list.table = [&](const std::vector<size_t>& shown, bool, absl::Time) {
    Table table({{"CURRENT"}, {"CONTEXT"}, {"SERVER"}});
    for (const size_t index : shown) {
      const std::string& name = list.items[index].name;
      table.Add({name == all.current ? "*" : "", name, FlagOf(all.contexts.at(name), "server")});
    }
    return table.ToString();
  };
  return PrintList(invocation, options.list, list);
}

absl::Status ShowContext(Invocation& invocation, const ContextArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const Contexts all, ReadContexts(PathOf(invocation)));
  const std::string name = options.name.empty() ? all.current : options.name;
  if (name.empty()) return UsageError("no context is in use; `muster context use NAME` uses one");
  const auto found = all.contexts.find(name);
  if (found == all.contexts.end()) return UnknownContext(name);
  if (invocation.json()) {
    invocation.PrintJson(ContextJson(all, name));
    return absl::OkStatus();
  }
  std::vector<std::pair<std::string, std::string>> lines = {{"name", name}};
  for (const auto& [flag, value] : found->second) lines.emplace_back(flag, value);
  invocation.Print(KeyValues(lines));
  return absl::OkStatus();
}

absl::Status UseContext(Invocation& invocation, const ContextArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(Contexts all, ReadContexts(PathOf(invocation)));
  if (!all.contexts.contains(options.name)) return UnknownContext(options.name);
  all.current = options.name;
  MUSTER_RETURN_IF_ERROR(WriteContexts(PathOf(invocation), all));
  invocation.PrintLine(absl::StrCat("using ", Printable(options.name)));
  return absl::OkStatus();
}

absl::Status SetContext(Invocation& invocation, const ContextArguments& options) {
  if (options.flags.empty()) {
    return UsageError(
        "say what it has: --server, --output, --tls-… or --token-file after `set NAME`");
  }
  MUSTER_ASSIGN_OR_RETURN(Contexts all, ReadContexts(PathOf(invocation)));
  for (const auto& [flag, value] : options.flags) {
    // It will be used from elsewhere.
    const bool relative = NamesAFile(flag) && !absl::StartsWith(value, "/");
    all.contexts[options.name][flag] =
        relative ? absl::StrCat(invocation.working_directory(), "/", value) : value;
  }
  // The first one is the one to use.
  if (all.contexts.size() == 1) all.current = options.name;
  MUSTER_RETURN_IF_ERROR(WriteContexts(PathOf(invocation), all));
  invocation.PrintLine(absl::StrCat("set ", Printable(options.name),
                                    all.current == options.name ? ", which is in use" : ""));
  return absl::OkStatus();
}

absl::Status DeleteContext(Invocation& invocation, const ContextArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(Contexts all, ReadContexts(PathOf(invocation)));
  if (all.contexts.erase(options.name) == 0) return UnknownContext(options.name);
  if (all.current == options.name) all.current.clear();
  MUSTER_RETURN_IF_ERROR(WriteContexts(PathOf(invocation), all));
  invocation.PrintLine(absl::StrCat("deleted ", Printable(options.name)));
  return absl::OkStatus();
}

}  // namespace

void AddContextCommand(CLI::App& app, Command& chosen) {
  CLI::App* const context =
      app.add_subcommand("context", "The clusters that you work with, each under a name");
  auto options = std::make_shared<ContextArguments>();
  const auto choose = [options, &chosen](auto run) {
    return [options, &chosen, run] {
      chosen = [options, run](Invocation& invocation) { return run(invocation, *options); };
    };
  };
  context->require_subcommand(1);
  CLI::App* const list = context->add_subcommand("list", "Contexts; * marks the one in use");
  AddListFlags(*list, options->list);
  list->callback(choose(ListContexts));
  CLI::App* const show = context->add_subcommand("show", "Show the context in use, or another one");
  show->add_option("NAME", options->name, "The context");
  show->callback(choose(ShowContext));
  CLI::App* const use = context->add_subcommand("use", "Use a context from now on");
  CLI::App* const set = context->add_subcommand("set", "Make a context, or change what it has");
  CLI::App* const remove = context->add_subcommand("delete", "Delete a context");
  for (CLI::App* const command : {use, set, remove}) {
    command->add_option("NAME", options->name, "The context")->required();
  }
  for (const std::string& flag : ContextFlagNames()) {
    set->add_option_function<std::string>(
        absl::StrCat("--", flag),
        [options, flag](const std::string& value) { options->flags[flag] = value; },
        absl::StrCat("What --", flag, " is in this context"));
  }
  use->callback(choose(UseContext));
  set->callback(choose(SetContext));
  remove->callback(choose(DeleteContext));
  context->footer(
      "A context stands for flags of all commands: --server, --output, --tls-ca and so on; `muster "
      "login` makes one of a secured cluster. A flag "
      "on the "
      "command line goes before its variable, that before the context, and that before the "
      "default. --context, or MUSTER_CONTEXT, uses another one for one command. The file is "
      "~/.config/muster/config.yaml, or what MUSTER_CONFIG names.\n\n"
      "Examples:\n"
      "  muster context set prod --server muster.prod:7070\n"
      "  muster context use prod\n"
      "  muster context list\n"
      "  muster context show\n"
      "  muster context delete old");
}

}  // namespace muster
