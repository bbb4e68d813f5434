#include <CLI/CLI.hpp>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/json_output.h"
#include "client/cli/values.h"
#include "muster/v1/access.pb.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct CanArguments {
  std::string verb;
  std::string resource;
};

absl::Status RunWhoAmI(Invocation& invocation) {
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto me, client->WhoAmI({}, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(me);
    return absl::OkStatus();
  }
  std::vector<std::pair<std::string, std::string>> lines = {{"who", Printable(me.who())}};
  if (!me.credential().empty()) {
    lines.emplace_back("by", absl::StrCat(me.proof(), " ", Printable(me.credential())));
  }
  if (me.has_expires()) {
    lines.emplace_back(
        "until", absl::FormatTime(absl::RFC3339_sec, absl::FromUnixSeconds(me.expires().seconds()),
                                  absl::LocalTimeZone()));
  }
  if (me.groups_size() > 0) {
    lines.emplace_back("groups", Printable(absl::StrJoin(me.groups(), ", ")));
  }
  for (int i = 0; i < me.grants_size(); ++i) {
    lines.emplace_back("may", Printable(me.grants(i)));
  }
  if (!me.policy().empty()) lines.emplace_back("policy", me.policy().substr(0, 16));
  invocation.Print(KeyValues(lines));
  return absl::OkStatus();
}

// "llama@v1" beside full names; "**" is everything.
absl::StatusOr<std::string> ResourceOf(const std::string& text) {
  if (text == "**") return "";
  if (absl::StrContains(text, '@') && !absl::StrContains(text, '/')) {
    return FullModelVersionName(text);
  }
  return text;
}

absl::Status RunCan(Invocation& invocation, const CanArguments& options) {
  v1::CheckAccessRequest request;
  request.set_verb(options.verb);
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_resource(), ResourceOf(options.resource));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto answer, client->CheckAccess(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(answer);
  } else if (answer.allowed()) {
    invocation.PrintLine(absl::StrCat("yes: ", Printable(answer.rule())));
  }
  if (answer.allowed()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kPermissionDenied, reasons::kAccessDenied,
                   absl::StrCat("no: ", answer.message()));
}

}  // namespace

void AddAccessCommands(CLI::App& app, Command& chosen) {
  CLI::App* const whoami =
      app.add_subcommand("whoami", "Say whom the server takes you for, and what you may do");
  whoami->footer(
      "Examples:\n"
      "  muster whoami\n"
      "  muster whoami --json");
  whoami->callback(
      [&chosen] { chosen = [](Invocation& invocation) { return RunWhoAmI(invocation); }; });
  CLI::App* const can = app.add_subcommand(
      "can",
      "Ask whether you may do something: prints yes, or no with the reason and exits with 1");
  auto options = std::make_shared<CanArguments>();
  can->add_option("VERB", options->verb,
                  "read, publish, delete, assemble, join, operate, report, sign or admin")
      ->required();
  can->add_option(
         "RESOURCE", options->resource,
         "MODEL@VERSION, nodes/NODE or assemblies/ASSEMBLY; models/, nodes/ or assemblies/ "
         "ask about any of them, ** about everything")
      ->required();
  can->footer(
      "Examples:\n"
      "  muster can publish llama@v2\n"
      "  muster can operate nodes/n1");
  can->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return RunCan(invocation, *options); };
  });
}

}  // namespace muster
