// What people are told to do: of every reason, in every situation, something that can be typed, and that can help there.

#include "client/cli/reason_advice.h"

#include <algorithm>
#include <regex>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/command.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Reason = v1::AssemblyReason;

// What stands in backticks but is no command of Muster's.
const std::set<std::string>& OtherCommands() {
  static const std::set<std::string> commands = {"ulimit -n"};
  return commands;
}

// Flags of musterd, which this library does not parse.
const std::set<std::string>& ServerFlags() {
  static const std::set<std::string> flags = {"--move-grace"};
  return flags;
}

std::vector<std::string> InBackticks(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '`');
  std::vector<std::string> quoted;
  for (size_t i = 1; i < parts.size(); i += 2) quoted.push_back(parts[i]);
  return quoted;
}

std::string OutsideBackticks(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '`');
  std::string outside;
  for (size_t i = 0; i < parts.size(); i += 2) absl::StrAppend(&outside, parts[i], " ");
  return outside;
}

std::string HelpOfCommand(const std::vector<std::string>& command) {
  std::vector<std::string> arguments = command;
  arguments.push_back("--help");
  const auto parsed = ParseCommandLine(arguments);
  return parsed.ok() && std::holds_alternative<std::string>(*parsed)
             ? std::get<std::string>(*parsed)
             : "";
}

// Commands can be typed as they are, and flags exist. Looks at each text once, as making a parser of all commands takes a
// while.
void ExpectPossible(const std::string& advice) {
  static std::set<std::string> seen;
  if (!seen.insert(advice).second) return;
  for (const std::string& command : InBackticks(advice)) {
    if (OtherCommands().contains(command)) continue;
    std::vector<std::string> words = absl::StrSplit(command, ' ');
    ASSERT_EQ(words.front(), "muster") << advice;
    words.erase(words.begin());
    const auto parsed = ParseCommandLine(words);
    EXPECT_TRUE(parsed.ok()) << command << ": " << parsed.status();
  }
  static const std::string known =
      absl::StrCat(HelpOfCommand({"agent"}), HelpOfCommand({"publish"}),
                   HelpOfCommand({"assemblies", "create"}));
  static const std::regex flag("--[a-z][a-z-]+");
  const std::string outside = OutsideBackticks(advice);
  for (std::sregex_iterator at(outside.begin(), outside.end(), flag), end; at != end; ++at) {
    EXPECT_TRUE(ServerFlags().contains(at->str()) || absl::StrContains(known, at->str()))
        << at->str() << " in: " << advice;
  }
  EXPECT_EQ(std::count(advice.begin(), advice.end(), '`') % 2, 0) << advice;
  EXPECT_LT(advice.size(), 400u) << advice;
}

v1::Assembly AssemblyOf(v1::Assembly::Policy policy, uint32_t live = 3, uint32_t min_nodes = 1) {
  v1::Assembly assembly;
  assembly.set_name("assemblies/demo");
  assembly.set_model_version("models/llama/versions/v1");
  assembly.set_policy(policy);
  assembly.set_generation(5);
  assembly.set_min_nodes(min_nodes);
  assembly.set_replicas(2);
  assembly.set_nodes_live(live);
  assembly.set_nodes_joined(live + 1);
  (*assembly.mutable_node_selector())["gpu"] = "h100";
  return assembly;
}

Reason WithCode(Reason::Code code) {
  Reason reason;
  reason.set_code(code);
  reason.set_node("nodes/n7");
  reason.add_shards(3);
  return reason;
}

Reason FailedWith(v1::ShardFailure::Code code, const std::string& why = "") {
  Reason reason = WithCode(Reason::SHARD_FAILED);
  reason.set_failure_code(code);
  reason.set_failure_reason(why);
  return reason;
}

template <typename Code>
std::vector<Code> AllOfEnum(const google::protobuf::EnumDescriptor& descriptor) {
  std::vector<Code> codes;
  for (int i = 0; i < descriptor.value_count(); ++i) {
    codes.push_back(static_cast<Code>(descriptor.value(i)->number()));
  }
  return codes;
}

std::vector<v1::Assembly> Situations(Reason::Code also) {
  std::vector<v1::Assembly> all;
  for (const auto policy : {v1::Assembly::DECLARED, v1::Assembly::FULL, v1::Assembly::BALANCED,
                            v1::Assembly::CONTIGUOUS, v1::Assembly::RANKED}) {
    for (const uint32_t live : {0u, 1u, 3u}) {
      for (const uint32_t min_nodes : {1u, 2u, 10u}) {
        all.push_back(AssemblyOf(policy, live, min_nodes));
        all.back().add_reasons()->set_code(also);
      }
    }
  }
  return all;
}

TEST(ReasonAdviceTest, EveryReasonHasAdviceThatCanBeTyped) {
  for (const auto code : AllOfEnum<Reason::Code>(*Reason::Code_descriptor())) {
    for (const auto also : {Reason::SHARDS_LOADING, Reason::MOVES_BRAKED}) {
      for (const v1::Assembly& assembly : Situations(also)) {
        const std::string advice = AdviceFor(WithCode(code), assembly);
        EXPECT_NE(advice, "") << Reason::Code_Name(code);
        ExpectPossible(advice);
      }
    }
  }
}

