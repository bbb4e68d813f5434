#include "client/torch/state_dict.h"

#include <algorithm>
#include <iterator>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "storage/base/error_info.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

using Kind = PickleValue::Kind;

constexpr absl::string_view kKeys[] = {"state_dict", "model", "module", "model_state_dict"};
constexpr size_t kMaxListed = 10;

absl::Status NoStateDict(absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kTorchNoStateDict,
                   absl::StrCat(what, "; save the model's state_dict() alone"));
}

bool HoldsTensors(const Pickle& pickle, const PickleValue& value) {
  if (!value.is(Kind::kDict)) return false;
  const auto entries = pickle.Entries(value);
  for (size_t i = 0; i + 1 < entries.size(); i += 2) {
    if (entries[i + 1].is(Kind::kTensor)) return true;
  }
  return false;
}

std::string KeyText(const Pickle& pickle, const PickleValue& key) {
  return key.is(Kind::kString) ? std::string(pickle.Text(key)) : std::string(KindName(key.kind));
}

// What a dict holds, for people.
std::string Listing(const Pickle& pickle, const PickleValue& dict) {
  const auto entries = pickle.Entries(dict);
  std::vector<std::string> lines;
  for (size_t i = 0; i + 1 < entries.size() && lines.size() < kMaxListed; i += 2) {
    lines.push_back(absl::StrCat(QuoteForMessage(KeyText(pickle, entries[i])), " (",
                                 HoldsTensors(pickle, entries[i + 1])
                                     ? "a dict with tensors"
                                     : KindName(entries[i + 1].kind),
                                 ")"));
  }
  if (lines.empty()) return "nothing";
  std::string text = absl::StrJoin(lines, ", ");
  if (const size_t count = entries.size() / 2; count > lines.size()) {
    absl::StrAppend(&text, " and ", count - lines.size(), " more");
  }
  return text;
}

// A dict that may be the one, and where it was found.
struct Candidate {
  std::string key;
  PickleValue dict;
};

absl::StatusOr<Candidate> Choose(const Pickle& pickle) {
  const PickleValue& root = pickle.root();
  if (!root.is(Kind::kDict)) {
    return NoStateDict(absl::StrCat("it holds ", KindName(root.kind), ", not a dict of tensors"));
  }
  std::vector<Candidate> candidates;
  if (HoldsTensors(pickle, root)) candidates.push_back({"", root});
  const auto entries = pickle.Entries(root);
  for (size_t i = 0; i + 1 < entries.size(); i += 2) {
    if (!entries[i].is(Kind::kString) || !HoldsTensors(pickle, entries[i + 1])) continue;
    const absl::string_view key = pickle.Text(entries[i]);
    if (std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys)) {
      candidates.push_back({std::string(key), entries[i + 1]});
    }
  }
  if (candidates.size() == 1) return candidates.front();
  return NoStateDict(absl::StrCat(
      candidates.empty() ? "neither it nor one of its keys state_dict, model, module and "
                           "model_state_dict is a dict of tensors"
                         : "several of its dicts could be the model",
      ": it holds ", Listing(pickle, root)));
}

}  // namespace

absl::StatusOr<StateDict> FindStateDict(const Pickle& pickle) {
  MUSTER_ASSIGN_OR_RETURN(const Candidate chosen, Choose(pickle));
  StateDict found;
  found.key = chosen.key;
  if (!chosen.key.empty()) {
    const auto entries = pickle.Entries(pickle.root());
    for (size_t i = 0; i + 1 < entries.size(); i += 2) {
      std::string key = KeyText(pickle, entries[i]);
      if (key != chosen.key) found.left_out.push_back(std::move(key));
    }
  }
  const auto entries = pickle.Entries(chosen.dict);
  absl::flat_hash_set<absl::string_view> names;
  for (size_t i = 0; i + 1 < entries.size(); i += 2) {
    if (!entries[i + 1].is(Kind::kTensor)) {
      found.left_out.push_back(KeyText(pickle, entries[i]));
      continue;
    }
    if (!entries[i].is(Kind::kString)) {
      return NoStateDict(
          absl::StrCat("a tensor is named by ", KindName(entries[i].kind), ", not a string"));
    }
    const absl::string_view name = pickle.Text(entries[i]);
    if (name.empty() || !IsValidUtf8(name)) {
      return NoStateDict(absl::StrCat("tensor ", QuoteForMessage(name),
                                      " has a name that is empty or not valid UTF-8"));
    }
    if (!names.insert(name).second) {
      return NoStateDict(absl::StrCat("tensor ", QuoteForMessage(name), " appears twice"));
    }
    found.tensors.push_back({name, pickle.Tensor(entries[i + 1])});
  }
  return found;
}

}  // namespace muster
