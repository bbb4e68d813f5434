#include "client/cli/command.h"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// Runs a command in a world without a server: mistakes that are found before the first call end it.
class CommandTest : public testing::Test {
 protected:
  absl::Status Run(const std::vector<std::string>& arguments) {
    const auto parsed = ParseCommandLine(arguments);
    if (!parsed.ok()) return parsed.status();
    if (!std::holds_alternative<ParsedCommandLine>(*parsed)) return absl::InternalError("text");
    const auto& line = std::get<ParsedCommandLine>(*parsed);
    const Environment environment{.clock = clock_,
                                  .random = *random_,
                                  .stores = stores_,
                                  .open_stores =
                                      [](const LocationRules& rules) {
                                        return std::make_unique<const ObjectStoreRegistry>(rules);
                                      },
                                  .variables = [](const char*) { return std::string(); },
                                  .stop = {},
                                  .hangup = hangup_,
                                  .working_directory = "/"};
    Invocation invocation(environment, line.options);
    return line.command(invocation);
  }

  GlobalOptions Globals(const std::vector<std::string>& arguments) {
    const auto parsed = ParseCommandLine(arguments);
    EXPECT_THAT(parsed, IsOk());
    return std::get<ParsedCommandLine>(*parsed).options;
  }

  void ExpectUsageError(const std::vector<std::string>& arguments) {
    EXPECT_THAT(Run(arguments), StatusIs(absl::StatusCode::kInvalidArgument))
        << testing::PrintToString(arguments);
  }

  FakeClock clock_;
  Hangup hangup_;
  const std::unique_ptr<Random> random_ = NewSeededRandom(1);
  ObjectStoreRegistry stores_;
};

TEST_F(CommandTest, GlobalOptionsStandBeforeOrAfterTheCommand) {
  EXPECT_TRUE(Globals({"--json", "status"}).json);
  EXPECT_TRUE(Globals({"status", "demo", "--json"}).json);
  EXPECT_TRUE(Globals({"models", "show", "llama@v1", "--json"}).json);
  EXPECT_THAT(Globals({"--server", "a:1,b:2", "status"}).servers, ElementsAre("a:1", "b:2"));
  EXPECT_THAT(Globals({"status", "--server", "a:1", "--server", "b:2"}).servers,
              ElementsAre("a:1", "b:2"));
  EXPECT_THAT(Globals({"--server", "a:1", "status", "demo"}).servers, ElementsAre("a:1"));
}

