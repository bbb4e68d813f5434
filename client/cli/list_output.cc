#include "client/cli/list_output.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cli/display.h"
#include "client/cli/mistakes.h"
#include "client/cli/repeated_view.h"
#include "client/cli/values.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kNoneShown[] = "none of them is asked for\n";

struct Filter {
  std::string key;
  std::string value;
  bool equal = true;
};

absl::StatusOr<Filter> ParseFilter(const std::string& text) {
  const size_t equals = text.find('=');
  const bool differs = equals != std::string::npos && equals > 0 && text[equals - 1] == '!';
  Filter filter;
  filter.key = text.substr(0, equals == std::string::npos ? 0 : differs ? equals - 1 : equals);
  if (filter.key.empty()) {
    return UsageError(absl::StrCat("--filter \"", Printable(ShortText(text, 100)),
                                   "\": write KEY=VALUE or KEY!=VALUE, as in state=LIVE"));
  }
  filter.value = text.substr(equals + 1);
  filter.equal = !differs;
  return filter;
}

// Of `item`, the field that `key` names; null where it has none.
const Json* FieldOf(const Json& item, absl::string_view key) {
  const Json* value = &item;
  // A label's key may have dots of its own.
  while (value != nullptr && value->is_object()) {
    const auto whole = value->find(std::string(key));
    if (whole != value->end()) return &*whole;
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(key, absl::MaxSplits('.', 1));
    const auto inner = value->find(std::string(parts.first));
    if (inner == value->end() || parts.second.empty()) return nullptr;
    value = &*inner;
    key = parts.second;
  }
  return nullptr;
}

std::string TextOf(const Json* value) {
  if (value == nullptr || value->is_null()) return "";
  return value->is_string() ? value->get<std::string>() : value->dump();
}

// As people write a resource's name: "llama@v1", "n1"; other texts as they are.
std::string Short(const std::string& text) {
  const std::string version = ShortModelVersionName(text);
  return version == text ? ShortName(text) : version;
}

// Letter case does not matter, "*" at the end stands for anything, and of a resource its short name
// counts unless the full one is asked for.
bool Matches(const std::string& text, const std::string& wanted) {
  const std::string compared = absl::StrContains(wanted, '/') ? text : Short(text);
  absl::string_view beginning = wanted;
  if (absl::ConsumeSuffix(&beginning, "*")) return absl::StartsWithIgnoreCase(compared, beginning);
  return absl::EqualsIgnoreCase(compared, wanted);
}

// Numbers by their value, and before all text.
bool Less(const Json* a, const Json* b) {
  const bool a_is_number = a != nullptr && a->is_number();
  const bool b_is_number = b != nullptr && b->is_number();
  if (a_is_number && b_is_number) return *a < *b;
  if (a_is_number != b_is_number) return a_is_number;
  return TextOf(a) < TextOf(b);
}

// That some item has the key: another one is a mistake, and no item is the answer to none of those.
absl::Status CheckKey(const std::vector<Json>& items, const std::string& key) {
  std::vector<std::string> keys;
  for (const Json& item : items) {
    // Labels differ from node to node.
    if (FieldOf(item, key) != nullptr || absl::StartsWith(key, "labels.")) return absl::OkStatus();
    if (!keys.empty()) continue;
    for (const auto& field : item.items()) keys.push_back(field.key());
  }
  if (items.empty()) return absl::OkStatus();
  const std::string near = NearestWord(key, keys);
  return UsageError(absl::StrCat("no item has \"", Printable(ShortText(key, 100)), "\"; ",
                                 near.empty() ? "" : absl::StrCat("did you mean \"", near, "\"? "),
                                 "They have ", Printable(absl::StrJoin(keys, ", "))));
}

std::string Names(const List& list, const std::vector<size_t>& shown) {
  std::string out;
  for (const size_t index : shown) absl::StrAppend(&out, Printable(list.items[index].name), "\n");
  return out;
}

std::string ItemsJson(const List& list, const std::vector<size_t>& shown) {
  std::vector<std::string> values;
  for (const size_t index : shown) values.push_back(list.items[index].json);
  JsonObject object = list.more;
  object.AddRaw("items", JsonArray(values));
  return object.ToString();
}

