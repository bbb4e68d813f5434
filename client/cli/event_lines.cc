#include "client/cli/event_lines.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/cli/display.h"
#include "client/cli/values.h"
#include "storage/base/resource_name.h"

namespace muster {
namespace {

constexpr size_t kMaxEventShardsBytes = 24;

std::string Time(const v1::Event& event, absl::TimeZone zone) {
  const absl::Time time =
      absl::FromUnixSeconds(event.time().seconds()) + absl::Nanoseconds(event.time().nanos());
  return absl::FormatTime("%H:%M:%E1S", time, zone);
}

std::string Subject(const v1::Event& event) {
  std::vector<std::string> names;
  if (!event.assembly().empty()) names.push_back(ShortName(event.assembly()));
  if (!event.node().empty()) names.push_back(ShortName(event.node()));
  // An assembly has one model version for all its life.
  if (!event.model_version().empty() && event.assembly().empty()) {
    names.push_back(ShortModelVersionName(event.model_version()));
  }
  return absl::StrJoin(names, " ");
}

std::string EventShards(const v1::Event& event) {
  const auto listed = static_cast<uint32_t>(event.shards_size());
  if (listed == 0 || listed < event.shard_count()) {
    return event.shard_count() == 0 ? "" : CountOf(event.shard_count(), "shard");
  }
  const std::string list = FormatShardList({event.shards().begin(), event.shards().end()});
  return list.size() <= kMaxEventShardsBytes ? list : CountOf(listed, "shard");
}

std::string Change(const v1::Event& event) {
  if (event.old_state().empty() && event.new_state().empty()) return "";
  return absl::StrCat(event.old_state(), event.old_state().empty() ? "" : " ", "->",
                      event.new_state().empty() ? "" : " ", event.new_state());
}

}  // namespace

Table EventTable() {
  return Table({{"TIME"},
                {"REVISION", Table::Align::kRight},
                {"KIND"},
                {"SUBJECT"},
                {"SHARDS"},
                {"CHANGE"},
                {"CAUSE"},
                {"MESSAGE"}});
}

void AddEvent(const v1::Event& event, absl::TimeZone zone, Table& table) {
  table.Add({Time(event, zone), absl::StrCat(event.revision()), v1::Event::Kind_Name(event.kind()),
             Subject(event), EventShards(event), Change(event), event.cause(), event.message()});
}

std::string EventsTable(const std::vector<v1::Event>& events, absl::TimeZone zone) {
  Table table = EventTable();
  for (const v1::Event& event : events) AddEvent(event, zone, table);
  return table.ToString();
}

absl::StatusOr<v1::Event::Kind> ParseEventKind(absl::string_view text) {
  const std::string name =
      absl::StrReplaceAll(absl::AsciiStrToUpper(absl::StripAsciiWhitespace(text)), {{"-", "_"}});
  v1::Event::Kind kind = v1::Event::KIND_UNSPECIFIED;
  if (v1::Event::Kind_Parse(name, &kind) && kind != v1::Event::KIND_UNSPECIFIED) return kind;
  std::vector<std::string> all;
  const auto& kinds = *v1::Event::Kind_descriptor();
  for (int i = 0; i < kinds.value_count(); ++i) {
    if (kinds.value(i)->number() != v1::Event::KIND_UNSPECIFIED) {
      all.push_back(kinds.value(i)->name());
    }
  }
  return UsageError(absl::StrCat("\"", Printable(text.substr(0, 100)),
                                 "\" is not a kind of event; the kinds are ",
                                 absl::StrJoin(all, ", ")));
}

}  // namespace muster
