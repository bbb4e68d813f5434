#include "client/cli/table.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/cli/values.h"

namespace muster {

size_t DisplayWidth(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

void Table::Add(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (std::string& cell : cells) cell = Printable(cell);
  rows_.push_back(std::move(cells));
}

std::vector<size_t> Table::Widths(std::vector<size_t> at_least) const {
  at_least.resize(columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t& width = at_least[i];
    width = std::max(width, DisplayWidth(columns_[i].title));
    for (const auto& row : rows_) width = std::max(width, DisplayWidth(row[i]));
  }
  return at_least;
}

std::string Table::Line(const std::vector<std::string>& cells,
                        const std::vector<size_t>& widths) const {
  std::string line;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const std::string padding(widths[i] - DisplayWidth(cells[i]), ' ');
    absl::StrAppend(&line, i == 0 ? "" : "  ");
    if (columns_[i].align == Align::kRight) {
      absl::StrAppend(&line, padding, cells[i]);
    } else {
      absl::StrAppend(&line, cells[i], padding);
    }
  }
  return absl::StrCat(absl::StripTrailingAsciiWhitespace(line), "\n");
}

std::string Table::TitleLine(const std::vector<size_t>& widths) const {
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.title);
  return Line(titles, widths);
}

std::string Table::ToString() const {
  const std::vector<size_t> widths = Widths({});
  std::string out = TitleLine(widths);
  for (const auto& row : rows_) absl::StrAppend(&out, Line(row, widths));
  return out;
}

std::string Table::TakeRows() {
  const bool first = taken_widths_.empty();
  taken_widths_ = Widths(std::move(taken_widths_));
  std::string out = first ? TitleLine(taken_widths_) : "";
  for (const auto& row : rows_) absl::StrAppend(&out, Line(row, taken_widths_));
  rows_.clear();
  return out;
}

}  // namespace muster
