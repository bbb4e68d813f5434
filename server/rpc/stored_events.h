// Pages of the event log.
//
// Run by store readers; each reads a bounded number of rows.
#ifndef MUSTER_SERVER_RPC_STORED_EVENTS_H_
#define MUSTER_SERVER_RPC_STORED_EVENTS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "muster/v1/event.pb.h"
#include "server/registry/registry.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// A ListEvents call, once the registry was asked.
struct EventList {
  // Of an event, or where one would be: the page begins with it or what follows.
  struct Position {
    Revision revision;
    uint32_t sequence = 0;

    auto operator<=>(const Position&) const = default;
  };

  muster::v1::ListEventsRequest request;
  // Names the list for its tokens.
  std::string name;
  Position begin;
  // The first page is past.
  bool from_token = false;
  // The page has to begin there, and not just with the oldest event that is kept.
  bool exact = false;
  Revision first_revision;
  // Events up to here were no longer kept when the list was opened.
  Revision compacted;
  // The last revision that is shown.
  Revision end;
  // Where the log can be entered; see EventLog::Entries.
  std::vector<Revision> entries;
  // Which of the events that match are for the caller; empty: all are.
  std::function<bool(const muster::v1::Event&)> shows = nullptr;
};

// Checks the request. `who` asks: its tokens are of no use to others. INVALID_ARGUMENT INVALID_FIELD, INVALID_PAGE_TOKEN.
absl::StatusOr<EventList> OpenEventList(const muster::v1::ListEventsRequest& request,
                                        const Registry& registry, absl::string_view who = "");

// Fills a page. OUT_OF_RANGE PAGE_TOKEN_EXPIRED, REVISION_COMPACTED.
absl::Status FetchEvents(MetadataStore& store, EventList list,
                         muster::v1::ListEventsResponse& response);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_STORED_EVENTS_H_
