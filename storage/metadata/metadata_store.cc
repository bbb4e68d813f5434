#include "storage/metadata/metadata_store.h"

namespace muster {
namespace {

struct OperationSize {
  size_t operator()(const MetadataBatch::Put& put) const {
    return put.key.size() + put.value.size();
  }
  size_t operator()(const MetadataBatch::Delete& remove) const { return remove.key.size(); }
  size_t operator()(const MetadataBatch::DeleteRange& range) const {
    return range.begin.size() + range.end.size();
  }
};

}  // namespace

size_t MetadataBatch::SizeBytes() const {
  size_t bytes = 0;
  for (const Condition& condition : conditions) {
    bytes += condition.key.size();
    if (condition.value.has_value()) bytes += condition.value->size();
  }
  for (const Operation& operation : operations) bytes += std::visit(OperationSize{}, operation);
  return bytes;
}

}  // namespace muster
