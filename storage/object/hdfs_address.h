// Where the web interface of an HDFS cluster is, and as which user it is asked.
#ifndef MUSTER_STORAGE_OBJECT_HDFS_ADDRESS_H_
#define MUSTER_STORAGE_OBJECT_HDFS_ADDRESS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/object/environment.h"

namespace muster {

// Settings of Hadoop by name.
using HadoopSettings = std::map<std::string, std::string>;

struct HdfsAddress {
  // "http://HOST:PORT" or "https://HOST:PORT" of each name node; at least one.
  std::vector<std::string> name_nodes;
  // Whether the environment or the settings name them; otherwise they are only the URI's.
  bool configured = false;
  // The user that asks, where nothing proves it; "" with a token or with Kerberos.
  std::string user;
  // A delegation token in Hadoop's URL form; "" for none. A secret.
  std::string delegation_token;
  // Kerberos, by SPNEGO, with the tickets that the process has.
  bool kerberos = false;
};

// The properties in a configuration file of Hadoop; empty for text that is something else. Pure.
HadoopSettings ParseHadoopSettings(absl::string_view xml);

// core-site.xml and hdfs-site.xml of HADOOP_CONF_DIR; empty without it.
HadoopSettings ReadHadoopSettings(const EnvironmentLookup& environment);

// The address of `authority`, that of an URI with scheme hdfs, or swebhdfs for TLS:
// - MUSTER_WEBHDFS_ADDRESS, "HOST:PORT" of one name node, or of several as a comma list;
// - a name service of the settings: the web addresses of its name nodes;
// - the settings' web address, if their name node is the one that `authority` names;
// - else the host that it names: its port is that of RPCs.
// Where there is no web address it is 9870, or 9871 for TLS, of the same host. Settings that say HTTPS_ONLY
// mean TLS for hdfs, too.
// User: HADOOP_USER_NAME, else USER. Token: MUSTER_WEBHDFS_TOKEN. Kerberos where the settings say so. Neither is for
// name nodes that only a URI names, which anybody may have written: kFailedPrecondition where there is a token.
// kInvalidArgument for values that make no sense. Pure except for `environment`.
absl::StatusOr<HdfsAddress> HdfsAddressFor(absl::string_view scheme, absl::string_view authority,
                                           const EnvironmentLookup& environment,
                                           const HadoopSettings& settings);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_HDFS_ADDRESS_H_
