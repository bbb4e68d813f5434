#include "client/checkpoint/directory_walk.h"

#include <fnmatch.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "client/format/file_names.h"
#include "client/format/index_json.h"
#include "storage/base/limits.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

constexpr absl::string_view kWeightSuffixes[] = {".safetensors", ".bin", ".pt",   ".pth", ".gguf",
                                                 ".msgpack",     ".h5",  ".onnx", ".ot"};

constexpr absl::string_view kHiddenFolder = "a hidden folder";
constexpr absl::string_view kTemporaryFile = "a temporary file";

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

// "model.safetensors.index.json", and "model.safetensors.index.fp16.json"; also PyTorch's.
bool IsIndexPath(absl::string_view path) {
  return IsTorchIndexPath(path) ||
         (absl::StrContains(path, ".safetensors.index.") && absl::EndsWith(path, ".json"));
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

// Of `content`.
std::vector<FoundFile>& ListFor(absl::string_view path, DirectoryContent& content) {
  if (IsIndexPath(path)) return content.indexes;
  if (IsWeightPath(path)) return content.weights;
  return content.companions;
}

bool IsInside(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first ==
         folder.end();
}

bool IsSha256Hex(absl::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

class Walk {
 public:
  Walk(fs::path root, const WalkOptions& options) : root_(std::move(root)), options_(options) {}

  absl::StatusOr<DirectoryContent> Run() {
    std::error_code error;
    canonical_root_ = fs::canonical(root_, error);
    if (error) return WalkError(error, root_.string());
    MUSTER_RETURN_IF_ERROR(RecogniseCache());
    MUSTER_RETURN_IF_ERROR(Visit(root_, "", 0));
    OrderLists(content_);
    return std::move(content_);
  }

 private:
  // …/models--ORG--NAME/snapshots/REVISION is a snapshot; its repository as a whole holds every
  // revision, and is not a checkpoint.
  absl::Status RecogniseCache() {
    constexpr absl::string_view kPrefix = "models--";
    std::error_code error;
    const fs::path snapshots = canonical_root_.parent_path();
    const fs::path repository = snapshots.parent_path();
    const std::string name = repository.filename().string();
    if (snapshots.filename() == "snapshots" && absl::StartsWith(name, kPrefix)) {
      content_.snapshot =
          absl::StrCat(absl::StrReplaceAll(name.substr(kPrefix.size()), {{"--", "/"}}), "@",
                       canonical_root_.filename().string());
      blobs_ = fs::canonical(repository / "blobs", error);
      return absl::OkStatus();
    }
    if (fs::is_directory(canonical_root_ / "snapshots", error) &&
        fs::is_directory(canonical_root_ / "blobs", error)) {
      return absl::InvalidArgumentError(absl::StrCat(
          QuoteForMessage(root_.string()),
          ": is a repository of a Hugging Face cache with all its revisions; name one of them: ",
          QuoteForMessage((root_ / "snapshots" / "REVISION").string())));
    }
    return absl::OkStatus();
  }

  absl::Status Visit(const fs::path& folder, const std::string& relative, int depth) {
    if (depth > kMaxDirectoryDepth) {
      return absl::InvalidArgumentError(absl::StrCat(QuoteForMessage(folder.string()),
                                                     ": folders are nested deeper than ",
                                                     kMaxDirectoryDepth));
    }
    std::error_code error;
    fs::directory_iterator entries(folder, error);
    if (error) return WalkError(error, folder.string());
    // A model version holds files only; an object store has no folders either.
    if (entries == fs::directory_iterator() && !relative.empty()) {
      LeaveOut(relative + "/", "an empty folder", /*expected=*/false);
    }
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
    const std::string relative = InFolder(parent, name);
    std::error_code error;
    const fs::file_status link_status = entry.symlink_status(error);
    if (error) return WalkError(error, entry.path().string());
    if (fs::is_directory(link_status)) {
      if (!IsSkippedFolder(name)) return Visit(entry.path(), relative, depth + 1);
      LeaveOut(relative + "/", kHiddenFolder, /*expected=*/true);
      return absl::OkStatus();
    }
    if (IsTemporaryName(name)) {
      LeaveOut(relative, kTemporaryFile, /*expected=*/true);
      return absl::OkStatus();
    }
    FoundFile file{relative, entry.path().string(), 0, ""};
    const std::string reason = fs::is_symlink(link_status)
                                   ? FollowLink(entry.path(), file)
                                   : (fs::is_regular_file(link_status) ? "" : "not a regular file");
    if (!reason.empty()) {
      LeaveOut(relative, reason, /*expected=*/false);
      return absl::OkStatus();
    }
    file.size_bytes = static_cast<int64_t>(fs::file_size(entry.path(), error));
    if (error) return WalkError(error, file.path);
    SortInto(std::move(file), options_, content_);
    return absl::OkStatus();
  }

  void LeaveOut(const std::string& relative, absl::string_view why, bool expected) {
    content_.left_out.push_back({relative, std::string(why), expected});
  }

  // Why the link at `link` is not followed, or "" when it leads to a file that it may lead to.
  std::string FollowLink(const fs::path& link, FoundFile& file) const {
    std::error_code error;
    const fs::path target = fs::canonical(link, error);
    if (error == std::errc::too_many_symbolic_link_levels) return "a link that leads in a circle";
    if (error == std::errc::no_such_file_or_directory) return "a link to nothing";
    if (error) return absl::StrCat("a link that can't be followed: ", error.message());
    const bool is_blob = !blobs_.empty() && IsInside(target, blobs_);
    if (!is_blob && !IsInside(target, canonical_root_)) return "a link out of the directory";
    if (fs::is_directory(target, error)) return "a link to a directory";
    if (!fs::is_regular_file(target, error)) return "a link to a special file";
    const std::string blob = target.filename().string();
    if (is_blob && IsSha256Hex(blob)) file.sha256 = blob;
    return "";
  }

  const fs::path root_;
  const WalkOptions& options_;
  fs::path canonical_root_;
  // Of the repository that the snapshot belongs to; empty for other directories.
  fs::path blobs_;
  size_t entry_count_ = 0;
  DirectoryContent content_;
};

}  // namespace

absl::StatusOr<DirectoryContent> WalkCheckpointDirectory(absl::string_view directory,
                                                         const WalkOptions& options) {
  return Walk(fs::path(std::string(directory)), options).Run();
}

void SortInto(FoundFile file, const WalkOptions& options, DirectoryContent& content) {
  const std::string path = file.relative_path;
  const auto leave_out = [&](absl::string_view why, bool expected) {
    content.left_out.push_back({path, std::string(why), expected});
  };
  const std::vector<absl::string_view> segments = absl::StrSplit(path, '/');
  if (std::any_of(segments.begin(), segments.end() - 1, IsSkippedFolder)) {
    leave_out(kHiddenFolder, /*expected=*/true);
  } else if (IsTemporaryName(segments.back())) {
    leave_out(kTemporaryFile, /*expected=*/true);
  } else if (MatchesAny(path, options.exclude)) {
    leave_out("--exclude names it", /*expected=*/true);
  } else if (IsCodePath(path) && !options.allow_code) {
    leave_out("code; --allow-code publishes it", /*expected=*/false);
  } else {
    ListFor(path, content).push_back(std::move(file));
  }
}

void OrderLists(DirectoryContent& content) {
  const auto by_path = [](const FoundFile& a, const FoundFile& b) {
    return a.relative_path < b.relative_path;
  };
  std::sort(content.weights.begin(), content.weights.end(), by_path);
  std::sort(content.indexes.begin(), content.indexes.end(), by_path);
  std::sort(content.companions.begin(), content.companions.end(), by_path);
  std::sort(content.left_out.begin(), content.left_out.end(),
            [](const LeftOut& a, const LeftOut& b) { return a.path < b.path; });
}

absl::Status CheckCompanions(const std::vector<FoundFile>& companions) {
  for (size_t i = 0; i < companions.size(); ++i) {
    const FoundFile& file = companions[i];
    if (i == kMaxCompanionsPerVersion) {
      return absl::InvalidArgumentError(absl::StrCat(
          QuoteForMessage(file.path), ": there are ", companions.size(),
          " files beside the weights, at most ", kMaxCompanionsPerVersion,
          " can be published with a model; leave out with --exclude what does not belong to it"));
    }
    if (file.size_bytes > kMaxCompanionBytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          QuoteForMessage(file.path), ": has ", file.size_bytes,
          " bytes, a companion file has at most ", kMaxCompanionBytes,
          " (64 MiB); leave it out with --exclude if it does not belong to the model"));
    }
    if (!IsSafeRelativePath(file.relative_path)) {
      return absl::InvalidArgumentError(absl::StrCat(
          QuoteForMessage(file.path),
          ": its path can't be registered: it is longer than 1,024 bytes, not valid UTF-8, or "
          "has a control character or backslash; rename it"));
    }
  }
  return absl::OkStatus();
}

bool MatchesAny(const std::string& path, const std::vector<std::string>& globs) {
  return std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) {
    return ::fnmatch(glob.c_str(), path.c_str(), 0) == 0;
  });
}

}  // namespace muster
