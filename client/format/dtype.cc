#include "client/format/dtype.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

struct KnownDtype {
  absl::string_view name;
  int64_t bits;
};

constexpr KnownDtype kKnownDtypes[] = {
    {"BF16", 16}, {"F16", 16},        {"F32", 32},        {"F64", 64},    {"BOOL", 8},
    {"U8", 8},    {"I8", 8},          {"F8_E4M3", 8},     {"F8_E5M2", 8}, {"F8_E8M0", 8},
    {"I16", 16},  {"U16", 16},        {"I32", 32},        {"U32", 32},    {"I64", 64},
    {"U64", 64},  {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6},
    {"F4", 4},    {"C64", 64},        {"C128", 128},
};

}  // namespace

std::optional<int64_t> DtypeBits(absl::string_view dtype) {
  for (const KnownDtype& known : kKnownDtypes) {
    if (known.name == dtype) return known.bits;
  }
  return std::nullopt;
}

absl::StatusOr<int64_t> ElementCount(absl::Span<const int64_t> shape) {
  int64_t count = 1;
  for (const int64_t dimension : shape) {
    if (dimension < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("shape ", ShapeToString(shape), " has a negative dimension"));
    }
    if (__builtin_mul_overflow(count, dimension, &count)) {
      return absl::InvalidArgumentError(
          absl::StrCat("shape ", ShapeToString(shape), " overflows: more than 2^63 - 1 elements"));
    }
  }
  return count;
}

absl::StatusOr<std::optional<int64_t>> TensorSizeBytes(absl::string_view dtype,
                                                       absl::Span<const int64_t> shape) {
  MUSTER_ASSIGN_OR_RETURN(const int64_t elements, ElementCount(shape));
  const std::optional<int64_t> bits_each = DtypeBits(dtype);
  if (!bits_each.has_value()) return std::optional<int64_t>();
  int64_t bits = 0;
  if (__builtin_mul_overflow(elements, *bits_each, &bits)) {
    return absl::InvalidArgumentError(absl::StrCat("shape ", ShapeToString(shape), " of ", dtype,
                                                   " overflows: more than 2^63 - 1 bits"));
  }
  if (bits % 8 != 0) {
    return absl::InvalidArgumentError(absl::StrCat("shape ", ShapeToString(shape), " of ", dtype,
                                                   " has ", bits,
                                                   " bits, which is not a whole number of bytes"));
  }
  return std::optional<int64_t>(bits / 8);
}

std::string ShapeToString(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

}  // namespace muster
