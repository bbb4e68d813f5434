#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/cache_flags.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"
#include "client/cli/list_output.h"
#include "client/cli/local_caches.h"
#include "client/cli/table.h"
#include "client/cli/values.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// What the owners of pins of views begin with; those of assemblies are "assemblies/…".
constexpr char kViewOwner[] = "view:";

struct CacheArguments {
  ListFlags list;
  // "llama" or "llama@v1"; "" is all.
  std::string model;
  std::string directory;
  std::string domain = "default";
  std::vector<std::string> keys;
  std::string to;
  std::string owner;
  bool force = false;
};

std::string Names(const std::vector<std::string>& owners) {
  std::vector<std::string> values;
  for (const std::string& owner : owners) values.push_back(JsonString(owner));
  return JsonArray(values);
}

// What it was noted as last.
std::optional<ShardName> LastShardOf(const CacheItem& item) {
  if (item.names.empty()) return std::nullopt;
  const auto shard = ParseShardName(item.names.back());
  return shard.ok() ? std::optional<ShardName>(*shard) : std::nullopt;
}

// Whether it is a shard of the model, in a version or in any.
bool IsOfModel(const CacheItem& item, const std::string& model) {
  return std::any_of(item.names.begin(), item.names.end(), [&](const std::string& name) {
    const auto shard = ParseShardName(name);
    return shard.ok() && (shard->version.model == model ||
                          ShortModelVersionName(shard->version.ToString()) == model);
  });
}

std::string ItemJson(const CacheItem& item) {
  JsonObject json;
  json.Add("key", item.key);
  const auto shard = LastShardOf(item);
  json.Add("model_version", shard.has_value() ? shard->version.ToString() : "");
  json.AddRaw("shard", shard.has_value() ? absl::StrCat(shard->index.value) : "null");
  json.AddRaw("names", Names(item.names));
  json.AddRaw("part", item.is_part ? "true" : "false");
  json.Add("size_bytes", item.size_bytes);
  json.Add("last_use_unix_seconds",
           item.last_use == absl::InfinitePast() ? 0 : absl::ToUnixSeconds(item.last_use));
  json.AddRaw("in_use", item.in_use ? "true" : "false");
  json.AddRaw("owners", Names(item.owners));
  return json.ToString();
}

std::string ItemsJson(const std::vector<CacheItem>& items) {
  std::vector<std::string> values;
  for (const CacheItem& item : items) values.push_back(ItemJson(item));
  return JsonArray(values);
}

int64_t BytesOf(const std::vector<CacheItem>& items) {
  int64_t bytes = 0;
  for (const CacheItem& item : items) bytes += item.size_bytes;
  return bytes;
}

std::string ItemsTable(const std::vector<CacheItem>& items, absl::Time now) {
  Table table({{"MODEL"},
               {"SHARD", Table::Align::kRight},
               {"KEY"},
               {"SIZE", Table::Align::kRight},
               {"LAST USE", Table::Align::kRight},
               {"KIND"},
               {"PINNED BY"}});
  for (const CacheItem& item : items) {
    std::vector<std::string> pins = item.owners;
    if (item.in_use) pins.insert(pins.begin(), "a transfer");
    const auto shard = LastShardOf(item);
    const size_t others = item.names.empty() ? 0 : item.names.size() - 1;
    table.Add(
        {shard.has_value() ? absl::StrCat(ShortModelVersionName(shard->version.ToString()),
                                          others > 0 ? absl::StrCat(" +", others) : "")
                           : "-",
         shard.has_value() ? absl::StrCat(shard->index.value) : "-", item.key,
         FormatSize(item.size_bytes),
         item.last_use <= absl::UnixEpoch()
             ? "-"
             : absl::StrCat(HumanDuration(std::max(now - item.last_use, absl::ZeroDuration())),
                            " ago"),
         item.is_part ? "part" : "entry", absl::StrJoin(pins, ", ")});
  }
  return table.ToString();
}