TEST_F(CommandTest, ShapesThatScriptsRelyOnAreParsed) {
  const std::vector<std::vector<std::string>> lines = {
      {"sample", "--out", "F", "--size", "256MiB", "--seed", "3", "--layout", "hf"},
      {"publish", "SRC", "--model", "llama@v1", "--to", "file:///DIR", "--strategy", "layer",
       "--shards", "12", "--piece-size", "8MiB", "--zone", "z", "--strict", "--jobs", "2"},
      {"assemblies"},
      {"assemblies", "list"},
      {"assemblies", "create", "demo", "--model", "llama@v1", "--policy", "balanced", "--min-nodes",
       "3", "--replicas", "2"},
      {"assemblies", "create", "demo", "--model", "llama@v1", "--policy", "contiguous", "--select",
       "zone=a,gpu=h100", "--move-budget", "10GiB", "--dry-run"},
      {"assemblies", "leave", "demo", "--node", "n1"},
      {"assemblies", "leave", "demo", "--node", "n1", "--dry-run"},
      {"agent", "--node",      "n1",       "--assembly",    "demo",  "--cache",
       "DIR",   "--claim",     "0,3-5",    "--capacity",    "80GiB", "--zone",
       "z",     "--address",   "A",        "--label",       "k=v",   "--label",
       "l=w",   "--lease-ttl", "10s",      "--connections", "4",     "--memory-budget",
       "1GiB",  "--model",     "llama@v1", "--policy",      "full",  "--min-nodes",
       "3",     "--replicas",  "1"},
      {"agent", "--node", "n1", "--assembly", "demo", "--cache", "DIR", "--warm", "--warm-reserve",
       "64GiB"},
      {"wait", "demo", "--node", "n1", "--timeout", "60s"},
      {"status"},
      {"models"},
      {"models", "tensors", "llama@v1"},
      {"models", "delete", "llama@v1"},
      {"shards", "llama@v1", "--assembly", "demo"},
      {"shards", "show", "llama@v1", "3"},
      {"shards", "repair", "llama@v1"},
      {"shards", "repair", "llama@v1", "0,3-5", "7", "--from", "SRC", "--to", "file:///DIR"},
      {"shards", "add-location", "llama@v1", "3", "s3://b/k", "--zone", "z", "--priority", "1",
       "--max-readers", "2", "--unchecked"},
      {"shards", "remove-location", "llama@v1", "3", "s3://b/k"},
      {"assemblies", "delete", "demo", "--force"},
      {"publish", "SRC", "--model", "llama@v1", "--to", "file:///DIR", "--clean"},
      {"nodes"},
      {"nodes", "deregister", "n1"},
      {"nodes", "deregister", "n1", "--dry-run"},
      {"nodes", "deregister", "n1", "--force"},
      {"nodes", "drain", "n1"},
      {"nodes", "drain", "n1", "--deadline", "30m", "--wait", "--timeout", "5m"},
      {"nodes", "drain", "n1", "--cancel"},
      {"nodes", "drain", "n1", "--cancel", "--dry-run"},
      {"nodes", "resume-moves"},
      {"nodes", "resume-moves", "--zone", "a", "--dry-run"},
      {"nodes", "resume-moves", "--zone", ""},
      {"events"},
      {"events", "--follow", "--assembly", "demo", "--node", "n1", "--model", "llama@v1", "--kind",
       "NODE_LOST,node-released", "--tail", "0"},
      {"events", "--since", "0", "--json"},
      {"keys", "status"},
      {"keys", "status", "--json"},
      {"publish", "SRC", "--model", "llama@v1", "--to", "file:///DIR", "--key-from-server"},
      {"explain", "demo"},
      {"explain", "demo", "3", "--node", "n1"},
      {"export", "llama@v1", "--out", "DIR", "--cache", "A", "--cache", "B"},
      {"export", "llama@v1", "--out", "DIR", "--cache", "A", "B"},
      {"pull", "llama@v1", "--out", "DIR", "--shards", "0,3-5"},
      {"pull", "llama@v1", "--out", "DIR", "--dry-run"},
      {"prefetch", "llama@v1", "--cache", "DIR", "--first-layers", "8", "--dry-run"},
      {"agent", "--node", "n1", "--assembly", "demo", "--cache", "DIR", "--dry-run", "--json"},
      {"verify", "llama@v1", "--dir", "DIR", "--whole"},
      {"verify", "llama@v1", "--cache", "DIR"},
      {"tune", "--shards", "1,2", "--connections", "4", "SRC", "--to", "file:///DIR", "--max-time",
       "30s", "--sample-bytes", "1GiB", "--piece-sizes", "1MiB,8MiB", "--plot", "F.svg", "--json"},
  };
  for (const auto& line : lines) {
    EXPECT_THAT(ParseCommandLine(line), IsOk()) << testing::PrintToString(line);
  }
}

TEST_F(CommandTest, CommandLinesOfViewsAreParsed) {
  const std::vector<std::vector<std::string>> lines = {
      {"agent",
       "--node",
       "n1",
       "--assembly",
       "a",
       "--assembly",
       "b",
       "--cache",
       "C",
       "--view",
       "DIR",
       "--view",
       "OTHER",
       "--view-links",
       "copy",
       "--view-partial",
       "--ready-when",
       "node",
       "--on-ready",
       "systemctl start vllm",
       "--on-ready-retries",
       "3",
       "--cache-mode",
       "0440"},
      {"view", "list", "DIR", "--json"},
      {"view", "create", "DIR", "llama@v1", "--cache", "C", "--links", "copy", "--partial",
       "--allow-code"},
      {"view", "switch", "DIR", "llama@v1"},
      {"view", "remove", "DIR", "llama@v1", "--force"},
      {"view", "remove", "DIR", "--all"},
  };
  for (const auto& line : lines) {
    EXPECT_THAT(ParseCommandLine(line), IsOk()) << testing::PrintToString(line);
  }
}

