// Why a member's shards failed, as reasons of its assembly: one for each cause, however many shards it is about.
#ifndef MUSTER_SERVER_REGISTRY_FAILURE_REASONS_H_
#define MUSTER_SERVER_REGISTRY_FAILURE_REASONS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "muster/v1/assembly.pb.h"
#include "server/registry/assembly.h"

namespace muster {

// Failures with the same code and the same reason have one cause; those of which only the code is kept (see
// kMaxDetailedFailures) belong to the first of their code. `held_elsewhere` says whether another node has a shard that
// the member does not hold any more. At most kMaxReasonShards failures are looked at.
//
// Thread-safe: a pure function.
std::vector<muster::v1::AssemblyReason> FailureReasons(
    const std::string& node, const Assembly::Member& member,
    const std::function<bool(uint32_t shard)>& held_elsewhere);

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_FAILURE_REASONS_H_
