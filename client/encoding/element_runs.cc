#include "client/encoding/element_runs.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/encoding/byte_planes.h"

namespace muster {

absl::StatusOr<ElementRuns> ElementRuns::Make(std::vector<ElementRun> runs) {
  if (runs.size() > kMaxRuns) {
    return absl::InvalidArgumentError(
        absl::StrCat(runs.size(), " runs of elements are more than ", kMaxRuns));
  }
  ElementRuns made;
  int64_t end = 0;
  for (const ElementRun& run : runs) {
    const bool known = run.width == 1 || run.width == 2 || run.width == 4 || run.width == 8;
    if (!known || run.size_bytes < 1 ||
        run.size_bytes > std::numeric_limits<int64_t>::max() - end) {
      return absl::InvalidArgumentError(absl::StrCat("a run of ", run.size_bytes,
                                                     " bytes of elements of ", run.width,
                                                     " bytes is not possible"));
    }
    end += run.size_bytes;
    made.ends_.push_back(end);
  }
  made.runs_ = std::move(runs);
  return made;
}

// Calls `planes` with the whole elements of each run in the range, and copies the rest.
template <typename Planes>
void ElementRuns::ForRange(int64_t offset, absl::string_view range, char* out,
                           Planes planes) const {
  auto run =
      static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), offset) - ends_.begin());
  while (!range.empty()) {
    const auto width = static_cast<int64_t>(runs_[run].width);
    const int64_t begin = ends_[run] - runs_[run].size_bytes;
    const auto size = std::min(static_cast<int64_t>(range.size()), ends_[run] - offset);
    const int64_t head = std::min(size, (width - (offset - begin) % width) % width);
    const int64_t body = (size - head) / width * width;
    const auto copy = [&](int64_t from, int64_t count) {
      std::copy_n(range.data() + from, count, out + from);
    };
    if (width == 1) {
      copy(0, size);
    } else {
      copy(0, head);
      planes(static_cast<size_t>(width),
             range.substr(static_cast<size_t>(head), static_cast<size_t>(body)), out + head);
      copy(head + body, size - head - body);
    }
    range.remove_prefix(static_cast<size_t>(size));
    out += size;
    offset += size;
    ++run;
  }
}

void ElementRuns::Group(int64_t offset, absl::string_view range, char* out) const {
  ForRange(offset, range, out, SplitPlanes);
}

void ElementRuns::Ungroup(int64_t offset, absl::string_view grouped, char* out) const {
  ForRange(offset, grouped, out, JoinPlanes);
}

}  // namespace muster
