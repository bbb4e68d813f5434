#include "client/checkpoint/directory_walk.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/checkpoint/index_json.h"
#include "client/checkpoint/utf8.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

constexpr absl::string_view kWeightSuffixes[] = {".safetensors", ".bin", ".pt",   ".pth", ".gguf",
                                                 ".msgpack",     ".h5",  ".onnx", ".ot"};
constexpr absl::string_view kIndexSuffix = ".safetensors.index.json";

absl::Status WalkError(const std::error_code& error, const std::string& path) {
  const std::string message =
      absl::StrCat(QuoteForMessage(path), ": can't be read: ", error.message());
  if (error == std::errc::permission_denied) return absl::PermissionDeniedError(message);
  if (error == std::errc::no_such_file_or_directory) return absl::NotFoundError(message);
  return absl::UnavailableError(message);
}

bool IsWeightPath(absl::string_view path) {
  return std::any_of(
      std::begin(kWeightSuffixes), std::end(kWeightSuffixes),
      [&](absl::string_view suffix) { return absl::EndsWithIgnoreCase(path, suffix); });
}

// Leftovers of editors, downloads and file systems.
bool IsTemporaryName(absl::string_view name) {
  if (name == ".DS_Store" || absl::StartsWith(name, ".nfs") || absl::StartsWith(name, ".#") ||
      absl::StartsWith(name, ".~") || absl::EndsWith(name, "~")) {
    return true;
  }
  if (!absl::StartsWith(name, ".")) return false;
  constexpr absl::string_view kEndings[] = {".swp",  ".swo",  ".swx",
                                            ".part", ".lock", ".incomplete"};
  return absl::StrContains(name, ".tmp") ||
         std::any_of(std::begin(kEndings), std::end(kEndings),
                     [&](absl::string_view ending) { return absl::EndsWith(name, ending); });
}

bool IsSkippedFolder(absl::string_view name) {
  return absl::StartsWith(name, ".") || name == "__pycache__";
}

class Walk {
 public:
  explicit Walk(fs::path root) : root_(std::move(root)) {}

  absl::StatusOr<DirectoryContent> Run() {
    std::error_code error;
    canonical_root_ = fs::canonical(root_, error);
    if (error) return WalkError(error, root_.string());
    MUSTER_RETURN_IF_ERROR(Visit(root_, "", 0));
    const auto by_path = [](const FoundFile& a, const FoundFile& b) {
      return a.relative_path < b.relative_path;
    };
    std::sort(content_.weights.begin(), content_.weights.end(), by_path);
    std::sort(content_.indexes.begin(), content_.indexes.end(), by_path);
    std::sort(content_.companions.begin(), content_.companions.end(), by_path);
    std::sort(content_.skipped.begin(), content_.skipped.end());
    return std::move(content_);
  }

 private:
  absl::Status Visit(const fs::path& folder, const std::string& relative, int depth) {
    if (depth > kMaxDirectoryDepth) {
      return absl::InvalidArgumentError(absl::StrCat(QuoteForMessage(folder.string()),
                                                     ": folders are nested deeper than ",
                                                     kMaxDirectoryDepth));
    }
    std::error_code error;
    fs::directory_iterator entries(folder, error);
    if (error) return WalkError(error, folder.string());
    for (; entries != fs::directory_iterator(); entries.increment(error)) {
      if (++entry_count_ > kMaxDirectoryEntries) {
        return absl::InvalidArgumentError(absl::StrCat(QuoteForMessage(root_.string()),
                                                       ": has more than ", kMaxDirectoryEntries,
                                                       " files and folders; is it a checkpoint?"));
      }
      MUSTER_RETURN_IF_ERROR(Look(*entries, relative, depth));
    }
    if (error) return WalkError(error, folder.string());
    return absl::OkStatus();
  }

  absl::Status Look(const fs::directory_entry& entry, const std::string& parent, int depth) {
    const std::string name = entry.path().filename().string();
    const std::string relative = parent.empty() ? name : absl::StrCat(parent, "/", name);
    std::error_code error;
    const fs::file_status link_status = entry.symlink_status(error);
    if (error) return WalkError(error, entry.path().string());
    if (fs::is_directory(link_status)) {
      if (IsSkippedFolder(name)) return absl::OkStatus();
      return Visit(entry.path(), relative, depth + 1);
    }
    if (IsTemporaryName(name)) return absl::OkStatus();
    if (fs::is_symlink(link_status) && !LeadsToFileInside(entry.path())) {
      content_.skipped.push_back(relative);
      return absl::OkStatus();
    }
    if (!fs::is_symlink(link_status) && !fs::is_regular_file(link_status)) {
      content_.skipped.push_back(relative);
      return absl::OkStatus();
    }
    FoundFile file{relative, entry.path().string(), 0};
    file.size_bytes = static_cast<int64_t>(fs::file_size(entry.path(), error));
    if (error) return WalkError(error, file.path);
    ListFor(relative).push_back(std::move(file));
    return absl::OkStatus();
  }

  std::vector<FoundFile>& ListFor(absl::string_view path) {
    if (absl::EndsWith(path, kIndexSuffix)) return content_.indexes;
    if (IsWeightPath(path)) return content_.weights;
    return content_.companions;
  }

  bool LeadsToFileInside(const fs::path& link) const {
    std::error_code error;
    const fs::path target = fs::canonical(link, error);
    if (error || !fs::is_regular_file(target, error)) return false;
    const auto [root_end, unused] =
        std::mismatch(canonical_root_.begin(), canonical_root_.end(), target.begin(), target.end());
    return root_end == canonical_root_.end();
  }

  const fs::path root_;
  fs::path canonical_root_;
  size_t entry_count_ = 0;
  DirectoryContent content_;
};

}  // namespace

absl::StatusOr<DirectoryContent> WalkCheckpointDirectory(absl::string_view directory) {
  return Walk(fs::path(std::string(directory))).Run();
}

absl::Status CheckCompanions(const std::vector<FoundFile>& companions) {
  for (size_t i = 0; i < companions.size(); ++i) {
    const FoundFile& file = companions[i];
    if (i == kMaxCompanions) {
      return absl::InvalidArgumentError(absl::StrCat(
          QuoteForMessage(file.path), ": there are ", companions.size(),
          " files beside the weights, at most ", kMaxCompanions,
          " can be published with a model; move what does not belong to it elsewhere"));
    }
    if (file.size_bytes > kMaxCompanionBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(QuoteForMessage(file.path), ": has ", file.size_bytes,
                       " bytes, a companion file has at most ", kMaxCompanionBytes,
                       " (64 MiB); move it elsewhere if it does not belong to the model"));
    }
    if (!IsSafeRelativePath(file.relative_path)) {
      return absl::InvalidArgumentError(absl::StrCat(
          QuoteForMessage(file.path),
          ": its path can't be registered: it is longer than 1,024 bytes, no valid UTF-8, or "
          "has a control character or backslash; rename it"));
    }
  }
  return absl::OkStatus();
}

bool IsSafetensorsPath(absl::string_view path) {
  return absl::EndsWithIgnoreCase(path, ".safetensors");
}

}  // namespace muster
