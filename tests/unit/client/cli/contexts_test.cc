#include "client/cli/contexts.h"

#include <fstream>
#include <map>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ContextsTest : public testing::Test {
 protected:
  ContextsTest() { variables_["MUSTER_CONFIG"] = path_; }

  void Write(const std::string& text) { std::ofstream(path_) << text; }

  absl::StatusOr<std::vector<std::string>> Arguments(std::vector<std::string> arguments) {
    return WithContext(std::move(arguments), [this](const char* name) { return variables_[name]; });
  }

  TemporaryDirectory directory_;
  const std::string path_ = absl::StrCat(directory_.path(), "/below/config.yaml");
  std::map<std::string, std::string> variables_;
};

TEST_F(ContextsTest, WithoutAFileNothingIsAdded) {
  const auto arguments = Arguments({"status"});
  MUSTER_ASSERT_OK(arguments);
  EXPECT_THAT(*arguments, ElementsAre("status"));
}

TEST_F(ContextsTest, WhatIsWrittenIsRead) {
  Contexts all;
  all.current = "prod";
  all.contexts["prod"] = {{"server", "h:1,i:2"}, {"output", "json"}};
  all.contexts["no: \"yaml\""] = {{"output", "wide"}};

  MUSTER_ASSERT_OK(WriteContexts(path_, all));
  const auto read = ReadContexts(path_);

  MUSTER_ASSERT_OK(read);
  EXPECT_EQ(read->current, "prod");
  EXPECT_EQ(read->contexts, all.contexts);
}

TEST_F(ContextsTest, FlagGoesBeforeVariableBeforeContext) {
  MUSTER_ASSERT_OK(
      WriteContexts(path_, {.current = "prod",
                            .contexts = {{"prod", {{"server", "h:1"}, {"output", "wide"}}},
                                         {"test", {{"server", "t:1"}}}}}));

  EXPECT_THAT(*Arguments({"status"}), ElementsAre("--output=wide", "--server=h:1", "status"));
  EXPECT_THAT(*Arguments({"status", "--json"}), ElementsAre("--server=h:1", "status", "--json"));
  EXPECT_THAT(*Arguments({"--server=x:1", "status", "-o", "name"}),
              ElementsAre("--server=x:1", "status", "-o", "name"));
  EXPECT_THAT(*Arguments({"status", "--context", "test"}),
              ElementsAre("--server=t:1", "status", "--context", "test"));
  variables_["MUSTER_CONTEXT"] = "test";
  EXPECT_THAT(*Arguments({"status"}), ElementsAre("--server=t:1", "status"));
  variables_["MUSTER_SERVER"] = "e:1";
  EXPECT_THAT(*Arguments({"status"}), ElementsAre("status"));
}

TEST_F(ContextsTest, ContextThatIsNotThereIsNamedWithTheNearest) {
  MUSTER_ASSERT_OK(WriteContexts(path_, {.current = "", .contexts = {{"prod", {}}}}));

  EXPECT_THAT(Arguments({"--context", "prdo", "status"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("did you mean \"prod\"?")));
  EXPECT_THAT(*Arguments({"context", "list"}), ElementsAre("context", "list"));
}

TEST_F(ContextsTest, BadFileIsNamedWithItsLine) {
  MUSTER_ASSERT_OK(WriteContexts(path_, {}));
  for (const char* const text : {"contexts: [", "- a", "current: [a]", "contexts:\n  a: b",
                                 "contexts:\n  a: {sever: h}", "other: x"}) {
    Write(text);
    EXPECT_THAT(Arguments({"status"}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         testing::AllOf(HasSubstr(path_), HasSubstr("line "))))
        << text;
    // The command that mends it is not in its way.
    EXPECT_THAT(Arguments({"context", "list"}), IsOk());
  }
}

TEST_F(ContextsTest, FileIsWhereUsersKeepTheirSettings) {
  const auto path = [](std::map<std::string, std::string> variables) {
    return ContextsPath([&](const char* name) { return variables[name]; });
  };

  EXPECT_EQ(path({{"MUSTER_CONFIG", "/m"}, {"HOME", "/h"}}), "/m");
  EXPECT_EQ(path({{"XDG_CONFIG_HOME", "/x"}, {"HOME", "/h"}}), "/x/muster/config.yaml");
  EXPECT_EQ(path({{"HOME", "/h"}}), "/h/.config/muster/config.yaml");
  EXPECT_EQ(path({}), "");
}

}  // namespace
}  // namespace muster
