#include "client/torch/pickle_reader.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "client/torch/state_dict.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/torch/torch_fixtures.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Kind = PickleValue::Kind;

// A pickle together with its bytes.
struct Read {
  explicit Read(absl::string_view body) : bytes(WholePickle(body)), pickle(ReadPickle(bytes)) {}

  const std::string bytes;
  const absl::StatusOr<Pickle> pickle;
};

std::string Float(absl::string_view key = "0") {
  return PickledTensor(PickledStorage("FloatStorage", key, 4), 0, {4}, {1});
}

TEST(PickleReaderTest, NumbersOfEveryWidthAreRead) {
  const Read read(absl::StrCat("(K\xFFM\xFF\xFFJ\xFF\xFF\xFF\xFF", "\x8A", std::string(1, '\0'),
                               "\x8A\x01\x80", "\x8A\x02\xFF", std::string(1, '\0'), PickleInt(-5),
                               "t"));

  MUSTER_ASSERT_OK(read.pickle);
  std::vector<int64_t> values;
  for (const PickleValue& value : read.pickle->Items(read.pickle->root())) {
    values.push_back(value.number);
  }
  EXPECT_THAT(values, ElementsAre(255, 65'535, -1, 0, -128, 255, -5));
}

TEST(PickleReaderTest, StringsTuplesListsAndMemosAreRead) {
  // ("a", ("a", None), ["a"]) of protocol 4.
  const std::string bytes =
      absl::StrCat("\x80\x04\x95", std::string("\x0D\0\0\0\0\0\0\0", 8), "\x8C\x01", "a\x94h",
                   std::string(1, '\0'), "N\x86](h", std::string(1, '\0'), "e\x87.");
  const auto pickle = ReadPickle(bytes);

  MUSTER_ASSERT_OK(pickle);
  const auto items = pickle->Items(pickle->root());
  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(pickle->Text(items[0]), "a");
  EXPECT_EQ(pickle->Text(pickle->Items(items[1])[0]), "a");
  EXPECT_TRUE(pickle->Items(items[1])[1].is(Kind::kOther));
  EXPECT_EQ(pickle->Text(pickle->Items(items[2])[0]), "a");
}

TEST(PickleReaderTest, TensorSaysWhereItIs) {
  const Read read(PickledTensor(PickledStorage("BFloat16Storage", "7", 9), 1, {2, 3}, {1, 2}));

  MUSTER_ASSERT_OK(read.pickle);
  ASSERT_TRUE(read.pickle->root().is(Kind::kTensor));
  const PickleTensor& tensor = read.pickle->Tensor(read.pickle->root());
  EXPECT_EQ(tensor.dtype, "BF16");
  EXPECT_EQ(tensor.offset, 1);
  EXPECT_EQ(read.pickle->Items(tensor.shape)[1].number, 3);
  EXPECT_EQ(read.pickle->Items(tensor.strides)[1].number, 2);
  EXPECT_EQ(read.pickle->Storage(tensor.storage).key, "7");
  EXPECT_EQ(read.pickle->Storage(tensor.storage).element_count, 9);
}

TEST(PickleReaderTest, UntypedStorageTakesTheTensorsDtype) {
  const auto rebuild = [](const std::string& storage, const std::string& dtype) {
    return absl::StrCat(PickleGlobal("torch._utils", "_rebuild_tensor_v3"),
                        PickleTuple({storage, PickleInt(0), PickleInts({4}), PickleInts({1}),
                                     "\x89", PickleGlobal("collections", "OrderedDict") + ")R",
                                     PickleGlobal("torch", dtype)}),
                        "R");
  };
  const std::string untyped = PickledStorage("UntypedStorage", "0", 4);

  const Read fp8(rebuild(untyped, "float8_e4m3fn"));
  MUSTER_ASSERT_OK(fp8.pickle);
  EXPECT_EQ(fp8.pickle->Tensor(fp8.pickle->root()).dtype, "F8_E4M3");
  EXPECT_THAT(Read(rebuild(untyped, "complex32")).pickle,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("torch.complex32")));
  EXPECT_THAT(Read(rebuild(PickledStorage("FloatStorage", "0", 4), "float32")).pickle,
              ErrorIs(absl::StatusCode::kInvalidArgument, "PICKLE_BROKEN"));
}

TEST(PickleReaderTest, ParametersAndSizesAreWhatTheyHold) {
  const std::string hooks = PickleGlobal("collections", "OrderedDict") + ")R";
  const Read parameter(absl::StrCat(PickleGlobal("torch._utils", "_rebuild_parameter"),
                                    PickleTuple({Float(), "\x88", hooks}), "R"));
  const Read size(
      absl::StrCat(PickleGlobal("torch", "Size"), PickleTuple({PickleInts({2, 3})}), "R"));

  MUSTER_ASSERT_OK(parameter.pickle);
  EXPECT_TRUE(parameter.pickle->root().is(Kind::kTensor));
  MUSTER_ASSERT_OK(size.pickle);
  EXPECT_EQ(size.pickle->Items(size.pickle->root()).size(), 2u);
}

TEST(PickleReaderTest, TensorThatIsTheConjugateOfItsBytesIsRefused) {
  const auto with = [](const std::string& metadata) {
    return absl::StrCat(PickleGlobal("torch._utils", "_rebuild_tensor_v2"),
                        PickleTuple({PickledStorage("ComplexFloatStorage", "0", 4), PickleInt(0),
                                     PickleInts({4}), PickleInts({1}), "\x89",
                                     PickleGlobal("collections", "OrderedDict") + ")R", metadata}),
                        "R");
  };
  MUSTER_EXPECT_OK(Read(with("}")).pickle);
  MUSTER_EXPECT_OK(Read(with(PickleDict({{PickleString("neg"), "\x89"}}))).pickle);
  EXPECT_THAT(Read(with(PickleDict({{PickleString("conj"), "\x88"}}))).pickle,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"conj\" is set")));
}

