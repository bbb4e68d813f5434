// Where a checkpoint's files are: in a local directory, or wherever else files can be listed and
// read.
#ifndef MUSTER_CLIENT_CHECKPOINT_SOURCE_FILES_H_
#define MUSTER_CLIENT_CHECKPOINT_SOURCE_FILES_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/checkpoint/directory_walk.h"
#include "client/format/byte_source.h"

namespace muster {

// Thread-safe; calls block. What it opens may outlive it.
class SourceFiles {
 public:
  // What SRC is.
  struct Kind {
    bool is_folder = false;
    // The last segment of SRC, decoded.
    std::string name;
  };
  // Where nodes find a file.
  struct Place {
    std::string uri;
    // As v1::Location has it.
    std::string version;
  };

  virtual ~SourceFiles() = default;

  // kPermissionDenied and the like when that can't be found out. What isn't there is no folder.
  virtual absl::StatusOr<Kind> Look(absl::string_view src) const = 0;

  // The files below the folder SRC, sorted; see DirectoryContent.
  virtual absl::StatusOr<DirectoryContent> List(absl::string_view src,
                                                const WalkOptions& options) const = 0;

  // `path` is FoundFile::path, or SRC. Errors as those of OpenFileByteSource.
  virtual absl::StatusOr<std::shared_ptr<const ByteSource>> Open(const std::string& path) const = 0;

  // kPermissionDenied when `path` can't be read, as far as that can be found out without reading
  // it.
  virtual absl::Status CheckReadable(const std::string& path) const = 0;

  // kAborted when the file went away.
  virtual absl::StatusOr<Place> Locate(const ByteSource& file) const = 0;
};

// Of the machine's file systems.
const SourceFiles& LocalFiles();

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_SOURCE_FILES_H_
