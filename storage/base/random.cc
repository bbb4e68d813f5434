#include "storage/base/random.h"

#include <random>

#include "absl/strings/str_format.h"
#include "storage/base/mutex.h"

namespace muster {
namespace {

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : engine_(seed) {}
  explicit SeededRandom(std::seed_seq& seed) : engine_(seed) {}

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
  // 256 bits, so that what nobody may guess can be made of it.
  std::random_device device;
  std::seed_seq seed{device(), device(), device(), device(),
                     device(), device(), device(), device()};
  return std::make_unique<SeededRandom>(seed);
}

}  // namespace muster
