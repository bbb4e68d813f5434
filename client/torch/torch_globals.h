// The names that a pickle of torch.save may mention. Nothing behind them is ever run.
#ifndef MUSTER_CLIENT_TORCH_TORCH_GLOBALS_H_
#define MUSTER_CLIENT_TORCH_TORCH_GLOBALS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace muster {

struct TorchGlobal {
  enum class Role {
    // Functions and classes that a pickle calls.
    kOrderedDict,
    kRebuildTensorV2,
    kRebuildTensorV3,
    kRebuildParameter,
    kSize,
    kGetLayout,
    // torch.FloatStorage: the elements of a storage are of `dtype`.
    kStorage,
    // torch.storage.UntypedStorage: bytes, whose tensors say their dtype themselves.
    kUntypedStorage,
    // torch.float32.
    kDtype,
  };

  absl::string_view module;
  absl::string_view name;
  Role role;
  // As safetensors calls it; "" for calls and for dtypes that safetensors has no name for.
  absl::string_view dtype = "";
};

// nullptr for every name that is not one of them: os.system as well as a module of one's own.
const TorchGlobal* FindTorchGlobal(absl::string_view module, absl::string_view name);

// "torch.FloatStorage".
std::string GlobalName(absl::string_view module, absl::string_view name);

// What a name that is refused stands for, as a phrase for people: "a quantised tensor".
absl::string_view DescribeRefused(absl::string_view module, absl::string_view name);

}  // namespace muster

#endif  // MUSTER_CLIENT_TORCH_TORCH_GLOBALS_H_
