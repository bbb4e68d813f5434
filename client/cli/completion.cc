#include "client/cli/completion.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/display.h"
#include "client/cli/values.h"
#include "client/sdk/pages.h"
#include "storage/base/resource_name.h"

namespace muster {
namespace {

constexpr absl::Duration kServerPatience = absl::Seconds(1);

// Bash breaks words at "@" and ":", so the line is taken apart again, and what stands before the
// break is not offered a second time.
constexpr char kBashScript[] = R"(_muster() {
  local line="${COMP_LINE:0:COMP_POINT}" words current prefix
  read -ra words <<< "$line"
  [[ "$line" == *[[:space:]] ]] && words+=("")
  current="${words[-1]}"
  prefix="${current%"${COMP_WORDS[COMP_CWORD]}"}"
  [[ "${COMP_WORDS[COMP_CWORD]}" == [@:=] ]] && prefix="$current"
  local IFS=$'\n'
  COMPREPLY=($(muster __complete "${words[@]:1}" 2>/dev/null))
  COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
}
complete -o default -F _muster muster
)";

constexpr char kZshScript[] = R"(#compdef muster
_muster() {
  local -a candidates
  candidates=("${(@f)$(muster __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -a candidates
}
compdef _muster muster
)";

constexpr char kFishScript[] =
    "complete -c muster -a '(muster __complete (commandline -opc)[2..-1] (commandline -ct) "
    "2>/dev/null)'\n";

bool TakesValue(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

const CLI::Option* OptionOf(const CLI::App& command, const std::string& word) {
  for (const CLI::App* app = &command; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* const option : app->get_options()) {
      if (!option->get_positional() && option->check_name(word)) return option;
    }
  }
  return nullptr;
}

const CLI::App* CommandOf(const CLI::App& command, const std::string& word) {
  for (const CLI::App* const below :
       command.get_subcommands([](const CLI::App*) { return true; })) {
    if (below->check_name(word)) return below;
  }
  return nullptr;
}

Completion::Names NamesOf(const std::string& option) {
  if (option == "MODEL@VERSION" || option == "--model") return Completion::Names::kModelVersions;
  if (option == "ASSEMBLY" || option == "--assembly") return Completion::Names::kAssemblies;
  if (option == "NODE" || option == "--node") return Completion::Names::kNodes;
  return Completion::Names::kNone;
}

// What stands at the given place among the arguments without a dash.
Completion::Names NamesOfPositional(const CLI::App& command, size_t place) {
  for (const CLI::Option* const option : command.get_options()) {
    if (!option->get_positional()) continue;
    if (place-- == 0) return NamesOf(option->get_name(/*positional=*/true));
  }
  return Completion::Names::kNone;
}

void AddOptions(const CLI::App& command, std::vector<std::string>& words) {
  for (const CLI::App* app = &command; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* const option : app->get_options()) {
      for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
    }
  }
}

// Of the things that the server knows; none where it does not answer.
std::vector<std::string> NamesFrom(const Invocation& invocation, Completion::Names kind) {
  std::vector<std::string> names;
  const auto client = invocation.Connect(kServerPatience);
  if (!client.ok()) return names;
  CallOptions call = invocation.Call();
  call.timeout = kServerPatience;
  const auto add = [&names](const auto& found, auto name_of) {
    if (!found.ok()) return;
    for (const auto& one : *found) names.push_back(name_of(one.name()));
  };
  switch (kind) {
    case Completion::Names::kNone:
      break;
    case Completion::Names::kModelVersions:
      add(ListAllModelVersions(**client, "", call), ShortModelVersionName);
      break;
    case Completion::Names::kAssemblies:
      add(ListAllAssemblies(**client, "", call), ShortName);
      break;
    case Completion::Names::kNodes:
      add(ListAllNodes(**client, call), ShortName);
      break;
  }
  return names;
}

}  // namespace

Completion Complete(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* command = &app;
  const CLI::Option* waits_for_value = nullptr;
  size_t positionals = 0;
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    if (waits_for_value != nullptr) {
      waits_for_value = nullptr;
    } else if (absl::StartsWith(word, "-")) {
      const CLI::Option* const option = OptionOf(*command, word);
      if (option != nullptr && TakesValue(*option)) waits_for_value = option;
    } else if (const CLI::App* const below = CommandOf(*command, word)) {
      command = below;
      positionals = 0;
    } else {
      ++positionals;
    }
  }
  const std::string beginning = words.empty() ? "" : words.back();
  Completion found;
  if (waits_for_value != nullptr) {
    found.names = NamesOf(waits_for_value->get_name());
    if (waits_for_value->check_name("--output"))
      found.words = {"table", "wide", "json", "yaml", "name"};
  } else if (absl::StartsWith(beginning, "-")) {
    AddOptions(*command, found.words);
  } else {
    for (const CLI::App* const below :
         command->get_subcommands([](const CLI::App*) { return true; })) {
      found.words.push_back(below->get_name());
    }
    found.names = NamesOfPositional(*command, positionals);
  }
  std::erase_if(found.words,
                [&](const std::string& word) { return !absl::StartsWith(word, beginning); });
  std::sort(found.words.begin(), found.words.end());
  found.words.erase(std::unique(found.words.begin(), found.words.end()), found.words.end());
  return found;
}

absl::Status PrintCompletion(Invocation& invocation, const Completion& completion,
                             const std::string& beginning) {
  for (const std::string& word : completion.words) invocation.PrintLine(word);
  if (completion.names == Completion::Names::kNone) return absl::OkStatus();
  for (const std::string& name : NamesFrom(invocation, completion.names)) {
    if (absl::StartsWith(name, beginning)) invocation.PrintLine(Printable(name));
  }
  return absl::OkStatus();
}

void AddCompletionCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command = app.add_subcommand(
      "completion", "Print what a shell needs to complete commands, options and names");
  auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->footer(
      "Names of models, assemblies and nodes are asked of the server, for a second at most.\n\n"
      "Examples:\n"
      "  muster completion bash > /etc/bash_completion.d/muster\n"
      "  muster completion zsh > ~/.zfunc/_muster\n"
      "  muster completion fish > ~/.config/fish/completions/muster.fish\n"
      "  source <(muster completion bash)                                  # in this shell only");
  command->callback([shell, &chosen] {
    chosen = [shell](Invocation& invocation) {
      invocation.Print(*shell == "bash" ? kBashScript : *shell == "zsh" ? kZshScript : kFishScript);
      return absl::OkStatus();
    };
  });
}

}  // namespace muster
