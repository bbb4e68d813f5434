// The limits that are the server's own business, each with its reason: rows, transactions, and what is remembered. Those
// that clients have to know are in storage/base/limits.h.
#ifndef MUSTER_SERVER_REGISTRY_LIMITS_H_
#define MUSTER_SERVER_REGISTRY_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace muster {

// 8,192 digests of 16 bytes: 128 KiB, so that two such rows fit into one transaction of 512 KiB.
inline constexpr uint32_t kPiecesPerRow = 8'192;

// A node's reports in one assembly are one row. 100,000 shards in runs of one take up to 200 KiB of
// it, so that this many failures with details of 2.2 KiB mostly fit beside them; the rest keep their
// code alone, and a row that is full does without details.
inline constexpr size_t kMaxDetailedFailures = 16;
// A node that has failed at a shard this often in a row is not asked again for ten minutes: long
// enough for a person to look at it, short enough for a full disk that was cleared.
inline constexpr uint32_t kAttemptsBeforeGivingUp = 3;
inline constexpr int64_t kGivenUpUs = 600'000'000;
// The assignments of a member, or what is READY of them, take no more than this of a row of 256 KiB:
// 100,000 shards of one generation (197 KiB in the worst order) are below it, and what was given up
// has room beside it. A plan that would exceed it is fitted; see member_rows.h.
inline constexpr size_t kMaxMemberRowBytes = 240u << 10;
// The names in a reply that is kept under its request id: below a row with all that is around them.
inline constexpr size_t kMaxReplyNamesBytes = 192u << 10;
// They share the row with the failures: 64 of 245 bytes at most take 15.4 KiB of it.
inline constexpr size_t kMaxGivenUpShards = 64;
inline constexpr size_t kMaxGivenUpMessageBytes = 160;

// Of an assembly's name in a heartbeat: "assemblies/" and 63 characters are less.
inline constexpr size_t kMaxProgressNameBytes = 128;

inline constexpr int kMaxDrainBlockers = 16;

// Sets of zones over the shards of a model version: each is looked at for each shard that is placed.
inline constexpr size_t kMaxZoneSets = 1'024;

// Failures of one call that get an event each; the rest share one a code.
inline constexpr size_t kMaxFailureEvents = 16;
inline constexpr size_t kMaxEventMessageBytes = 1'024;

// What is remembered of complaints about one location.
inline constexpr int kMaxComplaints = 8;
// Rows of 8.5 KiB at most with their keys, of which this many stay below 512 KiB.
inline constexpr size_t kMaxFindingsPerCommand = 40;

// What costs a call of 100 bytes has to stay small in all. Drafts: 1 KiB each, and up to 32 KiB of
// annotations. Their announced shards take 48 bytes each from the first one that is added: 480 MB.
inline constexpr uint64_t kMaxDrafts = 10'000;
inline constexpr uint64_t kMaxDraftShards = 10'000'000;
// Assignments that the claims of an assembly's members come to: 16 bytes each, several times over
// while a plan is made.
inline constexpr uint64_t kMaxClaimedAssignments = 10'000'000;
// Shards over all assemblies: 12 bytes each, whoever loads them.
inline constexpr uint64_t kMaxAssemblyShards = 50'000'000;

// Of calls, and as many of registrations.
inline constexpr size_t kMaxRequestIds = 100'000;

// Of a wrapped content key: 60 bytes by a file of master keys, more by what may come.
inline constexpr size_t kMaxWrappedKeyBytes = 1'024;

// Join tokens and names that one tick forgets, a row each.
inline constexpr size_t kMaxForgottenEnrolments = 16;

// Every store carries rows of this size.
inline constexpr size_t kMaxRowBytes = 256u << 10;
// A transaction has at most this many rows and bytes, so that every store can carry it.
inline constexpr size_t kMaxRowsPerCommand = 50;
inline constexpr size_t kMaxBytesPerCommand = 512u << 10;

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_LIMITS_H_
