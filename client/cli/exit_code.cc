#include "client/cli/exit_code.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/display.h"
#include "client/cli/json_output.h"
#include "client/cli/values.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"

namespace muster {
namespace {

constexpr char kShardsPart[] = "/shards/";

std::string ValueOf(const ErrorDetail& detail, const char* key) {
  const auto it = detail.metadata.find(key);
  return it == detail.metadata.end() ? "" : it->second;
}

// The help of the command in hand, or else of all.
std::string UsageHint(const ErrorDetail& detail) {
  const std::string command = ValueOf(detail, "command");
  if (command.empty()) return "`muster --help` lists the commands";
  return absl::StrCat("`muster ", command, " --help` shows what it takes, with examples");
}

// "muster models delete llama@v1", with the name that the error carries under `key`; without one it ends before it.
std::string CommandFor(absl::string_view command, const ErrorDetail& detail, const char* key) {
  const std::string name = ValueOf(detail, key);
  if (name.empty()) return absl::StrCat("`muster ", command, "`");
  return absl::StrCat(
      "`muster ", command, " ",
      absl::StrContains(name, "/versions/") ? ShortModelVersionName(name) : ShortName(name), "`");
}

std::string RepairHint(const std::string& version) {
  return absl::StrCat("`muster shards repair ", version,
                      "` replaces bad copies from good ones, and with --from SRC from the "
                      "checkpoint that it was published from");
}

// Of a drain that goes on although nobody waits for it any more.
std::string DrainHint(const std::string& node) {
  return absl::StrCat("`muster nodes drain ", node, " --wait` waits again, `muster nodes drain ",
                      node, " --cancel` ends the drain");
}

std::string VersionHint(const ErrorDetail& detail) {
  if (ValueOf(detail, "state") == "DRAFT") {
    return absl::StrCat("another publication of this name is under way or was killed; ",
                        CommandFor("models show", detail, "name"), " shows how far it is");
  }
  return absl::StrCat(
      "a committed model version never changes; choose another version, or delete it with ",
      CommandFor("models delete", detail, "name"));
}

std::string MembershipHint(const ErrorDetail& detail) {
  const std::string node = ValueOf(detail, "node");
  if (node.empty()) return "first end the membership with `muster assemblies leave`";
  return absl::StrCat("first end the membership with `muster assemblies leave ",
                      ShortName(ValueOf(detail, "assembly")), " --node ", ShortName(node), "`");
}

// The first of those that use it; the message names all.
std::string InUseHint(const ErrorDetail& detail) {
  const std::string all = ValueOf(detail, "assemblies");
  const std::string first = all.substr(0, all.find(','));
  if (first.empty()) return "first delete those assemblies with `muster assemblies delete`";
  return absl::StrCat(first == all ? "first delete it: `muster assemblies delete "
                                   : "first delete each of them: `muster assemblies delete ",
                      ShortName(first), "`");
}

std::string AssemblyHint(const ErrorDetail& detail) {
  return absl::StrCat(
      "model version and policy of an assembly never change: choose another name, or delete it "
      "with ",
      CommandFor("assemblies delete", detail, "assembly"), "; ",
      CommandFor("assemblies update", detail, "assembly"),
      " changes replicas, min-nodes and move budget");
}

// Of a stored copy that is bad or gone.
std::string CopyHint(const ErrorDetail& detail) {
  const std::string shard = ValueOf(detail, "shard");
  const size_t end = shard.find(kShardsPart);
  if (end == std::string::npos) return "`muster verify` finds every bad copy";
  const std::string version = ShortModelVersionName(shard.substr(0, end));
  return absl::StrCat("`muster verify ", version, "` finds every bad copy, ", RepairHint(version));
}

// What live nodes use.
std::string ForceHint(const ErrorDetail& detail) {
  if (detail.reason == reasons::kAssemblyInUse) {
    return absl::StrCat(
        "stop its agents first, or take it from them with `muster assemblies delete ",
        ShortName(ValueOf(detail, "assembly")), " --force`");
  }
  return absl::StrCat(
      "stop its agent first (`--on-stop deregister` removes the node as well), or "
      "remove it under it with `muster nodes deregister ",
      ShortName(ValueOf(detail, "node")), " --force`");
}

}  // namespace

ExitCode ExitCodeOf(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  // Also of what answers there and speaks something else.
  if (reason == reasons::kServerUnreachable || reason == reasons::kTlsFailed) {
    return kExitUnreachable;
  }
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kCancelled:
      return kExitInterrupted;
    case absl::StatusCode::kInvalidArgument:
      return reason == reasons::kUsage || reason == reasons::kInvalidName ||
                     reason == reasons::kInvalidServer
                 ? kExitUsage
                 : kExitFailed;
    case absl::StatusCode::kDeadlineExceeded:
      if (reason == reasons::kWaitTimedOut || reason == reasons::kDrainOverdue)
        return kExitTimedOut;
      // Others are about storage.
      return reason == reasons::kServerTimedOut ? kExitUnreachable : kExitFailed;
    case absl::StatusCode::kUnavailable:
      // Those of pulls are about storage.
      return reason == reasons::kShuttingDown ? kExitUnreachable : kExitFailed;
    case absl::StatusCode::kAborted:
      if (reason == reasons::kNodeNameTaken) return kExitNameTaken;
      return reason == reasons::kNodeFenced ? kExitFenced : kExitFailed;
    case absl::StatusCode::kFailedPrecondition:
      return reason == reasons::kNodeTooSmall ? kExitTooSmall : kExitFailed;
    default:
      return kExitFailed;
  }
}

