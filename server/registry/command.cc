#include "server/registry/command.h"

#include <type_traits>

#include "absl/strings/strip.h"
#include "google/protobuf/message.h"

namespace muster {
namespace {

// One overload for each command that is not a request; a request's cause is the RPC's name.
absl::string_view NameOf(const StagePieces&) { return "AddShards"; }
absl::string_view NameOf(const AddShard&) { return "AddShards"; }
absl::string_view NameOf(const AddCompanion&) { return "AddCompanions"; }
absl::string_view NameOf(const AddLocation&) { return "AddLocations"; }
absl::string_view NameOf(const RemoveLocation&) { return "RemoveLocations"; }
absl::string_view NameOf(const SetContentKey&) { return "CreateContentKey"; }
absl::string_view NameOf(const RewrapContentKey&) { return "master key changed"; }
absl::string_view NameOf(const Tick&) { return "time"; }
absl::string_view NameOf(const ExpireLease&) { return "lease expired"; }
absl::string_view NameOf(const ReleaseNode&) { return "move grace over"; }
absl::string_view NameOf(const ForgetNode&) { return "released long ago"; }
absl::string_view NameOf(const ReviveNode&) { return "Heartbeat"; }
absl::string_view NameOf(const NoteDrain&) { return "drain"; }
absl::string_view NameOf(const ResumePlans&) { return "guard over"; }
absl::string_view NameOf(const ExpireGivenUp&) { return "given up long enough"; }
absl::string_view NameOf(const ApplyPlan&) { return "plan"; }
absl::string_view NameOf(const NotePlanFailure&) { return "plan"; }
absl::string_view NameOf(const NoteLocations&) { return "ReportShards"; }
absl::string_view NameOf(const ExpireDraft&) { return "draft expired"; }
absl::string_view NameOf(const RemoveMembers&) { return "DeleteAssembly"; }
absl::string_view NameOf(const ForgetMember&) { return "node removed"; }
absl::string_view NameOf(const ForgetPlanDirectory&) { return "plan"; }
absl::string_view NameOf(const RememberReady&) { return "READY"; }
absl::string_view NameOf(const RememberMember&) { return "READY"; }
absl::string_view NameOf(const AddJoinToken&) { return "CreateJoinToken"; }
absl::string_view NameOf(const EnrolNode&) { return "Enrol"; }
absl::string_view NameOf(const RenewNode&) { return "RenewCertificate"; }

}  // namespace

absl::string_view CauseOf(const Command& command) {
  return std::visit(
      [](const auto& what) -> absl::string_view {
        using What = std::decay_t<decltype(what)>;
        if constexpr (std::is_base_of_v<google::protobuf::Message, What>) {
          return absl::StripSuffix(What::descriptor()->name(), "Request");
        } else {
          return NameOf(what);
        }
      },
      command);
}

}  // namespace muster
