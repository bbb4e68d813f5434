#include "client/format/byte_source.h"

#include <errno.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"
#include "storage/files/posix_file.h"

namespace muster {
namespace {

std::string FingerprintOf(const struct stat& info) {
  return absl::StrCat("size=", info.st_size, " mtime=", info.st_mtim.tv_sec, ".",
                      info.st_mtim.tv_nsec, " inode=", info.st_dev, ":", info.st_ino);
}

absl::Status CheckRange(absl::string_view name, int64_t size, int64_t offset, size_t length) {
  if (offset >= 0 && offset <= size && length <= static_cast<uint64_t>(size - offset)) {
    return absl::OkStatus();
  }
  return absl::OutOfRangeError(absl::StrCat(QuoteForMessage(name), ": ", length,
                                            " bytes at offset ", offset, " are not inside its ",
                                            size, " bytes"));
}

class FileByteSource final : public ByteSource {
 public:
  FileByteSource(std::string path, OpenedFile file)
      : path_(std::move(path)),
        quoted_(QuoteForMessage(path_)),
        fd_(std::move(file.fd)),
        size_bytes_(file.info.st_size),
        fingerprint_(FingerprintOf(file.info)) {}

  const std::string& name() const override { return path_; }
  int64_t size_bytes() const override { return size_bytes_; }
  const std::string& fingerprint() const override { return fingerprint_; }

  absl::Status Read(int64_t offset, absl::Span<char> out) const override {
    MUSTER_RETURN_IF_ERROR(CheckRange(path_, size_bytes_, offset, out.size()));
    const absl::Status status = ReadAt(fd_.get(), quoted_, offset, out);
    if (!absl::IsOutOfRange(status)) return status;
    return absl::AbortedError(absl::StrCat(status.message(), ", had ", size_bytes_,
                                           " bytes when it was opened; it changes while it is "
                                           "read"));
  }

  // The open file reveals a change in place, the path a replacement.
  absl::Status CheckUnchanged() const override {
    MUSTER_ASSIGN_OR_RETURN(const struct stat open_file, StatOf(fd_.get(), quoted_));
    MUSTER_RETURN_IF_ERROR(Compare(FingerprintOf(open_file)));
    struct stat by_path = {};
    if (stat(path_.c_str(), &by_path) == 0) return Compare(FingerprintOf(by_path));
    return absl::AbortedError(
        absl::StrCat(quoted_, ": went away while it was read: ", std::strerror(errno)));
  }

 private:
  absl::Status Compare(const std::string& found) const {
    if (found == fingerprint_) return absl::OkStatus();
    return absl::AbortedError(absl::StrCat(quoted_, ": changed while it was read (was ",
                                           fingerprint_, ", is ", found,
                                           "); try again once it is still"));
  }

  const std::string path_;
  const std::string quoted_;
  const UniqueFd fd_;
  const int64_t size_bytes_;
  const std::string fingerprint_;
};

class MemoryByteSource final : public ByteSource {
 public:
  MemoryByteSource(absl::string_view name, std::string bytes)
      : name_(name), bytes_(std::move(bytes)), fingerprint_(absl::StrCat("size=", bytes_.size())) {}

  const std::string& name() const override { return name_; }
  int64_t size_bytes() const override { return static_cast<int64_t>(bytes_.size()); }
  const std::string& fingerprint() const override { return fingerprint_; }
  absl::Status CheckUnchanged() const override { return absl::OkStatus(); }

  absl::Status Read(int64_t offset, absl::Span<char> out) const override {
    MUSTER_RETURN_IF_ERROR(CheckRange(name_, size_bytes(), offset, out.size()));
    std::copy_n(bytes_.data() + offset, out.size(), out.data());
    return absl::OkStatus();
  }

 private:
  const std::string name_;
  const std::string bytes_;
  const std::string fingerprint_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const ByteSource>> OpenFileByteSource(absl::string_view path) {
  std::string name(path);
  if (name.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(QuoteForMessage(path), ": a path has no NUL byte"));
  }
  MUSTER_ASSIGN_OR_RETURN(OpenedFile file, OpenRegularFile(name, QuoteForMessage(path),
                                                           absl::StatusCode::kInvalidArgument));
  return std::make_shared<FileByteSource>(std::move(name), std::move(file));
}

std::shared_ptr<const ByteSource> NewMemoryByteSource(absl::string_view name, std::string bytes) {
  return std::make_shared<MemoryByteSource>(name, std::move(bytes));
}

}  // namespace muster
