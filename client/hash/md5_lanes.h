// MD5 of many inputs at once, each in a SIMD lane of its own.
//
// MD5 is serial within one input, so a core that hashes one at a time is idle most of the time. The
// widest instructions of the machine are chosen at run time (Google Highway). Inputs of any lengths
// go together: a lane that comes free takes the next one, and what is left when too few remain to
// fill lanes is hashed one by one.
#ifndef MUSTER_CLIENT_HASH_MD5_LANES_H_
#define MUSTER_CLIENT_HASH_MD5_LANES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/hash/md5_kernel.h"
#include "storage/base/md5.h"

namespace muster {

// Writes the MD5 of inputs[i] to out[i]; the spans have the same length. Thread-safe. Takes the
// time of the longest input at least, so long ones gain only in company.
void Md5Many(absl::Span<const absl::string_view> inputs, absl::Span<Md5Digest> out);

// The MD5 of a stream, like Md5Stream, for streams that advance side by side. Not thread-safe.
class Md5LaneStream {
 public:
  // Adds parts[i] to streams[i]; each stream at most once a call.
  static void UpdateMany(absl::Span<Md5LaneStream* const> streams,
                         absl::Span<const absl::string_view> parts);
  void Update(absl::string_view part);

  // The digest of all bytes so far; the stream starts over afterwards.
  Md5Digest Finish();

 private:
  Md5State state_ = kMd5InitialState;
  uint64_t size_bytes_ = 0;
  // The bytes behind the last whole block.
  std::array<uint8_t, kMd5BlockBytes> rest_;
};

// What this machine hashes with, for people: "AVX2, 16 lanes".
std::string Md5LanesTarget();

// How many inputs of equal length are hashed at once; fewer leave lanes idle.
size_t Md5LaneCount();

// With fewer inputs than this, lanes gain nothing over hashing one by one.
size_t Md5BreakEven();

}  // namespace muster

#endif  // MUSTER_CLIENT_HASH_MD5_LANES_H_
