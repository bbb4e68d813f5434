#include "client/cli/habits.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace muster {
namespace {

// Global options whose value is an argument of its own.
constexpr absl::string_view kOptionsWithValues[] = {
    "--server", "--timeout",  "--context", "--output",          "-o",
    "--tls-ca", "--tls-cert", "--tls-key", "--tls-server-name", "--token-file"};

// A command, and another name for it, at whatever level it stands.
constexpr std::pair<absl::string_view, absl::string_view> kOtherNames[] = {
    {"models", "model"},   {"shards", "shard"},      {"assemblies", "assembly"},
    {"nodes", "node"},     {"tokens", "token"},      {"events", "event"},
    {"view", "views"},     {"list", "ls"},           {"show", "get"},
    {"show", "describe"},  {"delete", "rm"},         {"delete", "remove"},
    {"deregister", "rm"},  {"deregister", "remove"}, {"deregister", "delete"},
    {"remove", "rm"},      {"remove", "delete"},     {"evict", "rm"},
    {"export", "assemble"}};

// Words that other tools put before the kind of thing.
constexpr absl::string_view kVerbs[] = {"get",      "list",   "ls",    "show",
                                        "describe", "delete", "rm",    "remove",
                                        "create",   "update", "drain", "deregister"};

// The kinds of things that they are about.
constexpr absl::string_view kNouns[] = {"models", "shards", "assemblies", "nodes"};

template <typename Words>
bool Holds(const Words& words, absl::string_view word) {
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

bool IsNoun(absl::string_view word) {
  return std::any_of(std::begin(kNouns), std::end(kNouns), [&](absl::string_view noun) {
    return word == noun ||
           std::any_of(std::begin(kOtherNames), std::end(kOtherNames), [&](const auto& names) {
             return names.first == noun && names.second == word;
           });
  });
}

// The index of the first argument from `begin` on that is neither an option nor the value of a
// global one; the count of arguments where there is none.
size_t NextWord(const std::vector<std::string>& arguments, size_t begin) {
  for (size_t i = begin; i < arguments.size(); ++i) {
    if (!absl::StartsWith(arguments[i], "-")) return i;
    if (Holds(kOptionsWithValues, arguments[i])) ++i;
  }
  return arguments.size();
}

// How many words stand from `begin` on before the first option.
size_t CountWords(const std::vector<std::string>& arguments, size_t begin) {
  const auto first = arguments.begin() + static_cast<std::ptrdiff_t>(begin);
  return static_cast<size_t>(
      std::find_if(first, arguments.end(),
                   [](const std::string& word) { return absl::StartsWith(word, "-"); }) -
      first);
}

}  // namespace

std::vector<std::string> WithoutHabits(std::vector<std::string> arguments) {
  const size_t verb = NextWord(arguments, 0);
  if (verb == arguments.size()) return arguments;
  if (arguments[verb] == "help") {
    arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(verb));
    arguments.emplace_back("--help");
    return arguments;
  }
  const size_t noun = verb + 1;
  if (noun >= arguments.size() || !Holds(kVerbs, arguments[verb]) || !IsNoun(arguments[noun])) {
    return arguments;
  }
  // `get` without a name is a list; that of shards needs the model's.
  const size_t names_of_list = absl::StartsWith(arguments[noun], "shard") ? 1 : 0;
  if (arguments[verb] == "get" && CountWords(arguments, noun + 1) <= names_of_list) {
    arguments[verb] = "list";
  }
  std::swap(arguments[verb], arguments[noun]);
  return arguments;
}

std::string CommandWord(const std::vector<std::string>& arguments) {
  const size_t first = NextWord(arguments, 0);
  return first < arguments.size() ? arguments[first] : "";
}

void AddOtherNames(CLI::App& app) {
  for (CLI::App* const command : app.get_subcommands([](CLI::App*) { return true; })) {
    for (const auto& [name, other] : kOtherNames) {
      if (command->get_name() == name) command->alias(std::string(other));
    }
    AddOtherNames(*command);
  }
}

}  // namespace muster
