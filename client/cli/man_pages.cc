#include "client/cli/man_pages.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "client/cli/terms.h"
#include "storage/version/build_version.h"

namespace muster {
namespace {

// Text that roff prints as it is.
std::string Roff(absl::string_view text) {
  std::string out;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const bool looks_like_a_request = !line.empty() && (line[0] == '.' || line[0] == '\'');
    absl::StrAppend(&out, looks_like_a_request ? "\\&" : "",
                    absl::StrReplaceAll(line, {{"\\", "\\e"}, {"-", "\\-"}}), "\n");
  }
  return out;
}

std::string PageOf(const CLI::App& command, const std::string& name) {
  const std::string help = command.help();
  return absl::StrCat(".TH ", absl::AsciiStrToUpper(name), " 1 \"\" \"muster ", BuildVersion(),
                      "\"\n.SH NAME\n", Roff(absl::StrCat(name, " - ", command.get_description())),
                      ".SH DESCRIPTION\n.nf\n", Roff(absl::StrCat(help, ExplainTerms(help))),
                      ".fi\n");
}

void AddPages(const CLI::App& command, const std::string& name,
              std::vector<std::pair<std::string, std::string>>& pages) {
  pages.emplace_back(absl::StrCat(name, ".1"), PageOf(command, name));
  for (const CLI::App* const below :
       command.get_subcommands([](const CLI::App*) { return true; })) {
    AddPages(*below, absl::StrCat(name, "-", below->get_name()), pages);
  }
}

}  // namespace

std::vector<std::pair<std::string, std::string>> ManPages(const CLI::App& app) {
  std::vector<std::pair<std::string, std::string>> pages;
  AddPages(app, "muster", pages);
  return pages;
}

absl::Status WriteManPages(const std::vector<std::pair<std::string, std::string>>& pages,
                           const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  for (const auto& [name, text] : pages) {
    std::ofstream file(absl::StrCat(directory, "/", name), std::ios::trunc);
    file << text;
    file.close();
    if (!file)
      return absl::FailedPreconditionError(
          absl::StrCat(directory, "/", name, ": can't be written"));
  }
  return absl::OkStatus();
}

}  // namespace muster
