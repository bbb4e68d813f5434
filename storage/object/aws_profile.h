// The settings that AWS tools keep in the environment and in ~/.aws.
#ifndef MUSTER_STORAGE_OBJECT_AWS_PROFILE_H_
#define MUSTER_STORAGE_OBJECT_AWS_PROFILE_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/object/environment.h"

namespace muster {

// Settings by name; one below another, as addressing_style below s3, as "s3.addressing_style".
using AwsSettings = std::map<std::string, std::string>;

// The settings of [`section`] in a file of that form; empty where there is none. Pure.
AwsSettings ParseAwsSection(absl::string_view text, absl::string_view section);

// The settings of the profile that AWS_PROFILE names ("default" otherwise): those of
// AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials) win over those of AWS_CONFIG_FILE
// (~/.aws/config). kFailedPrecondition when AWS_PROFILE names one that is in neither.
absl::StatusOr<AwsSettings> ReadAwsProfile(const EnvironmentLookup& environment);

// settings[name], "" if it is not there.
std::string SettingOf(const AwsSettings& settings, const std::string& name);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_AWS_PROFILE_H_
