// What all services share.
#ifndef MUSTER_SERVER_RPC_SERVICE_CONTEXT_H_
#define MUSTER_SERVER_RPC_SERVICE_CONTEXT_H_

#include "server/audit/audit_log.h"
#include "server/commit/committer.h"
#include "server/registry/live_tables.h"
#include "server/rpc/call_stats.h"
#include "server/rpc/gate.h"
#include "server/rpc/waiting_reads.h"
#include "server/rpc/work_pool.h"
#include "server/watch/feed.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// All outlive the services.
struct ServiceContext {
  Committer& committer;
  Feed& feed;
  // Has locks of its own.
  LiveTables& live;
  // For store readers only.
  MetadataStore& store;
  WorkPool& store_readers;
  // Plans that nobody applies: apart from the reads, as one takes as long as a thousand of those.
  WorkPool& planners;
  WaitingReads& waiting_reads;
  CallStats& stats;
  Gate& gate;
  // Null: nothing is told.
  AuditLog* audit;
  // Tell of reads, too.
  bool audit_reads;
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_SERVICE_CONTEXT_H_
