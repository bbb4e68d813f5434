#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/table.h"
#include "client/cli/values.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

absl::Status ShowKeyStatus(Invocation& invocation) {
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const v1::GetKeyStatusResponse response,
                          client->GetKeyStatus({}, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
    return absl::OkStatus();
  }
  if (response.master_keys().empty()) {
    invocation.PrintLine("the server has no master key; `musterd master-key new FILE` makes one");
    return absl::OkStatus();
  }
  Table table({{"MASTER KEY"}, {"STATE"}, {"CONTENT KEYS", Table::Align::kRight}});
  uint64_t lost = 0;
  for (const v1::MasterKey& key : response.master_keys()) {
    const bool needed = key.content_keys() > 0;
    table.Add({Printable(key.id()),
               key.current()    ? "current"
               : !key.present() ? "missing"
               : needed         ? "in use"
                                : "unused",
               absl::StrCat(key.content_keys())});
    if (!key.present()) lost += key.content_keys();
  }
  invocation.Print(table.ToString());
  if (lost > 0) {
    invocation.Note(absl::StrCat(CountOf(lost, "content key"),
                                 " can't be opened: put the missing master keys back into the "
                                 "server's file of --master-key"));
  }
  return absl::OkStatus();
}

}  // namespace

void AddKeysCommand(CLI::App& app, Command& chosen) {
  CLI::App* const command = app.add_subcommand(
      "keys", "Show the master keys that wrap the server's keys of encrypted models");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n"
      "  muster keys status\n"
      "  muster keys status --json");
  CLI::App* const status = command->add_subcommand(
      "status", "Show which master keys there are, and how many content keys each of them wraps");
  status->footer(
      "current: it wraps new content keys. in use: the server is wrapping its content keys anew. "
      "unused: `musterd master-key retire` may remove it. missing: content keys that it wraps "
      "can't be opened.\n\n"
      "Examples:\n"
      "  muster keys status\n"
      "  muster keys status --json");
  status->callback([&chosen] { chosen = ShowKeyStatus; });
}

}  // namespace muster
