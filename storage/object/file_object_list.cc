#include "storage/object/file_object_list.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/files/file_error.h"
#include "storage/files/unique_fd.h"
#include "storage/object/object_rules.h"
#include "storage/object/uri.h"

namespace muster {
namespace {

// Each level holds a descriptor open.
constexpr int kDepthMax = 64;

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

// Opens `name` inside `parent`; null with errno set when that fails.
Directory OpenAt(int parent, const char* name, int flags) {
  UniqueFd fd(openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags));
  if (!fd.valid()) return nullptr;
  Directory directory(fdopendir(fd.get()));
  if (directory != nullptr) fd.Release();
  return directory;
}

class Lister {
 public:
  Lister(const std::string& root, absl::string_view prefix, const ObjectStore::ListOptions& options)
      : root_(root), prefix_(prefix), options_(options) {}

  // Adds what is in `directory`, whose keys begin with `directory_key`.
  absl::Status Walk(DIR* directory, const std::string& directory_key, int depth) {
    if (depth > kDepthMax) {
      return absl::FailedPreconditionError(absl::StrCat(UriOf(directory_key), ": is more than ",
                                                        kDepthMax,
                                                        " directories deep; list a longer prefix"));
    }
    MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> keys, KeysOf(directory, directory_key));
    for (const std::string& key : keys) {
      if (listed_.size() == options_.limit) break;
      const std::string name = key.substr(directory_key.size());
      if (name.back() == '/') {
        MUSTER_RETURN_IF_ERROR(Descend(directory, name.substr(0, name.size() - 1), key, depth));
      } else {
        MUSTER_RETURN_IF_ERROR(AddFile(directory, name, key));
      }
    }
    return absl::OkStatus();
  }

  std::string UriOf(absl::string_view key) const { return FileUri(absl::StrCat(root_, "/", key)); }

  std::vector<ObjectStore::ListedObject>& listed() { return listed_; }

 private:
  // Keys of the entries that can matter, those of directories with a slash at the end. In that form
  // their order is the order of the objects below them.
  absl::StatusOr<std::vector<std::string>> KeysOf(DIR* directory,
                                                  const std::string& directory_key) const {
    std::vector<std::string> keys;
    while (true) {
      errno = 0;
      const dirent* const entry = readdir(directory);
      if (entry == nullptr && errno != 0) return PathError(errno, "list it", UriOf(directory_key));
      if (entry == nullptr) break;
      const absl::string_view name = entry->d_name;
      if (name == "." || name == ".." || absl::StartsWith(name, kTemporaryPrefix)) continue;
      std::string key = absl::StrCat(directory_key, name);
      if (!absl::StartsWith(key, prefix_)) continue;
      if (IsDirectory(directory, *entry)) key.push_back('/');
      if (IsAfter(key)) keys.push_back(std::move(key));
    }
    std::sort(keys.begin(), keys.end());
    return keys;
  }

  static bool IsDirectory(DIR* directory, const dirent& entry) {
    if (entry.d_type != DT_UNKNOWN) return entry.d_type == DT_DIR;
    struct stat info = {};
    return fstatat(dirfd(directory), entry.d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(info.st_mode);
  }

  // Whether `key`, or an object below it, can come after options_.after.
  bool IsAfter(const std::string& key) const {
    if (key > options_.after) return true;
    return key.back() == '/' && absl::StartsWith(options_.after, key);
  }

  absl::Status Descend(DIR* parent, const std::string& name, const std::string& key, int depth) {
    const Directory directory = OpenAt(dirfd(parent), name.c_str(), O_NOFOLLOW);
    if (directory != nullptr) return Walk(directory.get(), key, depth + 1);
    // It was removed or replaced since it was read from its parent.
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return absl::OkStatus();
    return PathError(errno, "list it", UriOf(key));
  }

  absl::Status AddFile(DIR* directory, const std::string& name, const std::string& key) {
    struct stat info = {};
    if (fstatat(dirfd(directory), name.c_str(), &info, 0) != 0) {
      // Removed meanwhile, or a link that leads nowhere.
      if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return absl::OkStatus();
      return PathError(errno, "look at it", UriOf(key));
    }
    if (S_ISREG(info.st_mode)) listed_.push_back({key, info.st_size});
    return absl::OkStatus();
  }

  const std::string root_;
  const std::string prefix_;
  const ObjectStore::ListOptions options_;
  std::vector<ObjectStore::ListedObject> listed_;
};

}  // namespace

absl::StatusOr<std::vector<ObjectStore::ListedObject>> ListFiles(
    const std::string& root, absl::string_view prefix, const ObjectStore::ListOptions& options) {
  const size_t slash = prefix.rfind('/');
  const std::string start(slash == absl::string_view::npos ? "" : prefix.substr(0, slash + 1));
  Lister lister(root, prefix, options);
  const Directory directory = OpenAt(AT_FDCWD, absl::StrCat(root, "/", start).c_str(), 0);
  if (directory == nullptr) {
    if (errno == ENOENT || errno == ENOTDIR) return std::move(lister.listed());
    return PathError(errno, "list it", lister.UriOf(start));
  }
  MUSTER_RETURN_IF_ERROR(lister.Walk(directory.get(), start, 1));
  return std::move(lister.listed());
}

}  // namespace muster
