// A directory for one test, removed with everything in it.
#ifndef MUSTER_TESTS_SUPPORT_TEMPORARY_DIRECTORY_H_
#define MUSTER_TESTS_SUPPORT_TEMPORARY_DIRECTORY_H_

#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// Thread-safe: constant. Ends the process when the directory can't be made.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  // Absolute, without a slash at its end.
  const std::string& path() const { return path_; }

  // path() + "/" + `relative`.
  std::string Join(absl::string_view relative) const;

 private:
  std::string path_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_SUPPORT_TEMPORARY_DIRECTORY_H_
