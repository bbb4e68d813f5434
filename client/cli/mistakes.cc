#include "client/cli/mistakes.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/values.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"

namespace muster {
namespace {

// Longer words are nobody's slip of the finger, and would take long to compare.
constexpr size_t kMaxWordBytes = 64;

// Letters to change, add, drop or swap with their neighbour, from one word to the other.
size_t Distance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> before_last(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({change, last[j] + 1, row[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

absl::string_view WithoutDashes(absl::string_view word) {
  absl::ConsumePrefix(&word, "--");
  return word;
}

// How far a candidate may be away from the word.
size_t Tolerance(absl::string_view word) { return word.size() <= 3 ? 1 : 2; }

const CLI::App& CommandInHand(const CLI::App& app) {
  const CLI::App* found = &app;
  while (!found->get_subcommands().empty()) found = found->get_subcommands().back();
  return *found;
}

std::vector<const CLI::App*> AllCommands(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

std::string Join(absl::string_view path, absl::string_view word) {
  return absl::StrCat(path, path.empty() ? "" : " ", word);
}

std::string Question(const std::string& meant) {
  return meant.empty() ? "" : absl::StrCat("; did you mean \"", meant, "\"?");
}

// Those that `command` takes, with those of the commands above it.
std::vector<std::string> OptionsOf(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* app = &command; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* const option : app->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
      for (const std::string& name : option->get_snames()) names.push_back("-" + name);
    }
  }
  return names;
}

// What was meant by `word` where `command` expects one of its own commands.
std::string NearestCommand(const CLI::App& command, const std::string& word,
                           const std::string& path) {
  std::vector<std::string> names;
  std::string deeper;
  bool has_show = false;
  for (const CLI::App* const sub : AllCommands(command)) {
    names.push_back(sub->get_name());
    names.insert(names.end(), sub->get_aliases().begin(), sub->get_aliases().end());
    has_show = has_show || sub->get_name() == "show";
    for (const CLI::App* const below : AllCommands(*sub)) {
      if (below->get_name() == word) deeper = Join(sub->get_name(), word);
    }
  }
  const std::string near = NearestWord(word, names);
  if (!near.empty()) return Join(path, near);
  // "muster drain" is `muster nodes drain`, and "muster nodes n1" asks for the node n1.
  if (!deeper.empty()) return Join(path, deeper);
  return has_show && !path.empty() ? absl::StrCat(path, " show ", Printable(word)) : "";
}

std::string UnknownOption(const CLI::App& command, const std::string& path, std::string word) {
  word = word.substr(0, word.find('='));
  return absl::StrCat("`", Join("muster", path), "` has no option \"",
                      Printable(ShortText(word, kMaxWordBytes)), "\"",
                      Question(NearestWord(word, OptionsOf(command))));
}

std::string UnknownArgument(const CLI::App& command, const std::string& path,
                            const std::string& word) {
  const std::string shown = Printable(ShortText(word, kMaxWordBytes));
  if (!AllCommands(command).empty()) {
    return absl::StrCat("unknown command \"", Join(path, shown), "\"",
                        Question(NearestCommand(command, word, path)));
  }
  std::string takes;
  for (const CLI::Option* const option : command.get_options()) {
    if (option->get_positional()) absl::StrAppend(&takes, " ", option->get_name(true));
  }
  return absl::StrCat("unexpected argument \"", shown, "\": `", Join("muster", path), "` takes ",
                      takes.empty() ? "none" : absl::StripLeadingAsciiWhitespace(takes));
}

}  // namespace

std::string NearestWord(absl::string_view word, const std::vector<std::string>& candidates) {
  if (word.size() > kMaxWordBytes) return "";
  const std::string lower = absl::AsciiStrToLower(word);
  std::string best;
  size_t best_distance = Tolerance(WithoutDashes(word)) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = Distance(lower, candidate);
    // A word of two letters is two changes from every other.
    if (distance < best_distance && distance + 1 < candidate.size()) {
      best = candidate;
      best_distance = distance;
    }
  }
  if (!best.empty() || WithoutDashes(word).size() < 2) return best;
  for (const std::string& candidate : candidates) {
    if (!absl::StartsWith(candidate, lower)) continue;
    // Of several that begin so none is meant more than the others.
    if (!best.empty()) return "";
    best = candidate;
  }
  return best;
}

std::string CommandPath(const CLI::App& app) {
  std::string path;
  for (const CLI::App* command = &CommandInHand(app); command != &app;
       command = command->get_parent()) {
    path = absl::StrCat(command->get_name(), path.empty() ? "" : " ", path);
  }
  return path;
}

absl::Status UnknownWords(const CLI::App& app) {
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  if (unknown.empty()) return absl::OkStatus();
  const CLI::App& command = CommandInHand(app);
  const std::string path = CommandPath(app);
  const auto is_option = [](const std::string& word) { return word.size() > 1 && word[0] == '-'; };
  // What stands after an unknown option may be its value, and what stands after an unknown command
  // its options: the first of them is what to name.
  const bool no_command = !AllCommands(command).empty() && !is_option(unknown.front());
  const auto option =
      no_command ? unknown.end() : std::find_if(unknown.begin(), unknown.end(), is_option);
  return WithCommand(
      UsageError(option != unknown.end() ? UnknownOption(command, path, *option)
                                         : UnknownArgument(command, path, unknown.front())),
      path);
}

absl::Status WithCommand(const absl::Status& status, absl::string_view command) {
  ErrorDetail detail = DetailOf(status);
  if (detail.reason != reasons::kUsage && detail.reason != reasons::kInvalidName) return status;
  detail.metadata.emplace("command", command);
  return WithDetail(status, detail);
}

}  // namespace muster
