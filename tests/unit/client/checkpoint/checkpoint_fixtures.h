// Small checkpoints made by hand, for the tests of this folder.
#ifndef MUSTER_TESTS_UNIT_CLIENT_CHECKPOINT_CHECKPOINT_FIXTURES_H_
#define MUSTER_TESTS_UNIT_CLIENT_CHECKPOINT_CHECKPOINT_FIXTURES_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "client/checkpoint/checkpoint_reader.h"
#include "client/format/byte_source.h"
#include "storage/base/random.h"

namespace muster {

// A directory that goes with the object.
class TestDirectory {
 public:
  TestDirectory();
  ~TestDirectory();
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;

  std::string Path(absl::string_view relative) const;
  const std::string& root() const { return root_; }

  // Makes the folders above it too. Returns the whole path.
  std::string Write(absl::string_view relative, absl::string_view bytes) const;

 private:
  std::string root_;
};

std::string ReadWholeFile(const std::string& path);

// The 8 bytes of length, `json`, then `data`.
std::string SafetensorsBytes(absl::string_view json, absl::string_view data);

// A BF16 tensor of `elements` elements whose bytes come from its name.
struct FixtureTensor {
  std::string name;
  int64_t elements = 0;
};
std::string FixtureTensorBytes(const FixtureTensor& tensor);
std::string FixtureFile(const std::vector<FixtureTensor>& tensors,
                        absl::string_view metadata_json = "");

// A tensor table without files behind it, for the cuts. Sizes in bytes; dtype U8. It points into
// `names`.
std::vector<SourceTensor> TensorTable(const std::vector<std::string>& names,
                                      const std::vector<int64_t>& sizes);

// Names and sizes of a Llama-like model.
struct NamedSizes {
  std::vector<std::string> names;
  std::vector<int64_t> sizes;
};
NamedSizes TransformerNames(int layers);
// Names of many kinds and sizes of many magnitudes; all names differ.
NamedSizes RandomNames(Random& random, size_t count);

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_CLIENT_CHECKPOINT_CHECKPOINT_FIXTURES_H_
