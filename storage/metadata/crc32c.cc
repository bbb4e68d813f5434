#include "storage/metadata/crc32c.h"

#include <array>
#include <cstddef>

namespace muster {
namespace {

constexpr uint32_t kReversedPolynomial = 0x82f63b78u;
// Eight bytes a step: a log of 64 MiB takes some tens of milliseconds at a start.
constexpr size_t kStepBytes = 8;

using Tables = std::array<std::array<uint32_t, 256>, kStepBytes>;

constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kReversedPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t step = 1; step < kStepBytes; ++step) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const uint32_t crc = tables[step - 1][byte];
      tables[step][byte] = (crc >> 8) ^ tables[0][crc & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

uint32_t ByteAt(const char* bytes, size_t index) { return static_cast<uint8_t>(bytes[index]); }

}  // namespace

uint32_t ExtendCrc32c(uint32_t before, absl::string_view bytes) {
  uint32_t crc = ~before;
  const char* next = bytes.data();
  size_t left = bytes.size();
  for (; left >= kStepBytes; next += kStepBytes, left -= kStepBytes) {
    crc ^= ByteAt(next, 0) | ByteAt(next, 1) << 8 | ByteAt(next, 2) << 16 | ByteAt(next, 3) << 24;
    crc = kTables[7][crc & 0xff] ^ kTables[6][crc >> 8 & 0xff] ^ kTables[5][crc >> 16 & 0xff] ^
          kTables[4][crc >> 24] ^ kTables[3][ByteAt(next, 4)] ^ kTables[2][ByteAt(next, 5)] ^
          kTables[1][ByteAt(next, 6)] ^ kTables[0][ByteAt(next, 7)];
  }
  for (; left > 0; ++next, --left) crc = (crc >> 8) ^ kTables[0][(crc ^ ByteAt(next, 0)) & 0xff];
  return ~crc;
}

}  // namespace muster
