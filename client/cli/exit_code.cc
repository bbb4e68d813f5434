#include "client/cli/exit_code.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/json_output.h"
#include "client/cli/values.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"

namespace muster {
namespace {

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

std::string VersionHint(const ErrorDetail& detail) {
  if (ValueOf(detail, "state") == "DRAFT") {
    return "another publication of this name is under way or was killed";
  }
  return "a committed model version never changes; choose another version, or delete it with "
         "`muster models delete`";
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
      return reason == reasons::kNodeFenced ? kExitFenced : kExitFailed;
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
  if (reason == reasons::kVersionExists) return VersionHint(detail);
  if (reason == reasons::kDraftDiffers || reason == reasons::kShardDiffers) {
    return "publish what the draft was made from, or start over with --restart once its "
           "publisher is known to be dead";
  }
  if (reason == reasons::kVersionUnknown) return "`muster models` lists what there is";
  if (reason == reasons::kAssemblyUnknown)
    return "`muster assemblies` lists what there is; `muster assemblies create` makes one";
  if (reason == reasons::kNodeUnknown) return "`muster nodes` lists what there is";
  if (reason == reasons::kClaimDiffers)
    return "first end the membership with `muster assemblies leave ASSEMBLY --node NODE`";
  if (reason == reasons::kVersionInUse)
    return "first delete those assemblies with `muster assemblies delete`";
  if (reason == reasons::kAssemblyExists || reason == reasons::kAssemblyDiffers) {
    return "an assembly never changes; choose another name, or delete it with `muster assemblies "
           "delete`";
  }
  if (reason == reasons::kShardCorrupt || reason == reasons::kShardMissing) {
    return "`muster verify MODEL@VERSION` finds every bad copy; publish the model again to replace "
           "it";
  }
  if (reason == reasons::kLocationNotAllowed) {
    return "locations come from the catalogue; docs/storage.md says what a node reads without "
           "being told";
  }
  if (reason == reasons::kStorageStalled) {
    return "the storage does not answer, or its network passes nothing on; run the command again "
           "once it does";
  }
  if (reason == reasons::kWaitTimedOut && detail.metadata.contains("assembly")) {
    return "`muster explain ASSEMBLY` says what is missing, and what can be done about it";
  }
  if (reason == reasons::kDrainOverdue) {
    return "nothing was dropped; make room elsewhere and drain again with another --deadline, or "
           "give up with --cancel";
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
