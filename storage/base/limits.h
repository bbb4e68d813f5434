// Limits of the API that both ends have to agree on, each once. The protos and docs/limits.md state the same numbers.
//
// All are of signed types, so that they compare with sizes of either signedness without a cast.
#ifndef MUSTER_STORAGE_BASE_LIMITS_H_
#define MUSTER_STORAGE_BASE_LIMITS_H_

#include <cstdint>

namespace muster {

// All pieces of a shard have one size in this range, inclusive; the last one may be shorter.
inline constexpr int64_t kMinPieceSizeBytes = int64_t{1} << 20;
inline constexpr int64_t kMaxPieceSizeBytes = int64_t{64} << 20;
// As registered in place; what publishing writes has less.
inline constexpr int64_t kMaxPiecesPerShard = 100'000;

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_LIMITS_H_
