// Proves that an assembled file holds the tensors that were published.
#ifndef MUSTER_CLIENT_ASSEMBLE_TENSOR_PROOF_H_
#define MUSTER_CLIENT_ASSEMBLE_TENSOR_PROOF_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/assemble/output_layout.h"
#include "client/assemble/tied_file.h"
#include "client/sdk/client.h"
#include "storage/base/mutex.h"

namespace muster {

// Collects what the files of one model hold. Thread-safe.
class TensorProof {
 public:
  // `client` outlives it.
  TensorProof(Client& client, std::string model_version, CallOptions call)
      : client_(client), model_version_(std::move(model_version)), call_(std::move(call)) {}

  // Compares the header of the file at `path`, called `name` in the model, with the catalogue's
  // tensors of `shard`: the same names, dtypes, shapes and byte ranges, where the catalogue's names
  // begin with the file's folder. Notes the other names of tensors that the file says, for WriteTied,
  // until when it can be read at `path`. kDataLoss TENSORS_DIFFER, naming the first one that differs.
  absl::Status CheckFile(const v1::Shard& shard, const std::string& path, const std::string& name);

  // Checks that every tensor is in one file only of its rank and that there are `expected` of them.
  // kDataLoss TENSORS_DIFFER.
  absl::Status CheckWhole(uint64_t expected);

  // Writes the tensors that have other names under those too; see WriteTiedFiles. Returns the files.
  // Called after CheckWhole; from then on they are counted and in the indexes.
  absl::StatusOr<std::vector<TiedFile>> WriteTied(const std::vector<v1::Companion>& companions,
                                                  const std::string& directory,
                                                  OutputLayout& layout);

  uint64_t tensor_count() const;
  // Of the tensors, without headers.
  int64_t tensor_bytes() const;
  // The content of `index`: which of its files holds which tensor. Called after CheckWhole.
  std::string IndexJsonFor(const OutputLayout& layout, const OutputLayout::Index& index) const;

 private:
  struct Entry {
    // In the file: without the folder.
    std::string tensor;
    // In the model.
    std::string file;
    // -1 where there is none.
    int64_t rank = -1;
    int64_t size_bytes = 0;
  };

  Client& client_;
  const std::string model_version_;
  const CallOptions call_;
  mutable Mutex mutex_;
  std::vector<TiedTensor> NewNames() const;

  std::vector<Entry> entries_ MUSTER_GUARDED_BY(mutex_);
  std::vector<TiedTensor> tied_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_ASSEMBLE_TENSOR_PROOF_H_
