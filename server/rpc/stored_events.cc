#include "server/rpc/stored_events.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "muster/store/rows.pb.h"
#include "server/registry/event_rows.h"
#include "server/registry/paging.h"
#include "server/registry/row_keys.h"
#include "server/registry/validation.h"
#include "server/watch/event_filter.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using Position = EventList::Position;

// A page ends after this many events that don't match.
constexpr size_t kMaxSeen = 10 * size_t{kMaxPageSize};
// How far `tail` looks back for events that match.
constexpr size_t kMaxTailSeen = 100'000;
// A row has up to 128 KiB.
constexpr size_t kRowsPerScan = 64;

std::string EventPositionText(Position position) {
  return absl::StrCat(position.revision.value, " ", position.sequence);
}

// A token that passed its checksum is ours; one that does not parse starts from the beginning.
Position ParseEventPosition(absl::string_view text) {
  Position position;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ' ');
  if (parts.size() == 2) {
    (void)absl::SimpleAtoi(parts[0], &position.revision.value);
    (void)absl::SimpleAtoi(parts[1], &position.sequence);
  }
  return position;
}

bool Shows(const EventList& list, const v1::Event& event) {
  return Matches(list.request.filter(), event) && (list.shows == nullptr || list.shows(event));
}

absl::StatusOr<Revision> CompactedIn(MetadataStore& store) {
  const absl::StatusOr<std::string> packed = store.Get(EventLogKey());
  if (packed.status().code() == absl::StatusCode::kNotFound) return Revision(0);
  MUSTER_RETURN_IF_ERROR(packed.status());
  store::EventLogRow row;
  if (!row.ParseFromString(*packed))
    return absl::DataLossError("the head of the event log can't be read");
  return Revision(row.compact_revision());
}

absl::Status TooOld(const EventList& list, Revision compacted) {
  const std::map<std::string, std::string> metadata = {
      {"compact_revision", absl::StrCat(compacted.value)}};
  if (list.from_token) {
    return MakeError(absl::StatusCode::kOutOfRange, reasons::kPageTokenExpired,
                     absl::StrCat("the page would begin at revision ", list.begin.revision.value,
                                  ", and events up to ", compacted.value,
                                  " are no longer kept: start without a token"),
                     metadata);
  }
  return MakeError(absl::StatusCode::kOutOfRange, reasons::kRevisionCompacted,
                   absl::StrCat("events up to revision ", compacted.value,
                                " are no longer kept: list those after it"),
                   metadata);
}

// Visits the events from `begin` on, up to and including revision `end`, until `visit` returns
// false.
absl::Status ForEachEvent(MetadataStore& store, Position begin, Revision end,
                          const std::function<bool(v1::Event&)>& visit) {
  std::string key = EventsKey(begin.revision, 0);
  const std::string key_end = EventsKey(Revision(end.value + 1), 0);
  while (key < key_end) {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<MetadataStore::Row> rows,
                            store.Scan(key, key_end, kRowsPerScan));
    for (const MetadataStore::Row& row : rows) {
      const std::optional<Revision> revision = ParseEventsKey(row.key);
      if (!revision.has_value()) return absl::DataLossError("an event row's key can't be read");
      MUSTER_ASSIGN_OR_RETURN(std::vector<v1::Event> events, UnpackTold(*revision, row.value));
      for (v1::Event& event : events) {
        if (Position{*revision, event.sequence()} < begin) continue;
        if (!visit(event)) return absl::OkStatus();
      }
    }
    if (rows.size() < kRowsPerScan) return absl::OkStatus();
    key = rows.back().key + '\0';
  }
  return absl::OkStatus();
}

