#include "tests/support/await.h"

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace muster {

void FailAwait(absl::string_view what, absl::Duration patience, AwaitCaller caller) {
  ADD_FAILURE_AT(caller.file, caller.line)
      << "waited " << absl::FormatDuration(patience) << " in vain for " << what;
}

}  // namespace muster
