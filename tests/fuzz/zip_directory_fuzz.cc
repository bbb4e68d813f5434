// The reader of zip directories on any bytes: it refuses, or the entries that it returns lie in the
// archive and apart from one another.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "client/format/byte_source.h"
#include "client/torch/torch_file.h"
#include "client/torch/zip_directory.h"

namespace muster {
namespace {

void Require(bool right) {
  if (!right) std::abort();
}

void CheckEntries(const ZipDirectory& directory, const ByteSource& source) {
  std::vector<const ZipEntry*> by_offset;
  for (const ZipEntry& entry : directory.entries()) {
    Require(directory.Find(entry.name) == &entry);
    Require(!entry.name.empty() && entry.name.size() <= kMaxZipNameBytes);
    by_offset.push_back(&entry);
  }
  std::sort(by_offset.begin(), by_offset.end(),
            [](const ZipEntry* a, const ZipEntry* b) { return a->offset_bytes < b->offset_bytes; });
  int64_t end = 0;
  for (const ZipEntry* entry : by_offset) {
    Require(entry->offset_bytes >= end && entry->size_bytes >= 0);
    end = entry->offset_bytes + entry->size_bytes;
    Require(end <= source.size_bytes());
    ReadZipEntry(source, *entry, 1 << 20).status().IgnoreError();
  }
}

void Run(std::string bytes) {
  const auto source = NewMemoryByteSource("fuzz", std::move(bytes));
  const auto directory = ReadZipDirectory(*source);
  if (directory.ok()) CheckEntries(*directory, *source);
  // What else is in the archive.
  OpenTorchFile(source, {}).status().IgnoreError();
}

}  // namespace
}  // namespace muster

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  muster::Run(std::string(reinterpret_cast<const char*>(bytes), size));
  return 0;
}