absl::Status ListEntries(Invocation& invocation, const CacheArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const LocalCaches caches,
                          LocalCaches::Open({options.directory}, options.domain));
  MUSTER_ASSIGN_OR_RETURN(std::vector<CacheItem> items, caches.pointers().front()->List());
  List list;
  list.none = "the cache is empty; `muster agent` and `muster prefetch` fill it";
  if (!options.model.empty() && !items.empty()) {
    std::string model = options.model;
    if (absl::StrContains(model, '@') || absl::StrContains(model, '/')) {
      MUSTER_ASSIGN_OR_RETURN(model, FullModelVersionName(model));
      model = ShortModelVersionName(model);
    }
    std::erase_if(items, [&](const CacheItem& item) { return !IsOfModel(item, model); });
    list.none = absl::StrCat("nothing in this cache is known to be of ", Printable(model));
  }
  for (const CacheItem& item : items) list.items.push_back({item.key, ItemJson(item)});
  list.more.Add("used_bytes", BytesOf(items));
  list.table = [&items](const std::vector<size_t>& shown, bool, absl::Time now) {
    std::vector<CacheItem> picked;
    for (const size_t index : shown) picked.push_back(items[index]);
    return absl::StrCat(ItemsTable(picked, now), items.size(), " in all, ",
                        FormatSize(BytesOf(items)), "\n");
  };
  return PrintList(invocation, options.list, list);
}

struct Verified {
  int64_t good = 0;
  int64_t good_bytes = 0;
  std::vector<std::string> bad;
  std::vector<std::string> unchecked;
};

absl::StatusOr<Verified> CheckAll(Invocation& invocation, ShardCache& cache) {
  MUSTER_ASSIGN_OR_RETURN(const std::vector<CacheItem> items, cache.List());
  const auto bar = invocation.NewProgressBar("verifying");
  bar->SetTotal(BytesOf(items));
  Verified result;
  for (const CacheItem& item : items) {
    if (item.is_part) continue;
    const absl::Status status = cache.Check(
        item.key, [&](int64_t bytes) { bar->Add(bytes); }, invocation.stop());
    if (status.ok()) {
      ++result.good;
      result.good_bytes += item.size_bytes;
    } else if (absl::IsDataLoss(status)) {
      result.bad.emplace_back(status.message());
    } else if (absl::IsNotFound(status)) {
      result.unchecked.emplace_back(status.message());
    } else {
      return status;
    }
  }
  return result;
}

absl::Status Verify(Invocation& invocation, const CacheArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const LocalCaches caches,
                          LocalCaches::Open({options.directory}, options.domain));
  MUSTER_ASSIGN_OR_RETURN(const Verified result, CheckAll(invocation, *caches.pointers().front()));
  if (invocation.json()) {
    JsonObject json;
    json.Add("good", result.good);
    json.Add("good_bytes", result.good_bytes);
    json.AddRaw("removed", Names(result.bad));
    json.AddRaw("unchecked", Names(result.unchecked));
    invocation.PrintLine(json.ToString());
  } else {
    for (const std::string& message : result.bad) {
      invocation.PrintLine(Printable(absl::StrCat("BAD ", message)));
    }
    for (const std::string& message : result.unchecked) {
      invocation.PrintLine(Printable(absl::StrCat("not checked: ", message)));
    }
    invocation.PrintLine(
        absl::StrCat(result.good, " good, ", FormatSize(result.good_bytes), " read from the disk"));
  }
  if (result.bad.empty()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kDataLoss, reasons::kCacheEntryCorrupt,
                   absl::StrCat(options.directory, ": ", result.bad.size(),
                                " bad entries were removed; agents fetch them again when they "
                                "start or scrub"),
                   {{"removed", absl::StrCat(result.bad.size())}});
}

// Says why a named key stayed.
absl::Status CheckGone(ShardCache& cache, const CacheArguments& options,
                       const std::vector<CacheItem>& gone) {
  for (const std::string& key : options.keys) {
    bool went = false;
    for (const CacheItem& item : gone) went = went || item.key == key;
    if (went) continue;
    MUSTER_ASSIGN_OR_RETURN(const std::vector<CacheItem> items, cache.List());
    for (const CacheItem& item : items) {
      if (item.key != key) continue;
      return MakeError(
          absl::StatusCode::kFailedPrecondition, reasons::kCacheEntryPinned,
          absl::StrCat(
              key, ": stays, ",
              item.in_use ? "since a process uses it now; try again later"
                          : absl::StrCat("since it is pinned by ", absl::StrJoin(item.owners, ", "),
                                         "; `muster cache unpin`, or --force")),
          {{"key", key}, {"owners", absl::StrJoin(item.owners, ",")}});
    }
    return MakeError(absl::StatusCode::kNotFound, reasons::kCacheEntryUnknown,
                     absl::StrCat(key, ": no such entry; `muster cache list` shows the keys"),
                     {{"key", key}});
  }
  return absl::OkStatus();
}

// What one owner keeps.
struct Kept {
  size_t entries = 0;
  int64_t bytes = 0;
};

