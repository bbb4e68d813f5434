#include "client/assemble/tied_file.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/assemble/model_files.h"
#include "client/format/byte_source.h"
#include "client/format/file_names.h"
#include "client/format/safetensors_writer.h"
#include "storage/base/status_macros.h"
#include "storage/files/staged_file.h"

namespace muster {
namespace {

constexpr int64_t kCopyBytes = int64_t{1} << 20;

// Which files of the layout are in `folder`.
std::vector<size_t> FilesIn(const std::string& folder, const OutputLayout& layout) {
  std::vector<size_t> files;
  for (size_t i = 0; i < layout.files.size(); ++i) {
    if (FolderOf(layout.files[i].path) == folder) files.push_back(i);
  }
  return files;
}

// As SortByAlignment of the cuts: wide elements come first.
void SortByWidth(std::vector<TiedTensor>& tensors) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const TiedTensor& a, const TiedTensor& b) {
    return DtypeBits(a.dtype).value_or(0) > DtypeBits(b.dtype).value_or(0);
  });
}

absl::Status CopyTensor(const TiedTensor& tensor, int64_t to, StagedFile& file) {
  MUSTER_ASSIGN_OR_RETURN(const auto source, OpenFileByteSource(tensor.readable_path));
  std::vector<char> buffer(static_cast<size_t>(std::min(kCopyBytes, tensor.size_bytes)));
  for (int64_t done = 0; done < tensor.size_bytes;) {
    const int64_t size = std::min(kCopyBytes, tensor.size_bytes - done);
    const auto part = absl::MakeSpan(buffer.data(), static_cast<size_t>(size));
    MUSTER_RETURN_IF_ERROR(source->Read(tensor.offset_bytes + done, part));
    MUSTER_RETURN_IF_ERROR(file.Write(to + done, absl::string_view(part.data(), part.size())));
    done += size;
  }
  return absl::OkStatus();
}

// Returns its size.
absl::StatusOr<int64_t> WriteTiedFile(const TiedFile& tied, const std::string& directory) {
  const std::map<std::string, std::string> metadata{{"format", "pt"}};
  SafetensorsHeaderBuilder builder(metadata);
  for (const TiedTensor& tensor : tied.tensors) {
    builder.Add(tensor.name, tensor.dtype, tensor.shape, tensor.size_bytes);
  }
  MUSTER_ASSIGN_OR_RETURN(const std::string header, std::move(builder).Finish());
  const std::string path = absl::StrCat(directory, "/", tied.path);
  MUSTER_RETURN_IF_ERROR(MakeFolderOf(path));
  MUSTER_ASSIGN_OR_RETURN(StagedFile file, StagedFile::Create(path));
  MUSTER_RETURN_IF_ERROR(file.Write(0, header));
  auto end = static_cast<int64_t>(header.size());
  for (const TiedTensor& tensor : tied.tensors) {
    MUSTER_RETURN_IF_ERROR(CopyTensor(tensor, end, file));
    end += tensor.size_bytes;
  }
  MUSTER_RETURN_IF_ERROR(file.Commit());
  return end;
}

// Makes the index of `folder` list the layout's last file too.
void ExtendIndex(const std::string& folder, std::vector<size_t> files, const std::string& stem,
                 OutputLayout& layout) {
  const size_t added = layout.files.size() - 1;
  const auto index =
      std::find_if(layout.indexes.begin(), layout.indexes.end(),
                   [&](const OutputLayout::Index& one) { return FolderOf(one.path) == folder; });
  if (index != layout.indexes.end()) {
    index->files.push_back(added);
    return;
  }
  files.push_back(added);
  layout.indexes.push_back({InFolder(folder, IndexFileName(stem)), std::move(files)});
}

}  // namespace

absl::StatusOr<std::vector<TiedFile>> WriteTiedFiles(std::vector<TiedTensor> tensors,
                                                     const std::vector<v1::Companion>& companions,
                                                     const std::string& directory,
                                                     OutputLayout& layout) {
  std::map<std::string, TiedFile> by_folder;
  for (TiedTensor& tensor : tensors) {
    by_folder[std::string(FolderOf(tensor.file))].tensors.push_back(std::move(tensor));
  }
  std::vector<TiedFile> written;
  for (auto& [folder, tied] : by_folder) {
    const std::vector<size_t> files = FilesIn(folder, layout);
    const std::string stem = StemOf(BaseNameOf(layout.files[files.front()].path));
    tied.path = InFolder(folder, WeightFileName(stem, files.size(), files.size() + 1));
    SortByWidth(tied.tensors);
    layout.files.push_back({tied.path, 0});
    ExtendIndex(folder, files, stem, layout);
    MUSTER_RETURN_IF_ERROR(CheckCompanionPaths(layout, companions));
    MUSTER_ASSIGN_OR_RETURN(layout.files.back().size_bytes, WriteTiedFile(tied, directory));
    layout.total_bytes += layout.files.back().size_bytes;
    written.push_back(std::move(tied));
  }
  return written;
}

}  // namespace muster
