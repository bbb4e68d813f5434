#include "client/format/index_json.h"

#include <algorithm>
#include <numeric>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/format/json_reader.h"
#include "client/format/safetensors_header.h"
#include "client/format/safetensors_writer.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {}  // namespace

absl::string_view IndexJson::tensor_name(size_t i) const {
  return absl::string_view(names_).substr(entries_[i].name_begin, entries_[i].name_size);
}

// Fills an IndexJson. Used once, by one thread.
class IndexJsonParser {
 public:
  explicit IndexJsonParser(const ByteSource& source) : reader_(source, 0, source.size_bytes()) {}

  absl::StatusOr<IndexJson> Parse() {
    MUSTER_RETURN_IF_ERROR(reader_.Expect('{'));
    bool first = true;
    while (true) {
      MUSTER_ASSIGN_OR_RETURN(const bool more, reader_.NextElement('}', first));
      if (!more) break;
      std::string key;
      MUSTER_RETURN_IF_ERROR(reader_.AppendString(kMaxPathBytes, key));
      MUSTER_RETURN_IF_ERROR(reader_.Expect(':'));
      if (key != "weight_map") {
        MUSTER_RETURN_IF_ERROR(reader_.SkipValue());
        continue;
      }
      if (has_weight_map_) return absl::InvalidArgumentError("\"weight_map\" appears twice");
      has_weight_map_ = true;
      MUSTER_RETURN_IF_ERROR(Annotate(ParseWeightMap(), key));
    }
    MUSTER_RETURN_IF_ERROR(reader_.ExpectEnd());
    if (!has_weight_map_) return absl::InvalidArgumentError("has no \"weight_map\"");
    MUSTER_RETURN_IF_ERROR(SortTensors());
    SortFiles();
    return std::move(index_);
  }

 private:
  absl::Status ParseWeightMap() {
    MUSTER_RETURN_IF_ERROR(reader_.Expect('{'));
    bool first = true;
    while (true) {
      MUSTER_ASSIGN_OR_RETURN(const bool more, reader_.NextElement('}', first));
      if (!more) return absl::OkStatus();
      const size_t begin = index_.names_.size();
      MUSTER_RETURN_IF_ERROR(reader_.AppendString(kMaxTensorNameBytes, index_.names_));
      const size_t size = index_.names_.size() - begin;
      MUSTER_RETURN_IF_ERROR(reader_.Expect(':'));
      std::string file;
      MUSTER_RETURN_IF_ERROR(reader_.AppendString(kMaxPathBytes, file));
      if (!IsSafeRelativePath(file)) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor ", QuoteForMessage(absl::string_view(index_.names_).substr(begin)),
                         " is said to be in ", QuoteForMessage(file),
                         ", which is not a path inside the directory"));
      }
      MUSTER_ASSIGN_OR_RETURN(const uint32_t number, FileNumber(file));
      index_.entries_.push_back(
          {static_cast<uint32_t>(begin), static_cast<uint32_t>(size), number});
    }
  }

  absl::StatusOr<uint32_t> FileNumber(const std::string& file) {
    const auto [found, added] =
        file_numbers_.try_emplace(file, static_cast<uint32_t>(index_.files_.size()));
    if (added) {
      if (index_.files_.size() == kMaxIndexFiles) {
        return absl::InvalidArgumentError(
            absl::StrCat("names more than ", kMaxIndexFiles, " files"));
      }
      index_.files_.push_back(file);
    }
    return found->second;
  }

  absl::Status SortTensors() {
    const absl::string_view names = index_.names_;
    const auto name_of = [&](const IndexJson::Entry& entry) {
      return names.substr(entry.name_begin, entry.name_size);
    };
    auto& entries = index_.entries_;
    std::sort(entries.begin(), entries.end(),
              [&](const auto& a, const auto& b) { return name_of(a) < name_of(b); });
    for (size_t i = 1; i < entries.size(); ++i) {
      if (name_of(entries[i - 1]) == name_of(entries[i])) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor ", QuoteForMessage(name_of(entries[i])), " appears twice"));
      }
    }
    return absl::OkStatus();
  }

  void SortFiles() {
    std::vector<uint32_t> order(index_.files_.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](uint32_t a, uint32_t b) { return index_.files_[a] < index_.files_[b]; });
    std::vector<uint32_t> place(order.size());
    std::vector<std::string> sorted(order.size());
    for (uint32_t i = 0; i < order.size(); ++i) {
      place[order[i]] = i;
      sorted[i] = std::move(index_.files_[order[i]]);
    }
    index_.files_ = std::move(sorted);
    for (IndexJson::Entry& entry : index_.entries_) entry.file = place[entry.file];
  }

  JsonReader reader_;
  IndexJson index_;
  absl::flat_hash_map<std::string, uint32_t> file_numbers_;
  bool has_weight_map_ = false;
};

absl::StatusOr<IndexJson> ReadIndexJson(const ByteSource& source) {
  if (source.size_bytes() > kMaxIndexJsonBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(QuoteForMessage(source.name()), ": has ", source.size_bytes(),
                     " bytes, an index has at most ", kMaxIndexJsonBytes));
  }
  IndexJsonParser parser(source);
  absl::StatusOr<IndexJson> index = parser.Parse();
  if (!index.ok()) return Annotate(index.status(), QuoteForMessage(source.name()));
  return index;
}

std::string WriteIndexJson(std::vector<WeightMapEntry> entries, int64_t total_size_bytes) {
  std::sort(entries.begin(), entries.end(),
            [](const WeightMapEntry& a, const WeightMapEntry& b) { return a.tensor < b.tensor; });
  std::string out = absl::StrCat("{\n  \"metadata\": {\n    \"total_size\": ", total_size_bytes,
                                 "\n  },\n  \"weight_map\": {");
  bool first = true;
  for (const WeightMapEntry& entry : entries) {
    out.append(first ? "\n    " : ",\n    ");
    first = false;
    AppendJsonString(entry.tensor, out);
    out.append(": ");
    AppendJsonString(entry.file, out);
  }
  out.append(entries.empty() ? "}\n}\n" : "\n  }\n}\n");
  return out;
}

bool IsSafeRelativePath(absl::string_view path) {
  if (path.empty() || path.size() > kMaxPathBytes || !IsValidUtf8(path) ||
      HasControlCharacter(path) || path.find('\\') != absl::string_view::npos) {
    return false;
  }
  const std::vector<absl::string_view> segments = absl::StrSplit(path, '/');
  return std::none_of(segments.begin(), segments.end(), [](absl::string_view segment) {
    return segment.empty() || segment == "." || segment == "..";
  });
}

}  // namespace muster
