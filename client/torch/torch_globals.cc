#include "client/torch/torch_globals.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace muster {
namespace {

using Role = TorchGlobal::Role;

constexpr TorchGlobal kGlobals[] = {
    {"collections", "OrderedDict", Role::kOrderedDict},
    {"torch._utils", "_rebuild_tensor_v2", Role::kRebuildTensorV2},
    {"torch._utils", "_rebuild_tensor_v3", Role::kRebuildTensorV3},
    {"torch._utils", "_rebuild_parameter", Role::kRebuildParameter},
    {"torch._utils", "_rebuild_parameter_with_state", Role::kRebuildParameter},
    {"torch", "Size", Role::kSize},
    {"torch.serialization", "_get_layout", Role::kGetLayout},

    {"torch", "FloatStorage", Role::kStorage, "F32"},
    {"torch", "DoubleStorage", Role::kStorage, "F64"},
    {"torch", "HalfStorage", Role::kStorage, "F16"},
    {"torch", "BFloat16Storage", Role::kStorage, "BF16"},
    {"torch", "LongStorage", Role::kStorage, "I64"},
    {"torch", "IntStorage", Role::kStorage, "I32"},
    {"torch", "ShortStorage", Role::kStorage, "I16"},
    {"torch", "CharStorage", Role::kStorage, "I8"},
    {"torch", "ByteStorage", Role::kStorage, "U8"},
    {"torch", "BoolStorage", Role::kStorage, "BOOL"},
    {"torch", "ComplexFloatStorage", Role::kStorage, "C64"},
    {"torch", "ComplexDoubleStorage", Role::kStorage},
    {"torch", "UntypedStorage", Role::kUntypedStorage, "U8"},
    {"torch.storage", "UntypedStorage", Role::kUntypedStorage, "U8"},

    {"torch", "float32", Role::kDtype, "F32"},
    {"torch", "float64", Role::kDtype, "F64"},
    {"torch", "float16", Role::kDtype, "F16"},
    {"torch", "bfloat16", Role::kDtype, "BF16"},
    {"torch", "int64", Role::kDtype, "I64"},
    {"torch", "int32", Role::kDtype, "I32"},
    {"torch", "int16", Role::kDtype, "I16"},
    {"torch", "int8", Role::kDtype, "I8"},
    {"torch", "uint64", Role::kDtype, "U64"},
    {"torch", "uint32", Role::kDtype, "U32"},
    {"torch", "uint16", Role::kDtype, "U16"},
    {"torch", "uint8", Role::kDtype, "U8"},
    {"torch", "bool", Role::kDtype, "BOOL"},
    {"torch", "complex64", Role::kDtype, "C64"},
    {"torch", "complex128", Role::kDtype},
    {"torch", "complex32", Role::kDtype},
    {"torch", "float8_e4m3fn", Role::kDtype, "F8_E4M3"},
    {"torch", "float8_e5m2", Role::kDtype, "F8_E5M2"},
    {"torch", "float8_e4m3fnuz", Role::kDtype, "F8_E4M3FNUZ"},
    {"torch", "float8_e5m2fnuz", Role::kDtype, "F8_E5M2FNUZ"},
    {"torch", "float8_e8m0fnu", Role::kDtype, "F8_E8M0"},
};

}  // namespace

const TorchGlobal* FindTorchGlobal(absl::string_view module, absl::string_view name) {
  for (const TorchGlobal& global : kGlobals) {
    if (global.module == module && global.name == name) return &global;
  }
  return nullptr;
}

std::string GlobalName(absl::string_view module, absl::string_view name) {
  return absl::StrCat(module, ".", name);
}

absl::string_view DescribeRefused(absl::string_view module, absl::string_view name) {
  if (absl::StrContains(name, "qtensor") || absl::StartsWith(name, "QInt") ||
      absl::StartsWith(name, "QUInt") || absl::StartsWith(name, "qint") ||
      absl::StartsWith(name, "quint")) {
    return "a quantised tensor";
  }
  if (absl::StrContains(name, "sparse")) return "a sparse tensor";
  if (absl::StrContains(name, "ComplexHalf")) return "a tensor of a dtype that safetensors lacks";
  if (absl::StrContains(name, "nested_tensor")) return "a nested tensor";
  if (absl::StrContains(name, "meta_tensor")) return "a tensor without data";
  if (absl::StrContains(name, "_rebuild_")) return "a tensor of a kind that is not supported";
  if (absl::StartsWith(module, "numpy")) return "an array or number of NumPy";
  return "code, or an object of a class of its own";
}

}  // namespace muster
