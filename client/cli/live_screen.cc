#include "client/cli/live_screen.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/cli/colour.h"

namespace muster {
namespace {

bool ContinuesCharacter(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// The end of the sequence that begins with ESC at `begin`.
size_t EndOfSequence(absl::string_view text, size_t begin) {
  size_t end = begin + 1;
  if (end < text.size() && text[end] == '[') ++end;
  while (end < text.size() && !absl::ascii_isalpha(static_cast<unsigned char>(text[end]))) ++end;
  return std::min(end + 1, text.size());
}

}  // namespace

std::string CutToColumns(absl::string_view text, size_t columns) {
  std::string out;
  size_t width = 0;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '\033') {
      const size_t end = EndOfSequence(text, i);
      absl::StrAppend(&out, text.substr(i, end - i));
      i = end;
      continue;
    }
    if (!ContinuesCharacter(text[i])) ++width;
    if (width <= columns) out.push_back(text[i]);
    ++i;
  }
  return out;
}

void LiveScreen::Show(const std::vector<std::string>& lines) {
  MutexLock lock(mutex_);
  if (!terminal_.can_redraw) return;
  const TerminalSize size = terminal_.size();
  // One write, so that nobody sees it half drawn.
  std::string text = Home();
  for (const std::string& line : lines) {
    if (shown_lines_ == size.rows) break;
    // Terminals differ in what follows a character in the last column.
    const std::string cut = CutToColumns(line, std::max<size_t>(size.columns, 2) - 1);
    absl::StrAppend(&text, shown_lines_ == 0 ? "" : "\n",
                    terminal_.has_colour ? WithColours(cut) : cut);
    ++shown_lines_;
  }
  Write(text);
}

void LiveScreen::Wipe() {
  MutexLock lock(mutex_);
  if (shown_lines_ > 0) Write(Home());
}

void LiveScreen::PrintAbove(absl::string_view text) {
  MutexLock lock(mutex_);
  if (terminal_.stream != nullptr) Write(absl::StrCat(Home(), text));
}

std::string LiveScreen::Home() {
  if (shown_lines_ == 0) return "";
  const std::string up = shown_lines_ > 1 ? absl::StrCat("\033[", shown_lines_ - 1, "A") : "";
  shown_lines_ = 0;
  return absl::StrCat("\r", up, "\033[J");
}

void LiveScreen::Write(absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), terminal_.stream);
  std::fflush(terminal_.stream);
}

}  // namespace muster
