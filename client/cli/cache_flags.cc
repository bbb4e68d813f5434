#include "client/cli/cache_flags.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/values.h"
#include "storage/base/status_macros.h"

namespace muster {

void AddCacheFlags(CLI::App& command, CacheFlags& flags) {
  command
      .add_option("--cache", flags.directory,
                  "Directory for shards, on a local disk; made if absent, may be shared (default: "
                  "/var/cache/muster where it can be written, else ~/.cache/muster)")
      ->check(RefuseEmpty);
  command.add_option("--cache-budget", flags.budget,
                     "Bytes that the cache may take, such as 500GiB, half-written shards "
                     "included; the least recently used go first, what a live assembly needs "
                     "never goes (default: what the disk has)");
  command.add_flag("--allow-network-cache", flags.allow_network,
                   "Allow a --cache on a network file system");
  command.add_option("--cache-mode", flags.mode,
                     "Permissions of the files in the cache and in views, such as 0440; read-only, "
                     "as what is verified stays as it is (default: 0444; 0440 for what encrypted "
                     "shards hold)");
  AddCacheDomainFlag(command, flags.domain);
  command
      .add_option(
          "--cache-form", flags.form,
          "What to keep of shards that are stored encoded: plain, what they encode, which of "
          "encrypted ones is plaintext on the disk; stored, which needs no key and serves no "
          "engine; or both. With both, READY is about the content: stored bytes may go where "
          "room runs short, and are not fetched again for themselves. All processes that share a "
          "cache must choose the same")
      ->check(CLI::IsMember({"plain", "stored", "both"}))
      ->capture_default_str();
  command
      .add_option("--cache-wait", flags.wait,
                  "How long another process may hold a shard of a shared cache and write nothing "
                  "before this one fetches the shard itself")
      ->capture_default_str();
  AddKeyFlags(command, "The key of encrypted shards", flags.keys);
}

void AddCacheDomainFlag(CLI::App& command, std::string& domain) {
  command
      .add_option("--cache-domain", domain,
                  "The part of the cache directory to use; models of owners that don't trust one "
                  "another belong into domains of their own")
      ->capture_default_str();
}

std::string RefuseEmpty(const std::string& value) {
  return value.empty() ? "the value is empty; leave the flag out for its default" : "";
}

std::string DefaultCacheDirectory(const Invocation& invocation) {
  constexpr char kOfTheMachine[] = "/var/cache/muster";
  const bool is_there = access(kOfTheMachine, F_OK) == 0;
  if (access(is_there ? kOfTheMachine : "/var/cache", W_OK) == 0) return kOfTheMachine;
  const std::string caches = invocation.Variable("XDG_CACHE_HOME");
  if (!caches.empty()) return absl::StrCat(caches, "/muster");
  const std::string home = invocation.Variable("HOME");
  return home.empty() ? "" : absl::StrCat(home, "/.cache/muster");
}

absl::StatusOr<std::optional<uint32_t>> FileModeOf(const CacheFlags& flags) {
  if (flags.mode.empty()) return std::nullopt;
  uint32_t mode = 0;
  const char* const end = flags.mode.data() + flags.mode.size();
  const auto [rest, error] = std::from_chars(flags.mode.data(), end, mode, 8);
  if (error == std::errc() && rest == end && (mode & ~0444u) == 0 && (mode & 0400) != 0) {
    return std::optional<uint32_t>(mode);
  }
  return UsageError(absl::StrCat("--cache-mode ", flags.mode,
                                 " is not an octal mode that lets the owner read and nobody write, "
                                 "such as 0444, 0440 or 0400"));
}

absl::StatusOr<std::unique_ptr<ShardCache>> OpenCache(
    const Invocation& invocation, const CacheFlags& flags, std::shared_ptr<MemoryBudget> memory,
    std::function<void(const std::string& warning)> warn) {
  const std::string directory =
      flags.directory.empty() ? DefaultCacheDirectory(invocation) : flags.directory;
  if (directory.empty()) return UsageError("--cache is required: there is no home directory");
  ShardCache::Options options;
  if (flags.form == "stored") options.form = CacheForm::kStored;
  if (flags.form == "both") options.form = CacheForm::kBoth;
  MUSTER_ASSIGN_OR_RETURN(options.keys, ToReadingKeys(invocation, flags.keys));
  options.memory = std::move(memory);
  options.domain = flags.domain;
  options.allow_network = flags.allow_network;
  options.warn = std::move(warn);
  MUSTER_ASSIGN_OR_RETURN(options.writer_patience, ParseDuration(flags.wait));
  MUSTER_ASSIGN_OR_RETURN(options.entry_mode, FileModeOf(flags));
  if (!flags.budget.empty()) {
    MUSTER_ASSIGN_OR_RETURN(options.budget_bytes, ParseSize(flags.budget));
    if (*options.budget_bytes == 0)
      return UsageError("--cache-budget 0 leaves no room for a shard");
  }
  return ShardCache::Open(directory, options);
}

}  // namespace muster
