// The owner of a file descriptor.
#ifndef MUSTER_STORAGE_FILES_UNIQUE_FD_H_
#define MUSTER_STORAGE_FILES_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace muster {

// Closes the descriptor when it ends. Movable. Not thread-safe, but the calls on its descriptor are.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  ~UniqueFd() { Reset(); }
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = other.Release();
    }
    return *this;
  }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void Reset() {
    if (fd_ >= 0) close(Release());
  }
  // Gives the descriptor away.
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_FILES_UNIQUE_FD_H_
