#include "tests/unit/client/torch/torch_fixtures.h"

#include "absl/strings/str_cat.h"
#include "client/torch/zip_directory.h"

namespace muster {
namespace {

constexpr uint64_t kIn64 = 0xFFFFFFFF;

std::string Number(uint64_t value, int width) {
  std::string out;
  for (int i = 0; i < width; ++i) out.push_back(static_cast<char>((value >> (8 * i)) & 0xFF));
  return out;
}

uint32_t CrcOf(const ZipItem& item) { return item.crc32.value_or(Crc32(item.bytes)); }

std::string LocalHeader(const ZipItem& item) {
  const std::string& name = item.local_name.has_value() ? *item.local_name : item.name;
  const uint64_t size = item.bytes.size();
  // As torch writes it: what follows the data says it.
  const bool follow = (item.flags & 8) != 0;
  const std::string extra = item.zip64 && !follow ? absl::StrCat(Number(1, 2), Number(16, 2),
                                                                 Number(size, 8), Number(size, 8))
                                                  : "";
  const uint64_t field = follow ? 0 : (item.zip64 ? kIn64 : size);
  return absl::StrCat("PK\x03\x04", Number(20, 2), Number(item.flags, 2), Number(item.method, 2),
                      Number(0, 4), Number(follow ? 0 : CrcOf(item), 4), Number(field, 4),
                      Number(field, 4), Number(name.size(), 2), Number(extra.size(), 2), name,
                      extra);
}

std::string CentralHeader(const ZipItem& item, uint64_t written_at) {
  const uint64_t size = item.size_bytes.value_or(item.bytes.size());
  const uint64_t offset = item.header_offset.value_or(written_at);
  const std::string extra = item.zip64 ? absl::StrCat(Number(1, 2), Number(24, 2), Number(size, 8),
                                                      Number(size, 8), Number(offset, 8))
                                       : "";
  const uint64_t field = item.zip64 ? kIn64 : size;
  return absl::StrCat("PK\x01\x02", Number(20, 2), Number(20, 2), Number(item.flags, 2),
                      Number(item.method, 2), Number(0, 4), Number(CrcOf(item), 4),
                      Number(field, 4), Number(field, 4), Number(item.name.size(), 2),
                      Number(extra.size(), 2), Number(0, 2), Number(0, 2), Number(0, 2),
                      Number(0, 4), Number(item.zip64 ? kIn64 : offset, 4), item.name, extra);
}

}  // namespace

std::string ZipArchive(const std::vector<ZipItem>& items, bool zip64) {
  std::string out;
  std::string central;
  for (const ZipItem& item : items) {
    central.append(CentralHeader(item, out.size()));
    absl::StrAppend(&out, LocalHeader(item), item.bytes);
  }
  const uint64_t offset = out.size();
  out.append(central);
  uint64_t count = items.size();
  const uint64_t end = out.size();
  if (zip64) {
    absl::StrAppend(&out, "PK\x06\x06", Number(44, 8), Number(45, 2), Number(45, 2), Number(0, 8),
                    Number(count, 8), Number(count, 8), Number(central.size(), 8),
                    Number(offset, 8));
    absl::StrAppend(&out, "PK\x06\x07", Number(0, 4), Number(end, 8), Number(1, 4));
    count = 0xFFFF;
  }
  absl::StrAppend(&out, "PK\x05\x06", Number(0, 4), Number(count, 2), Number(count, 2),
                  Number(zip64 ? kIn64 : central.size(), 4), Number(zip64 ? kIn64 : offset, 4),
                  Number(0, 2));
  return out;
}

std::string PickleGlobal(absl::string_view module, absl::string_view name) {
  return absl::StrCat("c", module, "\n", name, "\n");
}

std::string PickleString(absl::string_view text) {
  return absl::StrCat("X", Number(text.size(), 4), text);
}

std::string PickleInt(int64_t value) {
  return absl::StrCat("\x8A\x08", Number(static_cast<uint64_t>(value), 8));
}

std::string PickleTuple(const std::vector<std::string>& items) {
  std::string out = "(";
  for (const std::string& item : items) out.append(item);
  return out + "t";
}

std::string PickleInts(const std::vector<int64_t>& values) {
  std::vector<std::string> items;
  for (const int64_t value : values) items.push_back(PickleInt(value));
  return PickleTuple(items);
}

std::string PickleDict(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string out = "}(";
  for (const auto& [key, value] : entries) absl::StrAppend(&out, key, value);
  return out + "u";
}

std::string PickledStorage(absl::string_view type, absl::string_view key, int64_t elements) {
  return PickleTuple({PickleString("storage"), PickleGlobal("torch", type), PickleString(key),
                      PickleString("cpu"), PickleInt(elements)}) +
         "Q";
}

std::string PickledTensor(const std::string& storage, int64_t offset,
                          const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  return absl::StrCat(
      PickleGlobal("torch._utils", "_rebuild_tensor_v2"),
      PickleTuple({storage, PickleInt(offset), PickleInts(shape), PickleInts(strides), "\x89",
                   PickleGlobal("collections", "OrderedDict") + ")R"}),
      "R");
}

std::string WholePickle(absl::string_view body) { return absl::StrCat("\x80\x02", body, "."); }

std::string TorchArchive(absl::string_view pickle,
                         const std::vector<std::pair<std::string, std::string>>& storages) {
  std::vector<ZipItem> items{{"archive/data.pkl", std::string(pickle)}};
  for (const auto& [key, bytes] : storages) items.push_back({"archive/data/" + key, bytes});
  items.push_back({"archive/version", "3\n"});
  return ZipArchive(items);
}

std::string TorchFileOf(const std::vector<std::vector<std::string>>& tensors) {
  std::vector<std::pair<std::string, std::string>> entries;
  std::vector<std::pair<std::string, std::string>> storages;
  for (const auto& names : tensors) {
    const std::string key = std::to_string(storages.size());
    for (const std::string& name : names) {
      entries.emplace_back(PickleString(name), PickledTensor(PickledStorage("FloatStorage", key, 4),
                                                             0, {2, 2}, {1, 2}));
    }
    storages.emplace_back(key, "000011112222333" + key);
  }
  return TorchArchive(WholePickle(PickleDict(entries)), storages);
}

}  // namespace muster
