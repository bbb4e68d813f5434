// CRC-32C (Castagnoli), the checksum of RocksDB's logs and of the witness.
//
// Thread-safe: pure functions.
#ifndef MUSTER_STORAGE_METADATA_CRC32C_H_
#define MUSTER_STORAGE_METADATA_CRC32C_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace muster {

// The checksum of bytes whose checksum is `before`, followed by `bytes`.
uint32_t ExtendCrc32c(uint32_t before, absl::string_view bytes);

inline uint32_t Crc32c(absl::string_view bytes) { return ExtendCrc32c(0, bytes); }

// How RocksDB stores a checksum, so that bytes that hold their own checksum don't look like zeros.
inline uint32_t MaskedCrc32c(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

}  // namespace muster

#endif  // MUSTER_STORAGE_METADATA_CRC32C_H_
