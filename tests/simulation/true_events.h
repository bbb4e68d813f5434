// What truly happened, read from the rows of the event log as they come.
#ifndef MUSTER_TESTS_SIMULATION_TRUE_EVENTS_H_
#define MUSTER_TESTS_SIMULATION_TRUE_EVENTS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "server/registry/uid.h"
#include "storage/base/numbers.h"
#include "storage/metadata/metadata_store.h"
#include "tests/support/watch_validators.h"

namespace muster {

// Not thread-safe.
class TrueEvents {
 public:
  // Takes over what the store has more. Often enough that nothing is cut off in between.
  void Read(MetadataStore& store);

  // `exists` says whether a model version is there; a watch leaves out shards of one that is not.
  TrueItems OfNode(NodeUid node, const std::function<bool(VersionUid)>& exists) const;
  TrueItems OfAssembly(AssemblyUid assembly) const;
  const TrueItems& told() const { return told_; }

  // The texts of items, as watchers write them too.
  static std::string Given(const std::string& assembly, uint32_t shard, uint64_t generation);
  static std::string Taken(const std::string& assembly, uint32_t shard);

 private:
  struct Item {
    std::string text;
    // 0: of no model version.
    uint64_t version = 0;
  };

  void Take(Revision revision, const std::string& row);

  Revision read_;
  std::map<uint64_t, std::map<uint64_t, std::vector<Item>>> nodes_;
  std::map<uint64_t, TrueItems> assemblies_;
  TrueItems told_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_SIMULATION_TRUE_EVENTS_H_
