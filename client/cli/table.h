// A table with aligned columns, for people.
#ifndef MUSTER_CLIENT_CLI_TABLE_H_
#define MUSTER_CLIENT_CLI_TABLE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace muster {

// Not thread-safe. Cells may come from a server: control characters never reach the terminal.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // Missing cells are empty; there are no more than columns.
  void Add(std::vector<std::string> cells);

  size_t row_count() const { return rows_.size(); }

  // Title line and rows, each ended by a newline, without spaces at line ends.
  std::string ToString() const;

  // The rows that were added since the last call, below the title line the first time: for output
  // that goes on. A column never gets narrower.
  std::string TakeRows();

 private:
  // Column widths that fit the titles, the rows and `at_least`.
  std::vector<size_t> Widths(std::vector<size_t> at_least) const;
  std::string Line(const std::vector<std::string>& cells, const std::vector<size_t>& widths) const;
  std::string TitleLine(const std::vector<size_t>& widths) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
  // Of the rows that were taken; empty before the first.
  std::vector<size_t> taken_widths_;
};

// Columns that UTF-8 `text` takes, as one per character.
size_t DisplayWidth(absl::string_view text);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_TABLE_H_
