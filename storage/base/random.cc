#include "storage/base/random.h"

#include <random>

#include "absl/strings/str_format.h"
#include "storage/base/mutex.h"

namespace muster {
namespace {

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : engine_(seed) {}

  uint64_t Next64() override {
    MutexLock lock(mutex_);
    return engine_();
  }

 private:
  Mutex mutex_;
  std::mt19937_64 engine_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace

std::string Random::NextId() {
  const uint64_t high = Next64();
  return absl::StrFormat("%016x%016x", high, Next64());
}

std::unique_ptr<Random> NewSeededRandom(uint64_t seed) {
  return std::make_unique<SeededRandom>(seed);
}

std::unique_ptr<Random> NewSystemRandom() {
  std::random_device device;
  const uint64_t high = device();
  return std::make_unique<SeededRandom>(high << 32 | device());
}

}  // namespace muster
