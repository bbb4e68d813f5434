// Events for people: what happened, a line each.
#ifndef MUSTER_CLIENT_CLI_EVENT_LINES_H_
#define MUSTER_CLIENT_CLI_EVENT_LINES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cli/table.h"
#include "muster/v1/event.pb.h"

namespace muster {

// Without rows; AddEvent adds them.
Table EventTable();

// Times are shown in `zone`.
void AddEvent(const v1::Event& event, absl::TimeZone zone, Table& table);

std::string EventsTable(const std::vector<v1::Event>& events, absl::TimeZone zone);

// A kind of event as people write it: letter case doesn't matter, nor do "-" and "_". kInvalidArgument
// USAGE: there is none; lists all.
absl::StatusOr<v1::Event::Kind> ParseEventKind(absl::string_view text);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_EVENT_LINES_H_