TEST(PickleReaderTest, PickleThatIsCutAnywhereIsRefused) {
  const std::string bytes = WholePickle(PickleDict({{PickleString("w"), Float()}}));
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(ReadPickle(absl::string_view(bytes).substr(0, size)),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << size;
  }
}

TEST(PickleReaderTest, WhatIsRefusedIsNamedWithItsPlace) {
  EXPECT_THAT(
      Read("N" + PickleGlobal("os", "system")).pickle,
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("byte 3: it names \"os.system\""), HasSubstr("state_dict"))));
}

std::vector<std::string> NamesOf(const StateDict& found) {
  std::vector<std::string> names;
  for (const StateDict::Entry& entry : found.tensors) names.emplace_back(entry.name);
  return names;
}

TEST(StateDictTest, TensorsAreThoseOfThePickleInItsOrder) {
  const Read read(PickleDict({{PickleString("b"), Float()},
                              {PickleString("epoch"), "K\x03"},
                              {PickleString("a"), Float()}}));
  MUSTER_ASSERT_OK(read.pickle);
  const auto found = FindStateDict(*read.pickle);

  MUSTER_ASSERT_OK(found);
  EXPECT_THAT(NamesOf(*found), ElementsAre("b", "a"));
  EXPECT_EQ(found->key, "");
  EXPECT_THAT(found->left_out, ElementsAre("epoch"));
}

TEST(StateDictTest, StateDictOfATrainingCheckpointIsFound) {
  for (const char* key : {"state_dict", "model", "module", "model_state_dict"}) {
    const Read read(PickleDict(
        {{PickleString(key), PickleDict({{PickleString("w"), Float()}, {PickleString("n"), "N"}})},
         {PickleString("optimizer"), PickleDict({{PickleString("m"), Float("1")}})},
         {"K\x01", "N"}}));
    MUSTER_ASSERT_OK(read.pickle);
    const auto found = FindStateDict(*read.pickle);

    MUSTER_ASSERT_OK(found);
    EXPECT_THAT(NamesOf(*found), ElementsAre("w"));
    EXPECT_EQ(found->key, key);
    EXPECT_THAT(found->left_out, ElementsAre("optimizer", "a number", "n"));
  }
}

TEST(StateDictTest, ChoiceThatIsNotClearIsRefusedListingWhatIsThere) {
  const std::string dict = PickleDict({{PickleString("w"), Float()}});
  const Read two(PickleDict({{PickleString("model"), dict}, {PickleString("module"), dict}}));
  const Read none(PickleDict({{PickleString("net"), dict}, {PickleString("epoch"), "K\x03"}}));
  const Read list(absl::StrCat("]", Float(), "a"));

  EXPECT_THAT(FindStateDict(*two.pickle),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("several"), HasSubstr("\"model\" (a dict with tensors)"))));
  EXPECT_THAT(
      FindStateDict(*none.pickle),
      StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("\"net\" (a dict with tensors)"),
                                                         HasSubstr("\"epoch\" (a number)"))));
  EXPECT_THAT(FindStateDict(*list.pickle),
              ErrorIs(absl::StatusCode::kInvalidArgument, "TORCH_NO_STATE_DICT"));
}

}  // namespace
}  // namespace muster
