#include "client/cli/man_pages.h"

#include <CLI/CLI.hpp>
#include <fstream>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace muster {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(ManPagesTest, EachCommandHasAPageThatRoffPrintsAsItIs) {
  CLI::App app{"top", "muster"};
  CLI::App* const nodes = app.add_subcommand("nodes", "List nodes");
  nodes->footer(".TH is no request here\n'nor this; back\\slash, --dash");
  nodes->add_subcommand("drain", "Take a node out of service");

  const auto pages = ManPages(app);

  ASSERT_EQ(pages.size(), 3u);
  EXPECT_EQ(pages[0].first, "muster.1");
  EXPECT_EQ(pages[1].first, "muster-nodes.1");
  EXPECT_EQ(pages[2].first, "muster-nodes-drain.1");
  EXPECT_THAT(pages[1].second, StartsWith(".TH MUSTER-NODES 1 "));
  EXPECT_THAT(pages[1].second, HasSubstr("\nmuster\\-nodes \\- List nodes\n"));
  EXPECT_THAT(pages[1].second, HasSubstr("\n\\&.TH is no request here\n"));
  EXPECT_THAT(pages[1].second, HasSubstr("\n\\&'nor this; back\\eslash, \\-\\-dash\n"));
}

TEST(ManPagesTest, PagesAreWrittenIntoAFolderThatIsMade) {
  const TemporaryDirectory directory;
  const std::string folder = directory.Join("share/man1");

  MUSTER_ASSERT_OK(WriteManPages({{"a.1", "text\n"}}, folder));

  std::ostringstream text;
  text << std::ifstream(folder + "/a.1").rdbuf();
  EXPECT_EQ(text.str(), "text\n");
  EXPECT_FALSE(WriteManPages({{"a.1", ""}}, directory.Join("share/man1/a.1")).ok());
}

}  // namespace
}  // namespace muster
