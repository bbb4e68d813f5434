#include "client/loading/loaded_shard.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "client/checkpoint/tied_tensors.h"
#include "client/format/byte_source.h"
#include "client/format/file_names.h"
#include "client/format/safetensors_header.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Bytes that somebody else keeps, for the reader of headers.
class MemoryView final : public ByteSource {
 public:
  MemoryView(std::string name, absl::string_view bytes) : name_(std::move(name)), bytes_(bytes) {}

  const std::string& name() const override { return name_; }
  int64_t size_bytes() const override { return static_cast<int64_t>(bytes_.size()); }
  const std::string& fingerprint() const override { return name_; }
  absl::Status CheckUnchanged() const override { return absl::OkStatus(); }

  absl::Status Read(int64_t offset, absl::Span<char> out) const override {
    if (offset < 0 || offset > size_bytes() ||
        static_cast<int64_t>(out.size()) > size_bytes() - offset) {
      return absl::OutOfRangeError(absl::StrCat(name_, ": ", out.size(), " bytes at offset ",
                                                offset, " are not inside its ", size_bytes(),
                                                " bytes"));
    }
    std::copy_n(bytes_.data() + offset, out.size(), out.data());
    return absl::OkStatus();
  }

 private:
  const std::string name_;
  const absl::string_view bytes_;
};

absl::Status HeaderBroken(const v1::Shard& shard, absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, reasons::kShardHeaderBroken,
                   absl::StrCat("its bytes are those that were published, but ", what),
                   {{"shard", shard.name()}});
}

}  // namespace

struct LoadedShard::Content {
  Content(uint32_t shard_index, ShardMemory shard_memory)
      : index(shard_index), memory(std::move(shard_memory)) {}

  const uint32_t index;
  const ShardMemory memory;
  // Stays where it is: tensors refer to it.
  SafetensorsHeader header;
  // "unet/", before the names of the header; "" where those are the catalogue's.
  std::string folder;
  // By position; empty where there is no folder.
  std::vector<std::string> names;
  // By name without the folder.
  std::map<std::string, std::string> tied;
};

absl::StatusOr<LoadedShard> LoadedShard::Make(const v1::Shard& shard, ShardMemory memory) {
  auto content = std::make_shared<Content>(shard.index(), std::move(memory));
  if (shard.tensor_count() == 0) return LoadedShard(std::move(content));
  const MemoryView view(absl::StrCat("shard ", shard.index()), content->memory.bytes());
  absl::StatusOr<SafetensorsHeader> header = ReadSafetensorsHeader(view);
  if (!header.ok()) return HeaderBroken(shard, header.status().message());
  if (header->tensor_count() != shard.tensor_count()) {
    return HeaderBroken(shard,
                        absl::StrCat("its header has ", header->tensor_count(), " tensors where ",
                                     shard.tensor_count(), " were announced"));
  }
  content->header = *std::move(header);
  content->tied = TiedNames(content->header.Metadata());
  if (const absl::string_view folder = FolderOf(shard.source_path()); !folder.empty()) {
    content->folder = absl::StrCat(folder, "/");
    for (size_t i = 0; i < content->header.tensor_count(); ++i) {
      content->names.push_back(CatalogueTensorName(folder, content->header.tensor(i).name));
    }
  }
  return LoadedShard(std::move(content));
}

uint32_t LoadedShard::index() const { return content_->index; }

absl::string_view LoadedShard::bytes() const { return content_->memory.bytes(); }

size_t LoadedShard::tensor_count() const { return content_->header.tensor_count(); }

int LoadedShard::shared_fd() const { return content_->memory.shared_fd(); }

LoadedTensor LoadedShard::tensor(size_t i) const {
  const SafetensorsHeader& header = content_->header;
  TensorInfo info = header.tensor(i);
  return {.name = content_->names.empty() ? info.name : content_->names[i],
          .dtype = info.dtype,
          .shape = std::move(info.shape),
          .bytes = bytes().substr(static_cast<size_t>(header.data_begin_bytes() + info.begin_bytes),
                                  static_cast<size_t>(info.end_bytes - info.begin_bytes)),
          .shard = *this};
}

std::optional<LoadedTensor> LoadedShard::Find(absl::string_view name) const {
  if (!absl::ConsumePrefix(&name, content_->folder)) return std::nullopt;
  std::optional<size_t> i = content_->header.Find(name);
  if (const auto tied = content_->tied.find(std::string(name));
      !i.has_value() && tied != content_->tied.end()) {
    i = content_->header.Find(tied->second);
  }
  if (!i.has_value()) return std::nullopt;
  return tensor(*i);
}

}  // namespace muster
