// The calls that are measured: durable ones of Muster, the empty one, and etcd's.
#ifndef MUSTER_TESTS_BENCH_WORKLOADS_H_
#define MUSTER_TESTS_BENCH_WORKLOADS_H_

#include <grpcpp/grpcpp.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "tests/bench/closed_loop.h"

namespace muster::bench {

using Channels = std::vector<std::shared_ptr<grpc::Channel>>;

inline constexpr uint32_t kShardsPerBatch = 1'000;
// etcd's default limit of operations in one transaction.
inline constexpr uint32_t kPutsPerTxn = 128;

std::unique_ptr<Workload> NewEmptyCalls(const Channels& channels, size_t slots);

// ReportShards of one shard, each of which changes something: four assemblies of 1,024 shards on 16
// nodes each are set up first.
std::unique_ptr<Workload> NewReportCalls(const Channels& channels, size_t slots);

// GetNode of a node that is registered first: a small read of what is in memory.
std::unique_ptr<Workload> NewGetNodeCalls(const Channels& channels, size_t slots);

// AddShards of one shard that is registered in place.
std::unique_ptr<Workload> NewAddShardCalls(const Channels& channels, size_t slots);

// AddShards of kShardsPerBatch such shards.
std::unique_ptr<Workload> NewAddShardBatches(const Channels& channels, size_t slots);

// Puts, and transactions of kPutsPerTxn puts, whose keys and values have as many bytes as the shard
// of an AddShards.
std::unique_ptr<Workload> NewEtcdPuts(const Channels& channels, size_t slots);
std::unique_ptr<Workload> NewEtcdTxns(const Channels& channels, size_t slots);

}  // namespace muster::bench

#endif  // MUSTER_TESTS_BENCH_WORKLOADS_H_
