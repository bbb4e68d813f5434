#include "storage/object/file_object_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/mutex.h"
#include "storage/base/random.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/posix_file.h"
#include "storage/object/file_object_list.h"
#include "storage/object/file_object_writer.h"
#include "storage/object/object_rules.h"
#include "storage/object/rate_limit.h"

namespace muster {
namespace {

constexpr absl::string_view kFileScheme = "file";

// What is read between two looks at the stop token.
constexpr size_t kSliceBytes = size_t{1} << 20;

absl::Status ReadSlices(int fd, int64_t offset, absl::Span<char> out, absl::string_view uri,
                        const ObjectStore::ReadOptions& options) {
  while (!out.empty()) {
    const absl::Span<char> slice = out.first(std::min(out.size(), kSliceBytes));
    const auto bytes = static_cast<int64_t>(slice.size());
    bool stopped = options.stop.stop_requested();
    if (!stopped) {
      MUSTER_RETURN_IF_ERROR(ReadAt(fd, uri, offset, slice));
      stopped = options.limit != nullptr && !options.limit->Take(bytes, options.stop);
    }
    if (stopped) return absl::CancelledError(absl::StrCat(uri, ": the read was cancelled"));
    out.remove_prefix(slice.size());
    offset += bytes;
  }
  return absl::OkStatus();
}

absl::string_view WithoutSlashes(absl::string_view root) {
  while (absl::EndsWith(root, "/")) root.remove_suffix(1);
  return root;
}

class FileObjectStore final : public ObjectStore {
 public:
  // Of one that is `rooted`, links don't lead out of the root, and nothing is written.
  FileObjectStore(absl::string_view root, bool rooted)
      : root_(WithoutSlashes(root)), rooted_(rooted), random_(NewSystemRandom()) {}

  absl::StatusOr<ObjectInfo> Stat(absl::string_view key, const std::stop_token&) override {
    MUSTER_RETURN_IF_ERROR(CheckKey(key));
    if (rooted_) {
      MUSTER_ASSIGN_OR_RETURN(const OpenedFile opened, Open(key));
      return InfoOf(opened.info);
    }
    struct stat info = {};
    if (stat(PathOf(key).c_str(), &info) != 0) return PathError(errno, "look at it", UriOf(key));
    MUSTER_RETURN_IF_ERROR(CheckRegularFile(info, UriOf(key)));
    return InfoOf(info);
  }

  absl::Status Read(absl::string_view key, int64_t offset, absl::Span<char> out,
                    const ReadOptions& options) override {
    MUSTER_RETURN_IF_ERROR(CheckKey(key));
    const std::string uri = UriOf(key);
    MUSTER_ASSIGN_OR_RETURN(const OpenedFile opened, Open(key));
    MUSTER_RETURN_IF_ERROR(CheckVersion(uri, options.if_version, InfoOf(opened.info).version));
    MUSTER_RETURN_IF_ERROR(CheckReadRange(uri, opened.info.st_size, offset, out.size()));
    MUSTER_RETURN_IF_ERROR(ReadSlices(opened.fd.get(), offset, out, uri, options));
    if (options.if_version.empty()) return absl::OkStatus();
    // The file may have been written in place while it was read.
    MUSTER_ASSIGN_OR_RETURN(const struct stat info, StatOf(opened.fd.get(), uri));
    return CheckVersion(uri, options.if_version, InfoOf(info).version);
  }

  absl::StatusOr<std::unique_ptr<ObjectWriter>> Create(absl::string_view key,
                                                       const WriteOptions& options) override {
    MUSTER_RETURN_IF_ERROR(CheckKey(key));
    const std::string uri = UriOf(key);
    MUSTER_RETURN_IF_ERROR(CheckMayChange(uri));
    MUSTER_RETURN_IF_ERROR(CheckWriteOptions(uri, options));
    const std::string path = PathOf(key);
    MUSTER_ASSIGN_OR_RETURN(UniqueFd directory, MakeParents(path, uri));
    const std::string name = path.substr(path.rfind('/') + 1);
    return NewFileObjectWriter(*random_, {std::move(directory), name, uri}, options);
  }

  absl::StatusOr<ObjectInfo> Put(absl::string_view key, absl::string_view bytes,
                                 const WriteOptions& options) override {
    WriteOptions whole;
    whole.size_bytes = static_cast<int64_t>(bytes.size());
    whole.must_not_exist = options.must_not_exist;
    MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<ObjectWriter> writer, Create(key, whole));
    MUSTER_RETURN_IF_ERROR(writer->Write(0, bytes));
    return writer->Commit();
  }

