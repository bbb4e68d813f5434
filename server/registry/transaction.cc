#include "server/registry/transaction.h"

#include "server/registry/row_keys.h"

namespace muster {

void Transaction::DeletePrefix(const std::string& prefix) {
  DeleteRange(prefix, PrefixEnd(prefix));
}

}  // namespace muster
