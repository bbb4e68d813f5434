// What `muster top` shows: how far and how fast assemblies and nodes are, with what is slow first.
#ifndef MUSTER_CLIENT_CLI_TOP_SCREEN_H_
#define MUSTER_CLIENT_CLI_TOP_SCREEN_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "client/cli/rate_meter.h"
#include "muster/v1/assembly.pb.h"
#include "muster/v1/node.pb.h"

namespace muster {

// One look at the cluster.
struct ClusterLook {
  std::vector<v1::Assembly> assemblies;
  std::vector<v1::Node> nodes;
  // By the assembly's name; of those only whose members were asked for.
  std::map<std::string, std::vector<v1::AssemblyMember>> members;
};

// How far something is.
struct TopProgress {
  // Bytes that are there or on their way, and those that are to be there.
  int64_t there_bytes = 0;
  int64_t total_bytes = 0;
  // 0 while nothing comes, and while it is not known.
  double bytes_per_second = 0;
  uint32_t shards_failed = 0;

  bool done() const { return there_bytes >= total_bytes; }
  // Infinite where nothing comes.
  absl::Duration TimeLeft() const;
};

struct TopAssembly {
  v1::Assembly assembly;
  // Without bytes where its members were not asked for.
  TopProgress progress;
};

struct TopNode {
  v1::Node node;
  // Over all assemblies whose members were asked for.
  TopProgress progress;
};

// Sorted: what needs somebody first, then what takes longest, then by name.
struct TopRows {
  std::vector<TopAssembly> assemblies;
  std::vector<TopNode> nodes;
};

// Turns looks into rows; knows rates from the second look on. Not thread-safe.
class TopMeter {
 public:
  // `now` is monotonic.
  TopRows Add(absl::Duration now, const ClusterLook& look);

 private:
  // By assembly and node. Rates are of the last seconds.
  std::map<std::pair<std::string, std::string>, RateMeter> rates_;
};

// A line that counts, a table of assemblies and one of nodes, with as many of the columns as fit and at most so many lines;
// what is left out is counted.
std::vector<std::string> TopLines(const TopRows& rows, size_t columns, size_t lines);

// The same for programs.
std::string TopJson(const TopRows& rows);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_TOP_SCREEN_H_
