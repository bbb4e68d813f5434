#include "client/loading/shard_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// memfd_create takes 249 bytes.
constexpr size_t kMaxMemfdName = 249;
// With these nobody can change the bytes any more, and the seals can't be taken back.
constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;

// Touching fresh memory in small pages takes as long as hashing what is put there. Only a hint.
void AskForHugePages(const Mapping& mapping) {
  madvise(mapping.data(), mapping.size(), MADV_HUGEPAGE);
}

}  // namespace

Mapping::~Mapping() {
  if (data_ != nullptr) munmap(data_, size_);
}

absl::StatusOr<Mapping> Mapping::Make(const Request& request) {
  void* const data =
      mmap(nullptr, request.size_bytes, request.protection, request.flags, request.fd, 0);
  if (data != MAP_FAILED) return Mapping(static_cast<char*>(data), request.size_bytes);
  const int error = errno;
  const std::string message =
      absl::StrCat("can't map ", request.size_bytes, " bytes into memory: ", std::strerror(error));
  if (error == ENOMEM || error == ENFILE) return absl::ResourceExhaustedError(message);
  return absl::InternalError(message);
}

absl::StatusOr<ShardMemory> ShardMemory::Map(CachedShard entry) {
  MUSTER_ASSIGN_OR_RETURN(Mapping mapping,
                          Mapping::Make({.size_bytes = static_cast<size_t>(entry.size_bytes()),
                                         .protection = PROT_READ,
                                         .flags = MAP_SHARED,
                                         .fd = entry.fd()}));
  // The mapping keeps the file; what else the entry has says that it is in use.
  entry.CloseFile();
  ShardMemory memory(std::move(mapping));
  memory.entry_.emplace(std::move(entry));
  return memory;
}

absl::StatusOr<ShardMemory> ShardMemory::MapSealed(UniqueFd fd) {
  const int seals = fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) {
    return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kNotSealed,
                     "this is not shared memory that is sealed against writing, shrinking and "
                     "growing, so it could change while it is used");
  }
  MUSTER_ASSIGN_OR_RETURN(const struct stat state, StatOf(fd.get(), "shared memory"));
  // Before Linux 6.7, what is sealed against writes can be mapped privately only. No page is ever
  // written, so none is copied.
  MUSTER_ASSIGN_OR_RETURN(Mapping mapping,
                          Mapping::Make({.size_bytes = static_cast<size_t>(state.st_size),
                                         .protection = PROT_READ,
                                         .flags = MAP_PRIVATE,
                                         .fd = fd.get()}));
  ShardMemory memory(std::move(mapping));
  memory.shared_fd_ = std::move(fd);
  return memory;
}

absl::StatusOr<std::unique_ptr<ShardMemorySink>> ShardMemorySink::MakePrivate(int64_t size_bytes) {
  MUSTER_ASSIGN_OR_RETURN(Mapping mapping,
                          Mapping::Make({.size_bytes = static_cast<size_t>(size_bytes),
                                         .protection = PROT_READ | PROT_WRITE,
                                         .flags = MAP_PRIVATE | MAP_ANONYMOUS}));
  AskForHugePages(mapping);
  return absl::WrapUnique(new ShardMemorySink(std::move(mapping), UniqueFd()));
}

absl::StatusOr<std::unique_ptr<ShardMemorySink>> ShardMemorySink::MakeShared(
    int64_t size_bytes, const std::string& name) {
  const std::string short_name = name.substr(0, kMaxMemfdName);
  UniqueFd fd(memfd_create(short_name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return PathError(errno, "make it as shared memory", short_name);
  if (ftruncate(fd.get(), size_bytes) != 0) return PathError(errno, "grow it", short_name);
  MUSTER_ASSIGN_OR_RETURN(Mapping mapping,
                          Mapping::Make({.size_bytes = static_cast<size_t>(size_bytes),
                                         .protection = PROT_READ | PROT_WRITE,
                                         .flags = MAP_SHARED,
                                         .fd = fd.get()}));
  AskForHugePages(mapping);
  return absl::WrapUnique(new ShardMemorySink(std::move(mapping), std::move(fd)));
}

absl::Span<char> ShardMemorySink::MemoryOf(int64_t offset, int64_t length) {
  return absl::MakeSpan(mapping_.data() + offset, static_cast<size_t>(length));
}

absl::Status ShardMemorySink::Write(int64_t offset, absl::string_view bytes) {
  const auto size = static_cast<int64_t>(mapping_.size());
  if (offset < 0 || offset > size || static_cast<int64_t>(bytes.size()) > size - offset) {
    return absl::InternalError(absl::StrCat("a range of ", bytes.size(), " bytes at ", offset,
                                            " is outside ", size, " bytes of memory"));
  }
  if (!bytes.empty()) std::memcpy(mapping_.data() + offset, bytes.data(), bytes.size());
  return absl::OkStatus();
}

absl::StatusOr<ShardMemory> ShardMemorySink::Finish() {
  const size_t size = mapping_.size();
  if (!shared_fd_.valid()) {
    if (mprotect(mapping_.data(), size, PROT_READ) != 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("can't make memory read-only: ", std::strerror(errno)));
    }
    return ShardMemory(std::move(mapping_));
  }
  // The kernel seals only what nobody has mapped for writing.
  mapping_ = Mapping();
  if (fcntl(shared_fd_.get(), F_ADD_SEALS, kSeals) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("can't seal shared memory: ", std::strerror(errno),
                     "; another process may have opened it before it was verified"));
  }
  return ShardMemory::MapSealed(std::move(shared_fd_));
}

}  // namespace muster
