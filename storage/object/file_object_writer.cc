#include "storage/object/file_object_writer.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/object/object_rules.h"

namespace muster {
namespace {

class FileObjectWriter final : public ObjectWriter {
 public:
  FileObjectWriter(std::string uri, StagedFile file, const ObjectStore::WriteOptions& options)
      : uri_(std::move(uri)),
        file_(std::move(file)),
        must_not_exist_(options.must_not_exist),
        tracker_(uri_, options) {}

  absl::Status Write(int64_t offset, absl::string_view bytes) override {
    MUSTER_RETURN_IF_ERROR(tracker_.Begin(offset, bytes.size()));
    const absl::Status written = file_->Write(offset, bytes);
    tracker_.Finish(offset, bytes.size(), written.ok());
    return written;
  }

  absl::StatusOr<ObjectInfo> Commit() override {
    MUSTER_RETURN_IF_ERROR(tracker_.Close());
    const absl::StatusOr<struct stat> info = file_->Commit(/*may_replace=*/!must_not_exist_);
    // Closed, or removed where it got no name.
    file_.reset();
    if (absl::IsAlreadyExists(info.status())) {
      return absl::AlreadyExistsError(absl::StrCat(uri_, ": the object exists"));
    }
    MUSTER_RETURN_IF_ERROR(info.status());
    return InfoOf(*info);
  }

 private:
  const std::string uri_;
  // None after Commit; the tracker refuses to write then.
  std::optional<StagedFile> file_;
  const bool must_not_exist_;
  WriteTracker tracker_;
};

}  // namespace

ObjectInfo InfoOf(const struct stat& info) {
  return {info.st_size,
          absl::StrCat(absl::Hex(info.st_ino), "-", info.st_mtim.tv_sec, ".",
                       absl::Dec(info.st_mtim.tv_nsec, absl::kZeroPad9), "-", info.st_size)};
}

absl::StatusOr<std::unique_ptr<ObjectWriter>> NewFileObjectWriter(
    Random& random, FileDestination destination, const ObjectStore::WriteOptions& options) {
  std::string uri = destination.shown;
  MUSTER_ASSIGN_OR_RETURN(StagedFile file, StagedFile::Create(std::move(destination), [&random] {
                            return absl::StrCat(kTemporaryPrefix, random.NextId());
                          }));
  MUSTER_RETURN_IF_ERROR(file.Reserve(options.size_bytes));
  return std::make_unique<FileObjectWriter>(std::move(uri), std::move(file), options);
}

}  // namespace muster
