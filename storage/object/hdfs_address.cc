#include "storage/object/hdfs_address.h"

#include <fstream>
#include <iterator>
#include <optional>
#include <pugixml.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace muster {
namespace {

constexpr char kTlsScheme[] = "swebhdfs";

// Hadoop's defaults.
const char* WebPort(bool tls) { return tls ? ":9871" : ":9870"; }

const char* WebSetting(bool tls) {
  return tls ? "dfs.namenode.https-address" : "dfs.namenode.http-address";
}

std::string SettingOf(const HadoopSettings& settings, const std::string& name) {
  const auto found = settings.find(name);
  return found == settings.end() ? "" : found->second;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

bool IsListed(absl::string_view list, absl::string_view wanted) {
  for (const absl::string_view one : absl::StrSplit(list, ',')) {
    if (absl::StripAsciiWhitespace(one) == wanted) return true;
  }
  return false;
}

// "HOST:PORT" of the settings as an address; name nodes that listen everywhere say so with 0.0.0.0.
std::optional<std::string> WebAddress(absl::string_view web, absl::string_view host, bool tls) {
  web = absl::StripAsciiWhitespace(web);
  const size_t colon = web.rfind(':');
  if (colon == absl::string_view::npos) return std::nullopt;
  const bool anywhere = absl::StartsWith(web, "0.0.0.0:");
  if (anywhere && host.empty()) return std::nullopt;
  return absl::StrCat(tls ? "https://" : "http://", anywhere ? host : web.substr(0, colon),
                      web.substr(colon));
}

absl::string_view HostOf(absl::string_view authority) {
  const size_t colon = authority.rfind(':');
  // Not within an IPv6 address.
  if (colon == absl::string_view::npos || absl::StrContains(authority.substr(colon), ']')) {
    return authority;
  }
  return authority.substr(0, colon);
}

absl::StatusOr<std::vector<std::string>> NamedAddresses(absl::string_view list, bool tls) {
  std::vector<std::string> addresses;
  for (const absl::string_view one : absl::StrSplit(list, ',')) {
    const auto address = WebAddress(one, "", tls);
    if (!address.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("MUSTER_WEBHDFS_ADDRESS is \"", list,
                                                     "\"; HOST:PORT, or several as a comma list, "
                                                     "are wanted"));
    }
    addresses.push_back(*address);
  }
  return addresses;
}

// What the names of the settings of each name node of `service` end with.
std::vector<std::string> NameNodesOf(absl::string_view service, const HadoopSettings& settings) {
  const std::string nodes = SettingOf(settings, absl::StrCat("dfs.ha.namenodes.", service));
  if (nodes.empty()) return {absl::StrCat(".", service)};
  std::vector<std::string> endings;
  for (const absl::string_view node : absl::StrSplit(nodes, ',')) {
    endings.push_back(absl::StrCat(".", service, ".", absl::StripAsciiWhitespace(node)));
  }
  return endings;
}

// Empty where the settings are of another cluster.
std::vector<std::string> ConfiguredAddresses(absl::string_view authority,
                                             const HadoopSettings& settings, bool tls) {
  // By the ending of its settings, the host that it has if they name none.
  std::vector<std::pair<std::string, std::string>> name_nodes;
  const std::string rpc = SettingOf(settings, "dfs.namenode.rpc-address");
  if (IsListed(SettingOf(settings, "dfs.nameservices"), authority)) {
    for (const std::string& ending : NameNodesOf(authority, settings)) {
      const std::string at = SettingOf(settings, absl::StrCat("dfs.namenode.rpc-address", ending));
      name_nodes.emplace_back(ending, HostOf(at));
    }
  } else if (SettingOf(settings, "fs.defaultFS") == absl::StrCat("hdfs://", authority) ||
             (!rpc.empty() && rpc == authority)) {
    name_nodes.emplace_back("", HostOf(authority));
  }
  tls = tls || SettingOf(settings, "dfs.http.policy") == "HTTPS_ONLY";
  std::vector<std::string> addresses;
  for (const auto& [ending, host] : name_nodes) {
    std::string web = SettingOf(settings, absl::StrCat(WebSetting(tls), ending));
    if (web.empty()) web = absl::StrCat("0.0.0.0", WebPort(tls));
    const auto address = WebAddress(web, host, tls);
    if (address.has_value()) addresses.push_back(*address);
  }
  return addresses;
}

}  // namespace

HadoopSettings ParseHadoopSettings(absl::string_view xml) {
  HadoopSettings settings;
  pugi::xml_document document;
  if (!document.load_buffer(xml.data(), xml.size())) return settings;
  for (const pugi::xml_node property : document.child("configuration").children("property")) {
    const absl::string_view name = property.child("name").text().get();
    const absl::string_view value = property.child("value").text().get();
    settings[std::string(absl::StripAsciiWhitespace(name))] =
        std::string(absl::StripAsciiWhitespace(value));
  }
  return settings;
}

HadoopSettings ReadHadoopSettings(const EnvironmentLookup& environment) {
  HadoopSettings settings;
  const std::string directory = environment("HADOOP_CONF_DIR");
  if (directory.empty()) return settings;
  for (const char* name : {"core-site.xml", "hdfs-site.xml"}) {
    for (auto& [key, value] : ParseHadoopSettings(ReadFile(absl::StrCat(directory, "/", name)))) {
      settings[key] = value;
    }
  }
  return settings;
}

absl::StatusOr<HdfsAddress> HdfsAddressFor(absl::string_view scheme, absl::string_view authority,
                                           const EnvironmentLookup& environment,
                                           const HadoopSettings& settings) {
  const bool tls = scheme == kTlsScheme;
  HdfsAddress address;
  if (const std::string named = environment("MUSTER_WEBHDFS_ADDRESS"); !named.empty()) {
    absl::StatusOr<std::vector<std::string>> addresses = NamedAddresses(named, tls);
    if (!addresses.ok()) return addresses.status();
    address.name_nodes = *std::move(addresses);
  } else {
    address.name_nodes = ConfiguredAddresses(authority, settings, tls);
  }
  address.configured = !address.name_nodes.empty();
  const std::string token = environment("MUSTER_WEBHDFS_TOKEN");
  if (!address.configured) {
    if (authority.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("needs a name node: ", scheme,
                                                     "://HOST/PATH, or its web address in "
                                                     "MUSTER_WEBHDFS_ADDRESS"));
    }
    if (!token.empty()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "MUSTER_WEBHDFS_TOKEN goes only to name nodes that this machine's configuration names; "
          "put the web address of ",
          HostOf(authority),
          " into MUSTER_WEBHDFS_ADDRESS, or use Hadoop's settings by HADOOP_CONF_DIR"));
    }
    address.name_nodes.push_back(
        absl::StrCat(tls ? "https://" : "http://", HostOf(authority), WebPort(tls)));
  }
  address.delegation_token = token;
  address.kerberos = address.configured && token.empty() &&
                     SettingOf(settings, "hadoop.security.authentication") == "kerberos";
  if (address.delegation_token.empty() && !address.kerberos) {
    address.user = environment("HADOOP_USER_NAME");
    if (address.user.empty()) address.user = environment("USER");
  }
  return address;
}

}  // namespace muster
