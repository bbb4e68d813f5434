#include "client/cli/colour.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace muster {
namespace {

constexpr char kGreen[] = "\033[32m";
constexpr char kYellow[] = "\033[33m";
constexpr char kRed[] = "\033[31m";
constexpr char kPlain[] = "\033[0m";

struct StateWord {
  absl::string_view word;
  const char* colour;
};

// Those of assemblies, replicas, nodes and model versions. Words in lower case count as a table's cell only.
constexpr StateWord kStates[] = {
    {"READY", kGreen},    {"COMMITTED", kGreen}, {"live", kGreen},   {"drained", kGreen},
    {"WAITING", kYellow}, {"LOADING", kYellow},  {"DRAFT", kYellow}, {"FETCHING", kYellow},
    {"PENDING", kYellow}, {"DEGRADED", kRed},    {"FAILED", kRed},   {"BAD", kRed},
    {"lost", kRed},       {"released", kRed},    {"braked", kRed},
};

bool IsWordCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '@' ||
         c == '/' || c == '.';
}

// Titles are in capitals, and no name that a user gave stands among them.
bool IsTitleLine(absl::string_view line) {
  return std::none_of(line.begin(), line.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return absl::ascii_islower(byte) || absl::ascii_isdigit(byte) || byte >= 0x80;
  });
}

bool IsCell(absl::string_view line, size_t begin, size_t end) {
  const bool begins = begin == 0 || (begin >= 2 && line.substr(begin - 2, 2) == "  ");
  const bool ends = end == line.size() || line.substr(end, 2) == "  ";
  return begins && ends;
}

const char* ColourOf(absl::string_view line, size_t begin, size_t end) {
  const absl::string_view word = line.substr(begin, end - begin);
  const auto* const state = std::find_if(std::begin(kStates), std::end(kStates),
                                         [&](const StateWord& one) { return one.word == word; });
  if (state == std::end(kStates)) return nullptr;
  const bool is_lower = absl::ascii_islower(static_cast<unsigned char>(word[0]));
  return is_lower && !IsCell(line, begin, end) ? nullptr : state->colour;
}

std::string ColourLine(absl::string_view line) {
  std::string out;
  for (size_t begin = 0; begin < line.size();) {
    size_t end = begin;
    while (end < line.size() && IsWordCharacter(line[end])) ++end;
    if (end == begin) {
      out.push_back(line[begin++]);
      continue;
    }
    const absl::string_view word = line.substr(begin, end - begin);
    const char* const colour = ColourOf(line, begin, end);
    if (colour == nullptr) {
      absl::StrAppend(&out, word);
    } else {
      absl::StrAppend(&out, colour, word, kPlain);
    }
    begin = end;
  }
  return out;
}

}  // namespace

std::string WithColours(absl::string_view text) {
  std::string out;
  bool first = true;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    absl::StrAppend(&out, first ? "" : "\n",
                    IsTitleLine(line) ? std::string(line) : ColourLine(line));
    first = false;
  }
  return out;
}

}  // namespace muster
