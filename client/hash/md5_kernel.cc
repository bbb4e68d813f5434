#include "client/hash/md5_kernel.h"

#include <bit>
#include <cstring>
#include <limits>

// Highway compiles this file once per target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "client/hash/md5_kernel.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

static_assert(std::endian::native == std::endian::little, "words are loaded as they lie in memory");

HWY_BEFORE_NAMESPACE();
namespace muster {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR

// Without vectors every input is hashed on its own.
Md5Kernel ThisKernel() {
  Md5Kernel kernel;
  kernel.narrow_lanes = kernel.wide_lanes = 1;
  kernel.break_even = std::numeric_limits<size_t>::max();
  kernel.target = hwy::TargetName(HWY_TARGET);
  return kernel;
}

#else

namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::CappedTag<uint32_t, 16>;
using Vector = hn::Vec<Tag>;
constexpr size_t kLanes = hn::MaxLanes(Tag());

// 16 bytes of each of the lanes 0, 4, 8, ... of `data`, behind one another.
template <size_t kWidth>
HWY_INLINE auto LoadRow(const uint8_t* const* data, size_t offset) {
  const hn::FixedTag<uint32_t, kWidth> tag;
  if constexpr (kWidth == 4) {
    return hn::LoadU(tag, reinterpret_cast<const uint32_t*>(*data + offset));
  } else {
    return hn::Combine(tag, LoadRow<kWidth / 2>(data + kWidth / 2, offset),
                       LoadRow<kWidth / 2>(data, offset));
  }
}

// Four rows become four words of every lane: a transposition of 4 x 4 within each 128 bits.
HWY_INLINE void LoadWords(const uint8_t* const* data, size_t offset, Vector* HWY_RESTRICT words) {
  const Tag tag;
  const hn::Repartition<uint64_t, Tag> tag64;
  const Vector row0 = LoadRow<kLanes>(data, offset);
  const Vector row1 = LoadRow<kLanes>(data + 1, offset);
  const Vector row2 = LoadRow<kLanes>(data + 2, offset);
  const Vector row3 = LoadRow<kLanes>(data + 3, offset);
  const auto low01 = hn::BitCast(tag64, hn::InterleaveLower(tag, row0, row1));
  const auto low23 = hn::BitCast(tag64, hn::InterleaveLower(tag, row2, row3));
  const auto high01 = hn::BitCast(tag64, hn::InterleaveUpper(tag, row0, row1));
  const auto high23 = hn::BitCast(tag64, hn::InterleaveUpper(tag, row2, row3));
  words[0] = hn::BitCast(tag, hn::InterleaveLower(tag64, low01, low23));
  words[1] = hn::BitCast(tag, hn::InterleaveUpper(tag64, low01, low23));
  words[2] = hn::BitCast(tag, hn::InterleaveLower(tag64, high01, high23));
  words[3] = hn::BitCast(tag, hn::InterleaveUpper(tag64, high01, high23));
}

// `sum` plus the round's function of b, c and d.
template <size_t kRound>
HWY_INLINE Vector AddFunction(Vector sum, Vector b, Vector c, Vector d) {
  if constexpr (kRound == 0) {
    return hn::Add(sum, hn::Xor(d, hn::And(b, hn::Xor(c, d))));
  } else if constexpr (kRound == 1) {
    // Both halves have no bit in common, so they may be added one by one; only one waits for b.
    return hn::Add(hn::Add(sum, hn::AndNot(d, c)), hn::And(d, b));
  } else if constexpr (kRound == 2) {
    return hn::Add(sum, hn::Xor(b, hn::Xor(c, d)));
  } else {
    // c ^ (b | ~d) is ~(c ^ (~b & d)), and ~x is -x - 1; the addend takes the 1.
    return hn::Sub(sum, hn::Xor(c, hn::AndNot(b, d)));
  }
}

template <size_t kStep>
HWY_INLINE void Step(Vector& a, Vector b, Vector c, Vector d, Vector addend, Vector word) {
  const Vector sum = AddFunction<kStep / 16>(hn::Add(hn::Add(a, word), addend), b, c, d);
  a = hn::Add(b, hn::RotateRight<32 - Md5Rotation(kStep)>(sum));
}

// Spelt out for each set: in a loop, which compilers leave as it is, the state would live in memory,
// at half the speed.
template <size_t kStep, size_t kSets>
HWY_INLINE void Steps(Vector (&state)[4][kSets], const Vector (&words)[kSets][16]) {
  static_assert(kSets == 1 || kSets == 2);
  if constexpr (kStep < 64) {
    constexpr size_t kA = (64 - kStep) % 4, kB = (kA + 1) % 4, kC = (kA + 2) % 4, kD = (kA + 3) % 4;
    constexpr size_t kWord = Md5Word(kStep);
    const Vector addend = hn::Set(Tag(), kMd5Addends[kStep] - (kStep / 16 == 3 ? 1 : 0));
    Step<kStep>(state[kA][0], state[kB][0], state[kC][0], state[kD][0], addend, words[0][kWord]);
    if constexpr (kSets == 2) {
      Step<kStep>(state[kA][1], state[kB][1], state[kC][1], state[kD][1], addend, words[1][kWord]);
    }
    Steps<kStep + 1, kSets>(state, words);
  }
}

template <size_t kSets>
void RunLanes(uint32_t* HWY_RESTRICT rows, const uint8_t* const* data, size_t blocks) {
  const Tag tag;
  Vector state[4][kSets];
  for (size_t row = 0; row < 4; ++row) {
    for (size_t set = 0; set < kSets; ++set) {
      state[row][set] = hn::LoadU(tag, rows + (row * kSets + set) * kLanes);
    }
  }
  for (size_t block = 0; block < blocks; ++block) {
    Vector words[kSets][16];
    for (size_t set = 0; set < kSets; ++set) {
      for (size_t group = 0; group < 4; ++group) {
        LoadWords(data + set * kLanes, block * 64 + group * 16, words[set] + group * 4);
      }
    }
    Vector next[4][kSets];
    for (size_t row = 0; row < 4; ++row) {
      for (size_t set = 0; set < kSets; ++set) next[row][set] = state[row][set];
    }
    Steps<0, kSets>(next, words);
    for (size_t row = 0; row < 4; ++row) {
      for (size_t set = 0; set < kSets; ++set) {
        state[row][set] = hn::Add(state[row][set], next[row][set]);
      }
    }
  }
  for (size_t row = 0; row < 4; ++row) {
    for (size_t set = 0; set < kSets; ++set) {
      hn::StoreU(state[row][set], tag, rows + (row * kSets + set) * kLanes);
    }
  }
}

Md5Kernel ThisKernel() {
  Md5Kernel kernel;
  kernel.narrow = &RunLanes<1>;
  kernel.narrow_lanes = kLanes;
  kernel.wide = &RunLanes<2>;
  kernel.wide_lanes = 2 * kLanes;
  // Measured by tests/bench/md5_benchmark: a vector of lanes takes about twice the time of one input
  // alone, and two vectors little more than one.
  kernel.break_even = 3;
  kernel.target = hwy::TargetName(HWY_TARGET);
  return kernel;
}

#endif  // HWY_TARGET == HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace muster
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace muster {
namespace {

uint32_t WordAt(const uint8_t* data, size_t word) {
  uint32_t value;
  std::memcpy(&value, data + 4 * word, sizeof(value));
  return value;
}

template <size_t kStep>
inline void ScalarSteps(uint32_t (&state)[4], const uint8_t* data) {
  if constexpr (kStep < 64) {
    constexpr size_t kA = (64 - kStep) % 4, kB = (kA + 1) % 4, kC = (kA + 2) % 4, kD = (kA + 3) % 4;
    const uint32_t b = state[kB], c = state[kC], d = state[kD];
    uint32_t sum = state[kA] + WordAt(data, Md5Word(kStep)) + kMd5Addends[kStep];
    if constexpr (kStep < 16) {
      sum += d ^ (b & (c ^ d));
    } else if constexpr (kStep < 32) {
      sum += c & ~d;
      sum += b & d;
    } else if constexpr (kStep < 48) {
      sum += b ^ (c ^ d);
    } else {
      sum += c ^ (b | ~d);
    }
    state[kA] = b + std::rotl(sum, Md5Rotation(kStep));
    ScalarSteps<kStep + 1>(state, data);
  }
}

}  // namespace

HWY_EXPORT(ThisKernel);

Md5Kernel Md5BestKernel() { return HWY_DYNAMIC_DISPATCH(ThisKernel)(); }

void Md5Blocks(Md5State& state, const uint8_t* data, size_t blocks) {
  for (size_t block = 0; block < blocks; ++block, data += 64) {
    uint32_t next[4] = {state[0], state[1], state[2], state[3]};
    ScalarSteps<0>(next, data);
    for (size_t i = 0; i < 4; ++i) state[i] += next[i];
  }
}

}  // namespace muster
#endif  // HWY_ONCE