TEST(ReasonAdviceTest, EveryFailureHasItsOwnAdviceInEverySituation) {
  const std::vector<std::string> reasons = {"",
                                            "CACHE_FULL",
                                            "KEY_MISSING",
                                            "WRONG_KEY",
                                            "S3_ERROR",
                                            "KEY_COMMAND_FAILED",
                                            "KEY_FILE_EXPOSED",
                                            "TOO_MANY_OPEN_FILES",
                                            "INTERNAL",
                                            "CACHE_ENTRY_WRITABLE",
                                            "UNAUTHENTICATED",
                                            "PERMISSION_DENIED",
                                            "KEY_DENIED",
                                            "NO_MASTER_KEY",
                                            "MASTER_KEY_MISSING",
                                            "CONTENT_KEY_DAMAGED",
                                            "KEYS_NEED_TLS"};
  for (const v1::Assembly& assembly : Situations(Reason::SHARDS_LOADING)) {
    const std::string generic = AdviceFor(FailedWith(v1::ShardFailure::CODE_UNSPECIFIED), assembly);
    std::set<std::string> advices;
    const auto codes = AllOfEnum<v1::ShardFailure::Code>(*v1::ShardFailure::Code_descriptor());
    for (const auto code : codes) {
      for (const std::string& why : reasons) {
        const std::string advice = AdviceFor(FailedWith(code, why), assembly);
        ExpectPossible(advice);
        EXPECT_THAT(advice, HasSubstr("n7")) << "whose failure it is";
        EXPECT_EQ(advice == generic, code == v1::ShardFailure::CODE_UNSPECIFIED) << advice;
        EXPECT_EQ(why.empty() && !advices.insert(advice).second, false) << advice;
      }
    }
  }
}

TEST(ReasonAdviceTest, FailuresOfTheNodeAreNotBlamedOnTheStorage) {
  const v1::Assembly assembly = AssemblyOf(v1::Assembly::BALANCED);
  for (const auto code :
       {v1::ShardFailure::NO_SPACE, v1::ShardFailure::NODE_ERROR, v1::ShardFailure::NOT_ALLOWED}) {
    EXPECT_THAT(AdviceFor(FailedWith(code), assembly), Not(HasSubstr("muster verify")));
  }
  EXPECT_THAT(AdviceFor(FailedWith(v1::ShardFailure::NO_SPACE, "CACHE_FULL"), assembly),
              HasSubstr("--cache-budget"));
  // Of keys that the server gives, each cause has a way out of its own.
  std::set<std::string> advices;
  for (const char* why :
       {"KEY_DENIED", "NO_MASTER_KEY", "CONTENT_KEY_DAMAGED", "KEYS_NEED_TLS", "KEY_MISSING"}) {
    const std::string advice = AdviceFor(FailedWith(v1::ShardFailure::NODE_ERROR, why), assembly);
    EXPECT_TRUE(advices.insert(advice).second) << advice;
    EXPECT_THAT(advice, Not(HasSubstr("the fault is on that machine")));
  }
  EXPECT_THAT(AdviceFor(FailedWith(v1::ShardFailure::NODE_ERROR, "KEY_MISSING"), assembly),
              AllOf(HasSubstr("--key-file"), Not(HasSubstr("tries again by itself"))));
}

TEST(ReasonAdviceTest, NoOtherNodeIsOfferedWhereNoneCanHelp) {
  for (const v1::Assembly& assembly :
       {AssemblyOf(v1::Assembly::FULL), AssemblyOf(v1::Assembly::BALANCED, /*live=*/1)}) {
    EXPECT_THAT(AdviceFor(FailedWith(v1::ShardFailure::NODE_ERROR), assembly),
                Not(HasSubstr("who else could take it")));
  }
  const v1::Assembly balanced = AssemblyOf(v1::Assembly::BALANCED);
  EXPECT_THAT(AdviceFor(FailedWith(v1::ShardFailure::NODE_ERROR), balanced),
              HasSubstr("who else could take it"));
  EXPECT_THAT(AdviceFor(FailedWith(v1::ShardFailure::CORRUPT), balanced),
              Not(HasSubstr("who else could take it")));

  const v1::Assembly full = AssemblyOf(v1::Assembly::FULL);
  EXPECT_THAT(AdviceFor(WithCode(Reason::NO_ROOM), full), Not(HasSubstr("add a node")));
  EXPECT_THAT(AdviceFor(WithCode(Reason::NODE_LOST), full),
              AllOf(Not(HasSubstr("other nodes get its shards")), HasSubstr("deregister n7")));
}

TEST(ReasonAdviceTest, LostNodeThatIsNeededIsToBeReplaced) {
  const v1::Assembly assembly = AssemblyOf(v1::Assembly::FULL, /*live=*/1, /*min_nodes=*/2);
  EXPECT_THAT(AdviceFor(WithCode(Reason::NODE_LOST), assembly),
              AllOf(HasSubstr("another one in its place"), Not(HasSubstr("deregister"))));
  EXPECT_THAT(AdviceFor(WithCode(Reason::NODE_LOST), AssemblyOf(v1::Assembly::BALANCED, 0)),
              Not(HasSubstr("other nodes get")));
}

TEST(ReasonAdviceTest, WaitingIsAdvisedWhereNothingElseIsWrong) {
  v1::Assembly assembly = AssemblyOf(v1::Assembly::BALANCED);
  *assembly.add_reasons() = WithCode(Reason::SHARDS_LOADING);
  EXPECT_THAT(AdviceFor(WithCode(Reason::SHARDS_LOADING), assembly), HasSubstr("nothing: "));
  *assembly.add_reasons() = FailedWith(v1::ShardFailure::NO_SPACE);
  EXPECT_THAT(AdviceFor(WithCode(Reason::SHARDS_LOADING), assembly), Not(HasSubstr("nothing")));
  EXPECT_THAT(AdviceFor(Reason(), assembly), AllOf(HasSubstr("--all"), Not(HasSubstr("nothing"))));
}

TEST(ReasonAdviceTest, UnknownReasonOfALaterServerHasNone) {
  EXPECT_EQ(AdviceFor(WithCode(static_cast<Reason::Code>(999)), AssemblyOf(v1::Assembly::FULL)),
            "");
}

}  // namespace
}  // namespace muster
