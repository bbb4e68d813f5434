// The random things that publishers, nodes and operators do: valid, invalid, repeated, late.
#ifndef MUSTER_TESTS_SIMULATION_STEPS_H_
#define MUSTER_TESTS_SIMULATION_STEPS_H_

#include <optional>
#include <string>

#include "tests/simulation/world.h"

namespace muster {

// Each draws from the world's chance and makes one attempt; nullopt when there is nothing to try.
std::optional<Attempt> CatalogueAttempt(World& world);
std::optional<Attempt> NodeAttempt(World& world);
std::optional<Attempt> AssemblyAttempt(World& world);
std::optional<Attempt> ReportAttempt(World& world);
// The report of everything that is assigned to one node as READY, or a random part of it.
std::optional<Attempt> HonestReport(World& world, const std::string& node);
// A call that was answered before, again: the same, or with another body.
std::optional<Attempt> RepeatAttempt(World& world);

// Publishes a whole version in one go; for big assemblies.
void PublishVersion(World& world, const std::string& name, uint32_t shards);
// Registers a node and remembers its epoch.
Attempt Registration(World& world, const std::string& name);
Attempt Joining(World& world, const std::string& assembly, const std::string& node);

// Sends the heartbeats of the nodes that are alive.
void SendHeartbeats(World& world);

}  // namespace muster

#endif  // MUSTER_TESTS_SIMULATION_STEPS_H_
