#include "storage/object/object_rules.h"

#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "storage/base/limits.h"

namespace muster {
namespace {

absl::Status RefuseKey(absl::string_view uri, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(uri, ": ", why));
}

}  // namespace

absl::Status CheckObjectKey(absl::string_view uri, absl::string_view key) {
  if (key.empty()) return RefuseKey(uri, "names no object; add a path");
  if (absl::StrContains(key, '\0')) return RefuseKey(uri, "the key has a zero byte");
  if (absl::EndsWith(key, "/"))
    return RefuseKey(uri, "names a prefix, not an object; drop the last slash");
  for (const absl::string_view segment : absl::StrSplit(key, '/')) {
    if (segment.empty() || segment == "." || segment == "..") {
      return RefuseKey(uri, absl::StrCat("the key has the segment \"", segment, "\""));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckObjectPrefix(absl::string_view uri, absl::string_view prefix) {
  const size_t slash = prefix.rfind('/');
  if (slash == absl::string_view::npos) {
    if (absl::StrContains(prefix, '\0')) return RefuseKey(uri, "the prefix has a zero byte");
    return absl::OkStatus();
  }
  if (absl::StrContains(prefix.substr(slash), '\0'))
    return RefuseKey(uri, "the prefix has a zero byte");
  return CheckObjectKey(uri, prefix.substr(0, slash));
}

absl::Status CheckListOptions(absl::string_view uri, const ObjectStore::ListOptions& options) {
  if (options.limit == 0) return RefuseKey(uri, "list limit is 0; ask for at least 1 object");
  return absl::OkStatus();
}

absl::Status CheckWriteOptions(absl::string_view uri, const ObjectStore::WriteOptions& options) {
  if (options.size_bytes < 0) {
    return RefuseKey(uri, absl::StrCat("announced size ", options.size_bytes, " is negative"));
  }
  if (options.part_size_bytes < kMinPieceSizeBytes ||
      options.part_size_bytes > kMaxPieceSizeBytes) {
    return RefuseKey(uri, absl::StrCat("part size ", options.part_size_bytes, " is not from ",
                                       kMinPieceSizeBytes, " to ", kMaxPieceSizeBytes, " bytes"));
  }
  return absl::OkStatus();
}

absl::Status CheckReadRange(absl::string_view uri, int64_t object_bytes, int64_t offset,
                            size_t bytes) {
  if (offset < 0) return RefuseKey(uri, absl::StrCat("read offset ", offset, " is negative"));
  if (offset > object_bytes || bytes > static_cast<uint64_t>(object_bytes - offset)) {
    return absl::OutOfRangeError(absl::StrCat(uri, ": expected ", bytes, " bytes at offset ",
                                              offset, ", found an object of ", object_bytes,
                                              " bytes"));
  }
  return absl::OkStatus();
}

absl::Status CheckVersion(absl::string_view uri, absl::string_view expected,
                          absl::string_view found) {
  if (expected.empty() || expected == found) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat(uri, ": the object was changed: expected version ",
                                         expected, ", found ", found));
}

WriteTracker::WriteTracker(std::string uri, const ObjectStore::WriteOptions& options)
    : uri_(std::move(uri)), options_(options) {}

absl::Status WriteTracker::Begin(int64_t offset, size_t bytes) {
  const int64_t size = options_.size_bytes;
  if (offset < 0 || offset > size || bytes > static_cast<uint64_t>(size - offset)) {
    return RefuseKey(uri_, absl::StrCat("write of ", bytes, " bytes at offset ", offset,
                                        " is outside the announced size ", size));
  }
  const int64_t end = offset + static_cast<int64_t>(bytes);
  const int64_t part = options_.part_size_bytes;
  if (offset % part != 0 || (end % part != 0 && end != size)) {
    return RefuseKey(uri_, absl::StrCat("write of ", bytes, " bytes at offset ", offset,
                                        " is not on boundaries of ", part, " bytes"));
  }
  MutexLock lock(mutex_);
  if (closed_) {
    return absl::FailedPreconditionError(absl::StrCat(uri_, ": write after the commit"));
  }
  if (bytes == 0) return absl::OkStatus();
  if (Meets(pending_, offset, end) || Meets(stored_, offset, end)) {
    return RefuseKey(uri_, absl::StrCat("write of ", bytes, " bytes at offset ", offset,
                                        " overlaps an earlier one"));
  }
  pending_.emplace(offset, end);
  return absl::OkStatus();
}

void WriteTracker::Finish(int64_t offset, size_t bytes, bool stored) {
  if (bytes == 0) return;
  MutexLock lock(mutex_);
  pending_.erase(offset);
  if (!stored) return;
  int64_t begin = offset;
  int64_t end = offset + static_cast<int64_t>(bytes);
  const auto next = stored_.find(end);
  if (next != stored_.end()) {
    end = next->second;
    stored_.erase(next);
  }
  const auto after = stored_.lower_bound(begin);
  if (after != stored_.begin() && std::prev(after)->second == begin) {
    begin = std::prev(after)->first;
  }
  stored_[begin] = end;
}

absl::Status WriteTracker::Close() {
  MutexLock lock(mutex_);
  if (closed_) return absl::FailedPreconditionError(absl::StrCat(uri_, ": a second commit"));
  int64_t stored_bytes = 0;
  for (const auto& [begin, end] : stored_) stored_bytes += end - begin;
  if (!pending_.empty() || stored_bytes != options_.size_bytes) {
    return absl::FailedPreconditionError(absl::StrCat(uri_, ": commit with ", stored_bytes, " of ",
                                                      options_.size_bytes, " bytes written"));
  }
  closed_ = true;
  return absl::OkStatus();
}

bool WriteTracker::Meets(const std::map<int64_t, int64_t>& ranges, int64_t begin, int64_t end) {
  const auto after = ranges.lower_bound(end);
  return after != ranges.begin() && std::prev(after)->second > begin;
}

}  // namespace muster
