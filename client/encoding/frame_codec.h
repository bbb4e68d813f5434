// What makes the bytes of one frame smaller, and back. Encryption is none of its business.
#ifndef MUSTER_CLIENT_ENCODING_FRAME_CODEC_H_
#define MUSTER_CLIENT_ENCODING_FRAME_CODEC_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/encoding/element_runs.h"
#include "client/encoding/encoding_name.h"

namespace muster {

// `plain` is the content's range at `offset`. A result as long as `plain` is `plain` itself: what
// would not become smaller stays as it is. kInternal: no memory. Thread-safe.
absl::StatusOr<std::string> CompressFrame(FrameCodec codec, const ElementRuns& runs, int64_t offset,
                                          absl::string_view plain);

// Fills all of `plain`, the content's range at `offset`; never writes beyond it, whatever `stored`
// says. kDataLoss unless `stored` makes exactly that. Thread-safe.
absl::Status DecompressFrame(FrameCodec codec, const ElementRuns& runs, int64_t offset,
                             absl::string_view stored, absl::Span<char> plain);

}  // namespace muster

#endif  // MUSTER_CLIENT_ENCODING_FRAME_CODEC_H_
