// Reads the pickles that torch.save writes, without running anything.
//
// A pickle is a program for a stack machine. This one knows the operations of protocols 2 to 4 that
// build dicts, lists, tuples, strings and numbers, and the few names of torch_globals.h; whatever
// else a pickle asks for is refused by its name. Nothing here follows references recursively, so
// that nesting needs no bound.
#ifndef MUSTER_CLIENT_TORCH_PICKLE_READER_H_
#define MUSTER_CLIENT_TORCH_PICKLE_READER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/torch/torch_globals.h"

namespace muster {

// As many bytes as the header of a safetensors file may have.
inline constexpr int64_t kMaxPickleBytes = 100'000'000;
// Values that wait on the stack; torch.save needs about 2,000.
inline constexpr size_t kMaxPickleStack = 1'000'000;
// Elements of containers, the containers, tensors and memorised values together. torch.save makes
// about 30 for a tensor. With them a pickle takes at most 64 bytes of memory for each of its own.
inline constexpr size_t kMaxPickleObjects = 20'000'000;

// A small handle; what it stands for is in its Pickle.
struct PickleValue {
  enum class Kind : uint8_t {
    // None, floats, byte strings, integers of more than 64 bits: known to be there, not more.
    kOther,
    kBool,
    kInt,
    kString,
    kTuple,
    kList,
    kDict,
    kGlobal,
    kStorage,
    kTensor,
  };

  Kind kind = Kind::kOther;
  // Of strings and tuples: how long they are.
  uint32_t size = 0;
  // Of bools and integers: the value. Else where it is.
  int64_t number = 0;

  bool is(Kind wanted) const { return kind == wanted; }
};

struct PickleStorage {
  // Names the entry of the archive.
  absl::string_view key;
  // Of role kStorage or kUntypedStorage.
  const TorchGlobal* type = nullptr;
  // In elements of the type; bytes where it has none. Not negative.
  int64_t element_count = 0;
};

// As the pickle says; nothing is checked against the storage.
struct PickleTensor {
  // Index of a storage.
  uint32_t storage = 0;
  // As safetensors calls it.
  absl::string_view dtype;
  // In elements.
  int64_t offset = 0;
  // Two tuples of integers, equally long.
  PickleValue shape;
  PickleValue strides;
};

// What a pickle holds. Its views are good as long as the bytes that it was read from.
class Pickle {
 public:
  const PickleValue& root() const { return root_; }

  absl::string_view Text(const PickleValue& string) const;
  // Of a tuple or list.
  absl::Span<const PickleValue> Items(const PickleValue& value) const;
  // Of a dict: keys and values in turn, in the order in which they were set; keys may repeat.
  absl::Span<const PickleValue> Entries(const PickleValue& dict) const;
  const PickleTensor& Tensor(const PickleValue& tensor) const;
  const PickleStorage& Storage(uint32_t index) const { return storages_[index]; }

 private:
  friend class PickleMachine;

  absl::string_view bytes_;
  PickleValue root_;
  // What is in tuples, one after another.
  std::vector<PickleValue> tuples_;
  // Lists and dicts; of dicts keys and values in turn.
  std::deque<std::vector<PickleValue>> containers_;
  std::deque<PickleStorage> storages_;
  std::deque<PickleTensor> tensors_;
};

// Reads all of `bytes`, which outlive the result. kInvalidArgument: PICKLE_REFUSED when it asks for
// something else than listed above, which the message names; PICKLE_BROKEN when it is damaged, cut
// short or exceeds a limit.
absl::StatusOr<Pickle> ReadPickle(absl::string_view bytes);

// "a dict", for messages.
absl::string_view KindName(PickleValue::Kind kind);

}  // namespace muster

#endif  // MUSTER_CLIENT_TORCH_PICKLE_READER_H_
