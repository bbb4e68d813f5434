#include "client/cli/list_output.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<List::Item> SomeNodes() {
  return {
      {"n1", R"({"name":"nodes/n1","state":"LIVE","bytes":900,"labels":{"gpu":"h100"}})"},
      {"n2", R"({"name":"nodes/n2","state":"LOST","bytes":10000,"labels":{}})"},
      {"m3", R"({"name":"nodes/m3","state":"LIVE","bytes":70,"labels":{"a.b/gpu":"h200"}})"},
  };
}

ListFlags Filtered(std::vector<std::string> filters) {
  ListFlags flags;
  flags.filters = std::move(filters);
  return flags;
}

ListFlags Sorted(const std::string& key, std::optional<size_t> limit = std::nullopt) {
  ListFlags flags;
  flags.sort = key;
  flags.limit = limit;
  return flags;
}

std::vector<size_t> Pick(const ListFlags& flags) {
  const auto shown = PickItems(SomeNodes(), flags);
  EXPECT_THAT(shown, IsOk());
  return shown.ok() ? *shown : std::vector<size_t>();
}

void ExpectUsage(const ListFlags& flags, const std::string& message) {
  EXPECT_THAT(PickItems(SomeNodes(), flags),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
}

TEST(ListOutputTest, WithoutFlagsAllAreShownInTheirOrder) {
  EXPECT_THAT(Pick({}), ElementsAre(0, 1, 2));
}

TEST(ListOutputTest, FiltersGoByTheKeysOfJson) {
  EXPECT_THAT(Pick(Filtered({"state=LIVE"})), ElementsAre(0, 2));
  EXPECT_THAT(Pick(Filtered({"state=live", "bytes=70"})), ElementsAre(2));
  EXPECT_THAT(Pick(Filtered({"state!=LIVE"})), ElementsAre(1));
  EXPECT_THAT(Pick(Filtered({"name=n1"})), ElementsAre(0));
  EXPECT_THAT(Pick(Filtered({"name=nodes/n1"})), ElementsAre(0));
  EXPECT_THAT(Pick(Filtered({"name=N*"})), ElementsAre(0, 1));
  EXPECT_THAT(Pick(Filtered({"name=nodes/*"})), ElementsAre(0, 1, 2));
  EXPECT_THAT(Pick(Filtered({"name=m*"})), ElementsAre(2));
  EXPECT_THAT(Pick(Filtered({"labels.gpu=h100"})), ElementsAre(0));
  EXPECT_THAT(Pick(Filtered({"labels.a.b/gpu=h200"})), ElementsAre(2));
  EXPECT_THAT(Pick(Filtered({"labels.rack=7"})), IsEmpty());
}

TEST(ListOutputTest, ModelVersionsAreFoundAsTheyAreTyped) {
  const std::vector<List::Item> items = {
      {"llama@v1", R"({"name":"models/llama/versions/v1"})"},
      {"demo", R"({"name":"assemblies/demo","model_version":"models/llama/versions/v1"})"}};

  EXPECT_THAT(*PickItems(items, Filtered({"name=llama@v1"})), ElementsAre(0));
  EXPECT_THAT(*PickItems(items, Filtered({"name=llama*"})), ElementsAre(0));
  EXPECT_THAT(*PickItems(items, Filtered({"model_version=llama@v1"})), ElementsAre(1));
}

TEST(ListOutputTest, NumbersAreSortedByTheirValue) {
  EXPECT_THAT(Pick(Sorted("bytes")), ElementsAre(2, 0, 1));
  EXPECT_THAT(Pick(Sorted("-bytes")), ElementsAre(1, 0, 2));
  EXPECT_THAT(Pick(Sorted("name")), ElementsAre(2, 0, 1));
  EXPECT_THAT(Pick(Sorted("-bytes", 1)), ElementsAre(1));
  EXPECT_THAT(Pick(Sorted("", 0)), IsEmpty());
}

TEST(ListOutputTest, KeyThatNoItemHasIsAMistake) {
  ExpectUsage(Filtered({"stat=LIVE"}), "did you mean \"state\"?");
  ExpectUsage(Sorted("size"), "no item has \"size\"; They have name, state, bytes, labels");
  ExpectUsage(Filtered({"LIVE"}), "write KEY=VALUE or KEY!=VALUE");
  ExpectUsage(Filtered({"=LIVE"}), "write KEY=VALUE or KEY!=VALUE");
  ExpectUsage(Filtered({"!=LIVE"}), "write KEY=VALUE or KEY!=VALUE");
  EXPECT_THAT(PickItems({}, Filtered({"stat=LIVE"})), IsOk());
  EXPECT_THAT(PickItems({}, Sorted("size")), IsOk());
}

}  // namespace
}  // namespace muster
