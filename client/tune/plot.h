// Line charts as SVG.
#ifndef MUSTER_CLIENT_TUNE_PLOT_H_
#define MUSTER_CLIENT_TUNE_PLOT_H_

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace muster {

struct PlotSeries {
  std::string name;
  // By x, which is greater than 0.
  std::vector<std::pair<double, double>> points;
  // Series of one colour or of one dash belong together; any numbers.
  size_t color = 0;
  size_t dash = 0;
};

// x on a logarithmic scale with a tick at each value that occurs, y from 0.
struct PlotPanel {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<PlotSeries> series;
};

// A whole SVG document: the panels side by side, each with its legend below. Pure.
std::string PlotSvg(const std::string& title, const std::vector<PlotPanel>& panels);

// The ticks of an axis from 0 to at least `max`: 5 or 6 of them, at round numbers.
std::vector<double> RoundTicks(double max);

}  // namespace muster

#endif  // MUSTER_CLIENT_TUNE_PLOT_H_
