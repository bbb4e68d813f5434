#include "storage/object/s3_credentials.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error_info.h"
#include "storage/base/status_macros.h"
#include "storage/object/http_client.h"
#include "storage/object/json_reply.h"
#include "storage/object/percent_encode.h"
#include "storage/object/s3_address.h"
#include "storage/object/s3_reply.h"

namespace muster {
namespace {

// So long before they expire they are renewed; what was signed just before is still in time.
constexpr absl::Duration kRenewBefore = absl::Minutes(5);
// A profile that somebody edits, or a tool renews, is read again after this.
constexpr absl::Duration kProfileLasts = absl::Minutes(6);
constexpr size_t kReplyBytesMax = 64 << 10;
constexpr char kContainerHost[] = "http://169.254.170.2";
constexpr char kInstanceHost[] = "http://169.254.169.254";

// After a look-up that failed; doubled at each further one.
constexpr absl::Duration kFirstPause = absl::Seconds(1);
constexpr absl::Duration kLongestPause = absl::Minutes(1);
// How often a thread that waits for another's look-up looks whether it is to stop.
constexpr absl::Duration kWaitLookInterval = absl::Milliseconds(20);

// Without the port; in brackets for an address of IPv6. "" where something else is before or behind it.
absl::string_view HostIn(absl::string_view authority) {
  if (authority.find('@') != absl::string_view::npos) return "";
  if (!absl::StartsWith(authority, "[")) return authority.substr(0, authority.find(':'));
  const size_t end = authority.find(']');
  if (end == absl::string_view::npos) return "";
  const absl::string_view rest = authority.substr(end + 1);
  return rest.empty() || rest[0] == ':' ? authority.substr(0, end + 1) : "";
}

// A token is sent to nobody but this machine, its container service, or over TLS.
bool IsTrusted(absl::string_view url) {
  if (absl::StartsWith(url, "https://")) return true;
  if (!absl::ConsumePrefix(&url, "http://")) return false;
  const absl::string_view host = HostIn(url.substr(0, url.find('/')));
  return host == "127.0.0.1" || host == "localhost" || host == "[::1]" || host == "169.254.170.2" ||
         host == "169.254.170.23" || host == "[fd00:ec2::23]";
}

// What `variable` says where to find.
absl::StatusOr<std::string> ReadToken(absl::string_view variable, const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string token(kReplyBytesMax + 1, '\0');
  stream.read(token.data(), static_cast<std::streamsize>(token.size()));
  token.resize(static_cast<size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
  if (token.size() > kReplyBytesMax) token.clear();
  absl::StripAsciiWhitespace(&token);
  if (!token.empty()) return token;
  return absl::UnauthenticatedError(
      absl::StrCat(variable, " names ", file, ", in which there is no token that can be read"));
}

}  // namespace

absl::StatusOr<S3Credentials> MakeS3Credentials(S3Credentials credentials,
                                                absl::string_view expires) {
  if (!absl::ParseTime(absl::RFC3339_full, expires, &credentials.expires, nullptr)) {
    credentials.expires = absl::InfiniteFuture();
  }
  if (credentials.access_key_id.empty() || credentials.secret_access_key.empty()) {
    return absl::UnavailableError("the reply holds no AccessKeyId and SecretAccessKey");
  }
  return credentials;
}

absl::StatusOr<S3Credentials> ParseS3Credentials(absl::string_view json) {
  const JsonReply reply(json);
  const JsonValue root = reply.root();
  return MakeS3Credentials({.access_key_id = root.Field("AccessKeyId").Text(),
                            .secret_access_key = root.Field("SecretAccessKey").Text(),
                            .session_token = root.Field("Token").Text()},
                           root.Field("Expiration").Text());
}

absl::StatusOr<S3Credentials> S3CredentialChain::Get(const std::stop_token& stop) {
  {
    MutexLock lock(mutex_);
    for (bool waited = false;; waited = true) {
      const absl::Time now = clock_.Now();
      const bool good = cached_.has_value() && now < cached_->expires;
      const bool fresh = good && now < cached_->expires - kRenewBefore;
      // A service that is away for a while does no harm as long as the old ones are good.
      if (fresh || (good && (looking_up_ || clock_.Monotonic() < not_before_))) return *cached_;
      if (stop.stop_requested()) return absl::CancelledError("the request was cancelled");
      if (!looking_up_ && waited && !error_.ok()) return error_;
      if (!looking_up_) break;
      while (looking_up_ && !stop.stop_requested()) looked_up_.WaitFor(mutex_, kWaitLookInterval);
    }
    looking_up_ = true;
  }
  absl::StatusOr<S3Credentials> found = Find(stop);
  MutexLock lock(mutex_);
  looking_up_ = false;
  looked_up_.NotifyAll();
  // That somebody else was stopped is no answer.
  error_ = absl::IsCancelled(found.status()) ? absl::OkStatus() : found.status();
  if (found.ok()) {
    cached_ = *found;
    failures_ = 0;
    return found;
  }
  const absl::Duration pause = kFirstPause * (int64_t{1} << std::min(failures_++, 10));
  not_before_ = clock_.Monotonic() + std::min(pause, kLongestPause);
  if (cached_.has_value() && clock_.Now() < cached_->expires) return *cached_;
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
  std::string token_file = environment_("AWS_WEB_IDENTITY_TOKEN_FILE");
  if (token_file.empty()) token_file = SettingOf(profile, "web_identity_token_file");
  if (!token_file.empty()) {
    absl::StatusOr<S3Credentials> of_role = FromWebIdentity(token_file, profile, stop);
    if (of_role.ok() || absl::IsCancelled(of_role.status())) return of_role;
    return Annotate(of_role.status(), "the role for AWS_WEB_IDENTITY_TOKEN_FILE");
  }
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
      "~/.aws/credentials, or set AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN; this machine's "
      "metadata service has none either: ",
      instance.message()));
}

