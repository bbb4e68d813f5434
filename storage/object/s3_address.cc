#include "storage/object/s3_address.h"

#include <initializer_list>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/status_macros.h"
#include "storage/object/percent_encode.h"

namespace muster {
namespace {

// The server computes the signature again from that form.
std::string Encode(absl::string_view plain, absl::string_view also_plain) {
  return PercentEncode(plain, absl::StrCat("-._~", also_plain));
}

std::string FirstOf(std::initializer_list<std::string> values) {
  for (const std::string& value : values) {
    if (!value.empty()) return value;
  }
  return "";
}

absl::StatusOr<std::string> CheckEndpoint(absl::string_view endpoint) {
  absl::string_view host = endpoint;
  host = absl::StripSuffix(host, "/");
  const absl::string_view whole = host;
  const bool has_scheme =
      absl::ConsumePrefix(&host, "https://") || absl::ConsumePrefix(&host, "http://");
  for (const char c : host) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains(".-_:[]", c)) {
      continue;
    }
    host = "";
    break;
  }
  if (has_scheme && !host.empty()) return std::string(whole);
  // Not quoted: a password may be in it.
  return absl::InvalidArgumentError(
      "AWS_ENDPOINT_URL, or the profile's endpoint_url, is not of the form http://HOST:PORT or "
      "https://HOST:PORT");
}

absl::StatusOr<std::string> RegionFor(const EnvironmentLookup& environment,
                                      const AwsSettings& profile) {
  std::string region = FirstOf({environment("AWS_REGION"), environment("AWS_DEFAULT_REGION"),
                                SettingOf(profile, "region"), "us-east-1"});
  for (const char c : region) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_') continue;
    return absl::InvalidArgumentError(absl::StrCat("AWS_REGION is \"", absl::CHexEscape(region),
                                                   "\", which is not the name of a region"));
  }
  return region;
}

// AWS's own, of a service in a region.
std::string EndpointOf(absl::string_view service, absl::string_view region) {
  return absl::StrCat("https://", service, ".", region, ".amazonaws.com",
                      absl::StartsWith(region, "cn-") ? ".cn" : "");
}

}  // namespace

std::string S3Address::UrlOf(absl::string_view bucket, absl::string_view key,
                             const std::map<std::string, std::string>& query) const {
  std::string url = endpoint;
  if (addressing == S3Addressing::kVirtualHost) {
    url.insert(url.find("://") + 3, absl::StrCat(bucket, "."));
  } else {
    absl::StrAppend(&url, "/", Encode(bucket, ""));
  }
  absl::StrAppend(&url, "/", Encode(key, "/"));
  char separator = '?';
  for (const auto& [name, value] : query) {
    absl::StrAppend(&url, absl::string_view(&separator, 1), Encode(name, ""), "=",
                    Encode(value, ""));
    separator = '&';
  }
  return url;
}

absl::StatusOr<S3Address> S3AddressFor(absl::string_view bucket,
                                       const EnvironmentLookup& environment,
                                       const AwsSettings& profile) {
  S3Address address;
  MUSTER_ASSIGN_OR_RETURN(address.region, RegionFor(environment, profile));
  const std::string endpoint =
      FirstOf({environment("AWS_ENDPOINT_URL_S3"), environment("AWS_ENDPOINT_URL"),
               SettingOf(profile, "s3.endpoint_url"), SettingOf(profile, "endpoint_url")});
  if (endpoint.empty()) {
    address.endpoint = EndpointOf("s3", address.region);
  } else {
    MUSTER_ASSIGN_OR_RETURN(address.endpoint, CheckEndpoint(endpoint));
  }
  const std::string style = FirstOf(
      {environment("MUSTER_S3_ADDRESSING"), SettingOf(profile, "s3.addressing_style"), "auto"});
  if (style != "auto" && style != "path" && style != "virtual") {
    return absl::InvalidArgumentError(
        absl::StrCat("MUSTER_S3_ADDRESSING, or the profile's addressing_style, is \"",
                     absl::CHexEscape(style), "\"; use auto, path or virtual"));
  }
  // The certificates of AWS name one level of hosts only.
  const bool fits_host = endpoint.empty() && !absl::StrContains(bucket, '.');
  if (style == "virtual" || (style == "auto" && fits_host)) {
    address.addressing = S3Addressing::kVirtualHost;
  }
  return address;
}

absl::StatusOr<std::string> StsEndpointFor(const EnvironmentLookup& environment,
                                           const AwsSettings& profile) {
  const std::string endpoint =
      FirstOf({environment("AWS_ENDPOINT_URL_STS"), environment("AWS_ENDPOINT_URL"),
               SettingOf(profile, "sts.endpoint_url"), SettingOf(profile, "endpoint_url")});
  if (!endpoint.empty()) return CheckEndpoint(endpoint);
  MUSTER_ASSIGN_OR_RETURN(const std::string region, RegionFor(environment, profile));
  return EndpointOf("sts", region);
}

absl::Status CheckS3Bucket(absl::string_view bucket) {
  bool valid = bucket.size() >= 3 && bucket.size() <= 255;
  for (const char c : bucket) {
    valid = valid &&
            (absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("._-", c));
  }
  if (valid) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("\"", absl::CHexEscape(bucket),
                                                 "\" is not the name of a bucket; write "
                                                 "s3://BUCKET/KEY"));
}

}  // namespace muster
