// Files that are of no use without a weight file beside them.
#ifndef MUSTER_CLIENT_CHECKPOINT_MODEL_HALVES_H_
#define MUSTER_CLIENT_CHECKPOINT_MODEL_HALVES_H_

#include <vector>

#include "client/checkpoint/directory_walk.h"
#include "client/checkpoint/weight_sets.h"

namespace muster {

// Moves the companions whose other half is a weight file that is not chosen from `content.companions` to
// `content.left_out`, naming that file: the .xml of OpenVINO beside its .bin, the .onnx_data of an .onnx, and the like.
// An engine that found half a model would fail at loading it.
void LeaveOutHalves(const std::vector<WeightSet>& sets, DirectoryContent& content);

}  // namespace muster

#endif  // MUSTER_CLIENT_CHECKPOINT_MODEL_HALVES_H_
