#include "client/cli/consent.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/display.h"
#include "client/cli/values.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// So many nodes are named, and the rest counted.
constexpr size_t kMaxNames = 5;
// How soon a signal ends a question.
constexpr int kPollMs = 100;
// Nobody means a longer line as an answer.
constexpr size_t kMaxAnswerBytes = 1'024;

}  // namespace

absl::Status CheckUnused(const v1::GetAssemblyResponse& response) {
  const v1::Assembly& assembly = response.assembly();
  if (assembly.nodes_live() == 0) return absl::OkStatus();
  std::vector<std::string> names;
  for (const v1::AssemblyMember& member : response.members()) {
    if (!member.live()) continue;
    if (names.size() == kMaxNames) break;
    names.push_back(ShortName(member.node()));
  }
  const std::string shown = absl::StrJoin(names, ", ");
  const size_t rest = assembly.nodes_live() - std::min<size_t>(names.size(), assembly.nodes_live());
  return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kAssemblyInUse,
                   absl::StrCat("assembly ", ShortName(assembly.name()), " of ",
                                ShortModelVersionName(assembly.model_version()), " is ",
                                v1::Assembly::State_Name(assembly.state()), " and used by ",
                                CountOf(assembly.nodes_live(), "live node"), ": ", shown,
                                rest == 0 ? "" : absl::StrCat(" and ", rest, " more")),
                   {{"assembly", assembly.name()},
                    {"model_version", assembly.model_version()},
                    {"state", v1::Assembly::State_Name(assembly.state())},
                    {"nodes_live", absl::StrCat(assembly.nodes_live())},
                    {"nodes", absl::StrJoin(names, ",")}});
}

absl::Status CheckUnused(const v1::Node& node, absl::string_view uses) {
  if (node.state() != v1::Node::LIVE) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kFailedPrecondition, reasons::kNodeInUse,
      absl::StrCat("node ", ShortName(node.name()), " is live",
                   uses.empty() ? "" : absl::StrCat(" and used by ", uses),
                   ": its agent runs, and registers it again a moment after it was removed"),
      {{"node", node.name()}});
}

absl::Status AskWhetherToGoOn(const Invocation& invocation, const absl::Status& in_use,
                              absl::string_view question) {
  if (in_use.ok()) return in_use;
  MUSTER_ASSIGN_OR_RETURN(
      const std::optional<bool> yes,
      invocation.Ask(absl::StrCat(Printable(in_use.message()), "\n", question)));
  if (!yes.has_value()) return in_use;
  return *yes ? absl::OkStatus() : absl::FailedPreconditionError("nothing was changed");
}

absl::StatusOr<bool> AskAtTerminal(const std::string& question, const std::stop_token& stop) {
  std::fprintf(stderr, "%s [y/N] ", question.c_str());
  std::fflush(stderr);
  std::string answer;
  while (answer.find('\n') == std::string::npos && answer.size() < kMaxAnswerBytes) {
    if (stop.stop_requested()) {
      std::fputs("\n", stderr);
      return absl::CancelledError("interrupted, and nothing was changed");
    }
    pollfd input{STDIN_FILENO, POLLIN, 0};
    const int ready = poll(&input, 1, kPollMs);
    if (ready < 0 && errno != EINTR) break;
    if (ready <= 0) continue;
    char buffer[256];
    const ssize_t got = read(STDIN_FILENO, buffer, sizeof(buffer));
    if (got <= 0) break;
    answer.append(buffer, static_cast<size_t>(got));
  }
  const std::string word = absl::AsciiStrToLower(
      absl::StripAsciiWhitespace(absl::string_view(answer).substr(0, answer.find('\n'))));
  return word == "y" || word == "yes";
}

}  // namespace muster