  absl::StatusOr<std::vector<ListedObject>> List(absl::string_view prefix,
                                                 const ListOptions& options) override {
    MUSTER_RETURN_IF_ERROR(CheckMayChange(UriOf(prefix)));
    MUSTER_RETURN_IF_ERROR(CheckObjectPrefix(UriOf(prefix), prefix));
    MUSTER_RETURN_IF_ERROR(CheckListOptions(UriOf(prefix), options));
    return ListFiles(root_, prefix, options);
  }

  absl::Status Delete(absl::string_view key) override {
    MUSTER_RETURN_IF_ERROR(CheckKey(key));
    MUSTER_RETURN_IF_ERROR(CheckMayChange(UriOf(key)));
    const std::string path = PathOf(key);
    struct stat info = {};
    if (lstat(path.c_str(), &info) != 0) return AbsentIsOk(errno, key);
    // A link goes itself, not what it leads to.
    if (!S_ISLNK(info.st_mode)) MUSTER_RETURN_IF_ERROR(CheckRegularFile(info, UriOf(key)));
    if (unlink(path.c_str()) != 0) return AbsentIsOk(errno, key);
    return absl::OkStatus();
  }

 private:
  std::string PathOf(absl::string_view key) const { return absl::StrCat(root_, "/", key); }
  std::string UriOf(absl::string_view key) const { return FileUri(PathOf(key)); }

  absl::StatusOr<OpenedFile> Open(absl::string_view key) const {
    if (rooted_) return OpenRegularFileBelow(root_, std::string(key), UriOf(key));
    return OpenRegularFile(PathOf(key), UriOf(key));
  }

  absl::Status CheckMayChange(const std::string& uri) const {
    if (!rooted_) return absl::OkStatus();
    return absl::PermissionDeniedError(absl::StrCat(uri, ": ", root_, " is only read from here"));
  }

  absl::Status CheckKey(absl::string_view key) const {
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(UriOf(key), key));
    const size_t slash = key.rfind('/');
    const absl::string_view name = slash == absl::string_view::npos ? key : key.substr(slash + 1);
    if (absl::StartsWith(name, kTemporaryPrefix)) {
      return absl::InvalidArgumentError(absl::StrCat(
          UriOf(key), ": names that begin with ", kTemporaryPrefix, " are for unfinished writes"));
    }
    return absl::OkStatus();
  }

  absl::Status AbsentIsOk(int error, absl::string_view key) const {
    if (error == ENOENT || error == ENOTDIR) return absl::OkStatus();
    return PathError(error, "delete it", UriOf(key));
  }

  absl::StatusOr<UniqueFd> MakeParents(const std::string& path, const std::string& uri) {
    MutexLock lock(directories_mutex_);
    return MakeDirectories(ParentOf(path), uri);
  }

  // Without the slash at its end, so "" for the root of the file system.
  const std::string root_;
  const bool rooted_;
  const std::unique_ptr<Random> random_;
  // One writer at a time makes directories, so that none relies on one that another has yet to
  // sync.
  Mutex directories_mutex_;
};

}  // namespace

std::unique_ptr<ObjectStore> NewFileObjectStore(absl::string_view root) {
  return std::make_unique<FileObjectStore>(root, /*rooted=*/false);
}

std::unique_ptr<ObjectStore> NewRootedFileObjectStore(absl::string_view root) {
  return std::make_unique<FileObjectStore>(root, /*rooted=*/true);
}

absl::Status RegisterFileObjectStore(ObjectStoreRegistry& registry) {
  const std::shared_ptr<ObjectStore> whole = NewFileObjectStore("/");
  return registry.Register(
      kFileScheme, [whole, rules = registry.rules()](const Uri& uri) -> absl::StatusOr<ObjectRef> {
        if (!uri.authority.empty() && uri.authority != "localhost") {
          return absl::InvalidArgumentError(
              absl::StrCat(uri.ToString(), ": names the host \"", uri.authority,
                           "\"; a file is opened on this machine, as file:///PATH"));
        }
        const std::string folder = rules.FolderOf(uri.path);
        if (folder.empty()) return ObjectRef{whole, uri.path};
        // The folder is without its first slash in the path, and the key without the one after it.
        return ObjectRef{NewRootedFileObjectStore(folder), uri.path.substr(folder.size())};
      });
}

}  // namespace muster
