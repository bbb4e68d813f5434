#include "absl/strings/str_cat.h"
#include "tests/unit/client/torch/torch_fixtures.h"

namespace muster {
namespace {

std::string WithTensor(const std::string& storage, int64_t offset,
                       const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  return TorchArchive(WholePickle(PickleDict(
                          {{PickleString("w"), PickledTensor(storage, offset, shape, strides)}})),
                      {{"0", std::string(16, 'x')}});
}

std::string WithPickle(absl::string_view body) { return TorchArchive(WholePickle(body), {}); }

// A tensor of four floats.
std::string Good() { return WithTensor(PickledStorage("FloatStorage", "0", 4), 0, {4}, {1}); }

std::vector<ZipItem> GoodItems() {
  return {
      {"a/data.pkl", WholePickle(PickleDict(
                         {{PickleString("w"),
                           PickledTensor(PickledStorage("FloatStorage", "0", 4), 0, {4}, {1})}}))},
      {"a/data/0", std::string(16, 'x')}};
}

// GoodItems() with the first one changed.
template <typename Change>
std::string Changed(const Change& change) {
  std::vector<ZipItem> items = GoodItems();
  change(items);
  return ZipArchive(items);
}

std::string Repeat(absl::string_view part, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out.append(part.data(), part.size());
  return out;
}

void AddPickles(std::vector<HostileTorchFile>& files) {
  const std::string command = PickleTuple({PickleString("touch /tmp/owned")});
  files.push_back(
      {"OsSystem", WithPickle(PickleGlobal("os", "system") + command + "R"), "os.system"});
  files.push_back(
      {"PosixSystem", WithPickle(PickleGlobal("posix", "system") + command + "R"), "posix.system"});
  files.push_back({"BuiltinEval", WithPickle(PickleGlobal("builtins", "eval") + command + "R"),
                   "builtins.eval"});
  files.push_back(
      {"GetattrChain",
       WithPickle(PickleGlobal("builtins", "getattr") +
                  PickleTuple({PickleGlobal("torch", "Size"), PickleString("__class__")}) + "R"),
       "builtins.getattr"});
  files.push_back({"StackGlobal",
                   WithPickle(PickleString("os") + PickleString("system") + "\x93" + command + "R"),
                   "os.system"});
  files.push_back({"DottedName",
                   WithPickle(PickleGlobal("torch", "serialization.os.system") + command + "R"),
                   "torch.serialization.os.system"});
  files.push_back(
      {"Inst", WithPickle(absl::StrCat("(", PickleString("x"), "ios\nsystem\n")), "os.system"});
  files.push_back({"Obj", WithPickle("(" + PickleGlobal("torch", "Size") + "o"), "OBJ"});
  files.push_back({"NewObj", WithPickle(PickleGlobal("torch", "Size") + ")\x81"), "NEWOBJ"});
  files.push_back({"Extension", WithPickle("\x82\x01"), "EXT1"});
  files.push_back({"PersistentText", WithPickle("Pid\n"), "PERSID"});
  files.push_back(
      {"BuildOnTensor",
       WithPickle(PickledTensor(PickledStorage("FloatStorage", "0", 4), 0, {4}, {1}) + "}b"),
       "sets the state of a tensor"});
  files.push_back({"BuildOnName", WithPickle(PickleGlobal("torch", "Size") + "}b"),
                   "sets the state of a name"});
  files.push_back({"CallOfAString", WithPickle(PickleString("x") + ")R"), "calls a string"});
  files.push_back(
      {"CallOfADtype", WithPickle(PickleGlobal("torch", "float32") + ")R"), "torch.float32"});
  files.push_back({"OrderedDictOfArguments",
                   WithPickle(PickleGlobal("collections", "OrderedDict") + command + "R"),
                   "collections.OrderedDict"});
  files.push_back({"QuantisedTensor", WithPickle(PickleGlobal("torch._utils", "_rebuild_qtensor")),
                   "a quantised tensor"});
  files.push_back({"SparseTensor",
                   WithPickle(PickleGlobal("torch._utils", "_rebuild_sparse_tensor")),
                   "a sparse tensor"});
  files.push_back({"UnknownOperation", WithPickle("\xFF"), "0xff"});
  files.push_back({"StackUnderflow", WithPickle("a"), "more values than it has"});
  files.push_back({"PopBelowAMark", WithPickle("](Na"), "more values than it has"});
  files.push_back({"MarkNotSet", WithPickle("t"), "a mark that was not set"});
  files.push_back({"MemoNotSet", WithPickle("h\x05"), "memo 5 was not set"});
  files.push_back(
      {"MemoFarAway", WithPickle(absl::StrCat("Nr", std::string(4, '\xFF'))), "not a dict"});
  files.push_back({"StackBomb", WithPickle(Repeat("(", 1'000'001)), "on its stack"});
  files.push_back({"ValueBomb", WithPickle(Repeat("}", 1'000'001)), "on its stack"});
  files.push_back({"TupleIntoItself", WithPickle("]q\x01h\x01\x85\x61"), "holds a list"});
  files.push_back({"DictIntoItself",
                   WithPickle(absl::StrCat("}q\x01", PickleString("state_dict"), "h\x01s")),
                   "(a dict)"});
  files.push_back({"OddDict", WithPickle("}(Nu"), "a key has no value"});
  files.push_back({"LongIsLongerThanThePickle",
                   WithPickle(absl::StrCat("\x8B", std::string(4, '\xFF'))), "has only"});
  files.push_back({"StringIsLongerThanThePickle",
                   WithPickle(absl::StrCat("\x8D", std::string(8, '\xFF'))), "has only"});
  files.push_back(
      {"NameDoesNotEnd", WithPickle("c" + std::string(5'000, 'm')), "a name does not end"});
  files.push_back({"Protocol5", TorchArchive("\x80\x05N.", {}), "protocol 5"});
  files.push_back({"TwoValuesAtTheEnd", WithPickle("NN"), "2 values"});
  files.push_back({"MoreBehindTheEnd", WithPickle("N.N"), "bytes left"});
}

void AddTensors(std::vector<HostileTorchFile>& files) {
  const std::string storage = PickledStorage("FloatStorage", "0", 4);
  constexpr int64_t kHuge = int64_t{1} << 62;
  files.push_back({"StorageSaysMore",
                   WithTensor(PickledStorage("FloatStorage", "0", 5), 0, {4}, {1}),
                   "the pickle says 5 elements"});
  files.push_back({"StorageSaysHuge",
                   WithTensor(PickledStorage("FloatStorage", "0", kHuge), 0, {4}, {1}),
                   "the pickle says"});
  files.push_back({"StorageSaysNegative",
                   WithTensor(PickledStorage("FloatStorage", "0", -4), 0, {4}, {1}),
                   "does not name a storage"});
  files.push_back({"StorageIsMissing",
                   WithTensor(PickledStorage("FloatStorage", "9", 4), 0, {4}, {1}),
                   "not in the archive"});
  files.push_back({"StorageLeadsOut",
                   WithTensor(PickledStorage("FloatStorage", "../version", 4), 0, {4}, {1}),
                   "not in the archive"});
  files.push_back({"StorageOfADtype", WithTensor(PickledStorage("float32", "0", 4), 0, {4}, {1}),
                   "is not a kind of storage"});
  files.push_back({"ShapeTooBig", WithTensor(storage, 0, {5}, {1}), "does not lie in its storage"});
  files.push_back(
      {"OffsetTooBig", WithTensor(storage, 1, {4}, {1}), "does not lie in its storage"});
  files.push_back(
      {"OffsetHuge", WithTensor(storage, kHuge, {1}, {1}), "does not lie in its storage"});
  files.push_back(
      {"OffsetNegative", WithTensor(storage, -1, {1}, {1}), "does not lie in its storage"});
  files.push_back(
      {"StrideTooBig", WithTensor(storage, 0, {2}, {4}), "does not lie in its storage"});
  files.push_back(
      {"StrideOverflows", WithTensor(storage, 0, {3}, {kHuge}), "does not lie in its storage"});
  files.push_back(
      {"StrideNegative", WithTensor(storage, 3, {2}, {-1}), "does not lie in its storage"});
  files.push_back({"ShapeNegative", WithTensor(storage, 0, {-1}, {1}), "negative dimension"});
  files.push_back({"ShapeOverflows", WithTensor(storage, 0, {kHuge, 4}, {0, 0}), "overflows"});
  files.push_back(
      {"BytesOverflow", WithTensor(storage, 0, {kHuge}, {0}), "does not lie in its storage"});
  files.push_back({"ExpansionBomb", WithTensor(storage, 0, {int64_t{1} << 40}, {0}), "far bigger"});
  files.push_back(
      {"ShapeAndStridesDiffer", WithTensor(storage, 0, {2, 2}, {1}), "_rebuild_tensor_v2"});
  files.push_back({"NameIsNoUtf8",
                   TorchArchive(WholePickle(PickleDict({{PickleString("\xED\xA0\x80"),
                                                         PickledTensor(storage, 0, {4}, {1})}})),
                                {{"0", std::string(16, 'x')}}),
                   "not valid UTF-8"});
  files.push_back({"NameIsThereTwice",
                   TorchArchive(WholePickle(PickleDict(
                                    {{PickleString("w"), PickledTensor(storage, 0, {4}, {1})},
                                     {PickleString("w"), PickledTensor(storage, 0, {2}, {1})}})),
                                {{"0", std::string(16, 'x')}}),
                   "appears twice"});
}

void AddArchives(std::vector<HostileTorchFile>& files) {
  files.push_back({"Empty", "", "no directory"});
  files.push_back({"NoZip", "PK\x03\x04 and nothing else", "no directory"});
  files.push_back(
      {"Deflated", Changed([](auto& items) { items[0].method = 8; }), "compressed (method 8)"});
  files.push_back({"Encrypted", Changed([](auto& items) { items[0].flags = 1; }), "encrypted"});
  files.push_back({"PickleDamaged", Changed([](auto& items) { items[0].crc32 = 7; }), "CRC-32"});
  files.push_back(
      {"EntriesOverlap", Changed([](auto& items) { items[1].header_offset = 0; }), "overlaps"});
  files.push_back({"EntrySaysMore", Changed([](auto& items) { items[1].size_bytes = 100; }),
                   "does not end before"});
  files.push_back({"EntrySaysHuge", Changed([](auto& items) {
                     items[1].zip64 = true;
                     items[1].size_bytes = ~uint64_t{0};
                   }),
                   "has 18446744073709551615 bytes"});
  files.push_back({"OffsetOutside",
                   Changed([](auto& items) { items[1].header_offset = 1'000'000; }), "at 1000000"});
  files.push_back({"HeadersDisagree",
                   Changed([](auto& items) { items[1].local_name = "a/data/1"; }), "another name"});
  files.push_back(
      {"NameTwice", Changed([](auto& items) { items.push_back(items[1]); }), "appears twice"});
  files.push_back({"TwoPickles", Changed([](auto& items) {
                     items.push_back({"b/data.pkl", "x"});
                   }),
                   "two pickles"});
  files.push_back({"NoPickle", ZipArchive({{"a/other", "x"}}), "without a data.pkl"});
  files.push_back(
      {"NameTooLong", ZipArchive({{std::string(2'000, 'n'), "x"}}), "a name of 2000 bytes"});
  files.push_back({"TorchScript", Changed([](auto& items) {
                     items.push_back({"a/constants.pkl", "x"});
                   }),
                   "TorchScript"});
  files.push_back({"BigEndian", Changed([](auto& items) {
                     items.push_back({"a/byteorder", "big"});
                   }),
                   "byte order"});
  std::string zip64 = ZipArchive(GoodItems(), /*zip64=*/true);
  zip64[zip64.size() - 22 - 20 + 8] = '\x7F';
  files.push_back({"Zip64RecordElsewhere", zip64, "zip64 record"});
  std::string many = Good();
  many[many.size() - 22 + 10] = '\x7F';
  files.push_back({"MoreEntriesThanRoom", many, "can't have the"});
}

}  // namespace

std::vector<HostileTorchFile> HostileTorchFiles() {
  std::vector<HostileTorchFile> files;
  AddPickles(files);
  AddTensors(files);
  AddArchives(files);
  return files;
}

}  // namespace muster
