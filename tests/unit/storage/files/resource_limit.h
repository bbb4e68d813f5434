// A limit of this process, for one test.
#ifndef MUSTER_TESTS_UNIT_STORAGE_FILES_RESOURCE_LIMIT_H_
#define MUSTER_TESTS_UNIT_STORAGE_FILES_RESOURCE_LIMIT_H_

#include <signal.h>
#include <sys/resource.h>

#include "gtest/gtest.h"

namespace muster {

// Bounds `resource` until it ends: RLIMIT_FSIZE stands in for a full disk.
class ResourceLimit {
 public:
  ResourceLimit(__rlimit_resource resource, rlim_t value) : resource_(resource) {
    signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(getrlimit(resource_, &old_), 0);
    const rlimit limit = {value, old_.rlim_max};
    EXPECT_EQ(setrlimit(resource_, &limit), 0);
  }
  ~ResourceLimit() { setrlimit(resource_, &old_); }
  ResourceLimit(const ResourceLimit&) = delete;
  ResourceLimit& operator=(const ResourceLimit&) = delete;

 private:
  const __rlimit_resource resource_;
  rlimit old_ = {};
};

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_STORAGE_FILES_RESOURCE_LIMIT_H_
