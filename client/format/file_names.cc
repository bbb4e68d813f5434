#include "client/format/file_names.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace muster {
namespace {

constexpr absl::string_view kSuffix = ".safetensors";

bool IsNumber(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
}

// Drops "-00001-of-00003" from the end of `stem`.
absl::string_view WithoutCount(absl::string_view stem) {
  const size_t of = stem.rfind("-of-");
  if (of == absl::string_view::npos || !IsNumber(stem.substr(of + 4))) return stem;
  const size_t dash = stem.rfind('-', of - 1);
  if (of == 0 || dash == absl::string_view::npos) return stem;
  return IsNumber(stem.substr(dash + 1, of - dash - 1)) ? stem.substr(0, dash) : stem;
}

}  // namespace

absl::string_view FolderOf(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == absl::string_view::npos ? absl::string_view() : path.substr(0, slash);
}

absl::string_view BaseNameOf(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == absl::string_view::npos ? path : path.substr(slash + 1);
}

std::string InFolder(absl::string_view folder, absl::string_view name) {
  return folder.empty() ? std::string(name) : absl::StrCat(folder, "/", name);
}

std::string CatalogueTensorName(absl::string_view folder, absl::string_view name) {
  return InFolder(folder, name);
}

std::string StemOf(absl::string_view file) {
  file.remove_suffix(IsTorchPath(file) ? file.size() - file.rfind('.')
                                       : std::min(kSuffix.size(), file.size()));
  // "diffusion_pytorch_model-00001-of-00002.fp16": the count may stand before the variant.
  const size_t dot = file.rfind('.');
  if (dot == absl::string_view::npos) return std::string(WithoutCount(file));
  const absl::string_view head = WithoutCount(file.substr(0, dot));
  if (head.size() < dot) return absl::StrCat(head, file.substr(dot));
  return std::string(WithoutCount(file));
}

std::string WeightFileName(absl::string_view stem, size_t i, size_t count) {
  if (count == 1) return absl::StrCat(stem, kSuffix);
  return absl::StrFormat("%s-%05d-of-%05d%s", stem, i + 1, count, kSuffix);
}

std::string IndexFileName(absl::string_view stem) {
  return absl::StrCat(stem, kSuffix, ".index.json");
}

std::optional<RankFile> ParseRankFile(absl::string_view file) {
  RankFile parsed;
  if (!absl::ConsumePrefix(&file, "model-rank-") || !absl::ConsumeSuffix(&file, kSuffix)) {
    return std::nullopt;
  }
  const size_t part = file.find("-part-");
  if (part == absl::string_view::npos || !IsNumber(file.substr(0, part)) ||
      !IsNumber(file.substr(part + 6)) || !absl::SimpleAtoi(file.substr(0, part), &parsed.rank) ||
      !absl::SimpleAtoi(file.substr(part + 6), &parsed.part)) {
    return std::nullopt;
  }
  return parsed;
}

bool IsCodePath(absl::string_view path) {
  for (const char* ending : {".py", ".pyc", ".pyo", ".pyd", ".so"}) {
    if (absl::EndsWithIgnoreCase(path, ending)) return true;
  }
  return false;
}

bool IsSafetensorsPath(absl::string_view path) { return absl::EndsWithIgnoreCase(path, kSuffix); }

bool IsTorchPath(absl::string_view path) {
  return absl::EndsWithIgnoreCase(path, ".bin") || absl::EndsWithIgnoreCase(path, ".pt") ||
         absl::EndsWithIgnoreCase(path, ".pth");
}

bool IsTorchIndexPath(absl::string_view path) {
  return absl::StrContains(path, ".bin.index.") && absl::EndsWith(path, ".json");
}

std::string FoldCase(absl::string_view text) { return absl::AsciiStrToLower(text); }

}  // namespace muster
