#include "client/cli/ready_flags.h"

#include <CLI/CLI.hpp>
#include <utility>

#include "client/cli/values.h"
#include "client/view/view_place.h"
#include "storage/base/status_macros.h"

namespace muster {

void AddViewLinksFlag(CLI::App& command, const std::string& name, std::string& links) {
  command
      .add_option(
          name, links,
          "How the view's files come from the cache: hard and symlink are the cache's own files; "
          "copy, and reflink, which shares the bytes on XFS and btrfs, are files of their own, "
          "which a program may change without harm to the cache (default: hard where both are "
          "on one file system, else symlink)")
      ->check(CLI::IsMember({"hard", "symlink", "copy", "reflink"}));
}

std::optional<ViewLinks> ToViewLinks(const std::string& links) {
  for (const ViewLinks one :
       {ViewLinks::kHard, ViewLinks::kSymlink, ViewLinks::kCopy, ViewLinks::kReflink}) {
    if (links == ViewLinksName(one)) return one;
  }
  return std::nullopt;
}

void AddReadyFlags(CLI::App& command, ReadyFlags& flags) {
  command
      .add_option(
          "--view", flags.views,
          "Once READY, make DIR.d/MODEL@VERSION from the cache and let the link DIR lead to "
          "it: a directory that a serving engine opens; with several --assembly one for "
          "each, in the same order")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  AddViewLinksFlag(command, "--view-links", flags.links);
  command.add_flag("--view-partial", flags.partial,
                   "Also where this node holds only a part of the model, as a pipeline stage does: "
                   "the index lists what is there");
  command.add_flag("--allow-code", flags.allow_code,
                   "Let views show files of the model that engines may run (*.py and the like)");
  command
      .add_option("--ready-when", flags.when,
                  "Whose readiness --view and --on-ready wait for (default: the node's with policy "
                  "full, else the assembly's)")
      ->check(CLI::IsMember({"node", "assembly"}));
  command.add_option("--on-ready", flags.command,
                     "Command for /bin/sh that runs once per model version, when it is READY and "
                     "its view is there, with MUSTER_MODEL_VERSION, MUSTER_ASSEMBLY, MUSTER_VIEW "
                     "and, without a server, MUSTER_OFFLINE=1 in its environment; it runs on when "
                     "the agent stops");
  command
      .add_option("--on-ready-retries", flags.command_retries,
                  "How often to run it again when it fails")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
}

absl::StatusOr<ReadyOptions::Views> ToViews(const ReadyFlags& flags,
                                            const std::map<std::string, std::string>& directories,
                                            std::optional<uint32_t> file_mode) {
  ReadyOptions::Views views;
  for (const auto& [assembly, directory] : directories) {
    ReadyOptions::View& view = views[assembly];
    MUSTER_ASSIGN_OR_RETURN(const ViewPlace place, ViewPlace::At(directory));
    MUSTER_RETURN_IF_ERROR(place.Check());
    view.directory = place.link();
    view.partial = flags.partial;
    view.file_mode = file_mode;
    view.allow_code = flags.allow_code;
    view.links = ToViewLinks(flags.links);
  }
  return views;
}

absl::StatusOr<std::optional<ReadyOptions>> ToReadyOptions(const ReadyFlags& flags,
                                                           ReadyOptions::Views views) {
  if (views.empty() && (!flags.links.empty() || flags.partial)) {
    return UsageError("--view-links and --view-partial are about a view; name it with --view DIR");
  }
  if (views.empty() && flags.command.empty()) {
    if (flags.when.empty() && flags.command_retries == 0) return std::nullopt;
    return UsageError("--ready-when and --on-ready-retries need --view or --on-ready");
  }
  ReadyOptions options;
  if (flags.when == "node") options.when = ReadyOptions::When::kNode;
  if (flags.when == "assembly") options.when = ReadyOptions::When::kAssembly;
  options.command = flags.command;
  options.command_retries = flags.command_retries;
  options.views = std::move(views);
  return options;
}

}  // namespace muster
