// Takes elements apart into their bytes: first bytes together, then second bytes, and so on.
//
// The exponents of weights differ little, their mantissas look random; side by side they hide each
// other from a compressor. Runs on the widest instructions of the machine (Google Highway).
#ifndef MUSTER_CLIENT_ENCODING_BYTE_PLANES_H_
#define MUSTER_CLIENT_ENCODING_BYTE_PLANES_H_

#include <cstddef>

#include "absl/strings/string_view.h"

namespace muster {

// Writes the bytes of `elements`, which are `width` bytes each (2, 4 or 8), to `out` as `width`
// planes of equal length: the first holds the first byte of every element. `elements` is a whole
// number of them; `out` has as many bytes and does not overlap it. Thread-safe.
void SplitPlanes(size_t width, absl::string_view elements, char* out);

// The reverse: puts elements together from `planes`.
void JoinPlanes(size_t width, absl::string_view planes, char* out);

}  // namespace muster

#endif  // MUSTER_CLIENT_ENCODING_BYTE_PLANES_H_
