#include "client/tune/plot.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

size_t CountOf(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(RoundTicksTest, TicksAreRoundAndReachTheGreatestValue) {
  EXPECT_THAT(RoundTicks(5), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(RoundTicks(730), ElementsAre(0, 200, 400, 600, 800));
  EXPECT_THAT(RoundTicks(11), ElementsAre(0, 2.5, 5, 7.5, 10, 12.5));
  EXPECT_EQ(RoundTicks(0).front(), 0);
  EXPECT_GE(RoundTicks(0).size(), 2u);
}

TEST(PlotSvgTest, EverySeriesHasALinePointsAndALegend) {
  PlotPanel panel{"Publish", "shards", "MiB/s", {}};
  panel.series.push_back({"pieces of 2 MiB", {{1, 100}, {2, 200}, {4, 400}}, 0, 0});
  panel.series.push_back({"pieces of 8 MiB", {{1, 50}, {4, 60}}, 1, 0});

  const std::string svg = PlotSvg("sample", {panel, panel});

  EXPECT_THAT(svg, testing::StartsWith("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_EQ(CountOf(svg, "<polyline"), 4u);
  EXPECT_EQ(CountOf(svg, "<circle"), 10u);
  for (const char* const text : {">Publish<", ">shards<", ">MiB/s<", ">pieces of 2 MiB<", ">4<"}) {
    EXPECT_EQ(CountOf(svg, text), 2u) << text;
  }
}

TEST(PlotSvgTest, DoublingIsTheSameStepEverywhereAndMoreIsHigher) {
  PlotPanel panel{"", "", "", {{"s", {{1, 0}, {2, 50}, {4, 100}}, 0, 0}}};

  // The plot is 398 wide between its margins and 280 high, from 350 up to 70.
  EXPECT_THAT(PlotSvg("", {panel}), HasSubstr("points=\"86.0,350.0 285.0,210.0 484.0,70.0 \""));
}

TEST(PlotSvgTest, TextIsEscaped) {
  const std::string svg = PlotSvg("<a> & \"b\"", {{"", "", "", {{"x<y", {{1, 1}}, 0, 0}}}});

  EXPECT_THAT(svg, HasSubstr("&lt;a&gt; &amp; &quot;b&quot;"));
  EXPECT_THAT(svg, Not(HasSubstr("x<y")));
}

TEST(PlotSvgTest, NoPointsMakeAnEmptyChart) {
  EXPECT_THAT(PlotSvg("", {{"t", "x", "y", {{"s", {}, 0, 0}}}}), HasSubstr("</svg>"));
  EXPECT_THAT(PlotSvg("", {}), HasSubstr("</svg>"));
}

}  // namespace
}  // namespace muster
