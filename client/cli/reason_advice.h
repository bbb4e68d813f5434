// What people can do about the reasons of an assembly.
#ifndef MUSTER_CLIENT_CLI_REASON_ADVICE_H_
#define MUSTER_CLIENT_CLI_REASON_ADVICE_H_

#include <string>

#include "muster/v1/assembly.pb.h"

namespace muster {

// One sentence with the commands to type; "" for a reason that is unknown here.
std::string AdviceFor(const v1::AssemblyReason& reason, const v1::Assembly& assembly);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_REASON_ADVICE_H_
