#include "client/cli/reason_advice.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/display.h"
#include "storage/base/placement_policy.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"

namespace muster {
namespace {

using Reason = v1::AssemblyReason;
using Failure = v1::ShardFailure;

// The reason's names, or what to put in their place, and what decides about advice.
struct Situation {
  std::string assembly;
  std::string model;
  std::string node;
  std::string shard;
  // "muster agent --node NODE --assembly demo --cache DIR", to which flags may be added.
  std::string new_agent;
  // Every node holds every shard, so that nothing moves and no other node helps.
  bool everyone = false;
  bool ranked = false;
  // Each shard is to be on several nodes.
  bool replicated = false;
  // Live nodes beside the reason's.
  bool others = false;
  bool braked = false;
  // Fewer live nodes than it waits for.
  bool too_few_live = false;
  // How many live nodes there are; at least 1.
  std::string live = "1";
};

bool HasReason(const v1::Assembly& assembly, bool (*matches)(Reason::Code)) {
  return std::any_of(assembly.reasons().begin(), assembly.reasons().end(),
                     [&](const Reason& reason) { return matches(reason.code()); });
}

Situation SituationOf(const Reason& reason, const v1::Assembly& assembly) {
  Situation of;
  of.assembly = ShortName(assembly.name());
  of.model = ShortModelVersionName(assembly.model_version());
  of.node = reason.node().empty() ? "NODE" : ShortName(reason.node());
  of.shard = reason.shards_size() == 0 ? "0" : absl::StrCat(reason.shards(0));
  of.new_agent = absl::StrCat("muster agent --node NODE --assembly ", of.assembly, " --cache DIR");
  const PolicyTraits& policy = TraitsOf(PolicyOf(assembly.policy()));
  of.everyone = policy.holds_all;
  of.ranked = policy.needs_rank;
  of.replicated = policy.has_replicas && assembly.replicas() > 1;
  const bool itself = reason.code() != Reason::NODE_LOST && !reason.node().empty();
  of.others = assembly.nodes_live() > (itself ? 1u : 0u);
  of.braked = HasReason(assembly, [](auto code) { return code == Reason::MOVES_BRAKED; });
  of.live = absl::StrCat(std::max(assembly.nodes_live(), 1u));
  of.too_few_live = assembly.nodes_live() < std::max(assembly.min_nodes(), 1u);
  return of;
}

std::string SelectorOf(const v1::Assembly& assembly) {
  const std::map<std::string, std::string> labels(assembly.node_selector().begin(),
                                                  assembly.node_selector().end());
  return absl::StrJoin(labels, "", [](std::string* out, const auto& label) {
    absl::StrAppend(out, " --label ", label.first, "=", label.second);
  });
}

// --- Failures of shards, by their code

std::string AboutSpace(const Reason& reason, const Situation& of) {
  std::string text =
      reason.failure_reason() == reasons::kCacheFull
          ? absl::StrCat("give the cache of ", of.node,
                         " more room: a larger --cache-budget, a --cache on a bigger disk, or let "
                         "go of what `muster cache pins --cache DIR` shows there")
          : absl::StrCat("free space on the disk of ", of.node, "'s cache");
  if (!of.everyone) {
    return absl::StrCat(text, "; or tell the server what fits, `muster nodes update ", of.node,
                        " --capacity SIZE`, ",
                        of.others
                            ? "so that other nodes get the rest"
                            : absl::StrCat("and add a node for the rest: `", of.new_agent, "`"));
  }
  if (!of.others) return absl::StrCat(text, "; under policy full each node holds the whole model");
  return absl::StrCat(text, "; under policy full each node needs room for the whole model: else `",
                      "muster assemblies leave ", of.assembly, " --node ", of.node, "`");
}

std::string AboutNode(const Reason& reason, const Situation& of) {
  const std::string& why = reason.failure_reason();
  if (why == reasons::kKeyMissing) {
    return absl::StrCat("start the agent of ", of.node,
                        " with the key of the model: --key-file, --key-env or --key-command");
  }
  if (why == reasons::kWrongKey) {
    return absl::StrCat("start the agent of ", of.node, " with the key that ", of.model,
                        " was published with: --key-file, --key-env or --key-command");
  }
  if (why == reasons::kKeyDenied) {
    return absl::StrCat("let the agent of ", of.node, " read ", of.model,
                        ": the server gives its key to those who may");
  }
  if (why == reasons::kNoMasterKey || why == reasons::kMasterKeyMissing) {
    return absl::StrCat("give musterd the file of master keys that wraps the key of ", of.model,
                        ", and ", of.node, " gets it by itself; `muster keys status` says what is ",
                        "missing");
  }
  if (why == reasons::kContentKeyDamaged) {
    return absl::StrCat("restore the server's data from a backup, or publish ", of.model,
                        " again: neither ", of.node, " nor another node can get its key");
  }
  if (why == reasons::kKeysNeedTls) {
    return absl::StrCat("give musterd a certificate, and the agent of ", of.node,
                        " the authority to check it by: keys are given over TLS only");
  }
  if (why == reasons::kKeyCommandFailed || why == reasons::kKeyFileExposed) {
    return absl::StrCat("mend what the message says of the key on ", of.node,
                        ", and start its agent again");
  }
  if (why == reasons::kTooManyOpenFiles) {
    return absl::StrCat("raise the limit of open files of the agent of ", of.node,
                        " (`ulimit -n`, LimitNOFILE= of its unit) and start it again");
  }
  if (why == reasons::kCacheEntryWritable) {
    return absl::StrCat("end the program that has a file of the cache of ", of.node,
                        " open for writing; views that engines only read: --view-links reflink");
  }
  return absl::StrCat("look into the log of the agent of ", of.node,
                      ": the fault is on that machine; the agent tries again by itself");
}

std::string AboutReading(const Reason& reason, const Situation& of) {
  const std::string where =
      absl::StrCat("`muster shards show ", of.model, " ", of.shard, "` names the locations");
  if (reason.failure_reason() == "UNAUTHENTICATED" ||
      reason.failure_reason() == "PERMISSION_DENIED" ||
      reason.failure_reason() == reasons::kS3Error) {
    return absl::StrCat("give the agent of ", of.node,
                        " credentials that may read the storage, in its environment; ", where);
  }
  return absl::StrCat("see whether ", of.node, " reaches the storage; ", where);
}

std::string AboutFailure(const Reason& reason, const Situation& of) {
  const std::string verify = absl::StrCat("`muster verify ", of.model, "`");
  switch (reason.failure_code()) {
    case Failure::CORRUPT:
      return absl::StrCat(verify, " finds every bad copy; put the right bytes back where it says, ",
                          "and ", of.node, " takes them by itself");
    case Failure::MISSING:
      return absl::StrCat(verify, " finds what is missing; put it back where it says, or let ",
                          of.node, " see that storage; its agent then takes it by itself");
    case Failure::SLOW:
      return absl::StrCat("find out why the storage is slow for ", of.node,
                          "; where the link is honestly so slow, start its agent with a lower "
                          "--min-rate (`muster shards show ",
                          of.model, " ", of.shard, "` names the locations)");
    case Failure::UNREADABLE:
      return AboutReading(reason, of);
    case Failure::NO_SPACE:
      return AboutSpace(reason, of);
    case Failure::NODE_ERROR:
      return AboutNode(reason, of);
    case Failure::NOT_ALLOWED:
      return absl::StrCat("start the agent of ", of.node,
                          " with an --allow-location for the location in the message, if it may "
                          "read there");
    default:
      return absl::StrCat("the agent of ", of.node, " tries again by itself; ", verify,
                          " finds every bad copy");
  }
}

// What another node could do about a failure of this one.
std::string ElsewhereToo(const Reason& reason, const Situation& of) {
  const bool of_the_copy =
      reason.failure_code() == Failure::CORRUPT || reason.failure_code() == Failure::MISSING;
  if (of.everyone || !of.others || of_the_copy) return "";
  return absl::StrCat("; `muster explain ", of.assembly, " ", of.shard,
                      "` shows who else could take it");
}

// --- Nodes that are missing

std::string AboutLostNode(const Situation& of) {
  const std::string look = absl::StrCat("see why the agent of ", of.node, " is silent; ");
  const std::string gone = absl::StrCat("`muster nodes deregister ", of.node, "`");
  if (of.too_few_live) {
    return absl::StrCat(look, "start it again, or another one in its place: `", of.new_agent, "`");
  }
  if (of.everyone) {
    return absl::StrCat(look, "no other node needs its shards; if it is gone for good, ", gone,
                        " lets the assembly do without it at once, and --move-grace of the server "
                        "after a while");
  }
  if (of.braked) {
    return absl::StrCat(look, "its shards stay while moves are braked; ", gone,
                        " gives them to others at once");
  }
  return absl::StrCat(look,
                      "other nodes get its shards once the server's --move-grace is over, or ",
                      "at once after ", gone);
}

std::string AboutTooFewNodes(const Situation& of, const v1::Assembly& assembly) {
  const std::string start = absl::StrCat("start more agents: `", of.new_agent, "`");
  if (of.too_few_live && assembly.nodes_live() > 0) {
    return absl::StrCat(start, "; or do with fewer: `muster assemblies update ", of.assembly,
                        " --min-nodes ", of.live, "`");
  }
  if (!of.replicated || assembly.generation() == 0) return start;
  return absl::StrCat(start, "; or ask for fewer replicas: `muster assemblies update ", of.assembly,
                      " --replicas ", of.live, "`");
}

std::string AboutRoom(const Reason& reason, const Situation& of) {
  const std::string update =
      absl::StrCat("`muster nodes update ", of.node, " --capacity SIZE` gives ",
                   reason.node().empty() ? "a node" : of.node, " more");
  if (of.everyone) {
    return absl::StrCat(update, "; under policy full another node is no help: else `muster ",
                        "assemblies leave ", of.assembly, " --node ", of.node, "`");
  }
  return absl::StrCat("add a node: `", of.new_agent, "`; ", update, "; `muster explain ",
                      of.assembly, " ", of.shard, "` shows how much room each has");
}

std::string AboutLoading(const Situation& of, const v1::Assembly& assembly) {
  const bool stuck = HasReason(assembly, [](Reason::Code code) {
    return code != Reason::SHARDS_LOADING && code != Reason::PLANNING &&
           code != Reason::WAITING_FOR_ORIGIN;
  });
  return absl::StrCat(stuck ? "what the other reasons say; " : "nothing: ", "`muster wait ",
                      of.assembly, "` returns when it is READY");
}

}  // namespace

std::string AdviceFor(const Reason& reason, const v1::Assembly& assembly) {
  const Situation of = SituationOf(reason, assembly);
  switch (reason.code()) {
    case Reason::CODE_UNSPECIFIED:
      // The one that counts those that are not listed.
      return absl::StrCat("the reasons above first; `muster status ", of.assembly,
                          " --all` shows every node");
    case Reason::TOO_FEW_NODES:
      return AboutTooFewNodes(of, assembly);
    case Reason::SHARDS_UNCLAIMED:
      return of.ranked
                 ? absl::StrCat("start an agent that claims their rank, `", of.new_agent,
                                " --claim ranks:RANK`, or one that takes any: `", of.new_agent, "`")
                 : absl::StrCat("start an agent that claims them, `", of.new_agent, " --claim ",
                                of.shard, "`, or one that takes what is left: `", of.new_agent,
                                "`");
    case Reason::NO_ROOM:
      return AboutRoom(reason, of);
    case Reason::NODE_LOST:
      return AboutLostNode(of);
    case Reason::SHARD_FAILED:
      return absl::StrCat(AboutFailure(reason, of), ElsewhereToo(reason, of));
    case Reason::SHARDS_LOADING:
      return AboutLoading(of, assembly);
    case Reason::PLANNING:
      return "nothing: a plan takes a moment";
    case Reason::PLAN_FAILED:
      return "mend what the message names, in a new model version where it is the shards";
    case Reason::WAITING_FOR_ORIGIN:
      return absl::StrCat(
          "nothing, it takes turns; another location of the shards, or a larger "
          "bound on readers, makes it quicker (`muster shards show ",
          of.model, " ", of.shard, "`)");
    case Reason::NODE_DRAINING:
      return absl::StrCat("`muster nodes show ", of.node, "` says what is in the way; `muster ",
                          "nodes drain ", of.node, " --cancel` ends the drain");
    case Reason::MOVES_BRAKED:
      return "bring the zone back; if its nodes are really gone, `muster nodes resume-moves` gives "
             "their shards to others";
    case Reason::LOCATION_SUSPECT:
      return absl::StrCat("`muster verify ", of.model,
                          "` checks the stored copies; another location of a shard is used "
                          "meanwhile, where it has one");
    case Reason::LABELS_DIFFER:
      return absl::StrCat("start its agent with", SelectorOf(assembly),
                          ", or leave: `muster assemblies leave ", of.assembly, " --node ", of.node,
                          "`");
    case Reason::TOO_BIG:
      return absl::StrCat(
          "publish in fewer shards (--shards), take a policy that shares them out (--policy "
          "balanced), or wait for fewer nodes: `muster assemblies update ",
          of.assembly, " --min-nodes ", of.live, "`");
    default:
      return "";
  }
}

}  // namespace muster
