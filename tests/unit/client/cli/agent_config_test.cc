#include "client/cli/agent_config.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/status_macros.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

class AgentConfigTest : public testing::Test {
 protected:
  std::string Write(const std::string& text) {
    const std::string path = directory_.Join("agent.yaml");
    std::ofstream(path) << text;
    return path;
  }
  absl::StatusOr<AgentConfig> Read(const std::string& text) { return ReadAgentConfig(Write(text)); }

  TemporaryDirectory directory_;
};

TEST_F(AgentConfigTest, FlagsAndAssembliesAreRead) {
  const auto config = Read(
      "node: n1\n"
      "parallel-shards: 4\n"
      "label: [rack=7, gpu=h100]\n"
      "assemblies:\n"
      "  - demo\n"
      "  - {name: llama, claim: \"ranks:0-7\", view: /srv/llama}\n");

  MUSTER_ASSERT_OK(config);
  EXPECT_THAT(config->flags, ElementsAre(Pair("label", ElementsAre("rack=7", "gpu=h100")),
                                         Pair("node", ElementsAre("n1")),
                                         Pair("parallel-shards", ElementsAre("4"))));
  ASSERT_EQ(config->assemblies.size(), 2u);
  EXPECT_EQ(config->assemblies[0].name, "demo");
  EXPECT_EQ(config->assemblies[0].claim, "");
  EXPECT_EQ(config->assemblies[1].claim, "ranks:0-7");
  EXPECT_EQ(config->assemblies[1].view, "/srv/llama");
}

TEST_F(AgentConfigTest, EmptyFileSaysNothing) {
  const auto config = Read("# nothing yet\n");
  MUSTER_ASSERT_OK(config);
  EXPECT_THAT(config->assemblies, IsEmpty());
}

TEST_F(AgentConfigTest, MistakesAreNamedWithTheirLine) {
  const std::pair<std::string, std::string> mistakes[] = {
      {"node: n1\n- what\n", "line 2"},
      {"node: n1\nnode: n2\n", "\"node\" appears twice"},
      {"- demo\n", "has to be a map"},
      {"node: {a: b}\n", "\"node\" has to be one value"},
      {"assemblies: demo\n", "has to be a list"},
      {"assemblies:\n- name: demo\n  views: /srv\n", "line 3: an assembly has no \"views\""},
      {"assemblies:\n- claim: any\n", "line 2: an assembly has no name"},
      {"assemblies:\n- [demo]\n", "an assembly is a name"},
      {"node: *unknown\n", "line 1"},
  };
  for (const auto& [text, why] : mistakes) {
    const auto config = Read(text);
    EXPECT_THAT(config, StatusIs(absl::StatusCode::kInvalidArgument)) << text;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(why)) << text;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr("agent.yaml")) << text;
  }
}

TEST_F(AgentConfigTest, BigOrAbsentFileIsRefused) {
  EXPECT_THAT(Read(std::string(kMaxConfigBytes + 1, '#')),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ReadAgentConfig(directory_.Join("absent")), StatusIs(absl::StatusCode::kNotFound));
}

// The command line is parsed as a whole, since that is where flags of a file meet those typed.
class ConfiguredAgentTest : public AgentConfigTest {
 protected:
  absl::StatusOr<GlobalOptions> Parse(const std::string& text,
                                      std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), {"agent", "--config", Write(text)});
    MUSTER_ASSIGN_OR_RETURN(const auto parsed, ParseCommandLine(arguments));
    return std::get<ParsedCommandLine>(parsed).options;
  }
};

TEST_F(ConfiguredAgentTest, FileGivesFlagsThatWereNotTyped) {
  const auto options = Parse("server: [a:1, b:2]\ncache: /c\nwarm: true\n");
  MUSTER_ASSERT_OK(options);
  EXPECT_THAT(options->servers, ElementsAre("a:1", "b:2"));
  const auto typed = Parse("server: a:1\n", {"--server", "c:3"});
  MUSTER_ASSERT_OK(typed);
  EXPECT_THAT(typed->servers, ElementsAre("c:3"));
}

TEST_F(ConfiguredAgentTest, UnknownFlagOrBadValueIsAUsageError) {
  const auto unknown = Parse("cachee: /c\n");
  EXPECT_THAT(unknown, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(unknown.status().message()), HasSubstr("unknown flag --cachee"));
  EXPECT_THAT(Parse("parallel-shards: many\n"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Parse("parallel-shards: 65\n"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Parse("config: other.yaml\n"), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace muster