TEST_F(CommandTest, MistakesAreUsageErrors) {
  ExpectUsageError({});
  ExpectUsageError({"nosuch"});
  ExpectUsageError({"status", "--nosuch"});
  ExpectUsageError({"publish", "SRC"});
  ExpectUsageError({"shards"});
  ExpectUsageError({"publish", "S", "--model", "a@b", "--to", "/d", "--strategy", "best"});
  ExpectUsageError({"publish", "S", "--model", "a@b", "--to", "/d", "--shards", "0"});
  ExpectUsageError({"publish", "S", "--model", "a@b", "--to", "/d", "--shards", "-1"});
  ExpectUsageError({"publish", "S", "--model", "a@b", "--to", "/d", "--piece-size", "3MiB"});
  ExpectUsageError({"publish", "S", "--model", "no version", "--to", "/d"});
  ExpectUsageError({"agent", "--node", "n1", "--assembly", "d", "--cache", "C", "--claim", "none"});
  ExpectUsageError({"agent", "--node", "-n", "--assembly", "d", "--cache", "C"});
  ExpectUsageError({"agent", "--node", "n1", "--assembly", "d", "--assembly", "d", "--cache", "C"});
  ExpectUsageError({"agent", "--node", "n1", "--assembly", "d", "--cache", "C", "--view-partial"});
  ExpectUsageError(
      {"agent", "--node", "n1", "--assembly", "d", "--cache", "C", "--ready-when", "node"});
  ExpectUsageError({"agent", "--node", "n1", "--assembly", "d", "--cache", "C", "--view", "V",
                    "--view-links", "junction"});
  ExpectUsageError({"agent", "--node", "n1", "--assembly", "d", "--assembly", "e", "--cache", "C",
                    "--view", "V"});
  ExpectUsageError(
      {"agent", "--node", "n1", "--assembly", "d", "--cache", "C", "--cache-mode", "0644"});
  ExpectUsageError(
      {"agent", "--node", "n1", "--assembly", "d", "--cache", "C", "--cache-mode", "read"});
  ExpectUsageError({"view"});
  ExpectUsageError({"view", "remove", "DIR"});
  ExpectUsageError({"view", "remove", "DIR", "llama@v1", "--all"});
  ExpectUsageError(
      {"agent", "--node", "n1", "--assembly", "d", "--cache", "C", "--policy", "full"});
  ExpectUsageError({"agent", "--node", "n1", "--assembly", "d", "--cache", "C", "--capacity", "0"});
  ExpectUsageError({"agent", "--node", "n1", "--assembly", "d", "--cache", "C", "--label", "a=1",
                    "--label", "a=2"});
  ExpectUsageError({"prefetch", "a@b", "--cache", "C", "--first-layers", "0"});
  ExpectUsageError({"prefetch", "a@b", "--cache", "C", "--first-layers", "1", "--shards", "0"});
  ExpectUsageError({"verify", "a@b", "--dir", "D", "--cache", "C"});
  ExpectUsageError({"assemblies", "create", "d", "--model", "a@b", "--policy", "best"});
  ExpectUsageError(
      {"assemblies", "create", "d", "--model", "a@b", "--policy", "full", "--select", "gpu"});
  ExpectUsageError(
      {"assemblies", "create", "d", "--model", "a@b", "--policy", "full", "--move-budget", "-1"});
  ExpectUsageError({"nodes", "drain"});
  ExpectUsageError({"nodes", "drain", "n1", "--deadline", "soon"});
  ExpectUsageError({"nodes", "drain", "n1", "--deadline", "0"});
  ExpectUsageError({"nodes", "drain", "n1", "--cancel", "--deadline", "1h"});
  ExpectUsageError({"nodes", "drain", "n1", "--cancel", "--wait"});
  ExpectUsageError({"nodes", "drain", "n1", "--dry-run", "--wait"});
  ExpectUsageError({"nodes", "drain", "n1", "--timeout", "1m"});
  ExpectUsageError({"publish", "SRC", "--model", "llama@v1", "--to", "file:///DIR",
                    "--key-from-server", "--key-file", "K"});
  ExpectUsageError({"keys"});
  ExpectUsageError({"events", "--kind", "NODE_FOUND"});
  ExpectUsageError({"events", "--tail", "1001"});
  ExpectUsageError({"events", "--tail", "-1"});
  ExpectUsageError({"events", "--since", "-1"});
  ExpectUsageError({"events", "--since", "5", "--tail", "5"});
  ExpectUsageError({"events", "--node", "no node"});
  ExpectUsageError({"explain"});
  ExpectUsageError({"explain", "demo", "-1"});
  ExpectUsageError({"explain", "demo", "first"});
  ExpectUsageError({"explain", "demo", "--node", "n1"});
  ExpectUsageError({"wait", "demo", "--timeout", "soon"});
  ExpectUsageError({"tune", "SRC"});
  ExpectUsageError({"tune", "SRC", "--to", "/d", "--piece-sizes", "8MiB,3MiB"});
  ExpectUsageError({"tune", "SRC", "--to", "/d", "--shards", "0"});
  ExpectUsageError({"tune", "SRC", "--to", "/d", "--sample-bytes", "0"});
  ExpectUsageError({"tune", "SRC", "--to", "/d", "--max-time", "never"});
  ExpectUsageError({"--server", "h:port", "status"});
  ExpectUsageError({"--timeout", "x", "status"});
}

TEST_F(CommandTest, ModelsOfAHubAreToBeDownloadedFirst) {
  for (const char* const source : {"meta-llama/Llama-3-8B", "hf://meta-llama/Llama-3-8B"}) {
    const absl::Status status = Run({"publish", source, "--model", "a@b", "--to", "/d"});
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                                 HasSubstr("`hf download meta-llama/Llama-3-8B`")))
        << source;
  }
  EXPECT_THAT(Run({"publish", "hf://", "--model", "a@b", "--to", "/d"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("hf download ORG/NAME")));
}

