// What an operator does with a data directory while no server serves it: look at it, copy it, bring a
// copy back.
#ifndef MUSTER_SERVER_UPKEEP_STORE_UPKEEP_H_
#define MUSTER_SERVER_UPKEEP_STORE_UPKEEP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/random.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

struct StoreReport {
  uint64_t rows = 0;
  uint64_t bytes = 0;
  uint64_t revision = 0;
  std::string cluster_id;
  std::string history_id;
  // What is wrong, the first of it; a sentence each.
  std::vector<std::string> problems;
  // How much is wrong in all.
  uint64_t problem_count = 0;

  bool ok() const { return problem_count == 0; }
};

// Reads every row of `store`, and then loads them all as a server would. An error is one of reading;
// what is wrong with rows is in the report.
absl::StatusOr<StoreReport> CheckRows(MetadataStore& store);

// The same for the data directory `directory`, and reads every block of its files. Changes nothing.
// kFailedPrecondition: a server has it open. kDataLoss: files are damaged, or less than what was
// acknowledged.
absl::StatusOr<StoreReport> CheckDataDirectory(const std::string& directory);

// Copies the store of `directory` to `destination`, which must not be there or be empty, and checks the
// copy. A server may have the store open: the copy holds at least what it had acknowledged when this was
// called. kDataLoss: what is there is damaged. kAlreadyExists.
absl::StatusOr<StoreReport> BackUp(const std::string& directory, const std::string& destination);

// Makes `directory`, which must not be there or be empty, from a backup, with a new history.
absl::StatusOr<StoreReport> Restore(Random& random, const std::string& backup,
                                    const std::string& directory);

// How many content keys of the data directory the master key wraps. Errors as CheckDataDirectory.
absl::StatusOr<uint64_t> CountContentKeys(const std::string& directory,
                                          const std::string& master_key_id);

// "revision 44", or "" where there is none: where the rows of a store end.
std::string EndOfRows(MetadataStore& store);

}  // namespace muster

#endif  // MUSTER_SERVER_UPKEEP_STORE_UPKEEP_H_
