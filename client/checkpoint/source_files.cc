#include "client/checkpoint/source_files.h"

#include <errno.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"
#include "storage/object/uri.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

class LocalSourceFiles final : public SourceFiles {
 public:
  absl::StatusOr<Kind> Look(absl::string_view src) const override {
    const fs::path path = fs::path(std::string(src));
    std::error_code error;
    Kind kind;
    kind.is_folder = fs::is_directory(path, error);
    kind.name = path.filename().string();
    if (!error || error == std::errc::no_such_file_or_directory ||
        error == std::errc::not_a_directory) {
      return kind;
    }
    const std::string message =
        absl::StrCat(QuoteForMessage(src), ": can't be read: ", error.message());
    if (error == std::errc::permission_denied) return absl::PermissionDeniedError(message);
    return absl::InvalidArgumentError(message);
  }

  absl::StatusOr<DirectoryContent> List(absl::string_view src,
                                        const WalkOptions& options) const override {
    return WalkCheckpointDirectory(src, options);
  }

  absl::StatusOr<std::shared_ptr<const ByteSource>> Open(const std::string& path) const override {
    return OpenFileByteSource(path);
  }

  absl::Status CheckReadable(const std::string& path) const override {
    if (::access(path.c_str(), R_OK) == 0) return absl::OkStatus();
    return absl::PermissionDeniedError(
        absl::StrCat(QuoteForMessage(path), ": can't be read: ", std::strerror(errno)));
  }

  // Where the file is once links are followed, since a link may be changed. Times and inodes are
  // others where nodes mount it, so that there is no version.
  absl::StatusOr<Place> Locate(const ByteSource& file) const override {
    std::error_code error;
    const fs::path real = fs::canonical(file.name(), error);
    if (error) {
      return absl::AbortedError(
          absl::StrCat(QuoteForMessage(file.name()), ": went away: ", error.message()));
    }
    Place place{FileUri(real.string()), ""};
    MUSTER_RETURN_IF_ERROR(ParseUri(place.uri).status());
    return place;
  }
};

}  // namespace

const SourceFiles& LocalFiles() {
  static const LocalSourceFiles files;
  return files;
}

}  // namespace muster
