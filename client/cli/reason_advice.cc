#include "client/cli/reason_advice.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/display.h"
#include "storage/base/resource_name.h"

namespace muster {
namespace {

// The reason's node and shard, or what to put in their place.
struct Words {
  std::string assembly;
  std::string model;
  std::string node;
  std::string shard;
};

Words WordsOf(const v1::AssemblyReason& reason, const v1::Assembly& assembly) {
  return {ShortName(assembly.name()), ShortModelVersionName(assembly.model_version()),
          reason.node().empty() ? "NODE" : ShortName(reason.node()),
          reason.shards_size() == 0 ? "SHARD" : absl::StrCat(reason.shards(0))};
}

std::string SelectorOf(const v1::Assembly& assembly) {
  const std::map<std::string, std::string> labels(assembly.node_selector().begin(),
                                                  assembly.node_selector().end());
  return absl::StrJoin(labels, " ", [](std::string* out, const auto& label) {
    absl::StrAppend(out, "--label ", label.first, "=", label.second);
  });
}

bool IsBraked(const v1::Assembly& assembly) {
  return std::any_of(assembly.reasons().begin(), assembly.reasons().end(), [](const auto& reason) {
    return reason.code() == v1::AssemblyReason::MOVES_BRAKED;
  });
}

}  // namespace

std::string AdviceFor(const v1::AssemblyReason& reason, const v1::Assembly& assembly) {
  const Words words = WordsOf(reason, assembly);
  const std::string explain =
      absl::StrCat("`muster explain ", words.assembly, " ", words.shard, "`");
  switch (reason.code()) {
    case v1::AssemblyReason::TOO_FEW_NODES:
      return absl::StrCat("start more agents: `muster agent --node NODE --assembly ",
                          words.assembly, " --cache DIR`");
    case v1::AssemblyReason::SHARDS_UNCLAIMED:
      return absl::StrCat("start an agent that claims them (`muster agent --claim ", words.shard,
                          "`), or one that takes what is left (`--claim any`)");
    case v1::AssemblyReason::NO_ROOM:
      return absl::StrCat("add a node, or start one with a larger --capacity; ", explain,
                          " shows how much room each has");
    case v1::AssemblyReason::NODE_LOST:
      if (IsBraked(assembly)) {
        return absl::StrCat(
            "see why its agent is silent; its shards stay while moves are braked; `muster nodes "
            "deregister ",
            words.node, "` gives them to others at once");
      }
      return absl::StrCat(
          "see why its agent is silent; other nodes get its shards once the "
          "server's --move-grace is over, or at once after `muster nodes "
          "deregister ",
          words.node, "`");
    case v1::AssemblyReason::SHARD_FAILED:
      return absl::StrCat("the agent tries again by itself; `muster verify ", words.model,
                          "` finds every bad copy, ", explain, " shows who else could take it");
    case v1::AssemblyReason::SHARDS_LOADING:
      return absl::StrCat("nothing: `muster wait ", words.assembly, "` returns when it is READY");
    case v1::AssemblyReason::PLANNING:
      return "nothing: a plan takes a moment";
    case v1::AssemblyReason::PLAN_FAILED:
      return "mend what the message names, in a new model version where it is the shards";
    case v1::AssemblyReason::WAITING_FOR_ORIGIN:
      return absl::StrCat(
          "nothing, it takes turns; another location of the shards, or a larger "
          "bound on readers, makes it quicker (`muster shards show ",
          words.model, " ", words.shard, "`)");
    case v1::AssemblyReason::NODE_DRAINING:
      return absl::StrCat("`muster nodes show ", words.node,
                          "` says what is in the way; `muster "
                          "nodes drain ",
                          words.node, " --cancel` ends the drain");
    case v1::AssemblyReason::MOVES_BRAKED:
      return "bring the zone back; if its nodes are really gone, `muster nodes resume-moves` gives "
             "their shards to others";
    case v1::AssemblyReason::LOCATION_SUSPECT:
      return absl::StrCat("`muster verify ", words.model,
                          "` checks the stored copies; a good copy "
                          "elsewhere is used meanwhile");
    case v1::AssemblyReason::LABELS_DIFFER:
      return absl::StrCat("start its agent with ", SelectorOf(assembly),
                          ", or leave: `muster "
                          "assemblies leave ",
                          words.assembly, " --node ", words.node, "`");
    case v1::AssemblyReason::TOO_BIG:
      return absl::StrCat(
          "publish in fewer shards (`--shards`), take a policy that shares them out "
          "(`--policy balanced`), or wait for fewer nodes: `muster assemblies update ",
          words.assembly, " --min-nodes N`");
    default:
      return "";
  }
}

}  // namespace muster
