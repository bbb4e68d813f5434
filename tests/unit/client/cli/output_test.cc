#include <string>

#include "client/cli/display.h"
#include "client/cli/exit_code.h"
#include "client/cli/json_output.h"
#include "client/cli/progress_bar.h"
#include "client/cli/table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "storage/base/error_info.h"
#include "tests/support/fake_clock.h"

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

TEST(ProgressLineTest, ShowsRateAndTimeLeft) {
  const std::string line =
      ProgressLine("pulling", int64_t{1} << 30, int64_t{4} << 30, absl::Seconds(10));

  EXPECT_EQ(line,
            "pulling  25%  [======>                 ]  1.0 GiB of 4.0 GiB  102.4 MiB/s  30 s left");
}

TEST(ProgressLineTest, UnknownTotalsAndRatesAreLeftOut) {
  EXPECT_THAT(ProgressLine("x", 0, 0, absl::ZeroDuration()), Not(HasSubstr("left")));
  EXPECT_THAT(ProgressLine("x", 5, 4, absl::Seconds(1)), HasSubstr("100%"));
}

TEST(ProgressBarTest, NothingIsDrawnWithoutATerminal) {
  FakeClock clock;
  char* text = nullptr;
  size_t size = 0;
  std::FILE* const out = open_memstream(&text, &size);
  {
    ProgressBar bar(clock, out, /*enabled=*/false, "x");
    bar.SetTotal(10);
    clock.Advance(absl::Seconds(5));
    bar.Add(5);
  }
  std::fclose(out);

  EXPECT_EQ(size, 0u);
  std::free(text);
}

TEST(ProgressBarTest, LineIsWipedAtTheEnd) {
  FakeClock clock;
  char* text = nullptr;
  size_t size = 0;
  std::FILE* const out = open_memstream(&text, &size);
  {
    ProgressBar bar(clock, out, /*enabled=*/true, "x");
    bar.SetTotal(10);
    bar.Add(1);
    clock.Advance(absl::Seconds(5));
    bar.Add(5);
  }
  std::fclose(out);
  const std::string drawn(text, size);
  std::free(text);

  EXPECT_THAT(drawn, HasSubstr("60%"));
  EXPECT_THAT(drawn, testing::EndsWith("\r\033[K"));
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
  EXPECT_EQ(code(absl::StatusCode::kUnavailable, "SERVER_UNREACHABLE"), 4);
  EXPECT_EQ(code(absl::StatusCode::kDeadlineExceeded, ""), 4);
  EXPECT_EQ(code(absl::StatusCode::kUnavailable, "SHARD_UNREADABLE"), 1);
  EXPECT_EQ(code(absl::StatusCode::kAborted, "NODE_FENCED"), 5);
  EXPECT_EQ(ExitCodeOf(absl::CancelledError("interrupted")), 130);
}

TEST(ExitCodeTest, ErrorsAreOneLineAndAHint) {
  const std::string text =
      ErrorText(MakeError(absl::StatusCode::kNotFound, "VERSION_UNKNOWN", "no\n\x1b model"));

  EXPECT_EQ(text, "muster: no?? model\nhint: `muster models` lists what there is\n");
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

  EXPECT_EQ(json["size_bytes"], "5");
  EXPECT_EQ(json["tensor_count"], 0);
  EXPECT_EQ(json["locations"], nlohmann::json::array());
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
  EXPECT_THAT(text, HasSubstr("n1    no    no     any"));
  EXPECT_THAT(text, HasSubstr("1 more node"));
}

}  // namespace
}  // namespace muster
