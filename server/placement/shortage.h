// How a node's lack of room for its claim is put to people.
#ifndef MUSTER_SERVER_PLACEMENT_SHORTAGE_H_
#define MUSTER_SERVER_PLACEMENT_SHORTAGE_H_

#include <cstdint>
#include <string>

#include "server/placement/plan.h"

namespace muster {

// "needs 45.5 MiB for its shards, has 10.0 MiB left"; in bytes where the rounded numbers look alike.
std::string FormatShortage(const PlanShortage& shortage);

// "needs 45.5 MiB for its shards, and its capacity is 10.0 MiB": of one that will never fit.
std::string FormatTooSmall(uint64_t needed_bytes, uint64_t capacity_bytes);

}  // namespace muster

#endif  // MUSTER_SERVER_PLACEMENT_SHORTAGE_H_