// Where the last `tail` events that match begin. Looks back run by run, as a store is read forward
// only.
absl::StatusOr<Position> FindTail(MetadataStore& store, const EventList& list) {
  const size_t wanted = list.request.tail();
  Position begin{Revision(list.end.value + 1), 0};
  Revision end = list.end;
  size_t found = 0, seen = 0;
  for (size_t i = list.entries.size() + 1; i > 0 && found < wanted && seen < kMaxTailSeen; --i) {
    const Revision entry = i > 1 ? list.entries[i - 2] : Revision(0);
    std::vector<Position> matching;
    MUSTER_RETURN_IF_ERROR(ForEachEvent(
        store, Position{Revision(entry.value + 1), 0}, end, [&](const v1::Event& event) {
          ++seen;
          if (Shows(list, event)) {
            matching.push_back(Position{Revision(event.revision()), event.sequence()});
          }
          return true;
        }));
    const size_t taken = std::min(matching.size(), wanted - found);
    if (taken > 0) begin = matching[matching.size() - taken];
    found += taken;
    end = entry;
  }
  return begin;
}

}  // namespace

absl::StatusOr<EventList> OpenEventList(const v1::ListEventsRequest& request,
                                        const Registry& registry, absl::string_view who) {
  MUSTER_RETURN_IF_ERROR(CheckEventFilter(request.filter()));
  if (request.tail() > kMaxPageSize) {
    return InvalidField("tail", absl::StrCat(request.tail()),
                        absl::StrCat("at most ", kMaxPageSize));
  }
  if (request.tail() > 0 && request.after_revision() > 0) {
    return InvalidField("tail", absl::StrCat(request.tail()), "not together with after_revision");
  }
  EventList list;
  list.request = request;
  list.name = absl::StrCat("ListEvents ", request.filter().SerializeAsString(),
                           who.empty() ? "" : "\n", who);
  MUSTER_ASSIGN_OR_RETURN(const PageStart start,
                          ParsePageToken(list.name, request.page_token(), registry.revision()));
  list.first_revision = start.first_revision;
  list.end = registry.revision();
  list.compacted = registry.event_log().compacted();
  list.begin.revision = Revision(list.compacted.value + 1);
  list.from_token = !request.page_token().empty();
  list.exact = list.from_token || request.after_revision() > 0;
  if (list.from_token) {
    list.begin = ParseEventPosition(start.after);
  } else if (request.after_revision() > 0) {
    // Nothing lies beyond the end, whatever was asked for.
    list.begin.revision = Revision(std::min(request.after_revision(), list.end.value) + 1);
  } else if (request.tail() > 0) {
    list.entries = registry.event_log().Entries();
  }
  return list;
}

absl::Status FetchEvents(MetadataStore& store, EventList list, v1::ListEventsResponse& response) {
  if (list.request.tail() > 0 && !list.from_token) {
    MUSTER_ASSIGN_OR_RETURN(list.begin, FindTail(store, list));
  }
  const size_t page_size = PageSize(list.request.page_size());
  while (true) {
    size_t seen = 0, bytes = 0;
    MUSTER_RETURN_IF_ERROR(ForEachEvent(store, list.begin, list.end, [&](v1::Event& event) {
      const bool matches = Shows(list, event);
      const size_t size = matches ? event.ByteSizeLong() + 8 : 0;
      if (static_cast<size_t>(response.events_size()) == page_size ||
          seen == kMaxSeen + page_size ||
          (bytes + size > kMaxPageBytes && response.events_size() > 0)) {
        const Position next{Revision(event.revision()), event.sequence()};
        response.set_next_page_token(
            MakePageToken(list.name, PageStart{EventPositionText(next), list.first_revision}));
        return false;
      }
      ++seen;
      bytes += size;
      if (matches) response.add_events()->Swap(&event);
      return true;
    }));
    // What was cut off while it was read may be missing in the middle of the page.
    MUSTER_ASSIGN_OR_RETURN(const Revision now, CompactedIn(store));
    const Revision compacted = std::max(now, list.compacted);
    response.set_compact_revision(compacted.value);
    response.set_revision(list.end.value);
    if (list.begin.revision > compacted) return absl::OkStatus();
    if (list.exact) return TooOld(list, compacted);
    response.Clear();
    list.begin = Position{Revision(compacted.value + 1), 0};
  }
}

}  // namespace muster
