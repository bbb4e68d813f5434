// Lists: which of the items are shown, in which order, and in which form; one way for all commands
// that list.
#ifndef MUSTER_CLIENT_CLI_LIST_OUTPUT_H_
#define MUSTER_CLIENT_CLI_LIST_OUTPUT_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/command.h"
#include "client/cli/json_output.h"

namespace CLI {
class App;
}

namespace muster {

struct ListFlags {
  bool names_only = false;
  // As typed: KEY=VALUE or KEY!=VALUE.
  std::vector<std::string> filters;
  // A key; with "-" before it the largest comes first.
  std::string sort;
  std::optional<size_t> limit;
  bool watch = false;
};

void AddListFlags(CLI::App& command, ListFlags& flags);
// With --watch: for lists that ShowList prints.
void AddWatchedListFlags(CLI::App& command, ListFlags& flags);

// What there is, before it is filtered.
struct List {
  struct Item {
    // As people write it on the command line.
    std::string name;
    // An object, in JSON. Its fields are the keys of --filter and --sort, those of an object in it
    // with a dot, as in labels.gpu.
    std::string json;
  };
  std::vector<Item> items;
  // The table of the items with these indices, in their order; ages are those at `now`.
  std::function<std::string(const std::vector<size_t>& shown, bool wide, absl::Time now)> table;
  // What people are told where there is no item at all.
  std::string none;
  // Further fields of the object that --json prints, which has the items as `items`.
  JsonObject more;
};

// Of `messages`, each with `name` by `name_of`; `table` makes one of those that are shown.
template <typename Message, typename NameOf, typename MakeTable>
List ListOfMessages(std::vector<Message> messages, NameOf name_of, MakeTable table) {
  List list;
  for (const Message& message : messages) {
    list.items.push_back({name_of(message), MessageToJson(message)});
  }
  list.table = [messages = std::move(messages), table](const std::vector<size_t>& shown, bool wide,
                                                       absl::Time now) {
    std::vector<Message> picked;
    for (const size_t index : shown) picked.push_back(messages[index]);
    return table(picked, wide, now);
  };
  return list;
}

// kInvalidArgument USAGE: a filter or key that can't be read, or that no item has.
absl::StatusOr<std::vector<size_t>> PickItems(const std::vector<List::Item>& items,
                                              const ListFlags& flags);

// Prints the list in the form of --output.
absl::Status PrintList(const Invocation& invocation, const ListFlags& flags, const List& list);

// The same of what `make` finds; with --watch again and again, as ShowRepeatedly does.
absl::Status ShowList(Invocation& invocation, const ListFlags& flags,
                      absl::FunctionRef<absl::StatusOr<List>()> make);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_LIST_OUTPUT_H_
