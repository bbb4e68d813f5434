// Sizes, durations and lists as people write and read them.
//
// Pure functions; thread-safe. Parsing returns kInvalidArgument with reason USAGE, quoting the text
// and showing an example.
#ifndef MUSTER_CLIENT_CLI_VALUES_H_
#define MUSTER_CLIENT_CLI_VALUES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "muster/v1/assembly.pb.h"
#include "storage/base/wording.h"

namespace muster {

// A mistake on the command line.
absl::Status UsageError(absl::string_view message);

// "80GiB", "1.5 GB", "4096": a number with a unit of bytes. KiB, MiB, GiB, TiB, PiB (also K, M, G,
// T, P and without "B") are powers of 1024; KB, MB, GB, TB, PB powers of 1000. Letter case doesn't
// matter.
absl::StatusOr<int64_t> ParseSize(absl::string_view text);

// A size that pieces may have: a power of two from 1 MiB to 64 MiB.
absl::StatusOr<int64_t> ParsePieceSize(absl::string_view text);

// "10s", "500ms", "1h30m"; a plain number is in seconds. Greater than 0, at most a year.
absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text);

// "0,3-5": indices below the bound of shards in a model version, sorted and without repeats.
absl::StatusOr<std::vector<uint32_t>> ParseShardList(absl::string_view text);

// "412": digits only, below 2^64.
absl::StatusOr<uint64_t> ParseRevision(absl::string_view text);

// "any", "all", a list as ParseShardList takes it, or one of ranks: "ranks:0-7".
absl::StatusOr<v1::Claim> ParseClaim(absl::string_view text);

// A name of storage/base/placement_policy.h, in letters of either case.
absl::StatusOr<v1::Assembly::Policy> ParsePolicy(absl::string_view text);

// Labels, each "key=value", by key. No key has two values.
absl::StatusOr<std::map<std::string, std::string>> ParseLabels(
    const std::vector<std::string>& texts);

// A URI as it is; a plain path becomes a file URI, relative to `working_directory`.
absl::StatusOr<std::string> ParseDestination(absl::string_view text,
                                             absl::string_view working_directory);

// "1 shard", "5 shards".
std::string CountOf(uint64_t count, absl::string_view singular);

// "3 s", "2 min 5 s", "4 h 10 min", "12 d".
std::string HumanDuration(absl::Duration duration);

// "0,3-5".
std::string FormatShardList(const std::vector<uint32_t>& shards);

// "any", "all", "0,3-5" or "ranks:0-7".
std::string FormatClaim(const v1::Claim& claim);

// `text` fit for a terminal: control characters become "?".
std::string Printable(absl::string_view text);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_VALUES_H_
