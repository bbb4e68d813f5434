// The errors about nodes that several parts return in the same words.
#ifndef MUSTER_SERVER_REGISTRY_NODE_ERRORS_H_
#define MUSTER_SERVER_REGISTRY_NODE_ERRORS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "muster/store/rows.pb.h"
#include "storage/base/numbers.h"

namespace muster {

// NOT_FOUND NODE_UNKNOWN. `name` is the full name.
absl::Status NodeUnknown(absl::string_view name);

// ABORTED NODE_FENCED.
absl::Status NodeFenced(absl::string_view name, Epoch sent, Epoch present);

// For an epoch that is not the node's. An older one is fenced off. One above it was given out by a store that was
// replaced by an older copy since, so that nobody registered later: NOT_FOUND NODE_UNKNOWN.
absl::Status WrongEpoch(absl::string_view name, Epoch sent, Epoch present);

// ABORTED NODE_NAME_TAKEN: the name is that of another machine, whose lease runs for `left` and was renewed so often.
absl::Status NodeNameTaken(const muster::store::NodeRow& row, absl::Duration left,
                           uint64_t renewals);

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_NODE_ERRORS_H_