TEST_F(CommandTest, TimeoutMeansTheSameBeforeAndAfterWait) {
  EXPECT_EQ(Globals({"--timeout", "2s", "wait", "demo"}).timeout, "2s");
  EXPECT_EQ(Globals({"wait", "demo", "--timeout", "2s"}).timeout, "2s");
}

// As of a script's variable that is not set.
TEST_F(CommandTest, EmptyValueDoesNotStandForTheDefault) {
  ExpectUsageError({"agent", "--node", "", "--assembly", "d", "--cache", "C"});
  ExpectUsageError({"agent", "--node", "n1", "--assembly", "d", "--cache", ""});
  ExpectUsageError({"cache", "evict", "--to", "0", "--cache", ""});
}

TEST_F(CommandTest, UnknownCommandIsNamed) {
  EXPECT_THAT(std::string(Run({"drain", "n1"}).message()), HasSubstr("unknown command \"drain\""));
  EXPECT_THAT(std::string(Run({"--nosuch"}).message()), HasSubstr("--nosuch"));
  EXPECT_THAT(std::string(Run({"--json"}).message()), HasSubstr("a command is missing"));
}

std::string HelpText(std::vector<std::string> command) {
  command.emplace_back("--help");
  const auto help = ParseCommandLine(command);
  EXPECT_THAT(help, IsOk());
  return help.ok() ? std::get<std::string>(*help) : "";
}

using Helps = std::map<std::vector<std::string>, std::string>;

// Adds the help of the command of these words and of all below it.
void AddHelps(const std::vector<std::string>& words, Helps& helps) {
  const std::string help = helps[words] = HelpText(words);
  const size_t begin = help.find("\nSubcommands:\n");
  if (begin == std::string::npos) return;
  const std::string list = help.substr(begin + 14, help.find("\n\n", begin + 2) - begin - 14);
  for (const absl::string_view line : absl::StrSplit(list, '\n')) {
    // Further lines of a description are indented deeper.
    if (line.size() < 3 || line[2] == ' ') continue;
    std::vector<std::string> below = words;
    below.emplace_back(line.substr(2, line.find(' ', 2) - 2));
    AddHelps(below, helps);
  }
}

// Of every command, by its words.
const Helps& AllHelps() {
  static const Helps* const helps = [] {
    auto all = std::make_unique<Helps>();
    AddHelps({}, *all);
    return all.release();
  }();
  return *helps;
}

TEST_F(CommandTest, EveryCommandHasHelpWithExamplesOfItself) {
  EXPECT_GT(AllHelps().size(), 40u);
  for (const auto& [command, help] : AllHelps()) {
    const std::string words = absl::StrJoin(command, " ");
    EXPECT_THAT(help, HasSubstr("Examples:\n")) << words;
    EXPECT_THAT(help, HasSubstr(absl::StrCat("  muster ", words))) << words;
  }
}

TEST_F(CommandTest, HelpThatUsesAWordOfOursExplainsIt) {
  const std::vector<std::pair<std::string, std::string>> terms = {
      {"ssembl", "assembly: the nodes that hold one model version together"},
      {"claim", "claim: what a node asks of its assembly"},
      {"ompanion", "companion: a file that belongs to a model"}};
  for (const auto& [command, help] : AllHelps()) {
    const std::string text = help.substr(0, help.find("\nWords:\n"));
    for (const auto& [word, meaning] : terms) {
      if (text.find(word) == std::string::npos) continue;
      EXPECT_THAT(help, HasSubstr(meaning)) << absl::StrJoin(command, " ");
    }
  }
  EXPECT_THAT(HelpText({"models", "gc"}), Not(HasSubstr("Words:")));
}

TEST_F(CommandTest, ExportIsKnownByItsOldName) {
  EXPECT_THAT(HelpText({"assemble"}), HasSubstr("\nUsage: muster export "));
  EXPECT_THAT(ParseCommandLine({"assemble", "llama@v1", "--out", "DIR"}), IsOk());
}

TEST_F(CommandTest, HelpIsOfTheCommandThatIsAskedFor) {
  const auto nested = ParseCommandLine({"nodes", "show", "--help"});
  MUSTER_ASSERT_OK(nested);
  EXPECT_THAT(std::get<std::string>(*nested), Not(HasSubstr("muster sample")));
  const auto drain = ParseCommandLine({"nodes", "drain", "--help"});
  MUSTER_ASSERT_OK(drain);
  EXPECT_THAT(std::get<std::string>(*drain), HasSubstr("Examples:\n  muster nodes drain"));
  const auto help = ParseCommandLine({"--help"});
  MUSTER_ASSERT_OK(help);
  EXPECT_THAT(std::get<std::string>(*help), HasSubstr("Exit codes:"));
  EXPECT_THAT(std::get<std::string>(*ParseCommandLine({"--version"})), HasSubstr("muster "));
}

}  // namespace
}  // namespace muster
