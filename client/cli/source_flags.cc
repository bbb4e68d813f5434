#include "client/cli/source_flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cli/values.h"
#include "client/format/file_names.h"
#include "storage/base/limits.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"
#include "storage/object/uri.h"

namespace muster {
namespace {

constexpr absl::string_view kHubScheme = "hf://";

// "org/name", with letters that both parts have there.
bool LooksLikeHubName(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '/');
  if (parts.size() != 2) return false;
  return std::all_of(parts.begin(), parts.end(), [](absl::string_view part) {
    return !part.empty() && absl::ascii_isalnum(static_cast<unsigned char>(part.front())) &&
           std::all_of(part.begin(), part.end(), [](char c) {
             return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                    absl::StrContains("._-", c);
           });
  });
}

// Muster downloads nothing from a model hub, whose names people try as a source.
absl::Status CheckNotOfHub(absl::string_view source) {
  absl::string_view name = source;
  const bool has_scheme = absl::ConsumePrefix(&name, kHubScheme);
  if (!LooksLikeHubName(name)) {
    if (!has_scheme) return absl::OkStatus();
    return UsageError(absl::StrCat(QuoteForMessage(source),
                                   ": download the model with `hf download ORG/NAME`, and name the "
                                   "directory that it prints"));
  }
  std::error_code ignored;
  if (!has_scheme && std::filesystem::exists(std::string(source), ignored)) {
    return absl::OkStatus();
  }
  return UsageError(absl::StrCat(
      QuoteForMessage(source),
      has_scheme ? ": "
                 : ": there is no such file or directory; if it is a model on Hugging Face, ",
      "download it with `hf download ", name, "`, and name the directory that it prints"));
}

}  // namespace

void AddSourceFlags(CLI::App& command, const std::shared_ptr<SourceFlags>& flags) {
  command
      .add_option(
          "SRC", flags->path,
          "A safetensors or PyTorch file, a model directory (also a snapshot in a Hugging "
          "Face cache, or a diffusers pipeline), or with --strategy raw any file; also as a URI: "
          "s3://BUCKET/PREFIX/, hdfs://HOST/DIR/, https://HOST/DIR/")
      ->required();
  command
      .add_option(
          "--strategy", flags->strategy,
          "layer (the default): by layer, in order; type: by kind of parameter; uniform: by "
          "bytes; raw: any file as byte ranges")
      ->check(CLI::IsMember({"layer", "type", "uniform", "raw"}));
  command.add_option("--shards", flags->shards, "Number of shards (default: one per 4 GiB)")
      ->check(CLI::Range(1u, uint32_t{kMaxShardsPerVersion}));
  command
      .add_option("--piece-size", flags->piece_size,
                  "Unit of fetch, check and retry: a power of two from 1MiB to 64MiB")
      ->capture_default_str();
  command.add_flag("--in-place", flags->in_place,
                   "Register the files where they lie, as they are, one shard each; they must stay "
                   "there, and the nodes must reach them. Marks the ranks of vLLM's "
                   "model-rank-R-part-P.safetensors");
  command.add_flag("--strict", flags->strict, "Refuse tensors of unknown dtype");
  command
      .add_option("--include", flags->include,
                  "Take just the weight files whose relative paths match this glob (\"*\" matches "
                  "\"/\" too), whatever sets there are; repeatable")
      ->allow_extra_args(false);
  command
      .add_option("--exclude", flags->exclude,
                  "Leave out files whose relative paths match this glob; repeatable")
      ->allow_extra_args(false);
  command.add_flag("--untie", flags->untie,
                   "Store a tensor of a PyTorch file once for each of its names, not only once");
  command.add_flag("--allow-code", flags->allow_code,
                   "Publish code too (*.py and the like), which engines may run");
}

absl::StatusOr<SourceOptions> ToSourceOptions(const SourceFlags& flags) {
  if (flags.in_place && flags.shards > 0) {
    return UsageError("--shards and --in-place exclude each other: every file is one shard");
  }
  if (flags.in_place && !flags.strategy.empty() && flags.strategy != "raw") {
    return UsageError("files in place are not cut: with --in-place, --strategy can only be raw");
  }
  MUSTER_RETURN_IF_ERROR(CheckNotOfHub(flags.path));
  SourceOptions options;
  options.path = flags.path;
  if (absl::StartsWith(flags.path, "file://")) {
    MUSTER_ASSIGN_OR_RETURN(const Uri uri, ParseUri(flags.path));
    if (!uri.authority.empty()) {
      return UsageError(absl::StrCat(flags.path, ": a file URI has no host: write file:///DIR"));
    }
    options.path = absl::StrCat("/", uri.path);
  }
  options.in_place = flags.in_place;
  if (!flags.strategy.empty()) {
    MUSTER_ASSIGN_OR_RETURN(options.strategy, ParseCutStrategy(flags.strategy));
  }
  options.shard_count = flags.shards;
  MUSTER_ASSIGN_OR_RETURN(options.piece_size_bytes, ParsePieceSize(flags.piece_size));
  options.strict = flags.strict;
  options.allow_code = flags.allow_code;
  options.untie = flags.untie;
  options.include = flags.include;
  options.exclude = flags.exclude;
  return options;
}

std::vector<std::string> LeftOutLines(const Checkpoint& checkpoint, size_t max_lines) {
  std::vector<std::string> lines;
  for (const WeightSet& set : checkpoint.sets) {
    if (set.chosen) continue;
    lines.push_back(absl::StrCat("left out: ", Printable(InFolder(set.folder, set.name)), " (",
                                 CountOf(set.files.size(), "file"), ", ",
                                 FormatSize(set.SizeBytes()), "): ", set.why));
  }
  for (const LeftOut& file : checkpoint.left_out) {
    if (file.expected) continue;
    lines.push_back(absl::StrCat("left out: ", Printable(file.path), ": ", file.why));
  }
  if (lines.size() > max_lines) {
    const size_t more = lines.size() - max_lines + 1;
    lines.resize(max_lines - 1);
    lines.push_back(absl::StrCat("left out: ", more, " more; `muster inspect` lists them all"));
  }
  return lines;
}

}  // namespace muster
