// A record is lines of words; what may hold spaces is the last word of its line. "end" is the last
// line:
//     muster-view 1
//     model-version models/llama/versions/v1
//     content 0123456789abcdef0123456789abcdef
//     cache default /var/cache/muster
//     made hard whole shown
//     file hard SIZE KEY STATE PATH
//     end
#include "client/view/view_record.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/format/index_json.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"
#include "storage/files/file_guard.h"
#include "storage/files/staged_file.h"
#include "storage/files/unique_fd.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

constexpr char kFirstLine[] = "muster-view 1";
constexpr char kLastLine[] = "end";
// For a word that would be empty.
constexpr char kNone[] = "-";

constexpr absl::string_view kLinksNames[] = {"hard", "symlink", "copy", "reflink"};
constexpr absl::string_view kKindNames[] = {"hard", "symlink", "written"};
constexpr absl::string_view kStateNames[] = {"building", "built", "shown"};
constexpr absl::string_view kProtectionNames[] = {"own", "sealed", "watched"};
constexpr absl::string_view kPartialNames[] = {"whole", "partial"};

template <typename Enum, size_t kCount>
std::optional<Enum> Parse(absl::string_view name, const absl::string_view (&names)[kCount]) {
  for (size_t i = 0; i < kCount; ++i) {
    if (name == names[i]) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

std::string StateOf(const struct stat& state, ViewFile::Kind kind) {
  std::string text =
      absl::StrCat(state.st_ino, "/", state.st_mtim.tv_sec, ".", state.st_mtim.tv_nsec);
  // Another link to a cache entry moves its ctime.
  if (kind == ViewFile::Kind::kWritten) {
    absl::StrAppend(&text, "/", state.st_ctim.tv_sec, ".", state.st_ctim.tv_nsec);
  }
  return text;
}

std::string FileLine(const ViewFile& file) {
  const auto word = [](const std::string& text) { return text.empty() ? kNone : text.c_str(); };
  return absl::StrCat("file ", kKindNames[static_cast<size_t>(file.kind)], " ", file.size_bytes,
                      " ", word(file.key), " ", word(file.state), " ", file.path);
}

bool ParseFile(absl::string_view rest, ViewFile& file) {
  const std::vector<absl::string_view> words = absl::StrSplit(rest, absl::MaxSplits(' ', 4));
  if (words.size() != 5) return false;
  const auto kind = Parse<ViewFile::Kind>(words[0], kKindNames);
  if (!kind.has_value() || !absl::SimpleAtoi(words[1], &file.size_bytes)) return false;
  file.kind = *kind;
  file.key = words[2] == kNone ? "" : std::string(words[2]);
  file.state = words[3] == kNone ? "" : std::string(words[3]);
  file.path = std::string(words[4]);
  return IsSafeRelativePath(file.path);
}

bool ParseMade(absl::string_view rest, ViewRecord& record) {
  const std::vector<absl::string_view> words = absl::StrSplit(rest, ' ');
  if (words.size() != 3) return false;
  const auto links = Parse<ViewLinks>(words[0], kLinksNames);
  const auto partial = Parse<bool>(words[1], kPartialNames);
  const auto state = Parse<ViewRecord::State>(words[2], kStateNames);
  if (!links.has_value() || !partial.has_value() || !state.has_value()) return false;
  record.links = *links;
  record.partial = *partial;
  record.state = *state;
  return true;
}

bool ParseLine(absl::string_view line, ViewRecord& record) {
  if (absl::ConsumePrefix(&line, "model-version ")) {
    record.model_version = std::string(line);
    return true;
  }
  if (absl::ConsumePrefix(&line, "content ")) {
    record.content = std::string(line);
    return true;
  }
  if (absl::ConsumePrefix(&line, "cache ")) {
    const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    if (words.size() != 2) return false;
    record.cache = {words[1], words[0]};
    return true;
  }
  if (absl::ConsumePrefix(&line, "made ")) return ParseMade(line, record);
  return absl::ConsumePrefix(&line, "file ") && ParseFile(line, record.files.emplace_back());
}

std::optional<ViewRecord> ParseRecord(const std::string& text) {
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  if (lines.size() < 2 || lines.front() != kFirstLine || lines.back() != kLastLine) {
    return std::nullopt;
  }
  ViewRecord record;
  for (size_t i = 1; i + 1 < lines.size(); ++i) {
    if (!ParseLine(lines[i], record)) return std::nullopt;
  }
  return record;
}

absl::Status Broken(const std::string& path, absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, reasons::kViewBroken,
                   absl::StrCat(QuoteForMessage(path), ": ", what), {{"path", path}});
}

}  // namespace