// What an eviction down to --to had to leave, by owner; what several need counts for each of them.
std::map<std::string, Kept> KeptByOwner(const std::vector<CacheItem>& left) {
  std::map<std::string, Kept> kept;
  for (const CacheItem& item : left) {
    for (const std::string& owner : item.owners) {
      ++kept[owner].entries;
      kept[owner].bytes += item.size_bytes;
    }
  }
  return kept;
}

// How to let go of what `owner` keeps.
std::string WayToUnpin(const CacheArguments& options, const std::string& owner) {
  if (absl::StartsWith(owner, kViewOwner))
    return "`muster view remove` ends it with the view's version";
  const std::string domain =
      options.domain == "default" ? "" : absl::StrCat(" --cache-domain ", options.domain);
  return absl::StrCat("if that is over: `muster cache unpin --cache ", options.directory, domain,
                      " ", owner, "`");
}

void SayWhatStays(const Invocation& invocation, const CacheArguments& options,
                  const std::vector<CacheItem>& left) {
  for (const auto& [owner, kept] : KeptByOwner(left)) {
    invocation.Note(absl::StrCat(FormatSize(kept.bytes), " in ", CountOf(kept.entries, "shard"),
                                 " stay, pinned by ", owner, "; ", WayToUnpin(options, owner)));
  }
  int64_t in_use = 0;
  for (const CacheItem& item : left) {
    if (item.in_use && item.owners.empty()) in_use += item.size_bytes;
  }
  if (in_use > 0) {
    invocation.Note(absl::StrCat(FormatSize(in_use), " stay, as processes use them just now"));
  }
}

std::string KeptJson(const std::vector<CacheItem>& left) {
  std::vector<std::string> values;
  for (const auto& [owner, kept] : KeptByOwner(left)) {
    JsonObject json;
    json.Add("owner", owner);
    json.Add("entries", static_cast<int64_t>(kept.entries));
    json.Add("size_bytes", kept.bytes);
    values.push_back(json.ToString());
  }
  return JsonArray(values);
}

absl::Status Evict(Invocation& invocation, const CacheArguments& options) {
  if (options.keys.empty() == options.to.empty()) {
    return UsageError("name keys to evict, or with --to how many bytes may stay, such as --to 0");
  }
  ShardCache::Eviction eviction{.keys = options.keys, .force = options.force};
  if (!options.to.empty()) {
    MUSTER_ASSIGN_OR_RETURN(eviction.target_bytes, ParseSize(options.to));
  }
  MUSTER_ASSIGN_OR_RETURN(const LocalCaches caches,
                          LocalCaches::Open({options.directory}, options.domain));
  ShardCache& cache = *caches.pointers().front();
  MUSTER_ASSIGN_OR_RETURN(const std::vector<CacheItem> gone,
                          cache.Evict(eviction, invocation.stop()));
  std::vector<CacheItem> left;
  if (options.keys.empty()) {
    MUSTER_ASSIGN_OR_RETURN(left, cache.List());
    if (BytesOf(left) <= eviction.target_bytes) left.clear();
  }
  if (invocation.json()) {
    JsonObject json;
    json.Add("evicted_bytes", BytesOf(gone));
    json.AddRaw("evicted", ItemsJson(gone));
    json.AddRaw("kept_by", KeptJson(left));
    invocation.PrintLine(json.ToString());
  } else {
    for (const CacheItem& item : gone) {
      invocation.PrintLine(
          absl::StrCat("evicted ", Printable(item.key), item.is_part ? " (part)" : ""));
    }
    invocation.PrintLine(absl::StrCat("evicted ", gone.size(), ", ", FormatSize(BytesOf(gone))));
    SayWhatStays(invocation, options, left);
  }
  return CheckGone(cache, options, gone);
}

absl::Status Pins(Invocation& invocation, const CacheArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const LocalCaches caches,
                          LocalCaches::Open({options.directory}, options.domain));
  MUSTER_ASSIGN_OR_RETURN(const std::vector<CachePin> pins, caches.pointers().front()->Pins());
  if (invocation.json()) {
    std::vector<std::string> values;
    for (const CachePin& pin : pins) {
      JsonObject json;
      json.Add("owner", pin.owner);
      json.AddRaw("keys", Names(pin.keys));
      values.push_back(json.ToString());
    }
    JsonObject json;
    json.AddRaw("items", JsonArray(values));
    invocation.PrintLine(json.ToString());
    return absl::OkStatus();
  }
  if (pins.empty()) invocation.PrintLine("nothing pins shards in this cache");
  Table table({{"OWNER"}, {"SHARDS", Table::Align::kRight}});
  for (const CachePin& pin : pins) table.Add({pin.owner, absl::StrCat(pin.keys.size())});
  if (!pins.empty()) invocation.Print(table.ToString());
  return absl::OkStatus();
}

