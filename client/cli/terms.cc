#include "client/cli/terms.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace muster {
namespace {

struct Term {
  // As it begins, in singular and plural.
  absl::string_view stem;
  absl::string_view meaning;
};

constexpr Term kTerms[] = {
    {"assembl", "assembly: the nodes that hold one model version together, for one deployment"},
    {"claim", "claim: what a node asks of its assembly: anything, all, some shards, or some ranks"},
    {"companion", "companion: a file that belongs to a model: its config, a tokenizer"},
};

// Whether a word of `text` begins with `stem`.
bool Uses(absl::string_view text, absl::string_view stem) {
  for (size_t at = text.find(stem); at != absl::string_view::npos; at = text.find(stem, at + 1)) {
    if (at == 0 || !absl::ascii_isalpha(static_cast<unsigned char>(text[at - 1]))) return true;
  }
  return false;
}

}  // namespace

std::string ExplainTerms(absl::string_view text) {
  const std::string lower = absl::AsciiStrToLower(text);
  std::string out;
  for (const Term& term : kTerms) {
    if (Uses(lower, term.stem)) absl::StrAppend(&out, "  ", term.meaning, "\n");
  }
  return out.empty() ? "" : absl::StrCat("\nWords:\n", out);
}

}  // namespace muster
