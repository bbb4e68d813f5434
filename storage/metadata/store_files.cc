#include "storage/metadata/store_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"
#include "storage/files/file_error.h"
#include "storage/files/unique_fd.h"

namespace muster {

absl::StatusOr<std::vector<std::string>> ListStoreFiles(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator entry(directory, error);
  const std::filesystem::directory_iterator end;
  for (; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) return PathError(error.value(), "list it", directory);
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<std::string> ReadStoreFile(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return PathError(errno, "open it", path);
  struct stat info = {};
  if (fstat(fd.get(), &info) != 0) return PathError(errno, "look at it", path);
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = read(fd.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return PathError(errno, "read it", path);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

absl::StatusOr<CurrentManifest> CurrentManifestOf(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/CURRENT");
  MUSTER_ASSIGN_OR_RETURN(const std::string bytes, ReadStoreFile(path));
  absl::string_view text(bytes);
  CurrentManifest manifest;
  if (!absl::ConsumeSuffix(&text, "\n")) return absl::DataLossError(path + " is damaged");
  manifest.name = std::string(text);
  if (!absl::ConsumePrefix(&text, "MANIFEST-") || text.empty() ||
      text.find_first_not_of("0123456789") != absl::string_view::npos ||
      !absl::SimpleAtoi(text, &manifest.number)) {
    return absl::DataLossError(
        absl::StrCat(path, " is damaged: it names \"", manifest.name.substr(0, 64), "\""));
  }
  return manifest;
}

}  // namespace muster
