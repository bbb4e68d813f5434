// PyTorch files made by hand, right ones and attacks, for the tests of this folder.
#ifndef MUSTER_TESTS_UNIT_CLIENT_TORCH_TORCH_FIXTURES_H_
#define MUSTER_TESTS_UNIT_CLIENT_TORCH_TORCH_FIXTURES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace muster {

// Of an archive; what is unset is as it should be.
struct ZipItem {
  std::string name;
  std::string bytes;
  uint16_t method = 0;
  uint16_t flags = 0;
  // Sizes and offset stand in zip64 records.
  bool zip64 = false;
  std::optional<uint32_t> crc32 = std::nullopt;
  // What the central directory says instead.
  std::optional<uint64_t> size_bytes = std::nullopt;
  std::optional<uint64_t> header_offset = std::nullopt;
  std::optional<std::string> local_name = std::nullopt;
};

// The items one after another, and the directory. With `zip64` its place stands in a zip64 record.
std::string ZipArchive(const std::vector<ZipItem>& items, bool zip64 = false);

// Parts of pickles of protocol 2.
std::string PickleGlobal(absl::string_view module, absl::string_view name);
std::string PickleString(absl::string_view text);
std::string PickleInt(int64_t value);
std::string PickleTuple(const std::vector<std::string>& items);
std::string PickleInts(const std::vector<int64_t>& values);
// A dict with what makes keys and values in turn.
std::string PickleDict(const std::vector<std::pair<std::string, std::string>>& entries);
// `type` is a class of the module torch.
std::string PickledStorage(absl::string_view type, absl::string_view key, int64_t elements);
std::string PickledTensor(const std::string& storage, int64_t offset,
                          const std::vector<int64_t>& shape, const std::vector<int64_t>& strides);
// A whole pickle whose value `body` makes.
std::string WholePickle(absl::string_view body);

// A file of torch.save with `pickle` and storages by key.
std::string TorchArchive(absl::string_view pickle,
                         const std::vector<std::pair<std::string, std::string>>& storages);

// A file with a tensor of 2 x 2 floats for each list of names, which are all its own.
std::string TorchFileOf(const std::vector<std::vector<std::string>>& tensors);

struct HostileTorchFile {
  // For the name of the test.
  std::string name;
  std::string bytes;
  // A part of the error.
  std::string expected;
};
// None of them may be opened.
std::vector<HostileTorchFile> HostileTorchFiles();

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_CLIENT_TORCH_TORCH_FIXTURES_H_
