#include "tests/unit/client/format/allocation_counter.h"

#include <malloc.h>
#include <stdlib.h>

#include <atomic>
#include <new>

namespace muster {
namespace {

std::atomic<int64_t> allocated{0};
std::atomic<int64_t> peak{0};

void* Allocate(size_t size) {
  void* memory = ::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) ::abort();
  const auto usable = static_cast<int64_t>(::malloc_usable_size(memory));
  const int64_t sum = allocated.fetch_add(usable) + usable;
  int64_t seen = peak.load();
  while (sum > seen && !peak.compare_exchange_weak(seen, sum)) {
  }
  return memory;
}

void Release(void* memory) {
  if (memory == nullptr) return;
  allocated.fetch_sub(static_cast<int64_t>(::malloc_usable_size(memory)));
  ::free(memory);
}

}  // namespace

int64_t AllocatedBytes() { return allocated.load(); }
int64_t PeakAllocatedBytes() { return peak.load(); }
void ResetPeak() { peak.store(allocated.load()); }

}  // namespace muster

void* operator new(size_t size) { return muster::Allocate(size); }
void* operator new[](size_t size) { return muster::Allocate(size); }
void operator delete(void* memory) noexcept { muster::Release(memory); }
void operator delete[](void* memory) noexcept { muster::Release(memory); }
void operator delete(void* memory, size_t) noexcept { muster::Release(memory); }
void operator delete[](void* memory, size_t) noexcept { muster::Release(memory); }
