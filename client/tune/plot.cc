#include "client/tune/plot.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace muster {
namespace {

// In pixels.
constexpr double kPanelWidth = 520;
constexpr double kPlotHeight = 280;
constexpr double kLeft = 70;
constexpr double kRight = 20;
constexpr double kTop = 70;
constexpr double kAxisRoom = 60;
constexpr double kLegendRow = 18;
constexpr size_t kLegendColumns = 2;

// Distinguishable by the colour-blind too (Okabe and Ito).
constexpr const char* kColors[] = {"#0072b2", "#d55e00", "#009e73",
                                   "#cc79a7", "#e69f00", "#56b4e9"};
constexpr const char* kDashes[] = {"none", "6 3", "2 3", "9 3 2 3", "1 5"};

std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(text,
                             {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

std::string Text(double x, double y, const std::string& anchor, const std::string& text,
                 const std::string& more = "") {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>%s</text>\n", x, y,
                         anchor, more, Escaped(text));
}

std::string Line(double x1, double y1, double x2, double y2, const std::string& style) {
  return absl::StrFormat("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2,
                         y2, style);
}

std::string StrokeOf(const PlotSeries& series) {
  return absl::StrFormat("stroke=\"%s\" stroke-width=\"2\" stroke-dasharray=\"%s\"",
                         kColors[series.color % std::size(kColors)],
                         kDashes[series.dash % std::size(kDashes)]);
}

// One panel, whose left edge is at `origin`.
class PanelDrawing {
 public:
  PanelDrawing(const PlotPanel& panel, double origin)
      : panel_(panel), left_(origin + kLeft), right_(origin + kPanelWidth - kRight) {
    double max_y = 0;
    for (const PlotSeries& series : panel.series) {
      for (const auto& [x, y] : series.points) {
        xs_.insert(x);
        max_y = std::max(max_y, y);
      }
    }
    ticks_ = RoundTicks(max_y);
  }

  std::string ToString() const {
    std::string out =
        Text((left_ + right_) / 2, kTop - 14, "middle", panel_.title, " font-weight=\"bold\"");
    for (const double tick : ticks_) {
      absl::StrAppend(&out, Line(left_, Y(tick), right_, Y(tick), "stroke=\"#dddddd\""),
                      Text(left_ - 6, Y(tick) + 4, "end", absl::StrFormat("%g", tick)));
    }
    for (const double x : xs_) {
      absl::StrAppend(&out, Line(X(x), kBottom, X(x), kBottom + 4, "stroke=\"#333333\""),
                      Text(X(x), kBottom + 18, "middle", absl::StrFormat("%g", x)));
    }
    absl::StrAppend(&out, Line(left_, kBottom, right_, kBottom, "stroke=\"#333333\""),
                    Line(left_, kTop, left_, kBottom, "stroke=\"#333333\""),
                    Text((left_ + right_) / 2, kBottom + 38, "middle", panel_.x_label));
    const double middle = (kTop + kBottom) / 2;
    const double side = left_ - 52;
    absl::StrAppend(&out,
                    Text(side, middle, "middle", panel_.y_label,
                         absl::StrFormat(" transform=\"rotate(-90 %.1f %.1f)\"", side, middle)));
    for (size_t i = 0; i < panel_.series.size(); ++i) absl::StrAppend(&out, Series(i));
    return out;
  }

 private:
  static constexpr double kBottom = kTop + kPlotHeight;

  double X(double x) const {
    if (xs_.size() < 2) return (left_ + right_) / 2;
    const double margin = 16;
    const double share = std::log(x / *xs_.begin()) / std::log(*xs_.rbegin() / *xs_.begin());
    return left_ + margin + share * (right_ - left_ - 2 * margin);
  }

  double Y(double y) const { return kBottom - y / ticks_.back() * kPlotHeight; }

  // The line, its points and its place in the legend.
  std::string Series(size_t index) const {
    const PlotSeries& series = panel_.series[index];
    const std::string stroke = StrokeOf(series);
    std::string points, marks;
    for (const auto& [x, y] : series.points) {
      absl::StrAppend(&points, absl::StrFormat("%.1f,%.1f ", X(x), Y(y)));
      absl::StrAppend(
          &marks, absl::StrFormat("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", X(x),
                                  Y(y), kColors[series.color % std::size(kColors)]));
    }
    const double x = left_ + static_cast<double>(index % kLegendColumns) * (right_ - left_) /
                                 static_cast<double>(kLegendColumns);
    const double y = kBottom + kAxisRoom + static_cast<double>(index / kLegendColumns) * kLegendRow;
    return absl::StrCat("<polyline fill=\"none\" ", stroke, " points=\"", points, "\"/>\n", marks,
                        Line(x, y - 4, x + 28, y - 4, stroke),
                        Text(x + 34, y, "start", series.name));
  }

  const PlotPanel& panel_;
  const double left_;
  const double right_;
  std::set<double> xs_;
  std::vector<double> ticks_;
};

}  // namespace

std::vector<double> RoundTicks(double max) {
  const double wanted = std::max(max, 1e-9) / 5;
  const double power = std::pow(10.0, std::floor(std::log10(wanted)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (factor * power >= wanted * (1 - 1e-9)) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> ticks = {0};
  while (ticks.back() < max || ticks.size() < 2) {
    ticks.push_back(static_cast<double>(ticks.size()) * step);
  }
  return ticks;
}

std::string PlotSvg(const std::string& title, const std::vector<PlotPanel>& panels) {
  size_t rows = 0;
  for (const PlotPanel& panel : panels) {
    rows = std::max(rows, (panel.series.size() + kLegendColumns - 1) / kLegendColumns);
  }
  const double width = kPanelWidth * static_cast<double>(panels.size());
  const double height =
      kTop + kPlotHeight + kAxisRoom + static_cast<double>(rows) * kLegendRow + 10;
  std::string out = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
      "viewBox=\"0 0 %.0f %.0f\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
      width, height, width, height);
  absl::StrAppend(&out, Text(width / 2, 26, "middle", title, " font-size=\"15\""));
  for (size_t i = 0; i < panels.size(); ++i) {
    absl::StrAppend(&out, PanelDrawing(panels[i], kPanelWidth * static_cast<double>(i)).ToString());
  }
  return out + "</svg>\n";
}

}  // namespace muster
