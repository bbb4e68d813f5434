#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/colour.h"
#include "client/cli/display.h"
#include "client/cli/event_lines.h"
#include "client/cli/exit_code.h"
#include "client/cli/json_output.h"
#include "client/cli/plan_preview.h"
#include "client/cli/table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "storage/base/error_info.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(TableTest, ColumnsAreAlignedByCharacters) {
  Table table({{"NAME"}, {"SIZE", Table::Align::kRight}, {"END"}});
  table.Add({"größe", "1"});
  table.Add({"b", "1000", "x"});

  EXPECT_EQ(table.ToString(),
            "NAME   SIZE  END\n"
            "größe     1\n"
            "b      1000  x\n");
}

TEST(TableTest, CellsCantControlTheTerminal) {
  Table table({{"A"}});
  table.Add({"x\n\x1b[2Jy"});

  EXPECT_EQ(table.ToString(), "A\nx??[2Jy\n");
}

TEST(TableTest, RowsThatAreTakenLaterKeepTheColumns) {
  Table table({{"A"}, {"B"}});
  table.Add({"long", "1"});
  const std::string first = table.TakeRows();
  table.Add({"x", "2"});
  table.Add({"longer still", "3"});
  const std::string second = table.TakeRows();

  EXPECT_EQ(first, "A     B\nlong  1\n");
  EXPECT_EQ(second, "x             2\nlonger still  3\n");
  EXPECT_EQ(table.TakeRows(), "");
}

TEST(ColourTest, StatesAreColouredAndTitlesAreNot) {
  EXPECT_EQ(WithColours("ASSEMBLY  STATE  READY\ndemo      READY  6/6\n"),
            "ASSEMBLY  STATE  READY\ndemo      \033[32mREADY\033[0m  6/6\n");
  EXPECT_EQ(WithColours("demo is DEGRADED: x"), "demo is \033[31mDEGRADED\033[0m: x");
  EXPECT_EQ(WithColours("n1    lost   zone"), "n1    \033[31mlost\033[0m   zone");
  EXPECT_EQ(WithColours("n1 was lost and READY@v1"), "n1 was lost and READY@v1");
}

TEST(ExitCodeTest, EveryKindOfErrorHasItsCode) {
  const auto code = [](absl::StatusCode status, absl::string_view reason) {
    return ExitCodeOf(MakeError(status, reason, "message"));
  };

  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), 0);
  EXPECT_EQ(code(absl::StatusCode::kNotFound, "VERSION_UNKNOWN"), 1);
  EXPECT_EQ(code(absl::StatusCode::kInvalidArgument, "USAGE"), 2);
  EXPECT_EQ(code(absl::StatusCode::kInvalidArgument, "INVALID_NAME"), 2);
  EXPECT_EQ(code(absl::StatusCode::kInvalidArgument, "SHARD_OUT_OF_RANGE"), 1);
  EXPECT_EQ(code(absl::StatusCode::kDeadlineExceeded, "WAIT_TIMED_OUT"), 3);
  EXPECT_EQ(code(absl::StatusCode::kDeadlineExceeded, "DRAIN_OVERDUE"), 3);
  EXPECT_EQ(code(absl::StatusCode::kUnavailable, "SERVER_UNREACHABLE"), 4);
  EXPECT_EQ(code(absl::StatusCode::kDeadlineExceeded, "SERVER_TIMED_OUT"), 4);
  EXPECT_EQ(code(absl::StatusCode::kDeadlineExceeded, "SHARD_SLOW"), 1);
  EXPECT_EQ(code(absl::StatusCode::kDeadlineExceeded, ""), 1);
  EXPECT_EQ(code(absl::StatusCode::kUnavailable, "SHARD_UNREADABLE"), 1);
  EXPECT_EQ(code(absl::StatusCode::kAborted, "NODE_NAME_TAKEN"), 7);
  EXPECT_EQ(code(absl::StatusCode::kAborted, "NODE_FENCED"), 5);
  EXPECT_EQ(code(absl::StatusCode::kFailedPrecondition, "NODE_TOO_SMALL"), 6);
  EXPECT_EQ(code(absl::StatusCode::kFailedPrecondition, "CLAIM_DIFFERS"), 1);
  EXPECT_EQ(ExitCodeOf(absl::CancelledError("interrupted")), 130);
}

TEST(ExitCodeTest, ErrorsAreOneLineAndAHint) {
  const std::string text =
      ErrorText(MakeError(absl::StatusCode::kNotFound, "VERSION_UNKNOWN", "no\n\x1b model"));

  EXPECT_EQ(text, "muster: no?? model\nhint: `muster models` lists what there is\n");
}

