// What others use is taken from them only by somebody who was told so.
#ifndef MUSTER_CLIENT_CLI_CONSENT_H_
#define MUSTER_CLIENT_CLI_CONSENT_H_

#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/command.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/node.pb.h"

namespace muster {

// kFailedPrecondition ASSEMBLY_IN_USE, naming the live members, while the assembly has any; OK otherwise.
absl::Status CheckUnused(const v1::GetAssemblyResponse& assembly);

// kFailedPrecondition NODE_IN_USE while the node is live; OK otherwise. `uses` says in which assemblies it is, "" for none.
absl::Status CheckUnused(const v1::Node& node, absl::string_view uses);

// OK if `in_use` is, or if the person at the terminal answers `question` with yes. Where nobody can be asked it is the
// result; after a no it is kFailedPrecondition, and kCancelled when a signal comes instead of an answer.
absl::Status AskWhetherToGoOn(const Invocation& invocation, const absl::Status& in_use,
                              absl::string_view question);

// Asks on stderr and reads a line from stdin: true for y or yes. kCancelled once `stop` was requested.
absl::StatusOr<bool> AskAtTerminal(const std::string& question, const std::stop_token& stop);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_CONSENT_H_
