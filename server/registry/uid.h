// The registry's own references: one number per resource, taken from the revision that made it,
// never used twice.
#ifndef MUSTER_SERVER_REGISTRY_UID_H_
#define MUSTER_SERVER_REGISTRY_UID_H_

#include "storage/base/numbers.h"

namespace muster {

using VersionUid = Number<struct VersionUidTag, uint64_t>;
using NodeUid = Number<struct NodeUidTag, uint64_t>;
using AssemblyUid = Number<struct AssemblyUidTag, uint64_t>;

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_UID_H_
