#include <CLI/CLI.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/checkpoint/sample_checkpoint.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"
#include "client/cli/values.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr uint32_t kDirectoryFiles = 4;

struct SampleArguments {
  std::string out;
  std::string size = "256MiB";
  uint64_t seed = 0;
  std::string layout = "file";
};

absl::Status RunSample(Invocation& invocation, const SampleArguments& options) {
  SampleOptions sample;
  MUSTER_ASSIGN_OR_RETURN(sample.size_bytes, ParseSize(options.size));
  sample.seed = options.seed;
  sample.directory_files = options.layout == "hf" ? kDirectoryFiles : 0;
  const auto bar = invocation.NewProgressBar("writing");
  bar->SetTotal(sample.size_bytes);
  int64_t last = 0;
  sample.on_progress = [&](int64_t done) {
    bar->Add(done - last);
    last = done;
  };
  MUSTER_ASSIGN_OR_RETURN(const SampleSummary summary, WriteSampleCheckpoint(options.out, sample));
  if (invocation.json()) {
    JsonObject json;
    json.Add("path", options.out);
    json.Add("tensor_count", summary.tensor_count);
    json.Add("tensor_bytes", summary.tensor_bytes);
    json.Add("layer_count", summary.layer_count);
    invocation.PrintLine(json.ToString());
    return absl::OkStatus();
  }
  invocation.PrintLine(absl::StrCat(
      "wrote ", options.out, ": ", CountOf(static_cast<uint64_t>(summary.tensor_count), "tensor"),
      " in ", CountOf(static_cast<uint64_t>(summary.layer_count), "layer"), ", ",
      FormatSize(summary.tensor_bytes)));
  return absl::OkStatus();
}

}  // namespace

void AddSampleCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command = app.add_subcommand(
      "sample", "Write a checkpoint with realistic transformer names and shapes");
  auto options = std::make_shared<SampleArguments>();
  command->add_option("--out", options->out, "File or directory to write")->required();
  command->add_option("--size", options->size, "Bytes of tensors, such as 256MiB")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "The same seed and size give the same tensors")
      ->capture_default_str();
  command
      ->add_option("--layout", options->layout,
                   "file: one safetensors file; hf: a Hugging Face directory with companions")
      ->check(CLI::IsMember({"file", "hf"}))
      ->capture_default_str();
  command->footer(
      "Examples:\n"
      "  muster sample --out model.safetensors --size 256MiB\n"
      "  muster sample --out llama/ --size 2GiB --layout hf --seed 7");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return RunSample(invocation, *options); };
  });
}

}  // namespace muster
