#include "client/format/byte_source.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::Status ErrnoError(int error, absl::string_view path, absl::string_view action) {
  const std::string message =
      absl::StrCat(QuoteForMessage(path), ": can't ", action, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(message);
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(
          absl::StrCat(message, "; raise the limit of open files (ulimit -n)"));
    case EIO:
      return absl::DataLossError(message);
    case ELOOP:
    case ENAMETOOLONG:
      return absl::InvalidArgumentError(message);
    default:
      return absl::UnavailableError(message);
  }
}

absl::string_view KindName(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "no regular file";
}

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
  FileByteSource(std::string path, int fd, const struct stat& info)
      : path_(std::move(path)),
        fd_(fd),
        size_bytes_(info.st_size),
        fingerprint_(FingerprintOf(info)) {}
  ~FileByteSource() override { ::close(fd_); }
  FileByteSource(const FileByteSource&) = delete;
  FileByteSource& operator=(const FileByteSource&) = delete;

  const std::string& name() const override { return path_; }
  int64_t size_bytes() const override { return size_bytes_; }
  const std::string& fingerprint() const override { return fingerprint_; }

  absl::Status Read(int64_t offset, absl::Span<char> out) const override {
    MUSTER_RETURN_IF_ERROR(CheckRange(path_, size_bytes_, offset, out.size()));
    while (!out.empty()) {
      const ssize_t got = ::pread(fd_, out.data(), out.size(), offset);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoError(errno, path_, "read");
      if (got == 0) {
        return absl::AbortedError(
            absl::StrCat(QuoteForMessage(path_), ": ends at byte ", offset, ", had ", size_bytes_,
                         " bytes when it was opened; it changes while it is read"));
      }
      offset += got;
      out.remove_prefix(static_cast<size_t>(got));
    }
    return absl::OkStatus();
  }

  // The open file tells of a change in place, the path of a replacement.
  absl::Status CheckUnchanged() const override {
    struct stat info;
    if (::fstat(fd_, &info) != 0) return ErrnoError(errno, path_, "look at it again");
    MUSTER_RETURN_IF_ERROR(Compare(FingerprintOf(info)));
    if (::stat(path_.c_str(), &info) != 0) {
      return absl::AbortedError(absl::StrCat(
          QuoteForMessage(path_), ": went away while it was read: ", std::strerror(errno)));
    }
    return Compare(FingerprintOf(info));
  }

 private:
  absl::Status Compare(const std::string& found) const {
    if (found == fingerprint_) return absl::OkStatus();
    return absl::AbortedError(absl::StrCat(QuoteForMessage(path_),
                                           ": changed while it was read (was ", fingerprint_,
                                           ", is ", found, "); try again once it is still"));
  }

  const std::string path_;
  const int fd_;
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
  // Without O_NONBLOCK, opening a FIFO waits until somebody writes to it.
  const int fd = ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  const int error = errno;
  struct stat info;
  if (fd < 0) {
    if (error == ENXIO && ::stat(name.c_str(), &info) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          QuoteForMessage(path), ": is ", KindName(info.st_mode), ", not a regular file"));
    }
    return ErrnoError(error, path, "open");
  }
  if (::fstat(fd, &info) != 0) {
    const int stat_error = errno;
    ::close(fd);
    return ErrnoError(stat_error, path, "look at it");
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return absl::InvalidArgumentError(absl::StrCat(QuoteForMessage(path), ": is ",
                                                   KindName(info.st_mode), ", not a regular file"));
  }
  return std::make_shared<FileByteSource>(std::move(name), fd, info);
}

std::shared_ptr<const ByteSource> NewMemoryByteSource(absl::string_view name, std::string bytes) {
  return std::make_shared<MemoryByteSource>(name, std::move(bytes));
}

}  // namespace muster
