#include "client/agent/node_folder.h"

#include <errno.h>
#include <fcntl.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/file_error.h"
#include "storage/files/posix_file.h"
#include "storage/files/staged_file.h"

namespace muster {
namespace {

// No name of a cache domain begins with a dot.
constexpr char kFolderOfNodes[] = ".nodes";
constexpr char kIdentityName[] = "identity";
// As Random::NextId makes it: 128 bits.
constexpr size_t kIdentityBytes = 32;

bool IsIdentity(absl::string_view text) {
  return text.size() == kIdentityBytes &&
         text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

// "" where it is absent or damaged.
absl::StatusOr<std::string> ReadIdentity(const std::string& path) {
  const absl::StatusOr<OpenedFile> file = OpenRegularFile(path, path);
  if (absl::IsNotFound(file.status())) return std::string();
  MUSTER_RETURN_IF_ERROR(file.status());
  std::string text(kIdentityBytes, '\0');
  const absl::Status read =
      ReadAt(file->fd.get(), path, 0, absl::MakeSpan(text.data(), text.size()));
  if (absl::IsOutOfRange(read)) return std::string();
  MUSTER_RETURN_IF_ERROR(read);
  return IsIdentity(text) ? text : std::string();
}

}  // namespace

NodeFolder::NodeFolder(absl::string_view cache, absl::string_view node)
    : path_(absl::StrCat(WithoutTrailingSlashes(cache), "/", kFolderOfNodes, "/",
                         absl::StripPrefix(node, "nodes/"))) {}

std::string NodeFolder::CompanionsPath() const { return absl::StrCat(path_, "/companions"); }

absl::Status NodeFolder::Make() const {
  return MakeDirectories(path_, path_, {.mode = 0700, .parent_mode = 0755}).status();
}

absl::StatusOr<std::string> NodeFolder::Identity(Random& random) const {
  MUSTER_RETURN_IF_ERROR(Make());
  // Two agents that begin at once agree on one.
  const UniqueFd folder(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return PathError(errno, "open it", path_);
  MUSTER_RETURN_IF_ERROR(LockExclusive(folder.get(), path_, {}));
  const std::string path = absl::StrCat(path_, "/", kIdentityName);
  MUSTER_ASSIGN_OR_RETURN(std::string identity, ReadIdentity(path));
  if (!identity.empty()) return identity;
  identity = random.NextId();
  MUSTER_RETURN_IF_ERROR(WriteSecretFile(path, absl::StrCat(identity, "\n"), /*may_replace=*/true));
  return identity;
}

}  // namespace muster
