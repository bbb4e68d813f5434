// Where the bytes of a loaded shard lie in memory.
#ifndef MUSTER_CLIENT_LOADING_SHARD_MEMORY_H_
#define MUSTER_CLIENT_LOADING_SHARD_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cache/piece_sink.h"
#include "client/cache/shard_cache.h"
#include "storage/files/posix_file.h"

namespace muster {

// Owns a range of pages of this process. Movable.
class Mapping {
 public:
  struct Request {
    size_t size_bytes = 0;
    // PROT_… and MAP_… of mmap.
    int protection = 0;
    int flags = 0;
    // -1: no file.
    int fd = -1;
  };

  Mapping() = default;
  ~Mapping();
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  // kResourceExhausted when there is not that much memory or address space.
  static absl::StatusOr<Mapping> Make(const Request& request);

  char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  Mapping(char* data, size_t size) : data_(data), size_(size) {}

  char* data_ = nullptr;
  size_t size_ = 0;
};

// All bytes of one verified shard, read-only as long as the object lives. They begin at a page.
// Movable; thread-safe.
class ShardMemory {
 public:
  // Maps a cache entry, which is in use meanwhile and not evicted.
  static absl::StatusOr<ShardMemory> Map(CachedShard entry);

  // Maps all of a memfd. kFailedPrecondition NOT_SEALED: it is none, or somebody could still change
  // its bytes or its size.
  static absl::StatusOr<ShardMemory> MapSealed(UniqueFd fd);

  absl::string_view bytes() const { return {mapping_.data(), mapping_.size()}; }

  // Of anonymous shared memory: a sealed memfd that holds the shard from byte 0. -1 for others.
  int shared_fd() const { return shared_fd_.get(); }

 private:
  friend class ShardMemorySink;
  explicit ShardMemory(Mapping mapping) : mapping_(std::move(mapping)) {}

  Mapping mapping_;
  UniqueFd shared_fd_;
  std::optional<CachedShard> entry_;
};

// Memory that a pull fills, and that nobody is given before it is whole.
class ShardMemorySink final : public PieceSink {
 public:
  // Memory of this process alone.
  static absl::StatusOr<std::unique_ptr<ShardMemorySink>> MakePrivate(int64_t size_bytes);
  // Anonymous shared memory, which other processes can map once it is finished. `name` is what
  // /proc shows, after "memfd:"; cut to what the kernel takes.
  static absl::StatusOr<std::unique_ptr<ShardMemorySink>> MakeShared(int64_t size_bytes,
                                                                     const std::string& name);

  absl::Status Write(int64_t offset, absl::string_view bytes) override;
  bool HoldsBack() const override { return true; }
  absl::Span<char> MemoryOf(int64_t offset, int64_t length) override;

  // Called once, after the pull has returned OK: from here on nobody can change the bytes, in this
  // process or another. kFailedPrecondition: another process got at the memory and may write to it.
  absl::StatusOr<ShardMemory> Finish();

 private:
  ShardMemorySink(Mapping mapping, UniqueFd shared_fd)
      : mapping_(std::move(mapping)), shared_fd_(std::move(shared_fd)) {}

  Mapping mapping_;
  UniqueFd shared_fd_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_LOADING_SHARD_MEMORY_H_
