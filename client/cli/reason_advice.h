// What people can do about the reasons of an assembly.
#ifndef MUSTER_CLIENT_CLI_REASON_ADVICE_H_
#define MUSTER_CLIENT_CLI_REASON_ADVICE_H_

#include <string>

#include "muster/v1/assembly.pb.h"

namespace muster {

// One sentence with the commands to type, in backticks; "" for a reason that is unknown here. It goes by the reason, by
// the code and the reason of failures, and by the situation: the policy, whether another node is there, the assembly's
// other reasons. What can't help in this situation is not advised.
std::string AdviceFor(const v1::AssemblyReason& reason, const v1::Assembly& assembly);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_REASON_ADVICE_H_