absl::string_view ViewLinksName(ViewLinks links) { return kLinksNames[static_cast<size_t>(links)]; }

int64_t ViewRecord::SizeBytes() const {
  int64_t bytes = 0;
  for (const ViewFile& file : files) bytes += file.size_bytes;
  return bytes;
}

std::vector<std::string> ViewRecord::Keys() const {
  std::set<std::string> keys;
  for (const ViewFile& file : files) {
    if (!file.key.empty()) keys.insert(file.key);
  }
  return std::vector<std::string>(keys.begin(), keys.end());
}

absl::Status WriteViewRecord(const ViewPlace& place, absl::string_view version,
                             const ViewRecord& record) {
  std::string text = absl::StrCat(kFirstLine, "\nmodel-version ", record.model_version,
                                  "\ncontent ", record.content, "\ncache ", record.cache.domain,
                                  " ", record.cache.path, "\nmade ", ViewLinksName(record.links),
                                  " ", kPartialNames[record.partial ? 1 : 0], " ",
                                  kStateNames[static_cast<size_t>(record.state)], "\n");
  for (const ViewFile& file : record.files) absl::StrAppend(&text, FileLine(file), "\n");
  absl::StrAppend(&text, kLastLine, "\n");
  return WriteWholeFile(place.RecordPathOf(version), text);
}

absl::StatusOr<ViewRecord> ReadViewRecord(const ViewPlace& place, absl::string_view version) {
  const std::string path = place.RecordPathOf(version);
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return PathError(errno == 0 ? EIO : errno, "read it", path);
  std::ostringstream text;
  text << file.rdbuf();
  std::optional<ViewRecord> record = ParseRecord(text.str());
  if (record.has_value()) return *std::move(record);
  return MakeError(
      absl::StatusCode::kDataLoss, reasons::kViewRecordBroken,
      absl::StrCat(QuoteForMessage(path), ": can't be understood; `muster view remove` ",
                   "with --force takes the version away"),
      {{"path", path}});
}

std::string LinkTargetOf(const ViewPlace& place, absl::string_view version, absl::string_view path,
                         const ShardCache::Place& cache, absl::string_view key) {
  const fs::path link(absl::StrCat(place.PathOf(version), "/", path));
  const fs::path entry(absl::StrCat(cache.path, "/", cache.domain, "/", key));
  return entry.lexically_relative(link.parent_path()).string();
}

absl::Status NoteState(const std::string& directory, ViewFile& file) {
  const std::string path = absl::StrCat(directory, "/", file.path);
  struct stat state {};
  if (lstat(path.c_str(), &state) != 0) return PathError(errno, "look at it", path);
  if (file.kind == ViewFile::Kind::kSymlink) return absl::OkStatus();
  file.size_bytes = state.st_size;
  file.state = StateOf(state, file.kind);
  return absl::OkStatus();
}

absl::string_view ViewProtectionName(ViewProtection protection) {
  return kProtectionNames[static_cast<size_t>(protection)];
}

ViewProtection ProtectionOf(const ViewPlace& place, absl::string_view version,
                            const ViewRecord& record) {
  ViewProtection protection = ViewProtection::kOwnFiles;
  for (const ViewFile& file : record.files) {
    if (file.key.empty()) continue;
    protection = ViewProtection::kSealed;
    const std::string path = absl::StrCat(place.PathOf(version), "/", file.path);
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd.valid() || !IsSealed(fd.get())) return ViewProtection::kWatched;
  }
  return protection;
}

absl::Status CheckViewFiles(const ViewPlace& place, absl::string_view version,
                            const ViewRecord& record) {
  for (const ViewFile& file : record.files) {
    const std::string path = absl::StrCat(place.PathOf(version), "/", file.path);
    struct stat state {};
    const bool is_link = file.kind == ViewFile::Kind::kSymlink;
    // Of a link, what it leads to.
    if ((is_link ? stat(path.c_str(), &state) : lstat(path.c_str(), &state)) != 0) {
      return Broken(path, errno == ENOENT ? "is missing" : "can't be looked at");
    }
    if (!S_ISREG(state.st_mode) || state.st_size != file.size_bytes) {
      return Broken(path,
                    absl::StrCat("has ", state.st_size, " bytes instead of ", file.size_bytes));
    }
    if (!is_link && StateOf(state, file.kind) != file.state) {
      return Broken(path, "was changed or replaced");
    }
    if (!is_link) continue;
    std::error_code error;
    const std::string target = fs::read_symlink(path, error).string();
    if (target != LinkTargetOf(place, version, file.path, record.cache, file.key)) {
      return Broken(path, absl::StrCat("leads to ", QuoteForMessage(target)));
    }
  }
  return absl::OkStatus();
}

}  // namespace muster
