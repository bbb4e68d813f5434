#include "client/agent/certificate_renewer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/backoff.h"

namespace muster {
namespace {

// From one look at the clock to the next: whoever sets it, or wakes a machine, is noticed within this.
constexpr absl::Duration kLook = absl::Minutes(1);
// From one renewal to the next, at least, whatever the times say.
constexpr absl::Duration kPause = absl::Milliseconds(500);
constexpr absl::Duration kMaxCallTimeout = absl::Seconds(30);

// Often enough that several attempts fit into what is left of a short life, and seldom for a long one.
BackoffOptions RetryOptionsOf(const NodeCertificate::Life& life) {
  const absl::Duration whole = life.until - life.from;
  BackoffOptions backoff;
  backoff.initial = std::clamp(whole / 100, absl::Milliseconds(200), absl::Seconds(30));
  backoff.max = std::clamp(whole / 30, absl::Seconds(1), absl::Minutes(15));
  return backoff;
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

}  // namespace

absl::Time RenewalTime(const NodeCertificate::Life& life, double chance) {
  const absl::Duration whole = life.until - life.from;
  return life.from + whole * (2.0 / 3.0 - chance / 10);
}

CertificateRenewer::CertificateRenewer(const NodeCertificate& certificate, Client& client,
                                       Clock& clock, Random& random, Options options)
    : certificate_(certificate),
      client_(client),
      clock_(clock),
      random_(random),
      options_(std::move(options)),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

void CertificateRenewer::Run(const std::stop_token& stop) {
  while (SleepUnlessStopped(clock_, kPause, stop)) {
    const absl::StatusOr<std::optional<NodeCertificate::Life>> life = certificate_.Read();
    if (!life.ok() || !life->has_value()) {
      options_.warn(absl::StrCat("the certificate of ", certificate_.node(),
                                 " can't be read, and is not renewed: ",
                                 life.ok() ? "it is gone" : life.status().message()));
      return;
    }
    if (!WaitUntil(RenewalTime(**life, random_.NextDouble()), stop)) return;
    Renew(**life, stop);
  }
}

bool CertificateRenewer::WaitUntil(absl::Time time, const std::stop_token& stop) const {
  while (clock_.Now() < time) {
    const absl::Duration left = std::min(time - clock_.Now(), kLook);
    if (!SleepUnlessStopped(clock_, left, stop)) return false;
  }
  return true;
}

void CertificateRenewer::Renew(const NodeCertificate::Life& life, const std::stop_token& stop) {
  Backoff backoff(random_, RetryOptionsOf(life));
  const absl::Duration timeout =
      std::clamp((life.until - life.from) / 10, absl::Seconds(1), kMaxCallTimeout);
  bool told = false, told_end = false;
  do {
    const absl::Status status = certificate_.Renew(client_, {.timeout = timeout, .stop = stop});
    if (stop.stop_requested()) return;
    if (status.ok()) {
      if (options_.renewals != nullptr) ++*options_.renewals;
      const auto present = certificate_.Read();
      if (present.ok() && present->has_value()) options_.renewed(**present);
      return;
    }
    const bool ended = clock_.Now() >= life.until;
    if (ended && !told_end) {
      options_.warn(absl::StrCat("the certificate of ", certificate_.node(), " ended at ",
                                 TimeText(life.until),
                                 ", and could not be renewed: stop this agent, and start it with "
                                 "--join and a new join token (",
                                 status.message(), ")"));
    } else if (!told) {
      options_.warn(absl::StrCat("the certificate of ", certificate_.node(),
                                 " is not renewed yet, and ends at ", TimeText(life.until),
                                 "; it is tried again: ", status.message()));
    }
    told = true;
    told_end = ended;
  } while (SleepUnlessStopped(clock_, backoff.Next(), stop));
}

}  // namespace muster
