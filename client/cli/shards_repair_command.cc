#include <CLI/CLI.hpp>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"
#include "client/cli/values.h"
#include "client/publish/shard_copies.h"
#include "storage/base/limits.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct ShardsRepairArguments {
  std::string model;
  uint32_t shard = 0;
  std::vector<std::string> shards;
  std::string uri;
  std::string zone;
  uint32_t priority = 0;
  uint32_t max_readers = 0;
  bool unchecked = false;
  std::string from;
  std::string to;
};

absl::Status AddLocation(Invocation& invocation, const ShardsRepairArguments& options) {
  v1::AddLocationsRequest request;
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_name(), FullModelVersionName(options.model));
  v1::AddLocationsRequest::Entry& entry = *request.add_entries();
  entry.set_shard(options.shard);
  v1::Location& location = *entry.mutable_location();
  MUSTER_ASSIGN_OR_RETURN(*location.mutable_uri(),
                          ParseDestination(options.uri, invocation.working_directory()));
  location.set_zone(options.zone);
  location.set_priority(options.priority);
  location.set_max_readers(options.max_readers);
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect(kLongCallTimeout));
  if (!options.unchecked) {
    v1::GetShardRequest get;
    get.set_name(absl::StrCat(request.name(), "/shards/", options.shard));
    MUSTER_ASSIGN_OR_RETURN(const auto found, client->GetShard(get, invocation.Call()));
    const auto bar = invocation.NewProgressBar("checking");
    bar->SetTotal(static_cast<int64_t>(found.shard().size_bytes()));
    MUSTER_RETURN_IF_ERROR(CheckCopy(invocation.stores(), location.uri(), found.shard(),
                                     invocation.stop(), [&](int64_t bytes) { bar->Add(bytes); }));
  }
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->AddLocations(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
  } else {
    invocation.PrintLine(Printable(absl::StrCat(
        "shard ", options.shard, " of ", ShortModelVersionName(request.name()), " is also at ",
        location.uri(), options.unchecked ? "" : ", which was read and is right")));
  }
  return absl::OkStatus();
}

absl::Status RemoveLocation(Invocation& invocation, const ShardsRepairArguments& options) {
  v1::RemoveLocationsRequest request;
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_name(), FullModelVersionName(options.model));
  v1::RemoveLocationsRequest::Entry& entry = *request.add_entries();
  entry.set_shard(options.shard);
  MUSTER_ASSIGN_OR_RETURN(*entry.mutable_uri(),
                          ParseDestination(options.uri, invocation.working_directory()));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->RemoveLocations(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
  } else {
    invocation.PrintLine(Printable(
        absl::StrCat("shard ", options.shard, " of ", ShortModelVersionName(request.name()),
                     " is not looked for at ", entry.uri(), " any more; the object stays there")));
  }
  return absl::OkStatus();
}

void PrintRepaired(const Invocation& invocation, const std::string& name,
                   const std::vector<RepairedShard>& repaired) {
  std::vector<std::string> rows;
  for (const RepairedShard& shard : repaired) {
    std::vector<std::string> bad;
    for (const RepairedShard::BadCopy& copy : shard.bad) {
      if (!invocation.json()) {
        invocation.PrintLine(Printable(absl::StrCat("BAD shard ", shard.index, ": ", copy.why)));
      }
      bad.push_back(JsonString(copy.uri));
    }
    if (invocation.json()) {
      JsonObject json;
      json.Add("shard", static_cast<int64_t>(shard.index));
      json.AddRaw("removed", JsonArray(bad));
      json.Add("source", shard.source);
      json.Add("written", shard.written);
      rows.push_back(json.ToString());
    } else if (shard.written.empty()) {
      invocation.PrintLine(absl::StrCat("shard ", shard.index, ": its other copies are good"));
    } else {
      invocation.PrintLine(Printable(absl::StrCat("shard ", shard.index, ": copied from ",
                                                  shard.source, " to ", shard.written)));
    }
  }
  if (invocation.json()) {
    JsonObject json;
    json.Add("model_version", name);
    json.AddRaw("repaired", JsonArray(rows));
    invocation.PrintLine(json.ToString());
  } else if (repaired.empty()) {
    invocation.PrintLine("every copy is good; there is nothing to repair");
  } else {
    invocation.PrintLine(absl::StrCat("repaired ", CountOf(repaired.size(), "shard"), " of ",
                                      ShortModelVersionName(name)));
  }
}

