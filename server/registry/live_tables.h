// What stands beside the registry, in memory only: which nodes are alive, and which may read from
// bounded locations.
//
// Each table has a lock of its own, so that a heartbeat or a call that waits never stands behind a
// command or an fsync. They learn of nodes and assignments only from what is committed. Whoever
// puts the server together owns them.
#ifndef MUSTER_SERVER_REGISTRY_LIVE_TABLES_H_
#define MUSTER_SERVER_REGISTRY_LIVE_TABLES_H_

#include "server/registry/change.h"
#include "server/registry/lease_table.h"
#include "server/registry/read_place_table.h"

namespace muster {

// Thread-safe.
struct LiveTables {
  struct Options {
    LeaseTable::Options leases;
    ReadPlaceTable::Options read_places;
  };

  explicit LiveTables(const Options& options)
      : leases(options.leases), read_places(options.read_places) {}

  // Takes over into both what a committed transaction says.
  void Apply(const Change& change);

  LeaseTable leases;
  ReadPlaceTable read_places;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_LIVE_TABLES_H_
