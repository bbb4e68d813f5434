// What is said of a mistyped command line: the word, the nearest one, and the help of the command in
// hand.
#include "client/cli/mistakes.h"

#include <variant>

#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/exit_code.h"
#include "client/cli/habits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What a person reads; "" where the line is understood.
std::string Said(const std::vector<std::string>& arguments) {
  const auto parsed = ParseCommandLine(arguments);
  return parsed.ok() ? "" : ErrorText(parsed.status());
}

std::string HelpOf(const std::vector<std::string>& arguments) {
  const auto parsed = ParseCommandLine(arguments);
  if (!parsed.ok()) return ErrorText(parsed.status());
  const auto* const text = std::get_if<std::string>(&*parsed);
  return text == nullptr ? "" : *text;
}

TEST(NearestWordTest, FewLettersApartIsNear) {
  const std::vector<std::string> names = {"status", "shards", "nodes", "models", "pull"};

  EXPECT_EQ(NearestWord("statuss", names), "status");
  EXPECT_EQ(NearestWord("staus", names), "status");
  EXPECT_EQ(NearestWord("sahrds", names), "shards");
  EXPECT_EQ(NearestWord("Nodes", names), "nodes");
  EXPECT_EQ(NearestWord("mod", names), "models");
  EXPECT_EQ(NearestWord("s", names), "");
  EXPECT_EQ(NearestWord("everything", names), "");
  EXPECT_EQ(NearestWord("", names), "");
  EXPECT_EQ(NearestWord(std::string(100'000, 'x'), names), "");
}

TEST(NearestWordTest, BeginningOfSeveralIsNone) {
  EXPECT_EQ(NearestWord("--vi", {"--view-links", "--view-partial"}), "");
  EXPECT_EQ(NearestWord("--view-p", {"--view-links", "--view-partial"}), "--view-partial");
}

TEST(MistakesTest, UnknownOptionIsNamedBeforeTheOneThatIsMissing) {
  EXPECT_EQ(Said({"publish", "m", "--modle", "x@v1"}),
            "muster: `muster publish` has no option \"--modle\"; did you mean \"--model\"?\n"
            "hint: `muster publish --help` shows what it takes, with examples\n");
  EXPECT_THAT(Said({"publish", "m", "--modle=secret"}),
              testing::AllOf(HasSubstr("\"--modle\""), Not(HasSubstr("secret"))));
  EXPECT_THAT(Said({"status", "--sever", "h:1"}), HasSubstr("did you mean \"--server\"?"));
  EXPECT_THAT(Said({"nodes", "drain", "n1", "--wiat"}),
              HasSubstr("`muster nodes drain` has no option \"--wiat\"; did you mean \"--wait\"?"));
  EXPECT_THAT(Said({"status", "--nosuch"}), Not(HasSubstr("did you mean")));
}

TEST(MistakesTest, UnknownCommandIsNamedWithTheNearest) {
  EXPECT_THAT(Said({"statuss"}),
              HasSubstr("unknown command \"statuss\"; did you mean \"status\"?"));
  EXPECT_THAT(Said({"cache", "lst", "--cache", "D"}),
              HasSubstr("unknown command \"cache lst\"; did you mean \"cache list\"?"));
  EXPECT_THAT(Said({"nodes", "n1"}),
              HasSubstr("unknown command \"nodes n1\"; did you mean \"nodes show n1\"?"));
  EXPECT_THAT(Said({"drain", "n1"}),
              HasSubstr("unknown command \"drain\"; did you mean \"nodes drain\"?"));
  EXPECT_THAT(Said({"nodes", "n1"}), HasSubstr("hint: `muster nodes --help`"));
}

TEST(MistakesTest, ArgumentThatIsTooMuchIsNamedWithWhatIsTaken) {
  EXPECT_THAT(Said({"wait", "demo", "other"}),
              HasSubstr("unexpected argument \"other\": `muster wait` takes ASSEMBLY"));
}

TEST(MistakesTest, HintIsTheHelpOfTheCommandInHand) {
  EXPECT_THAT(Said({"publish", "SRC"}), HasSubstr("hint: `muster publish --help`"));
  EXPECT_THAT(Said({"nodes", "drain"}), HasSubstr("hint: `muster nodes drain --help`"));
  EXPECT_THAT(Said({"--json"}), HasSubstr("hint: `muster --help` lists the commands"));
}

TEST(MistakesTest, WhatATerminalWouldObeyIsNotRepeated) {
  EXPECT_THAT(Said({"sta\x1b[2J"}), Not(HasSubstr("\x1b")));
  EXPECT_THAT(Said({"status", "--\x1b[2J"}), Not(HasSubstr("\x1b")));
}

TEST(HabitsTest, NamesThatOtherToolsUseAreUnderstood) {
  const std::vector<std::vector<std::string>> lines = {
      {"node"},
      {"nodes", "ls"},
      {"node", "list"},
      {"model", "ls"},
      {"models", "rm", "llama@v1"},
      {"model", "get", "llama@v1"},
      {"assembly", "describe", "demo"},
      {"assemblies", "rm", "demo"},
      {"node", "delete", "n1"},
      {"shard", "llama@v1"},
      {"shards", "list", "llama@v1"},
      {"shards", "ls", "llama@v1", "--assembly", "demo"},
      {"cache", "ls", "--cache", "D"},
      {"view", "rm", "DIR", "--all"},
      {"get", "nodes"},
      {"--json", "get", "nodes", "--zone", "z"},
      {"get", "node", "n1"},
      {"list", "models"},
      {"get", "shards", "llama@v1"},
      {"get", "shards", "llama@v1", "3"},
      {"describe", "assembly", "demo"},
      {"delete", "model", "llama@v1"},
      {"drain", "node", "n1"},
  };
  for (const auto& line : lines) EXPECT_EQ(Said(line), "") << testing::PrintToString(line);
}

TEST(HabitsTest, VersionIsAskedForInAnyWay) {
  const std::string version = HelpOf({"--version"});

  EXPECT_THAT(version,
              testing::MatchesRegex("muster [0-9]+\\.[0-9]+\\.[0-9]+(\\+[0-9a-f]+(-dirty)?)?\n"));
  EXPECT_EQ(HelpOf({"-v"}), version);
  EXPECT_EQ(HelpOf({"-V"}), version);
  // The command asks the server, too.
  EXPECT_EQ(Said({"version"}), "");
  EXPECT_EQ(Said({"--server", "h:1", "version", "--json"}), "");
}

TEST(HabitsTest, VerbFirstIsTheSameCommand) {
  const auto line = [](std::vector<std::string> words) {
    return absl::StrJoin(WithoutHabits(std::move(words)), " ");
  };

  EXPECT_EQ(line({"get", "nodes"}), "nodes list");
  EXPECT_EQ(line({"get", "nodes", "--zone", "z"}), "nodes list --zone z");
  EXPECT_EQ(line({"get", "node", "n1", "--json"}), "node get n1 --json");
  EXPECT_EQ(line({"--server", "get", "list", "models"}), "--server get models list");
  EXPECT_EQ(line({"get", "shards", "m@v"}), "shards list m@v");
  EXPECT_EQ(line({"get", "shards", "m@v", "3"}), "shards get m@v 3");
  EXPECT_EQ(line({"wait", "nodes"}), "wait nodes");
  EXPECT_EQ(line({"get"}), "get");
  EXPECT_EQ(line({}), "");
}

TEST(MistakesTest, HelpIsAskedForInEitherOrder) {
  EXPECT_THAT(HelpOf({"help", "publish"}), HasSubstr("\nUsage: muster publish "));
  EXPECT_THAT(HelpOf({"help", "nodes", "drain"}), HasSubstr("\nUsage: muster nodes drain "));
  EXPECT_THAT(HelpOf({"help"}), HasSubstr("\nUsage: muster [OPTIONS]"));
  EXPECT_THAT(HelpOf({"--server", "help", "help", "wait"}), HasSubstr("\nUsage: muster wait "));
  EXPECT_THAT(HelpOf({"help"}), testing::ContainsRegex("\n  nodes  +List"));
  EXPECT_THAT(HelpOf({"help", "statuss"}), HasSubstr("did you mean \"status\"?"));
  EXPECT_THAT(HelpOf({"statuss", "--help"}), HasSubstr("did you mean \"status\"?"));
}

}  // namespace
}  // namespace muster
