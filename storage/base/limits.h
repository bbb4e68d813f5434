// Limits of the API that clients and the server have to agree on, each once. The protos and docs/limits.md state the same
// numbers. Not here: what only one side bounds for itself.
//
// All are of signed types, so that they compare with sizes of either signedness without a cast.
#ifndef MUSTER_STORAGE_BASE_LIMITS_H_
#define MUSTER_STORAGE_BASE_LIMITS_H_

#include <cstdint>

namespace muster {

// Calls.
inline constexpr int kMaxGrpcMessageBytes = 4 << 20;
// One call holds at most this many items, so that it stays far below the bytes of a message.
inline constexpr int kMaxItemsPerCall = 1'000;
// An AddShards request, of which piece digests are the bulk.
inline constexpr int64_t kMaxAddShardsBytes = int64_t{3} << 20;
// One AddTensors batch becomes one row; rows are at most 256 KiB.
inline constexpr int64_t kMaxTensorBatchBytes = int64_t{192} << 10;
inline constexpr int kMaxPageSize = 1'000;
inline constexpr int kDefaultPageSize = 100;
inline constexpr int64_t kMaxPageBytes = int64_t{1} << 20;
// Request ids, and those of processes.
inline constexpr int kMaxIdBytes = 128;
inline constexpr int64_t kRequestIdTtlUs = 600'000'000;
// A request for a certificate, in PEM form; one with an RSA key of 4,096 bits has less than 2 KiB.
inline constexpr int kMaxCertificateRequestBytes = 16 << 10;

// Text: names in resource names, one value of a label, a zone; maps of labels and annotations.
inline constexpr int kMaxNameLength = 63;
inline constexpr int kMaxNodeNameLength = 253;
inline constexpr int kMaxShortTextBytes = 63;
inline constexpr int kMaxMapEntries = 64;
inline constexpr int64_t kMaxAnnotationBytes = int64_t{32} << 10;

// Model versions.
inline constexpr int kMaxShardsPerVersion = 100'000;
// Of all shards of a version, so that placement can add up the versions of several assemblies in 64 bits.
inline constexpr int64_t kMaxVersionBytes = int64_t{1} << 60;
inline constexpr int kMaxCompanionsPerVersion = 1'000;
inline constexpr int64_t kMaxCompanionBytes = int64_t{64} << 20;
// Of a companion, and of the file that a shard was cut from.
inline constexpr int kMaxPathBytes = 1'024;
inline constexpr int64_t kDraftTtlUs = int64_t{24} * 3600 * 1'000'000;

// Shards. All pieces of one have one size in this range, inclusive; the last one may be shorter.
inline constexpr int64_t kMinPieceSizeBytes = int64_t{1} << 20;
inline constexpr int64_t kMaxPieceSizeBytes = int64_t{64} << 20;
// As registered in place; what publishing writes has less.
inline constexpr int64_t kMaxPiecesPerShard = 100'000;
inline constexpr int64_t kMaxPiecesPerPublishedShard = 10'000;
// Shards without pieces have the same bound.
inline constexpr int64_t kMaxShardSizeBytes = kMaxPiecesPerShard * kMaxPieceSizeBytes;
inline constexpr int kMaxTensorsPerShard = 1'000'000;
inline constexpr int kMaxKeyIdBytes = 63;
// What the key ids of content keys that the server made begin with; those of other keys don't.
inline constexpr char kContentKeyIdPrefix[] = "muster/";

// Tensors.
inline constexpr int kMaxTensorNameBytes = 1'024;
inline constexpr int kMaxDtypeBytes = 32;
inline constexpr int kMaxTensorDimensions = 32;

// Locations.
inline constexpr int kMaxLocationsPerShard = 16;
inline constexpr int kMaxUriBytes = 4'096;
inline constexpr int kMaxLocationVersionBytes = 1'024;
inline constexpr int kMaxLocationPriority = 1'000;
inline constexpr int kMaxLocationReaders = 10'000;
// How long AcquireRead may wait.
inline constexpr int64_t kMaxReadWaitUs = 60'000'000;

// Nodes.
inline constexpr int kMaxAddressBytes = 256;
// What a node says that its cache holds is one row of 156 KiB.
inline constexpr int kMaxInventoryDigests = 10'000;
// What tells a node's machine from others; random, so that 16 bytes can't be guessed.
inline constexpr int kMinIdentityBytes = 16;
inline constexpr int kMaxIdentityBytes = 64;
inline constexpr int64_t kMinLeaseTtlUs = 1'000'000;
inline constexpr int64_t kMaxLeaseTtlUs = int64_t{3600} * 1'000'000;
inline constexpr int64_t kMinDrainUs = 1'000'000;
inline constexpr int64_t kDefaultDrainUs = int64_t{3600} * 1'000'000;
inline constexpr int64_t kMaxDrainUs = int64_t{7} * 24 * 3600 * 1'000'000;

// Join tokens, and names that certificates hold: 300 bytes each in memory.
inline constexpr int kMaxJoinTokens = 1'000;
inline constexpr int kMaxJoinTokenUses = 100'000;
inline constexpr int64_t kMinJoinTokenTtlUs = int64_t{60} * 1'000'000;
inline constexpr int64_t kDefaultJoinTokenTtlUs = int64_t{24} * 3600 * 1'000'000;
inline constexpr int64_t kMaxJoinTokenTtlUs = int64_t{30} * 24 * 3600 * 1'000'000;
inline constexpr int kMaxJoinTokenBytes = 128;
inline constexpr int kMaxEnrolledNames = 1'000'000;

// Assemblies.
inline constexpr int kMaxMinNodes = 10'000;
inline constexpr int kMaxReplicas = 100;
// A claim is one row.
inline constexpr int kMaxClaimedShards = 50'000;
// Of a failure: its message, and the location that it names.
inline constexpr int kMaxFailureMessageBytes = 1'024;
// Of the reason that programs go by; the longest of reasons.h has 23.
inline constexpr int kMaxFailureReasonBytes = 32;
inline constexpr int kMaxReasons = 16;
inline constexpr int kMaxReasonShards = 1'000;
inline constexpr int kMaxMembersShown = 1'000;
// Of each of those, so that they fit into a message together.
inline constexpr int kMaxClaimShown = 500;

// Events. One names at most this many shards, and counts all.
inline constexpr int kMaxEventShards = 1'000;
inline constexpr int kMaxFilterKinds = 32;

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_LIMITS_H_