absl::Status RepairCopies(Invocation& invocation, const ShardsRepairArguments& options) {
  RepairOptions repair;
  MUSTER_ASSIGN_OR_RETURN(repair.model_version, FullModelVersionName(options.model));
  std::set<uint32_t> shards;
  for (const std::string& text : options.shards) {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<uint32_t> some, ParseShardList(text));
    shards.insert(some.begin(), some.end());
  }
  if (!shards.empty()) repair.shards.emplace(shards.begin(), shards.end());
  repair.source = options.from;
  if (!options.to.empty()) {
    MUSTER_ASSIGN_OR_RETURN(repair.destination,
                            ParseDestination(options.to, invocation.working_directory()));
  }
  repair.stop = invocation.stop();
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect(kLongCallTimeout));
  std::vector<RepairedShard> repaired;
  {
    const auto bar = invocation.NewProgressBar("repairing");
    repair.on_plan = [&](int64_t bytes) { bar->SetTotal(bytes); };
    repair.on_bytes = [&](int64_t bytes) { bar->Add(bytes); };
    MUSTER_ASSIGN_OR_RETURN(
        repaired, RepairShards(*client, invocation.stores(), invocation.random(), repair));
  }
  PrintRepaired(invocation, repair.model_version, repaired);
  return absl::OkStatus();
}

}  // namespace

void AddShardsRepairCommands(CLI::App& shards, Command& chosen) {
  auto options = std::make_shared<ShardsRepairArguments>();
  const auto choose = [options, &chosen](auto run) {
    return [options, &chosen, run] {
      chosen = [options, run](Invocation& invocation) { return run(invocation, *options); };
    };
  };
  CLI::App* const add = shards.add_subcommand(
      "add-location", "Say where one more copy of a shard is; it is read and compared first");
  CLI::App* const remove =
      shards.add_subcommand("remove-location", "Look for a shard there no more; the object stays");
  for (CLI::App* const command : {add, remove}) {
    command->add_option("MODEL@VERSION", options->model, "The model version")->required();
    command->add_option("INDEX", options->shard, "The shard's index, from 0")
        ->required()
        ->check(CLI::Range(0u, uint32_t{kMaxShardsPerVersion - 1}));
    command->add_option("URI", options->uri, "Of the object, as file:///…, s3://… or a path")
        ->required();
  }
  add->add_option("--zone", options->zone, "Nodes of this zone read there first");
  add->add_option("--priority", options->priority,
                  "Within a zone, locations with smaller numbers are tried first");
  add->add_option("--max-readers", options->max_readers,
                  "How many nodes may read there at once; 0: any number");
  add->add_flag("--unchecked", options->unchecked,
                "Don't read the object: for one that only nodes can reach");
  CLI::App* const repair = shards.add_subcommand(
      "repair", "Replace bad copies: write new ones, register them, forget the bad ones");
  repair->add_option("MODEL@VERSION", options->model, "The model version")->required();
  repair->add_option("SHARD", options->shards, "Which shards, such as 0,3-5 (default: all)");
  repair->add_option(
      "--from", options->from,
      "The checkpoint that it was published from, for shards of which no copy is good");
  repair->add_option("--to", options->to,
                     "Where new copies go (default: where the model version was published to)");
  add->callback(choose(AddLocation));
  remove->callback(choose(RemoveLocation));
  repair->callback(choose(RepairCopies));
  repair->footer(
      "Every copy of the shards is read. For a bad one a new one is written, from a good copy or "
      "from "
      "--from, and compared; then its location replaces the bad one's. No object is overwritten or "
      "deleted. Nodes that could not read the shard try again by themselves.\n\n"
      "Examples:\n"
      "  muster shards repair llama@v1\n"
      "  muster shards repair llama@v1 3 --from ./Llama-3-8B");
}

}  // namespace muster
