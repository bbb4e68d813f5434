// A line of /proc/locks is "1: FLOCK  ADVISORY  WRITE 4711 fe:00:1311747 0 EOF", with the device's
// numbers in hexadecimal; a process that waits has "->" behind the number.
#include "storage/files/lock_holder.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "storage/base/quote.h"

namespace muster {

std::optional<pid_t> FlockHolder(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return std::nullopt;
  const std::string wanted =
      absl::StrCat(absl::Hex(major(info.st_dev), absl::kZeroPad2), ":",
                   absl::Hex(minor(info.st_dev), absl::kZeroPad2), ":", info.st_ino);
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number;
    std::string kind;
    std::string advisory;
    std::string access;
    pid_t pid = 0;
    std::string file;
    if (!(words >> number >> kind >> advisory >> access >> pid >> file)) continue;
    if (kind == "FLOCK" && access == "WRITE" && file == wanted && pid > 0) return pid;
  }
  return std::nullopt;
}

std::string DescribeProcess(std::optional<pid_t> pid) {
  if (!pid.has_value()) return "another process";
  std::ifstream file(absl::StrCat("/proc/", *pid, "/comm"));
  std::string name;
  // A process chooses its name.
  if (!std::getline(file, name) || name.empty() || HasControlCharacter(name)) {
    return absl::StrCat("process ", *pid);
  }
  return absl::StrCat("process ", *pid, " (", name, ")");
}

}  // namespace muster
