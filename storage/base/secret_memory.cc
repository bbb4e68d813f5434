#include "storage/base/secret_memory.h"

#include <openssl/crypto.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "storage/base/mutex.h"

namespace muster {
namespace {

// At once, so that a process with a few keys locks one range: 32 keys and texts.
constexpr size_t kRangeBytes = 4096;

// Hands out parts of locked ranges, which are never given back to the system: there are as many as there
// ever were keys at once.
class SecretPages {
 public:
  char* Take() {
    MutexLock lock(mutex_);
    if (free_.empty()) AddRange();
    char* const bytes = free_.back();
    free_.pop_back();
    return bytes;
  }

  void GiveBack(char* bytes) {
    OPENSSL_cleanse(bytes, SecretMemory::kBytes);
    MutexLock lock(mutex_);
    free_.push_back(bytes);
  }

 private:
  void AddRange() MUSTER_REQUIRES(mutex_) {
    void* const range =
        mmap(nullptr, kRangeBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    // As when malloc has none for 32 bytes.
    if (range == MAP_FAILED) std::abort();
    madvise(range, kRangeBytes, MADV_DONTDUMP);
    madvise(range, kRangeBytes, MADV_WIPEONFORK);
    // Refused where RLIMIT_MEMLOCK is 0; then the swap should be encrypted.
    mlock(range, kRangeBytes);
    for (size_t at = 0; at < kRangeBytes; at += SecretMemory::kBytes) {
      free_.push_back(static_cast<char*>(range) + at);
    }
  }

  Mutex mutex_;
  std::vector<char*> free_ MUSTER_GUARDED_BY(mutex_);
};

// Never destroyed: keys may go after it.
SecretPages& Pages() {
  static auto& pages = *new SecretPages;
  return pages;
}

}  // namespace

SecretMemory::SecretMemory() : bytes_(Pages().Take()) {}

SecretMemory::SecretMemory(const SecretMemory& other) : SecretMemory() { *this = other; }

SecretMemory& SecretMemory::operator=(const SecretMemory& other) {
  if (this != &other) std::memcpy(bytes_, other.bytes_, kBytes);
  return *this;
}

SecretMemory::~SecretMemory() { Pages().GiveBack(bytes_); }

}  // namespace muster
