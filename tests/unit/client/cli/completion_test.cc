#include "client/cli/completion.h"

#include <CLI/CLI.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Names = Completion::Names;

class CompletionTest : public testing::Test {
 protected:
  CompletionTest() {
    app_.add_option("--server");
    app_.add_option("-o,--output");
    app_.add_flag("--json");
    CLI::App* const nodes = app_.add_subcommand("nodes");
    nodes->alias("node");
    CLI::App* const show = nodes->add_subcommand("show");
    show->add_option("NODE");
    nodes->add_subcommand("drain")->add_option("NODE");
    CLI::App* const wait = app_.add_subcommand("wait");
    wait->add_option("ASSEMBLY");
    wait->add_option("--node");
    app_.add_subcommand("shards")->add_option("MODEL@VERSION");
  }

  Completion Of(const std::vector<std::string>& words) { return Complete(app_, words); }

  CLI::App app_;
};

TEST_F(CompletionTest, CommandsThatBeginSoAreOffered) {
  EXPECT_THAT(Of({""}).words, ElementsAre("nodes", "shards", "wait"));
  EXPECT_THAT(Of({"no"}).words, ElementsAre("nodes"));
  EXPECT_THAT(Of({"node", ""}).words, ElementsAre("drain", "show"));
  EXPECT_THAT(Of({"nodes", "x"}).words, IsEmpty());
  EXPECT_THAT(Of({}).words, ElementsAre("nodes", "shards", "wait"));
}

TEST_F(CompletionTest, OptionsOfTheCommandAndOfAllAreOffered) {
  EXPECT_THAT(Of({"wait", "--n"}).words, ElementsAre("--node"));
  EXPECT_THAT(Of({"wait", "--"}).words, Contains("--server"));
  EXPECT_THAT(Of({"nodes", "--n"}).words, IsEmpty());
  EXPECT_THAT(Of({"-o", ""}).words, ElementsAre("json", "name", "table", "wide", "yaml"));
}

TEST_F(CompletionTest, NamesAreOfferedWhereTheyAreMeant) {
  EXPECT_EQ(Of({"nodes", "show", ""}).names, Names::kNodes);
  EXPECT_EQ(Of({"wait", "de"}).names, Names::kAssemblies);
  EXPECT_EQ(Of({"wait", "--node", ""}).names, Names::kNodes);
  EXPECT_EQ(Of({"shards", "ll"}).names, Names::kModelVersions);
  EXPECT_EQ(Of({"nodes", "show", "n1", ""}).names, Names::kNone);
  EXPECT_EQ(Of({"--server", "nodes", ""}).names, Names::kNone);
  EXPECT_EQ(Of({"--server", "x:1", "--json", "wait", ""}).names, Names::kAssemblies);
}

}  // namespace
}  // namespace muster