TEST(ExitCodeTest, HintsCarryTheNamesOfTheError) {
  const auto hint = [](const char* reason, std::map<std::string, std::string> metadata) {
    return HintFor(
        MakeError(absl::StatusCode::kFailedPrecondition, reason, "", std::move(metadata)));
  };
  const std::string demo = "assemblies/demo", llama = "models/llama/versions/v1";
  EXPECT_THAT(hint("WAIT_TIMED_OUT", {{"assembly", demo}}), HasSubstr("`muster explain demo`"));
  EXPECT_THAT(hint("CLAIM_DIFFERS", {{"assembly", demo}, {"node", "nodes/n1"}}),
              HasSubstr("`muster assemblies leave demo --node n1`"));
  EXPECT_THAT(hint("VERSION_EXISTS", {{"name", llama}, {"state", "COMMITTED"}}),
              HasSubstr("`muster models delete llama@v1`"));
  EXPECT_THAT(hint("VERSION_EXISTS", {{"name", llama}, {"state", "DRAFT"}}),
              HasSubstr("`muster models show llama@v1`"));
  EXPECT_THAT(
      hint("VERSION_IN_USE", {{"name", llama}, {"assemblies", "assemblies/a,assemblies/b"}}),
      HasSubstr("each of them: `muster assemblies delete a`"));
  EXPECT_THAT(hint("ASSEMBLY_EXISTS", {{"assembly", demo}}),
              HasSubstr("`muster assemblies delete demo`"));
  EXPECT_THAT(hint("SHARD_CORRUPT", {{"shard", llama + "/shards/3"}}),
              HasSubstr("`muster verify llama@v1`"));
  // None of them has a placeholder where a name is not known.
  for (const char* reason : {"WAIT_TIMED_OUT", "CLAIM_DIFFERS", "VERSION_EXISTS", "VERSION_IN_USE",
                             "ASSEMBLY_EXISTS", "ASSEMBLY_DIFFERS", "ASSEMBLY_UNKNOWN",
                             "SHARD_CORRUPT", "SHARD_MISSING", "VERSION_UNKNOWN"}) {
    for (const char* placeholder : {"ASSEMBLY", "MODEL", "NODE"}) {
      EXPECT_EQ(HintFor(MakeError(absl::StatusCode::kNotFound, reason, ""))
                    .find(absl::StrCat(" ", placeholder, "`")),
                std::string::npos)
          << reason;
    }
  }
}

TEST(ExitCodeTest, JsonErrorsCarryReasonAndValues) {
  const absl::Status error = MakeError(absl::StatusCode::kNotFound, "NODE_UNKNOWN", "no \"n1\"\xff",
                                       {{"node", "nodes/n1"}});

  const auto json = nlohmann::json::parse(ErrorJson(error));

  EXPECT_EQ(json["code"], "NOT_FOUND");
  EXPECT_EQ(json["reason"], "NODE_UNKNOWN");
  EXPECT_THAT(json["message"].get<std::string>(), HasSubstr("\"n1\""));
  EXPECT_EQ(json["metadata"]["node"], "nodes/n1");
}

TEST(JsonOutputTest, MessagesKeepProtoNamesAndDefaults) {
  v1::Shard shard;
  shard.set_size_bytes(5);

  const auto json = nlohmann::json::parse(MessageToJson(shard));

  EXPECT_EQ(json["size_bytes"], 5);
  EXPECT_EQ(json["tensor_count"], 0);
  EXPECT_EQ(json["locations"], nlohmann::json::array());
}

TEST(JsonOutputTest, NumbersOf64BitsAreExactNumbersWhereverTheyStand) {
  v1::GetAssemblyResponse response;
  response.mutable_assembly()->set_moving_bytes(~uint64_t{0});
  response.add_members()->set_ready_bytes(uint64_t{1} << 53);
  response.mutable_assembly()->set_uid("12");

  const std::string text = MessageToJson(response);

  EXPECT_THAT(text, HasSubstr("\"moving_bytes\":18446744073709551615"));
  EXPECT_THAT(text, HasSubstr("\"ready_bytes\":9007199254740992"));
  EXPECT_THAT(text, HasSubstr("\"uid\":\"12\""));
  // In the order of the .proto file, for people who read it.
  EXPECT_LT(text.find("\"assembly\""), text.find("\"members\""));
}

TEST(JsonOutputTest, YamlKeepsOrderNumbersAndTexts) {
  EXPECT_EQ(JsonToYaml(R"({"items":[{"name":"nodes/n1","size":5,"ok":true,"no":"no","e":""}],)"
                       R"("none":[],"text":"a: b\n"})"),
            "items:\n"
            "  - name: nodes/n1\n"
            "    size: 5\n"
            "    ok: true\n"
            "    \"no\": \"no\"\n"
            "    e: \"\"\n"
            "none: []\n"
            "text: \"a: b\\n\"\n");
  EXPECT_EQ(JsonToYaml("no JSON"), "no JSON");
}

