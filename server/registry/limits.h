// Every limit of the API that the registry checks, with its reason. The protos and the README state
// the same numbers.
#ifndef MUSTER_SERVER_REGISTRY_LIMITS_H_
#define MUSTER_SERVER_REGISTRY_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "storage/base/limits.h"

namespace muster {

// One call holds at most this many items, so that it stays far below the 4 MiB of a gRPC message.
inline constexpr size_t kMaxItemsPerCall = 1'000;
// An AddShards request, of which piece digests are the bulk.
inline constexpr size_t kMaxAddShardsBytes = 3u << 20;
// One AddTensors batch becomes one row; rows are at most 256 KiB.
inline constexpr size_t kMaxTensorBatchBytes = 192u << 10;

inline constexpr uint32_t kMaxPageSize = 1'000;
inline constexpr uint32_t kDefaultPageSize = 100;
inline constexpr size_t kMaxPageBytes = 1u << 20;

// 8,192 digests of 16 bytes: 128 KiB, so that two such rows fit into one transaction of 512 KiB.
inline constexpr uint32_t kPiecesPerRow = 8'192;
// Of all shards of a version, so that placement can add up the versions of several assemblies in 64
// bits.
inline constexpr uint64_t kMaxVersionBytes = uint64_t{1} << 60;
inline constexpr uint32_t kMaxTensorsPerShard = 1'000'000;
inline constexpr size_t kMaxTensorNameBytes = 1'024;
inline constexpr size_t kMaxDtypeBytes = 32;
inline constexpr int kMaxDimensions = 32;
inline constexpr uint32_t kMaxCompanionsPerVersion = 1'000;
inline constexpr uint64_t kMaxCompanionBytes = 64u << 20;
inline constexpr size_t kMaxPathBytes = 1'024;
inline constexpr int kMaxLocations = 16;
inline constexpr size_t kMaxUriBytes = 4'096;
inline constexpr size_t kMaxLocationVersionBytes = 1'024;
inline constexpr uint32_t kMaxLocationPriority = 1'000;
inline constexpr uint32_t kMaxLocationReaders = 10'000;
inline constexpr size_t kMaxShortTextBytes = 63;
inline constexpr size_t kMaxAddressBytes = 256;
inline constexpr size_t kMaxIdBytes = 128;
inline constexpr int kMaxMapEntries = 64;
inline constexpr size_t kMaxAnnotationBytes = 32u << 10;
inline constexpr uint32_t kMaxMinNodes = 10'000;
inline constexpr uint32_t kMaxReplicas = 100;
// A claim is one row.
inline constexpr int kMaxClaimedShards = 50'000;
inline constexpr int kMaxReasons = 16;
inline constexpr int kMaxReasonShards = 1'000;
inline constexpr int kMaxMembersShown = 1'000;
// A node's reports in one assembly are one row. 100,000 shards in runs of one take up to 200 KiB of
// it, so that this many failures with details of 2.2 KiB keep it below 256 KiB; the rest keep their
// code alone.
inline constexpr size_t kMaxFailureMessageBytes = 1'024;
inline constexpr size_t kMaxDetailedFailures = 16;
// A node that has failed at a shard this often in a row is not asked again for ten minutes: long
// enough for a person to look at it, short enough for a full disk that was cleared.
inline constexpr uint32_t kAttemptsBeforeGivingUp = 3;
inline constexpr int64_t kGivenUpUs = 600'000'000;
// They share the row with the failures: 64 of about 200 bytes take 13 KiB of it.
inline constexpr size_t kMaxGivenUpShards = 64;
inline constexpr size_t kMaxGivenUpMessageBytes = 160;

// What a node says that its cache holds is one row of 156 KiB.
inline constexpr size_t kMaxInventoryDigests = 10'000;
inline constexpr size_t kInventoryDigestBytes = 16;

inline constexpr int64_t kMinDrainUs = 1'000'000;
inline constexpr int64_t kDefaultDrainUs = int64_t{3600} * 1'000'000;
inline constexpr int64_t kMaxDrainUs = int64_t{7} * 24 * 3600 * 1'000'000;
inline constexpr int kMaxDrainBlockers = 16;

inline constexpr int kMaxFilterKinds = 32;
// An event names at most this many shards, and counts all.
inline constexpr int kMaxEventShards = 1'000;
// Failures of one call that get an event each; the rest share one a code.
inline constexpr size_t kMaxFailureEvents = 16;
inline constexpr size_t kMaxEventMessageBytes = 1'024;

// What is remembered of complaints about one location.
inline constexpr int kMaxComplaints = 8;
// Rows of 8.5 KiB at most with their keys, of which this many stay below 512 KiB.
inline constexpr size_t kMaxFindingsPerCommand = 40;
// How long AcquireRead may wait.
inline constexpr int64_t kMaxReadWaitUs = 60'000'000;

inline constexpr int64_t kRequestIdTtlUs = 600'000'000;
inline constexpr size_t kMaxRequestIds = 100'000;
inline constexpr int64_t kDraftTtlUs = int64_t{24} * 3600 * 1'000'000;
inline constexpr int64_t kMinLeaseTtlUs = 1'000'000;
inline constexpr int64_t kMaxLeaseTtlUs = int64_t{3600} * 1'000'000;

// A transaction has at most this many rows and bytes, so that every store can carry it.
inline constexpr size_t kMaxRowsPerCommand = 50;
inline constexpr size_t kMaxBytesPerCommand = 512u << 10;

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_LIMITS_H_