absl::StatusOr<S3Credentials> S3CredentialChain::FromWebIdentity(
    const std::string& token_file, const AwsSettings& profile, const std::stop_token& stop) const {
  std::string role = environment_("AWS_ROLE_ARN");
  if (role.empty()) role = SettingOf(profile, "role_arn");
  if (role.empty()) return absl::UnauthenticatedError("AWS_ROLE_ARN doesn't say which role");
  std::string session = environment_("AWS_ROLE_SESSION_NAME");
  if (session.empty()) session = "muster";
  MUSTER_ASSIGN_OR_RETURN(const std::string endpoint, StsEndpointFor(environment_, profile));
  if (!IsTrusted(endpoint)) {
    return absl::InvalidArgumentError(
        absl::StrCat(endpoint, ": a token is sent over TLS only; set AWS_ENDPOINT_URL_STS"));
  }
  // Read each time: it is replaced from time to time.
  MUSTER_ASSIGN_OR_RETURN(const std::string token,
                          ReadToken("AWS_WEB_IDENTITY_TOKEN_FILE", token_file));
  const std::string body = absl::StrCat(
      "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=", PercentEncode(role, "-._~"),
      "&RoleSessionName=", PercentEncode(session, "-._~"),
      "&WebIdentityToken=", PercentEncode(token, "-._~"));
  MUSTER_ASSIGN_OR_RETURN(const std::unique_ptr<HttpConnection> connection,
                          HttpConnection::Make(clock_, connection_));
  MUSTER_ASSIGN_OR_RETURN(
      const HttpAnswer answer,
      PerformWhole(*connection,
                   {.url = absl::StrCat(endpoint, "/"),
                    .headers = {"content-type: application/x-www-form-urlencoded"},
                    .method = "POST",
                    .body = body,
                    .follow_redirects = false},
                   endpoint, kReplyBytesMax, stop));
  absl::StatusOr<S3Credentials> credentials = ParseStsReply(answer.reply, answer.body);
  if (credentials.ok()) return credentials;
  return Annotate(credentials.status(), endpoint);
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
    MUSTER_ASSIGN_OR_RETURN(token, ReadToken("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file));
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
