// What a plan would change, for --dry-run.
#ifndef MUSTER_CLIENT_CLI_PLAN_PREVIEW_H_
#define MUSTER_CLIENT_CLI_PLAN_PREVIEW_H_

#include <string>
#include <vector>

#include "google/protobuf/repeated_ptr_field.h"
#include "muster/v1/assembly.pb.h"

namespace muster {

// The flag's help.
inline constexpr char kDryRunHelp[] =
    "Change nothing: check the call, and show what plans would follow and what they would move";

// One block of lines an assembly.
std::string PlanPreviewText(const v1::PlanPreview& preview);
// "no shard would move" where there is nothing to show.
std::string PlanPreviewsText(const google::protobuf::RepeatedPtrField<v1::PlanPreview>& previews);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_PLAN_PREVIEW_H_