// What of the list is shown, in the form of --output.
absl::StatusOr<View> ViewOf(const Invocation& invocation, const ListFlags& flags,
                            const List& list) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<size_t> shown, PickItems(list.items, flags));
  if (flags.names_only || invocation.output() == "name") return View{Names(list, shown)};
  if (invocation.json()) return View{invocation.JsonText(ItemsJson(list, shown))};
  if (list.items.empty()) return View{absl::StrCat(list.none, "\n")};
  if (shown.empty()) return View{kNoneShown};
  const bool wide = invocation.output() == "wide";
  return View{list.table(shown, wide, invocation.clock().Now()), list.table(shown, wide, kNoAges)};
}

}  // namespace

void AddListFlags(CLI::App& command, ListFlags& flags) {
  command.add_flag("-q,--quiet", flags.names_only, "Only names, one a line; like -o name");
  command
      .add_option(
          "--filter", flags.filters,
          "Only items with KEY=VALUE, or KEY!=VALUE, by the keys that --json shows, such as "
          "state=LIVE, labels.gpu=h100 or name=llama*; repeatable")
      ->allow_extra_args(false);
  command.add_option("--sort", flags.sort,
                     "By this key of --json; with - before it the largest first, as in "
                     "--sort -size_bytes");
  command.add_option("--limit", flags.limit, "At most so many, after --filter and --sort");
}

void AddWatchedListFlags(CLI::App& command, ListFlags& flags) {
  AddListFlags(command, flags);
  command.add_flag("-w,--watch", flags.watch,
                   "Show them again every 2 s, in place on a terminal, until SIGINT; elsewhere "
                   "whenever they change");
}

absl::StatusOr<std::vector<size_t>> PickItems(const std::vector<List::Item>& items,
                                              const ListFlags& flags) {
  std::vector<size_t> shown(items.size());
  std::iota(shown.begin(), shown.end(), 0);
  if (!flags.filters.empty() || !flags.sort.empty()) {
    std::vector<Json> values;
    for (const List::Item& item : items) {
      values.push_back(Json::parse(item.json, nullptr, /*allow_exceptions=*/false));
    }
    for (const std::string& text : flags.filters) {
      MUSTER_ASSIGN_OR_RETURN(const Filter filter, ParseFilter(text));
      MUSTER_RETURN_IF_ERROR(CheckKey(values, filter.key));
      std::erase_if(shown, [&](size_t index) {
        return Matches(TextOf(FieldOf(values[index], filter.key)), filter.value) != filter.equal;
      });
    }
    absl::string_view key = flags.sort;
    const bool descending = absl::ConsumePrefix(&key, "-");
    if (!key.empty()) {
      MUSTER_RETURN_IF_ERROR(CheckKey(values, std::string(key)));
      std::stable_sort(shown.begin(), shown.end(), [&](size_t a, size_t b) {
        if (descending) std::swap(a, b);
        return Less(FieldOf(values[a], key), FieldOf(values[b], key));
      });
    }
  }
  if (flags.limit.has_value() && shown.size() > *flags.limit) shown.resize(*flags.limit);
  return shown;
}

absl::Status PrintList(const Invocation& invocation, const ListFlags& flags, const List& list) {
  MUSTER_ASSIGN_OR_RETURN(const View view, ViewOf(invocation, flags, list));
  if (view.text == kNoneShown) {
    invocation.Note("none of them is asked for");
  } else {
    invocation.Print(view.text);
  }
  return absl::OkStatus();
}

absl::Status ShowList(Invocation& invocation, const ListFlags& flags,
                      absl::FunctionRef<absl::StatusOr<List>()> make) {
  if (flags.watch) {
    const auto view = [&]() -> absl::StatusOr<View> {
      MUSTER_ASSIGN_OR_RETURN(const List list, make());
      return ViewOf(invocation, flags, list);
    };
    return ShowRepeatedly(invocation, view, invocation.stop());
  }
  MUSTER_ASSIGN_OR_RETURN(const List list, make());
  return PrintList(invocation, flags, list);
}

}  // namespace muster
