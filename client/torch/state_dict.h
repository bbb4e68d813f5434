// Which tensors a PyTorch checkpoint is made of.
#ifndef MUSTER_CLIENT_TORCH_STATE_DICT_H_
#define MUSTER_CLIENT_TORCH_STATE_DICT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/torch/pickle_reader.h"

namespace muster {

// A dict of tensors by name, with views into the pickle's bytes.
struct StateDict {
  struct Entry {
    absl::string_view name;
    PickleTensor tensor;
  };

  // In the order of the dict; names differ, are valid UTF-8 and not empty.
  std::vector<Entry> tensors;
  // The key under which the dict was found; "" where it is the pickle itself.
  std::string key;
  // Keys whose values are not tensors of the dict, of the pickle itself or of the dict. They may be
  // any bytes.
  std::vector<std::string> left_out;
};

// Finds the dict of tensors: the pickle itself, or the value of one of its keys "state_dict",
// "model", "module" and "model_state_dict". kInvalidArgument TORCH_NO_STATE_DICT, listing what is
// there, where none of them holds tensors or several do, or where a tensor's name is not text or is
// there twice.
absl::StatusOr<StateDict> FindStateDict(const Pickle& pickle);

}  // namespace muster

#endif  // MUSTER_CLIENT_TORCH_STATE_DICT_H_
