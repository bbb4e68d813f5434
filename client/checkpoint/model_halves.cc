#include "client/checkpoint/model_halves.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/format/file_names.h"
#include "storage/base/quote.h"

namespace muster {
namespace {

// A network without its weights, which are in a file of the same name with another ending: OpenVINO's, ncnn's and
// Caffe's. No ending that configs or tokenizers have, too: a tokenizer.json stays, whatever tokenizer.bin is.
constexpr absl::string_view kNetworkEndings[] = {".xml", ".param", ".prototxt"};
// What follows the whole name of an .onnx file whose tensors lie beside it.
constexpr absl::string_view kDataEndings[] = {"_data", ".data"};

absl::string_view WithoutEnding(absl::string_view path) {
  const size_t dot = path.rfind('.');
  const size_t slash = path.rfind('/');
  const bool has_ending =
      dot != absl::string_view::npos && (slash == absl::string_view::npos || dot > slash);
  return has_ending ? path.substr(0, dot) : path;
}

class OtherHalves {
 public:
  explicit OtherHalves(const std::vector<WeightSet>& sets) {
    for (const WeightSet& set : sets) {
      for (const FoundFile& file : set.files) {
        const std::string name(WithoutEnding(file.relative_path));
        if (set.chosen) {
          chosen_names_.insert(name);
        } else {
          left_out_.insert(file.relative_path);
          left_out_by_name_.emplace(name, file.relative_path);
        }
      }
    }
  }

  // The weight file that is left out and that `path` is no use without; "" where there is none.
  std::string Of(absl::string_view path) const {
    for (const absl::string_view ending : kDataEndings) {
      const absl::string_view whole = path.substr(0, path.size() - ending.size());
      if (absl::EndsWith(path, ending) && left_out_.contains(whole)) return std::string(whole);
    }
    const absl::string_view name = WithoutEnding(path);
    const bool is_network = std::any_of(
        std::begin(kNetworkEndings), std::end(kNetworkEndings),
        [&](absl::string_view ending) { return absl::EndsWithIgnoreCase(path, ending); });
    if (!is_network || chosen_names_.contains(name)) return "";
    const auto other = left_out_by_name_.find(name);
    return other == left_out_by_name_.end() ? "" : other->second;
  }

 private:
  absl::flat_hash_set<std::string> left_out_;
  // Names are without endings.
  absl::flat_hash_set<std::string> chosen_names_;
  absl::flat_hash_map<std::string, std::string> left_out_by_name_;
};

}  // namespace

void LeaveOutHalves(const std::vector<WeightSet>& sets, DirectoryContent& content) {
  const OtherHalves halves(sets);
  std::vector<FoundFile> kept;
  for (FoundFile& file : content.companions) {
    const std::string other = halves.Of(file.relative_path);
    if (other.empty()) {
      kept.push_back(std::move(file));
      continue;
    }
    content.left_out.push_back(
        {file.relative_path,
         absl::StrCat("of no use without ", QuoteForMessage(other), ", which is left out"),
         /*expected=*/false});
  }
  content.companions = std::move(kept);
  OrderLists(content);
}

}  // namespace muster