TEST(DisplayTest, AssemblyShowsEveryReasonAndMember) {
  v1::GetAssemblyResponse response;
  v1::Assembly& assembly = *response.mutable_assembly();
  assembly.set_name("assemblies/demo");
  assembly.set_model_version("models/llama/versions/v1");
  assembly.set_policy(v1::Assembly::BALANCED);
  assembly.set_state(v1::Assembly::WAITING);
  assembly.set_nodes_joined(2);
  assembly.add_reasons()->set_message("1 of 3 nodes joined");
  assembly.add_reasons()->set_message("shard 3 has no room");
  v1::AssemblyMember& member = *response.add_members();
  member.set_node("nodes/n1");
  member.mutable_claim()->set_kind(v1::Claim::ANY);

  const std::string text = AssemblyDetails(response);

  EXPECT_THAT(text, HasSubstr("demo      llama@v1  balanced  WAITING"));
  EXPECT_THAT(text, HasSubstr("- shard 3 has no room"));
  EXPECT_EQ(text.find("1 of 3 nodes joined"), text.rfind("1 of 3 nodes joined")) << "once";
  EXPECT_THAT(text, HasSubstr("n1    no    no     any"));
  EXPECT_THAT(text, HasSubstr("1 more node"));
}

TEST(DisplayTest, NodesThatJoinAreCountedAndNamed) {
  v1::Assembly assembly;
  assembly.set_nodes_ready(3);
  EXPECT_EQ(NodesReadyText(assembly, {}), "3 nodes ready");
  assembly.set_nodes_ready(8);
  assembly.set_nodes_joining(1);
  EXPECT_EQ(NodesReadyText(assembly, {}), "8 of 9 nodes ready, 1 joining");
  std::vector<v1::AssemblyMember> members(2);
  members[0].set_node("nodes/n1");
  members[1].set_node("nodes/n9");
  members[1].set_joining(true);
  members[1].set_assigned_bytes(1'000);
  members[1].set_ready_bytes(300);
  members[1].set_fetching_bytes(100);
  EXPECT_EQ(NodesReadyText(assembly, members), "8 of 9 nodes ready, n9 joining at 40 %");
  assembly.set_nodes_joining(3);
  EXPECT_EQ(NodesReadyText(assembly, members),
            "8 of 11 nodes ready, n9 joining at 40 %, 2 more joining");
}

TEST(DisplayTest, ReadyAssemblySaysWhoHasNoRoom) {
  v1::GetAssemblyResponse response;
  response.mutable_assembly()->set_state(v1::Assembly::READY);
  v1::AssemblyMember& member = *response.add_members();
  member.set_node("nodes/c2");
  member.set_problem("needs 45.5 MiB for its shards, has 10.0 MiB left");

  EXPECT_THAT(
      AssemblySummary(response),
      HasSubstr("- c2 gets no shards: it needs 45.5 MiB for its shards, has 10.0 MiB left\n"));
}

TEST(DisplayTest, ListSaysThatNodesOfAReadyAssemblyGetNoShards) {
  v1::Assembly assembly;
  assembly.set_name("assemblies/demo");
  assembly.set_state(v1::Assembly::READY);
  assembly.set_nodes_live(5);
  assembly.set_nodes_ready(3);
  assembly.set_nodes_joining(2);
  EXPECT_THAT(AssembliesTable({assembly}), Not(HasSubstr("no shards"))) << "two are loading";
  assembly.set_nodes_joining(1);
  EXPECT_THAT(AssembliesTable({assembly}),
              HasSubstr("1 live node gets no shards: `muster status demo`"));
  assembly.set_nodes_joining(0);
  EXPECT_THAT(AssembliesTable({assembly}), HasSubstr("2 live nodes get no shards"));
  // Others have reasons.
  assembly.set_state(v1::Assembly::DEGRADED);
  EXPECT_THAT(AssembliesTable({assembly}), Not(HasSubstr("no shards")));
  // An older server counts neither.
  assembly.set_state(v1::Assembly::READY);
  assembly.set_nodes_ready(0);
  EXPECT_THAT(AssembliesTable({assembly}), Not(HasSubstr("no shards")));
}

TEST(DisplayTest, MembersShowMovesAndWaitsOnlyWhereThereAreSome) {
  std::vector<v1::AssemblyMember> members(2);
  members[0].set_live(true);
  members[0].set_draining(true);
  EXPECT_THAT(MembersTable(members), Not(HasSubstr("INCOMING")));
  EXPECT_THAT(MembersTable(members), HasSubstr("yes, draining"));

  members[0].set_shards_waiting(2);
  members[1].set_shards_incoming(4);
  const std::string text = MembersTable(members);

  EXPECT_THAT(text, HasSubstr("INCOMING  WAITING\n"));
  EXPECT_THAT(text, Not(HasSubstr("GIVEN UP")));
}

TEST(DisplayTest, StateOfANodeIsOneWordUnlessTwoThingsHappenToIt) {
  v1::Node node;
  node.set_state(v1::Node::LIVE);
  EXPECT_EQ(NodeState(node), "live");
  node.mutable_drain()->set_state(v1::Drain::DRAINING);
  node.mutable_drain()->set_shards_left(3);
  EXPECT_EQ(NodeState(node), "draining 3 left");
  node.mutable_drain()->set_state(v1::Drain::OVERDUE);
  EXPECT_EQ(NodeState(node), "overdue 3 left");
  node.mutable_drain()->set_state(v1::Drain::DRAINED);
  EXPECT_EQ(NodeState(node), "drained");
  node.set_state(v1::Node::LOST);
  EXPECT_EQ(NodeState(node), "lost, drained");
  node.clear_drain();
  EXPECT_EQ(NodeState(node), "lost");
  node.set_moves_braked(true);
  EXPECT_EQ(NodeState(node), "braked");
  node.set_moves_braked(false);
  node.set_released(true);
  EXPECT_EQ(NodeState(node), "released");
}

TEST(EventLinesTest, LineHasWhatChangedAndWhy) {
  v1::Event event;
  event.set_revision(31);
  event.mutable_time()->set_seconds(3 * 3600 + 4 * 60 + 5);
  event.mutable_time()->set_nanos(600'000'000);
  event.set_kind(v1::Event::SHARDS_REPORTED);
  event.set_cause("ReportShards");
  event.set_node("nodes/n1");
  event.set_assembly("assemblies/demo");
  event.set_model_version("models/llama/versions/v1");
  for (const uint32_t shard : {0, 3, 4}) event.add_shards(shard);
  event.set_shard_count(3);
  event.set_old_state("FETCHING");
  event.set_new_state("READY");
  event.set_message("3 shards\x1b[2J");

  const std::string text = EventsTable({event}, absl::UTCTimeZone());

  EXPECT_THAT(text, HasSubstr("\n03:04:05.6        31  SHARDS_REPORTED  demo n1  0,3-4   "
                              "FETCHING -> READY  ReportShards  3 shards?[2J\n"));
}

TEST(EventLinesTest, ManyShardsAreCounted) {
  v1::Event event;
  event.set_kind(v1::Event::VERSION_CREATED);
  event.set_model_version("models/llama/versions/v1");
  event.add_shards(0);
  event.set_shard_count(5000);
  event.set_new_state("DRAFT");

  const std::string text = EventsTable({event}, absl::UTCTimeZone());

  EXPECT_THAT(text, HasSubstr("llama@v1  5000 shards  -> DRAFT"));
}

TEST(EventLinesTest, KindsAreReadInAnyCase) {
  EXPECT_THAT(ParseEventKind("NODE_LOST"), IsOkAndHolds(v1::Event::NODE_LOST));
  EXPECT_THAT(ParseEventKind(" shard-given-up"), IsOkAndHolds(v1::Event::SHARD_GIVEN_UP));
  for (const char* const text : {"", "KIND_UNSPECIFIED", "2", "LOST"}) {
    EXPECT_THAT(ParseEventKind(text), ErrorIs(absl::StatusCode::kInvalidArgument, "USAGE"));
  }
  EXPECT_THAT(std::string(ParseEventKind("x").status().message()), HasSubstr("ASSEMBLY_STATE"));
}

TEST(PlanPreviewTest, ShowsBytesNodesAndWhatCantBePlaced) {
  v1::PlanPreview preview;
  preview.set_assembly("assemblies/demo");
  preview.set_added_bytes(3 << 20);
  preview.set_removed_bytes(1 << 20);
  preview.set_moved_bytes(1 << 20);
  v1::PlanPreview::NodeChange& node = *preview.add_nodes();
  node.set_node("nodes/n2");
  for (const uint32_t shard : {1, 2, 3}) node.add_added_shards(shard);
  node.set_added_bytes(3 << 20);
  preview.add_reasons()->set_message("shard 7 needs 12.4 GiB");

  const std::string text = PlanPreviewText(preview);

  EXPECT_THAT(text, HasSubstr("demo: 3.0 MiB to fetch, 1.0 MiB to drop; 1.0 MiB of it"));
  EXPECT_THAT(text, HasSubstr("n2    1-3    -        3.0 MiB"));
  EXPECT_THAT(text, HasSubstr("- shard 7 needs 12.4 GiB"));
}

TEST(PlanPreviewTest, NothingToDoIsSaid) {
  EXPECT_EQ(PlanPreviewsText({}), "no shard would move\n");
  v1::PlanPreview preview;
  preview.set_assembly("assemblies/demo");
  EXPECT_EQ(PlanPreviewText(preview), "demo: no shard would move\n");
}

}  // namespace
}  // namespace muster
