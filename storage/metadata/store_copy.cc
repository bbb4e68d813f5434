// How a copy is one state, although nobody stops writing meanwhile:
//
// 1. The witness is copied first: what it says is durable then, and has to be in the copy.
// 2. Tables and logs are opened, then the MANIFEST is read, then tables and logs that came meanwhile are
//    opened. What is open can't go any more. So everything that the MANIFEST names is there, but for a
//    file that came and went in between.
// 3. Logs are copied from the newest to the oldest. Only the newest grows; had an older one been copied
//    first, it could have grown and been followed by another since, and there would be a hole.
#include "storage/metadata/store_copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/files/file_error.h"
#include "storage/files/posix_file.h"
#include "storage/files/staged_file.h"
#include "storage/files/unique_fd.h"
#include "storage/metadata/store_files.h"
#include "storage/metadata/witness.h"
#include "storage/metadata/write_ahead_logs.h"

namespace muster {
namespace {

using OpenFiles = std::map<std::string, UniqueFd>;

// Those that a store is made of, but for the few that are written again and again.
bool IsCopied(const std::string& name) {
  return absl::EndsWith(name, ".sst") || WriteAheadLogNumber(name).has_value() ||
         absl::StartsWith(name, "OPTIONS-") || name == "IDENTITY";
}

absl::Status OpenAll(const std::string& directory, OpenFiles& files) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListStoreFiles(directory));
  for (const std::string& name : names) {
    if (!IsCopied(name) || files.contains(name)) continue;
    const std::string path = absl::StrCat(directory, "/", name);
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid() && errno == ENOENT) continue;
    if (!fd.valid()) return PathError(errno, "open it", path);
    files.emplace(name, std::move(fd));
  }
  return absl::OkStatus();
}

absl::Status CopyFile(const UniqueFd& from, const std::string& from_path,
                      const std::string& to_path) {
  struct stat info = {};
  if (fstat(from.get(), &info) != 0) return PathError(errno, "look at it", from_path);
  const UniqueFd to(open(to_path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!to.valid()) return PathError(errno, "make it", to_path);
  MUSTER_RETURN_IF_ERROR(CopyBytes({from.get(), from_path, 0}, {to.get(), to_path, 0}, info.st_size,
                                   std::stop_token()));
  if (fsync(to.get()) != 0) return PathError(errno, "sync it", to_path);
  return absl::OkStatus();
}

// Logs by falling number, then the rest.
std::vector<std::string> InCopyingOrder(const OpenFiles& files) {
  std::map<uint64_t, std::string, std::greater<>> logs;
  std::vector<std::string> others;
  for (const auto& [name, fd] : files) {
    const std::optional<uint64_t> number = WriteAheadLogNumber(name);
    if (number.has_value()) {
      logs.emplace(*number, name);
    } else {
      others.push_back(name);
    }
  }
  std::vector<std::string> order;
  for (auto& [number, name] : logs) order.push_back(std::move(name));
  order.insert(order.end(), others.begin(), others.end());
  return order;
}

}  // namespace

absl::Status CopyStore(const std::string& directory, const std::string& destination) {
  MUSTER_ASSIGN_OR_RETURN(const std::optional<Witnessed> witnessed, Witness::Read(directory));
  OpenFiles files;
  MUSTER_RETURN_IF_ERROR(OpenAll(directory, files));
  MUSTER_ASSIGN_OR_RETURN(const CurrentManifest current, CurrentManifestOf(directory));
  MUSTER_ASSIGN_OR_RETURN(const std::string manifest,
                          ReadStoreFile(absl::StrCat(directory, "/", current.name)));
  MUSTER_RETURN_IF_ERROR(OpenAll(directory, files));
  for (const std::string& name : InCopyingOrder(files)) {
    MUSTER_RETURN_IF_ERROR(CopyFile(files.at(name), absl::StrCat(directory, "/", name),
                                    absl::StrCat(destination, "/", name)));
  }
  MUSTER_RETURN_IF_ERROR(WriteWholeFile(absl::StrCat(destination, "/", current.name), manifest));
  if (witnessed.has_value()) {
    MUSTER_RETURN_IF_ERROR(Witness::Make(destination, *witnessed).status());
  }
  return WriteWholeFile(absl::StrCat(destination, "/CURRENT"), absl::StrCat(current.name, "\n"));
}

}  // namespace muster
