// The element types of safetensors files, by the names that the format gives them.
#ifndef MUSTER_CLIENT_FORMAT_DTYPE_H_
#define MUSTER_CLIENT_FORMAT_DTYPE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace muster {

using TensorShape = absl::InlinedVector<int64_t, 4>;

// Bits of one element; nullopt for a dtype that this program doesn't know.
std::optional<int64_t> DtypeBits(absl::string_view dtype);

// Product of the dimensions; 1 for a scalar. kInvalidArgument when a dimension is negative or the
// product exceeds 2^63 - 1 at any step, even if a later dimension is 0, as other readers refuse it
// too.
absl::StatusOr<int64_t> ElementCount(absl::Span<const int64_t> shape);

// Bytes of a tensor; nullopt for an unknown dtype. kInvalidArgument as ElementCount, or when the
// bits are not a whole number of bytes.
absl::StatusOr<std::optional<int64_t>> TensorSizeBytes(absl::string_view dtype,
                                                       absl::Span<const int64_t> shape);

// "[4096, 128]"
std::string ShapeToString(absl::Span<const int64_t> shape);

}  // namespace muster

#endif  // MUSTER_CLIENT_FORMAT_DTYPE_H_