// "demo" names all pins of assembly demo.
bool IsOf(const CachePin& pin, const std::string& owner) {
  return pin.owner == owner || absl::StartsWith(pin.owner, absl::StrCat(owner, "/")) ||
         absl::StartsWith(pin.owner, absl::StrCat("assemblies/", owner, "/"));
}

absl::Status Unpin(Invocation& invocation, const CacheArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const LocalCaches caches,
                          LocalCaches::Open({options.directory}, options.domain));
  ShardCache& cache = *caches.pointers().front();
  MUSTER_ASSIGN_OR_RETURN(const std::vector<CachePin> pins, cache.Pins());
  std::vector<std::string> owners;
  for (const CachePin& pin : pins) {
    if (!IsOf(pin, options.owner)) continue;
    MUSTER_RETURN_IF_ERROR(cache.SetPin({pin.owner, {}}, invocation.stop()));
    owners.push_back(pin.owner);
  }
  if (owners.empty()) {
    return MakeError(
        absl::StatusCode::kNotFound, reasons::kPinUnknown,
        absl::StrCat("\"", options.owner,
                     "\" pins nothing in this cache; `muster cache pins` lists the owners of pins"),
        {{"owner", options.owner}});
  }
  if (invocation.json()) {
    JsonObject json;
    json.AddRaw("unpinned", Names(owners));
    invocation.PrintLine(json.ToString());
  } else {
    for (const std::string& owner : owners) {
      invocation.PrintLine(Printable(absl::StrCat("unpinned ", owner)));
    }
  }
  return absl::OkStatus();
}

}  // namespace

void AddCacheCommand(CLI::App& app, Command& chosen) {
  CLI::App* const cache =
      app.add_subcommand("cache", "Look at, check and clear a cache directory on this machine");
  auto options = std::make_shared<CacheArguments>();
  const auto choose = [options, &chosen](auto run) {
    return [options, &chosen, run] {
      chosen = [options, run](Invocation& invocation) {
        if (options->directory.empty()) options->directory = DefaultCacheDirectory(invocation);
        return run(invocation, *options);
      };
    };
  };
  cache->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, auto run) {
    CLI::App* const command = cache->add_subcommand(name, help);
    command
        ->add_option("--cache", options->directory,
                     "The cache directory (default: /var/cache/muster where it can be written, "
                     "else ~/.cache/muster)")
        ->check(RefuseEmpty);
    AddCacheDomainFlag(*command, options->domain);
    command->callback(choose(run));
    return command;
  };
  CLI::App* const list = add("list",
                             "Entries and parts with model, size, last use and pins, in the order "
                             "in which they may go",
                             ListEntries);
  AddListFlags(*list, options->list);
  list->add_option("--model", options->model,
                   "Only shards of this model, such as llama or llama@v1");
  add("verify", "Read every entry from the disk and remove corrupt ones", Verify);
  CLI::App* const evict = add("evict", "Remove entries that nothing needs", Evict);
  evict->add_option("KEY", options->keys, "Entries to remove, by key");
  evict->add_option("--to", options->to,
                    "Remove the least recently used until so many bytes are left, such as 100GiB");
  evict->add_flag("--force", options->force,
                  "Also what assemblies have pinned; their agents fetch it again");
  add("pins", "Which assemblies and views pin how many shards", Pins);
  CLI::App* const unpin =
      add("unpin", "Release the pins of an assembly that will not come back", Unpin);
  unpin->add_option("OWNER", options->owner, "An assembly, or an owner that `pins` shows")
      ->required();
  cache->footer(
      "Safe while agents run. `verify` exits with 1 when it removed something. An agent pins "
      "the shards of its assemblies until it leaves them. Those of assemblies that were deleted "
      "are "
      "let go by the next agent that starts on the cache; `unpin` lets go of them, and of those of "
      "an "
      "agent that never comes back, by hand. `evict --to` says what stays, and for whom. MODEL and "
      "SHARD are what an entry was last fetched or found as (+1: it is in one more version); of "
      "what "
      "nobody has looked up since an earlier version of Muster stored it they are \"-\".\n\n"
      "Examples:\n"
      "  muster cache list --cache /var/cache/muster\n"
      "  muster cache list --model llama --sort -size_bytes\n"
      "  muster cache verify --cache /var/cache/muster\n"
      "  muster cache evict --cache /var/cache/muster --to 100GiB\n"
      "  muster cache pins --cache /var/cache/muster --json\n"
      "  muster cache unpin --cache /var/cache/muster demo");
}

}  // namespace muster
