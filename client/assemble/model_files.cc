#include "client/assemble/model_files.h"

#include <filesystem>
#include <optional>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/file_error.h"
#include "storage/files/staged_file.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

}  // namespace

absl::Status MakeFolderOf(const std::string& path) {
  return MakeDirectories(ParentOf(path), QuoteForMessage(path)).status();
}

absl::Status CopyCompanions(ShardCopier& copier, const std::vector<v1::Companion>& companions,
                            const std::vector<KeptCompanions>& kept, const std::string& directory,
                            const std::stop_token& stop) {
  for (const v1::Companion& companion : companions) {
    if (stop.stop_requested()) return absl::CancelledError("interrupted");
    const std::string path = absl::StrCat(directory, "/", companion.path());
    MUSTER_RETURN_IF_ERROR(MakeFolderOf(path));
    MUSTER_ASSIGN_OR_RETURN(StagedFile file, StagedFile::Create(path));
    StagedFileSink sink(file, 0);
    std::optional<std::string> bytes;
    for (size_t i = 0; i < kept.size() && !bytes.has_value(); ++i) {
      bytes = kept[i].BytesOf(companion);
    }
    const absl::Status copied =
        bytes.has_value() ? sink.Write(0, *bytes) : copier.CopyCompanion(companion, sink, stop);
    if (!copied.ok()) return Annotate(copied, QuoteForMessage(companion.path()));
    MUSTER_RETURN_IF_ERROR(file.Commit());
  }
  return absl::OkStatus();
}

absl::Status SyncTree(const std::string& root) {
  std::error_code error;
  for (fs::recursive_directory_iterator it(root, error), end; !error && it != end;
       it.increment(error)) {
    if (it->is_directory(error)) MUSTER_RETURN_IF_ERROR(SyncDirectory(it->path().string()));
  }
  if (error) return PathError(error.value(), "list it", QuoteForMessage(root));
  return SyncDirectory(root);
}

}  // namespace muster
