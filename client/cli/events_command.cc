#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/event_lines.h"
#include "client/cli/json_output.h"
#include "client/cli/values.h"
#include "client/sdk/follow_events.h"
#include "client/sdk/pages.h"
#include "storage/base/limits.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// So many lines are written at once while a long list is read.
constexpr size_t kRowsAtOnce = 1'000;

struct EventsArguments {
  bool follow = false;
  std::string assembly;
  std::string node;
  std::string model;
  std::vector<std::string> kinds;
  // A revision as typed; "" for none.
  std::string since;
  uint32_t tail = 50;
};

absl::StatusOr<v1::EventFilter> ToFilter(const EventsArguments& options) {
  v1::EventFilter filter;
  if (!options.assembly.empty()) {
    MUSTER_ASSIGN_OR_RETURN(*filter.mutable_assembly(), FullAssemblyName(options.assembly));
  }
  if (!options.node.empty()) {
    MUSTER_ASSIGN_OR_RETURN(*filter.mutable_node(), FullNodeName(options.node));
  }
  if (!options.model.empty()) {
    MUSTER_ASSIGN_OR_RETURN(*filter.mutable_model_version(), FullModelVersionName(options.model));
  }
  for (const std::string& text : options.kinds) {
    MUSTER_ASSIGN_OR_RETURN(const v1::Event::Kind kind, ParseEventKind(text));
    filter.add_kinds(kind);
  }
  return filter;
}

// Writes events as they come, as a table or as one JSON object a line.
class EventPrinter {
 public:
  explicit EventPrinter(const Invocation& invocation) : invocation_(invocation) {}

  void Add(const v1::Event& event) {
    if (invocation_.json()) {
      invocation_.PrintJson(event);
    } else {
      AddEvent(event, absl::LocalTimeZone(), table_);
      if (table_.row_count() == kRowsAtOnce) Flush();
    }
  }

  void Flush() {
    if (table_.row_count() > 0) invocation_.Print(table_.TakeRows());
  }

 private:
  const Invocation& invocation_;
  Table table_ = EventTable();
};

// The error of an assembly or node that is not there and of which nothing was found either: events outlive what they are
// about. OK for everything else.
absl::Status CheckKnown(const Invocation& invocation, Client& client,
                        const v1::EventFilter& filter) {
  if (!filter.assembly().empty()) {
    v1::GetAssemblyRequest request;
    request.set_name(filter.assembly());
    MUSTER_RETURN_IF_ERROR(client.GetAssembly(request, invocation.Call()).status());
  }
  if (!filter.node().empty()) {
    v1::GetNodeRequest request;
    request.set_name(filter.node());
    MUSTER_RETURN_IF_ERROR(client.GetNode(request, invocation.Call()).status());
  }
  if (!filter.model_version().empty()) {
    v1::GetModelVersionRequest request;
    request.set_name(filter.model_version());
    MUSTER_RETURN_IF_ERROR(client.GetModelVersion(request, invocation.Call()).status());
  }
  return absl::OkStatus();
}

// Prints what there is already; returns the revision up to which that is.
absl::StatusOr<Revision> ListEvents(const Invocation& invocation, Client& client,
                                    const v1::EventFilter& filter, const EventsArguments& options,
                                    EventPrinter& printer) {
  v1::ListEventsRequest request;
  *request.mutable_filter() = filter;
  const bool since = !options.since.empty();
  if (since) {
    MUSTER_ASSIGN_OR_RETURN(const uint64_t revision, ParseRevision(options.since));
    request.set_after_revision(revision);
  } else {
    // 0 would mean all; what is not asked for is not printed.
    request.set_tail(std::max(options.tail, 1u));
  }
  const bool print = since || options.tail > 0;
  bool any = false;
  const auto on_event = [&](const v1::Event& event) {
    any = true;
    if (print) printer.Add(event);
    return absl::OkStatus();
  };
  MUSTER_ASSIGN_OR_RETURN(const Revision revision,
                          ForEachEvent(client, request, on_event, invocation.Call()));
  printer.Flush();
  if (any) return revision;
  const absl::Status known = CheckKnown(invocation, client, filter);
  // Who follows may wait for one that is still to be made.
  if (!options.follow || !absl::IsNotFound(known)) MUSTER_RETURN_IF_ERROR(known);
  if (!known.ok()) invocation.Note(absl::StrCat(known.message(), " yet; waiting for its events"));
  return revision;
}

absl::Status RunEvents(Invocation& invocation, const EventsArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const v1::EventFilter filter, ToFilter(options));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  EventPrinter printer(invocation);
  MUSTER_ASSIGN_OR_RETURN(const Revision revision,
                          ListEvents(invocation, *client, filter, options, printer));
  if (!options.follow) return absl::OkStatus();
  FollowEventsOptions follow;
  follow.filter = filter;
  follow.start_revision = revision.value;
  follow.retry.stop = invocation.stop();
  std::string last;
  follow.retry.on_disconnect = [&](const absl::Status& status) {
    const std::string line = absl::StrCat("waiting for the server: ", status.message());
    if (line != last) invocation.Note(line);
    last = line;
  };
  const absl::Status status = FollowEvents(*client, invocation.clock(), invocation.random(), follow,
                                           [&](const v1::Event& event) {
                                             last.clear();
                                             printer.Add(event);
                                             printer.Flush();
                                             // A reader that went away wants no more.
                                             return invocation.IsRead();
                                           });
  // Following ends by a signal.
  return invocation.stop().stop_requested() ? absl::OkStatus() : status;
}

}  // namespace

void AddEventsCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command =
      app.add_subcommand("events", "Show what happened: every change of state, with its cause");
  auto options = std::make_shared<EventsArguments>();
  command->add_flag("-f,--follow", options->follow, "Keep printing new events, until SIGINT");
  command->add_option("--assembly", options->assembly, "Only those of this assembly");
  command->add_option("--node", options->node, "Only those of this node");
  command->add_option("--model", options->model, "Only those of this MODEL@VERSION");
  command
      ->add_option("--kind", options->kinds,
                   "Only these kinds, such as NODE_LOST,ASSEMBLY_STATE; may be repeated")
      ->delimiter(',')
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  CLI::Option* const since = command->add_option("--since", options->since,
                                                 "All after this revision; 0: all that is kept");
  CLI::Option* const tail =
      command->add_option("--tail", options->tail, "The last so many; 0 with --follow: none")
          ->check(CLI::Range(0u, uint32_t{kMaxPageSize}))
          ->capture_default_str();
  since->excludes(tail);
  command->footer(
      "A line has the time, the revision, the kind, what it is about, its shards, the old and the "
      "new state,\n"
      "what asked for it, and a sentence. The server keeps an hour of them unless told otherwise.\n"
      "With --json one object a line, a muster.v1.Event each.\n\n"
      "Examples:\n"
      "  muster events --assembly demo\n"
      "  muster events --follow --tail 0 --node n1\n"
      "  muster events --kind NODE_LOST,NODE_RELEASED --since 0\n"
      "  muster events --assembly demo --since 412 --json");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return RunEvents(invocation, *options); };
  });
}

}  // namespace muster
