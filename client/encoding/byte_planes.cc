#include "client/encoding/byte_planes.h"

#include <cstdint>

// Highway compiles this file once per target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "client/encoding/byte_planes.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace muster {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Bytes = hn::ScalableTag<uint8_t>;

// Elements [begin, count) one by one: what is left of full vectors, and widths that have no
// instructions.
void SplitRest(size_t width, const uint8_t* in, size_t begin, size_t count, uint8_t* out) {
  for (size_t plane = 0; plane < width; ++plane) {
    uint8_t* const to = out + plane * count;
    for (size_t i = begin; i < count; ++i) to[i] = in[i * width + plane];
  }
}

void JoinRest(size_t width, const uint8_t* in, size_t begin, size_t count, uint8_t* out) {
  for (size_t i = begin; i < count; ++i) {
    for (size_t plane = 0; plane < width; ++plane) out[i * width + plane] = in[plane * count + i];
  }
}

void Split(size_t width, const uint8_t* HWY_RESTRICT in, size_t count, uint8_t* HWY_RESTRICT out) {
  size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const Bytes tag;
  const size_t lanes = hn::Lanes(tag);
  if (width == 2) {
    for (; i + lanes <= count; i += lanes) {
      hn::Vec<Bytes> plane0, plane1;
      hn::LoadInterleaved2(tag, in + 2 * i, plane0, plane1);
      hn::StoreU(plane0, tag, out + i);
      hn::StoreU(plane1, tag, out + count + i);
    }
  } else if (width == 4) {
    for (; i + lanes <= count; i += lanes) {
      hn::Vec<Bytes> plane0, plane1, plane2, plane3;
      hn::LoadInterleaved4(tag, in + 4 * i, plane0, plane1, plane2, plane3);
      hn::StoreU(plane0, tag, out + i);
      hn::StoreU(plane1, tag, out + count + i);
      hn::StoreU(plane2, tag, out + 2 * count + i);
      hn::StoreU(plane3, tag, out + 3 * count + i);
    }
  }
#endif
  SplitRest(width, in, i, count, out);
}

void Join(size_t width, const uint8_t* HWY_RESTRICT in, size_t count, uint8_t* HWY_RESTRICT out) {
  size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const Bytes tag;
  const size_t lanes = hn::Lanes(tag);
  if (width == 2) {
    for (; i + lanes <= count; i += lanes) {
      hn::StoreInterleaved2(hn::LoadU(tag, in + i), hn::LoadU(tag, in + count + i), tag,
                            out + 2 * i);
    }
  } else if (width == 4) {
    for (; i + lanes <= count; i += lanes) {
      hn::StoreInterleaved4(hn::LoadU(tag, in + i), hn::LoadU(tag, in + count + i),
                            hn::LoadU(tag, in + 2 * count + i), hn::LoadU(tag, in + 3 * count + i),
                            tag, out + 4 * i);
    }
  }
#endif
  JoinRest(width, in, i, count, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace muster
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace muster {

HWY_EXPORT(Split);
HWY_EXPORT(Join);

void SplitPlanes(size_t width, absl::string_view elements, char* out) {
  HWY_DYNAMIC_DISPATCH(Split)
  (width, reinterpret_cast<const uint8_t*>(elements.data()), elements.size() / width,
   reinterpret_cast<uint8_t*>(out));
}

void JoinPlanes(size_t width, absl::string_view planes, char* out) {
  HWY_DYNAMIC_DISPATCH(Join)
  (width, reinterpret_cast<const uint8_t*>(planes.data()), planes.size() / width,
   reinterpret_cast<uint8_t*>(out));
}

}  // namespace muster
#endif  // HWY_ONCE
