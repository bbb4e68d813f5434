// A file of torch.save, read as if it were a safetensors file.
#ifndef MUSTER_CLIENT_TORCH_TORCH_FILE_H_
#define MUSTER_CLIENT_TORCH_TORCH_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/format/byte_source.h"

namespace muster {

// Before "__metadata__" keys that say of a name which other name's tensor it is.
inline constexpr char kTiedPrefix[] = "muster.tied.";

// All tensors together may have this many times the file's bytes, and kMaxSharedBytes more: tensors
// can overlap and repeat their bytes, so that a small file could name any amount of them.
inline constexpr int64_t kMaxSharing = 16;
inline constexpr int64_t kMaxSharedBytes = int64_t{1} << 30;

struct TorchOptions {
  // Write a tensor once for each of its names.
  bool untie = false;
};

struct TorchFile {
  // A safetensors file that is made while it is read: a header, then every tensor with its elements
  // in order, as the state dict lists them. Its name, fingerprint and whether it is unchanged are
  // those of the PyTorch file. Names that share storage, offset, shape and strides are one tensor
  // under the first of them, and the others are in the header's "__metadata__".
  std::shared_ptr<const ByteSource> safetensors;
  // For the user, one line each: under which key the tensors were, and what is left out.
  std::vector<std::string> notes;
};

// Whether `file` begins as zip archives do.
absl::StatusOr<bool> LooksLikeZip(const ByteSource& file);

// Opens the state dict in `file`. Reads the archive's directory and its pickle, not the tensors; the
// pickle is checked against its CRC-32, see decisions/. kInvalidArgument, naming file, tensor and
// values: TORCH_UNSUPPORTED for TorchScript programs, files without a pickle, and big-endian ones;
// those of ReadZipDirectory, ReadPickle and FindStateDict; a tensor that does not lie in its
// storage. kDataLoss: the pickle does not match its CRC-32. kResourceExhausted: too many tensors for
// a safetensors header.
absl::StatusOr<TorchFile> OpenTorchFile(std::shared_ptr<const ByteSource> file,
                                        const TorchOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_TORCH_TORCH_FILE_H_
