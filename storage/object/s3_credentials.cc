#include "storage/object/s3_credentials.h"

#include <fstream>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"
#include "storage/object/json_reply.h"

namespace muster {
namespace {

// So long before they expire they are renewed; what was signed just before is still in time.
constexpr absl::Duration kRenewBefore = absl::Minutes(5);
// A profile that somebody edits, or a tool renews, is read again after this.
constexpr absl::Duration kProfileLasts = absl::Minutes(6);
constexpr size_t kReplyBytesMax = 64 << 10;
constexpr char kContainerHost[] = "http://169.254.170.2";
constexpr char kInstanceHost[] = "http://169.254.169.254";

// A token is sent to nobody but this machine, its container service, or over TLS.
bool IsTrusted(absl::string_view url) {
  if (absl::StartsWith(url, "https://")) return true;
  if (!absl::ConsumePrefix(&url, "http://")) return false;
  const absl::string_view host = url.substr(0, url.find_first_of(":/"));
  return host == "127.0.0.1" || host == "localhost" || host == "169.254.170.2" ||
         host == "169.254.170.23";
}

}  // namespace

absl::StatusOr<S3Credentials> ParseS3Credentials(absl::string_view json) {
  const JsonReply reply(json);
  S3Credentials credentials{.access_key_id = reply.root().Field("AccessKeyId").Text(),
                            .secret_access_key = reply.root().Field("SecretAccessKey").Text(),
                            .session_token = reply.root().Field("Token").Text()};
  const std::string expires = reply.root().Field("Expiration").Text();
  if (!absl::ParseTime(absl::RFC3339_full, expires, &credentials.expires, nullptr)) {
    credentials.expires = absl::InfiniteFuture();
  }
  if (credentials.access_key_id.empty() || credentials.secret_access_key.empty()) {
    return absl::UnavailableError("the reply holds no AccessKeyId and SecretAccessKey");
  }
  return credentials;
}

absl::StatusOr<S3Credentials> S3CredentialChain::Get(const std::stop_token& stop) {
  // Held while they are looked up: whoever comes meanwhile needs the same ones.
  MutexLock lock(mutex_);
  const absl::Time now = clock_.Now();
  if (cached_.has_value() && now < cached_->expires - kRenewBefore) return *cached_;
  absl::StatusOr<S3Credentials> found = Find(stop);
  if (found.ok()) cached_ = *found;
  // A service that is away for a while does no harm as long as the old ones are good.
  if (!found.ok() && cached_.has_value() && now < cached_->expires) return *cached_;
  return found;
}

void S3CredentialChain::Forget(absl::string_view access_key_id) {
  MutexLock lock(mutex_);
  if (cached_.has_value() && cached_->access_key_id == access_key_id) cached_.reset();
}

absl::StatusOr<S3Credentials> S3CredentialChain::Find(const std::stop_token& stop) const {
  S3Credentials found{.access_key_id = environment_("AWS_ACCESS_KEY_ID"),
                      .secret_access_key = environment_("AWS_SECRET_ACCESS_KEY"),
                      .session_token = environment_("AWS_SESSION_TOKEN")};
  if (!found.access_key_id.empty() && !found.secret_access_key.empty()) return found;
  MUSTER_ASSIGN_OR_RETURN(const AwsSettings profile, ReadAwsProfile(environment_));
  found = {.access_key_id = SettingOf(profile, "aws_access_key_id"),
           .secret_access_key = SettingOf(profile, "aws_secret_access_key"),
           .session_token = SettingOf(profile, "aws_session_token"),
           .expires = clock_.Now() + kProfileLasts};
  if (!found.access_key_id.empty() && !found.secret_access_key.empty()) return found;
  const std::string relative = environment_("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  if (!relative.empty()) return FromContainer(absl::StrCat(kContainerHost, relative), stop);
  const std::string full = environment_("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (!full.empty()) return FromContainer(full, stop);
  absl::Status instance = absl::NotFoundError("AWS_EC2_METADATA_DISABLED is true");
  if (!absl::EqualsIgnoreCase(environment_("AWS_EC2_METADATA_DISABLED"), "true")) {
    absl::StatusOr<S3Credentials> of_instance = FromInstance(stop);
    if (of_instance.ok()) return of_instance;
    instance = of_instance.status();
  }
  return absl::UnauthenticatedError(absl::StrCat(
      "no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them to "
      "~/.aws/credentials; this machine's metadata service has none either: ",
      instance.message()));
}

absl::StatusOr<S3Credentials> S3CredentialChain::FromContainer(const std::string& url,
                                                               const std::stop_token& stop) const {
  if (!IsTrusted(url)) {
    return absl::InvalidArgumentError(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or on this machine");
  }
  std::string token = environment_("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  const std::string file = environment_("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
  if (!file.empty()) {
    std::ifstream stream(file, std::ios::binary);
    token = std::string(std::istreambuf_iterator<char>(stream), {});
  }
  absl::StripAsciiWhitespace(&token);
  HttpRequest request{.url = url};
  if (!token.empty()) request.headers.push_back(absl::StrCat("authorization: ", token));
  absl::StatusOr<std::string> reply = Ask(request, stop);
  absl::StatusOr<S3Credentials> credentials =
      reply.ok() ? ParseS3Credentials(*reply) : absl::StatusOr<S3Credentials>(reply.status());
  if (credentials.ok()) return credentials;
  return Annotate(credentials.status(), "the container's service of credentials");
}

absl::StatusOr<S3Credentials> S3CredentialChain::FromInstance(const std::stop_token& stop) const {
  std::string host = environment_("AWS_EC2_METADATA_SERVICE_ENDPOINT");
  if (host.empty()) host = kInstanceHost;
  host = std::string(absl::StripSuffix(host, "/"));
  MUSTER_ASSIGN_OR_RETURN(const std::string token,
                          Ask({.url = absl::StrCat(host, "/latest/api/token"),
                               .headers = {"x-aws-ec2-metadata-token-ttl-seconds: 300"},
                               .method = "PUT",
                               .body = ""},
                              stop));
  const std::string roles = absl::StrCat(host, "/latest/meta-data/iam/security-credentials/");
  const std::vector<std::string> headers = {absl::StrCat("x-aws-ec2-metadata-token: ", token)};
  MUSTER_ASSIGN_OR_RETURN(const std::string role, Ask({.url = roles, .headers = headers}, stop));
  MUSTER_ASSIGN_OR_RETURN(
      const std::string json,
      Ask({.url = absl::StrCat(roles, absl::StripAsciiWhitespace(role)), .headers = headers},
          stop));
  return ParseS3Credentials(json);
}

absl::StatusOr<std::string> S3CredentialChain::Ask(const HttpRequest& request,
                                                   const std::stop_token& stop) const {
  // Such services are near, or not there at all; proxies would know them by other names.
  MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<HttpConnection> connection,
                          HttpConnection::Make(clock_, {.connect_timeout = absl::Seconds(1),
                                                        .stall_timeout = absl::Seconds(5),
                                                        .proxy = ""}));
  HttpRequest direct = request;
  direct.follow_redirects = false;
  std::string body;
  const auto take = [&](const HttpReply&, absl::string_view bytes) {
    absl::StrAppend(&body, bytes);
    return body.size() <= kReplyBytesMax;
  };
  MUSTER_ASSIGN_OR_RETURN(const HttpReply reply, connection->Perform(direct, take, stop));
  if (reply.status == 200) return body;
  return absl::UnavailableError(absl::StrCat("HTTP ", reply.status));
}

}  // namespace muster