std::string HintFor(const absl::Status& status) {
  const ErrorDetail detail = DetailOf(status);
  const std::string& reason = detail.reason;
  if (reason == reasons::kUsage || reason == reasons::kInvalidServer ||
      reason == reasons::kInvalidName) {
    return UsageHint(detail);
  }
  if (reason == reasons::kServerUnreachable)
    return "start musterd, or name its address with --server or MUSTER_SERVER";
  // Of a repair there is no draft.
  const bool of_a_draft = !detail.metadata.contains("source");
  if (reason == reasons::kDraftDiffers || (reason == reasons::kShardDiffers && of_a_draft)) {
    return "publish what the draft was made from, or start over with --restart once its "
           "publisher is known to be dead";
  }
  if (reason == reasons::kVersionExists) return VersionHint(detail);
  if (reason == reasons::kAssemblyInUse || reason == reasons::kNodeInUse) return ForceHint(detail);
  if (reason == reasons::kVersionUnknown) return "`muster models` lists what there is";
  if (reason == reasons::kAssemblyUnknown) return "`muster assemblies` lists what there is";
  if (reason == reasons::kNodeUnknown) return "`muster nodes` lists what there is";
  if (reason == reasons::kClaimDiffers) return MembershipHint(detail);
  if (reason == reasons::kNodeTooSmall) {
    return "start the agent with more --capacity or another --claim, or use a policy that shares "
           "the shards out, such as balanced";
  }
  if (reason == reasons::kVersionInUse) return InUseHint(detail);
  if (reason == reasons::kAssemblyExists || reason == reasons::kAssemblyDiffers)
    return AssemblyHint(detail);
  if (reason == reasons::kShardCorrupt || reason == reasons::kShardMissing) return CopyHint(detail);
  if (reason == reasons::kVerifyFailed && detail.metadata.contains("model_version")) {
    return RepairHint(ShortModelVersionName(ValueOf(detail, "model_version")));
  }
  if (reason == reasons::kLocationNotAllowed) {
    return "locations come from the catalogue; docs/storage.md says what a node reads without "
           "being told";
  }
  if (reason == reasons::kStorageStalled) {
    return "the storage does not answer, or its network passes nothing on; run the command again "
           "once it does";
  }
  if (reason == reasons::kDrainOverdue) {
    return absl::StrCat(
        "nothing was dropped; make room elsewhere, with more time by another --deadline. ",
        DrainHint(ShortName(ValueOf(detail, "node"))));
  }
  if (reason == reasons::kWaitTimedOut && detail.metadata.contains("node") &&
      !detail.metadata.contains("assembly")) {
    return DrainHint(ShortName(ValueOf(detail, "node")));
  }
  if (reason == reasons::kWaitTimedOut && detail.metadata.contains("assembly")) {
    return absl::StrCat(CommandFor("explain", detail, "assembly"),
                        " says what is missing, and what can be done about it");
  }
  if (reason == reasons::kHistoryChanged) {
    return "the server serves a restored backup, or lost rows that an operator accepted; run the "
           "command again";
  }
  if (reason == reasons::kRevisionCompacted) {
    return "those events are no longer kept; without --since, `muster events` shows those that are";
  }
  return "";
}

std::string ErrorText(const absl::Status& status) {
  std::string text = absl::StrCat("muster: ", Printable(status.message()), "\n");
  const std::string hint = HintFor(status);
  if (!hint.empty()) absl::StrAppend(&text, "hint: ", Printable(hint), "\n");
  return text;
}

std::string ErrorJson(const absl::Status& status) {
  const ErrorDetail detail = DetailOf(status);
  JsonObject metadata;
  for (const auto& [key, value] : detail.metadata) metadata.Add(key, value);
  JsonObject error;
  error.Add("code", absl::StatusCodeToString(status.code()));
  error.Add("reason", detail.reason);
  error.Add("message", std::string(status.message()));
  error.AddRaw("metadata", metadata.ToString());
  return error.ToString() + "\n";
}

}  // namespace muster
