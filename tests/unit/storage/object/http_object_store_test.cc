#include "storage/object/http_object_store.h"

#include <signal.h>

#include <atomic>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error_info.h"
#include "tests/support/scripted_http_server.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using Answer = ScriptedHttpServer::Answer;
using Request = ScriptedHttpServer::Request;
using Then = ScriptedHttpServer::Answer::Then;

constexpr char kObject[] = "0123456789abcdefghijklmnopqrstuvwxyz";
constexpr char kEtag[] = "\"v1\"";

class HttpObjectStoreTest : public testing::Test {
 protected:
  // Waits so short that a test can go through all of them.
  static HttpStoreOptions Quick() {
    return {.connection = {.connect_timeout = absl::Seconds(2),
                           .stall_timeout = absl::Milliseconds(200),
                           .proxy = ""},
            .retry_for = absl::Milliseconds(400),
            .backoff = {.initial = absl::Milliseconds(1), .max = absl::Milliseconds(20)}};
  }

  void Start(ScriptedHttpServer::Handler handler, const HttpStoreOptions& options = Quick()) {
    server_.emplace(std::move(handler));
    store_ =
        NewHttpObjectStore({"http", server_->authority(), ""}, SystemClock(), *random_, options);
  }
  void StartGood(const HttpStoreOptions& options = Quick()) {
    Start([](const Request& request) { return Answer{GoodReply(request, kObject, kEtag)}; },
          options);
  }

  // The bytes that the store wrote beyond the buffer, or before an error, show.
  absl::StatusOr<std::string> Read(int64_t offset, size_t size, const std::string& version = "",
                                   const std::stop_token& stop = {}) {
    constexpr size_t kGuard = 64;
    std::string bytes(size + 2 * kGuard, '?');
    const absl::Status status = store_->Read("k", offset, absl::MakeSpan(&bytes[kGuard], size),
                                             {.if_version = version, .stop = stop});
    EXPECT_EQ(bytes.substr(0, kGuard), std::string(kGuard, '?'));
    EXPECT_EQ(bytes.substr(kGuard + size), std::string(kGuard, '?'));
    if (!status.ok()) return status;
    return bytes.substr(kGuard, size);
  }

  std::vector<Request> requests() const { return server_->requests(); }

  const std::unique_ptr<Random> random_ = NewSeededRandom(1);
  std::optional<ScriptedHttpServer> server_;
  std::unique_ptr<ObjectStore> store_;
};

std::string Head(int status, const std::vector<std::string>& headers) {
  std::string text = absl::StrCat("HTTP/1.1 ", status, " Scripted\r\n");
  for (const std::string& header : headers) absl::StrAppend(&text, header, "\r\n");
  return text + "\r\n";
}

TEST_F(HttpObjectStoreTest, RequestsReuseOneConnection) {
  StartGood();

  for (int i = 0; i < 5; ++i) {
    EXPECT_THAT(Read(i, 5), IsOkAndHolds(std::string(kObject).substr(i, 5)));
  }

  ASSERT_THAT(requests(), SizeIs(5));
  for (const Request& request : requests()) EXPECT_EQ(request.connection, 0);
}

TEST_F(HttpObjectStoreTest, PinnedReadNamesItsVersionToTheServer) {
  StartGood();

  EXPECT_THAT(Read(0, 5, kEtag), IsOkAndHolds("01234"));
  EXPECT_EQ(requests()[0].Header("If-Match"), kEtag);
  EXPECT_EQ(requests()[0].Header("Accept-Encoding"), "");
  EXPECT_THAT(Read(0, 5, "\"old\""), StatusIs(absl::StatusCode::kAborted, HasSubstr("\"old\"")));
}

TEST_F(HttpObjectStoreTest, ServerThatIgnoresConditionsIsFoundOutByTheReply) {
  Start([](const Request&) {
    return Answer{HttpReplyText(206, {"ETag: \"v2\"", "Content-Range: bytes 0-4/36"}, "01234")};
  });

  EXPECT_THAT(Read(0, 5, kEtag), StatusIs(absl::StatusCode::kAborted, HasSubstr("v2")));
}

TEST_F(HttpObjectStoreTest, RepliesThatAreNotTheRangeAreCaughtAndNeverWritten) {
  struct Case {
    std::string reply;
    absl::StatusCode code;
  };
  const std::string ten = "Content-Range: bytes 0-9/36";
  const std::vector<Case> cases = {
      {HttpReplyText(200, {}, kObject), absl::StatusCode::kUnimplemented},
      {HttpReplyText(206, {"Content-Range: bytes 1-10/36"}, "0123456789"),
       absl::StatusCode::kDataLoss},
      {HttpReplyText(206, {}, "0123456789"), absl::StatusCode::kDataLoss},
      {HttpReplyText(206, {ten}, kObject), absl::StatusCode::kDataLoss},
      // Without a length, the bytes themselves tell.
      {absl::StrCat(Head(206, {ten, "Connection: close"}), kObject), absl::StatusCode::kDataLoss},
      {absl::StrCat(Head(206, {ten, "Transfer-Encoding: chunked"}), "24\r\n", kObject,
                    "\r\n0\r\n\r\n"),
       absl::StatusCode::kDataLoss},
      {HttpReplyText(206, {ten}, "01234"), absl::StatusCode::kUnavailable},
      {"SSH-2.0-OpenSSH_9.2\r\n\r\n", absl::StatusCode::kFailedPrecondition},
      {"", absl::StatusCode::kUnavailable},
  };
  for (const Case& one : cases) {
    Start([reply = one.reply](const Request&) { return Answer{reply, Then::kClose}; });
    EXPECT_THAT(Read(0, 10), StatusIs(one.code, HasSubstr(server_->authority()))) << one.reply;
  }
}

// Goal: however often and wherever the connection breaks, the read ends with the right bytes, and
// asks only for those that are missing.
TEST_F(HttpObjectStoreTest, TransferThatBreaksOffGoesOnWhereItBroke) {
  std::atomic<size_t> sent = 0;
  Start([&](const Request& request) {
    std::string reply = GoodReply(request, kObject, kEtag);
    const size_t body = reply.find("\r\n\r\n") + 4;
    const size_t part = std::min<size_t>(4, reply.size() - body);
    sent += part;
    return Answer{reply.substr(0, body + part), Then::kClose};
  });

  EXPECT_THAT(Read(0, 36), IsOkAndHolds(kObject));

  EXPECT_EQ(sent, 36u);
  EXPECT_EQ(requests()[1].Range()->first, 4);
  EXPECT_EQ(requests()[1].Header("If-Match"), kEtag);
}

TEST_F(HttpObjectStoreTest, TransferIsCutAtAnyByteAndComesRight) {
  Request first;
  first.head = "GET /k\r\nRange: bytes=0-35";
  const std::string whole = GoodReply(first, kObject, kEtag);
  for (size_t cut = 0; cut < whole.size(); ++cut) {
    Start([cut](const Request& request) {
      const std::string reply = GoodReply(request, kObject, kEtag);
      return request.number == 0 ? Answer{reply.substr(0, cut), Then::kClose} : Answer{reply};
    });
    EXPECT_THAT(Read(0, 36), IsOkAndHolds(kObject)) << "cut at byte " << cut;
  }
}

TEST_F(HttpObjectStoreTest, ObjectReplacedInTheMiddleOfAReadIsNeverMixed) {
  Start([&](const Request& request) {
    if (request.number > 0) return Answer{GoodReply(request, std::string(36, 'X'), "\"v2\"")};
    const std::string reply = GoodReply(request, kObject, kEtag);
    return Answer{reply.substr(0, reply.size() - 10), Then::kClose};
  });

  EXPECT_THAT(Read(0, 36), StatusIs(absl::StatusCode::kAborted, HasSubstr("changed")));
}

TEST_F(HttpObjectStoreTest, WithoutAVersionABrokenReadStartsAnew) {
  Start([&](const Request& request) {
    const std::string body(36, request.number == 0 ? 'a' : 'b');
    const std::string reply = HttpReplyText(206, {"Content-Range: bytes 0-35/36"}, body);
    return Answer{request.number == 0 ? reply.substr(0, reply.size() - 10) : reply, Then::kClose};
  });

  EXPECT_THAT(Read(0, 36), IsOkAndHolds(std::string(36, 'b')));
}

TEST_F(HttpObjectStoreTest, StormsOf503AreWaitedOut) {
  Start([&](const Request& request) {
    return Answer{request.number < 6 ? HttpReplyText(503, {}, "busy")
                                     : GoodReply(request, kObject, kEtag)};
  });

  EXPECT_THAT(Read(0, 5), IsOkAndHolds("01234"));
  EXPECT_THAT(requests(), SizeIs(7));
  EXPECT_EQ(requests().back().connection, 0) << "an error page is read, and the connection kept";
}

TEST_F(HttpObjectStoreTest, StormWithoutEndIsUnavailableAfterTheGivenTime) {
  Start([](const Request&) { return Answer{HttpReplyText(500, {}, "")}; });

  EXPECT_THAT(Read(0, 5), StatusIs(absl::StatusCode::kUnavailable,
                                   AllOf(HasSubstr("HTTP 500"), HasSubstr("tried"))));
  EXPECT_THAT(store_->Stat("k", {}), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(HttpObjectStoreTest, RetryAfterIsWaitedFor) {
  HttpStoreOptions options = Quick();
  options.retry_for = absl::Seconds(5);
  Start(
      [&](const Request& request) {
        return Answer{request.number == 0 ? HttpReplyText(429, {"Retry-After: 1"}, "")
                                          : GoodReply(request, kObject, kEtag)};
      },
      options);
  const absl::Duration begin = SystemClock().Monotonic();

  EXPECT_THAT(Read(0, 5), IsOkAndHolds("01234"));

  EXPECT_GE(SystemClock().Monotonic() - begin, absl::Milliseconds(990));
}

TEST_F(HttpObjectStoreTest, RetryAfterBeyondTheDeadlineEndsTheReadAndIsPassedOn) {
  Start([&](const Request&) { return Answer{HttpReplyText(503, {"Retry-After: 3600"}, "")}; });

  const auto read = Read(0, 5);

  EXPECT_THAT(read, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(DetailOf(read.status()).retry_delay, absl::Hours(1));
  EXPECT_THAT(requests(), SizeIs(1));
}

TEST_F(HttpObjectStoreTest, RefusalsAreNotRepeated) {
  for (const int status : {400, 401, 403, 404, 410}) {
    Start([&](const Request&) { return Answer{HttpReplyText(status, {}, "no")}; });
    EXPECT_THAT(Read(0, 5).status(), Not(IsOk()));
    EXPECT_THAT(requests(), SizeIs(1)) << status;
  }
}

TEST_F(HttpObjectStoreTest, StalledServerIsGivenUp) {
  Start([&](const Request& request) {
    return Answer{GoodReply(request, kObject, kEtag).substr(0, 20), Then::kStall};
  });

  EXPECT_THAT(Read(0, 5), StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("stalled")));
  EXPECT_THAT(store_->Stat("k", {}), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

// Goal: each try brings some bytes and takes a whole stall, so that going on would take for ever.
TEST_F(HttpObjectStoreTest, ServerThatStallsAgainAndAgainIsGivenUp) {
  HttpStoreOptions options = Quick();
  options.retry_for = options.connection.stall_timeout;
  Start(
      [&](const Request& request) {
        const std::string reply = GoodReply(request, kObject, kEtag);
        return Answer{reply.substr(0, reply.find("\r\n\r\n") + 5), Then::kStall};
      },
      options);

  EXPECT_THAT(Read(0, 36), StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("stalled")));
  EXPECT_THAT(requests(), SizeIs(1));
}

// A small server that knows neither HEAD nor ranges, and breaks off once.
TEST_F(HttpObjectStoreTest, WholeObjectIsTakenWhereItIsWhatWasAskedFor) {
  Start([&](const Request& request) {
    if (request.method == "HEAD") return Answer{HttpReplyText(405, {}, "")};
    const std::string reply = HttpReplyText(200, {absl::StrCat("ETag: ", kEtag)}, kObject);
    if (request.number != 2) return Answer{reply};
    return Answer{reply.substr(0, reply.size() - 10), Then::kClose};
  });

  const auto info = store_->Stat("k", {});
  MUSTER_ASSERT_OK(info);
  EXPECT_EQ(info->size_bytes, 36);
  EXPECT_THAT(Read(0, 36, info->version), IsOkAndHolds(kObject));
  EXPECT_THAT(requests(), SizeIs(4));
  EXPECT_THAT(Read(0, 35, info->version), StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_THAT(Read(1, 35, info->version), StatusIs(absl::StatusCode::kUnimplemented));
}

// 100 bytes a second are enough never to stall, and 8 MiB take a day.
TEST_F(HttpObjectStoreTest, TricklingServerIsGivenUpAtTheThirdConnection) {
  const std::string object(8 << 20, 'x');
  HttpStoreOptions options = Quick();
  options.connection.stall_timeout = absl::Hours(1);
  Start(
      [&](const Request& request) {
        const std::string reply = GoodReply(request, object, kEtag);
        return Answer{reply.substr(0, reply.find("\r\n\r\n") + 100), Then::kTrickle};
      },
      options);
  TransferPace pace(SystemClock(), {.window = absl::Milliseconds(200)});
  std::string bytes(object.size(), '\0');

  const absl::Status status = store_->Read("k", 0, absl::MakeSpan(bytes), {.pace = &pace});

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDeadlineExceeded,
                               AllOf(HasSubstr("too slow"), HasSubstr("/k"))));
  EXPECT_EQ(ReasonOf(status), "STORAGE_SLOW");
  ASSERT_THAT(requests(), SizeIs(3));
  // Each goes on where the one before was given up.
  EXPECT_EQ(requests()[0].Range()->first, 0);
  EXPECT_GT(requests()[1].Range()->first, 0);
  EXPECT_GT(requests()[2].Range()->first, requests()[1].Range()->first);
}

TEST_F(HttpObjectStoreTest, StopEndsAStalledRead) {
  HttpStoreOptions options = Quick();
  options.connection.stall_timeout = absl::Hours(1);
  std::stop_source source;
  Start(
      [&](const Request& request) {
        source.request_stop();
        return Answer{GoodReply(request, kObject, kEtag).substr(0, 20), Then::kStall};
      },
      options);

  EXPECT_THAT(Read(0, 5, "", source.get_token()), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(HttpObjectStoreTest, StopEndsAWaitForAConnection) {
  HttpStoreOptions options = Quick();
  options.connections_per_host = 1;
  options.connection.stall_timeout = absl::Hours(1);
  std::stop_source first;
  std::stop_source second;
  std::thread waiter;
  Start(
      [&](const Request&) {
        waiter = std::thread([&] {
          second.request_stop();
          EXPECT_THAT(Read(0, 5, "", second.get_token()), StatusIs(absl::StatusCode::kCancelled));
          first.request_stop();
        });
        return Answer{"", Then::kStall};
      },
      options);

  EXPECT_THAT(Read(0, 5, "", first.get_token()), StatusIs(absl::StatusCode::kCancelled));
  // After its end everything that its threads did is to be seen.
  server_.reset();
  waiter.join();
}

TEST_F(HttpObjectStoreTest, ConnectionsToOneHostAreBounded) {
  HttpStoreOptions options = Quick();
  options.connections_per_host = 2;
  std::atomic<int> now = 0;
  std::atomic<int> most = 0;
  Start(
      [&](const Request& request) {
        const int running = ++now;
        int seen = most;
        while (running > seen && !most.compare_exchange_weak(seen, running)) {
        }
        std::this_thread::yield();
        --now;
        return Answer{GoodReply(request, kObject, kEtag)};
      },
      options);

  std::vector<std::thread> readers;
  for (int i = 0; i < 8; ++i) {
    readers.emplace_back([&] {
      for (int n = 0; n < 5; ++n) EXPECT_THAT(Read(1, 5), IsOkAndHolds("12345"));
    });
  }
  for (std::thread& reader : readers) reader.join();

  EXPECT_LE(most, 2);
  for (const Request& request : requests()) EXPECT_LT(request.connection, 2);
}

TEST_F(HttpObjectStoreTest, RedirectsAreFollowedAlsoToAnotherHost) {
  ScriptedHttpServer other(
      [](const Request& request) { return Answer{GoodReply(request, kObject, kEtag)}; });
  Start([&](const Request&) {
    return Answer{HttpReplyText(
        307, {absl::StrCat("Location: http://", other.authority(), "/there?signature=secret")},
        "moved")};
  });

  EXPECT_THAT(Read(2, 5, kEtag), IsOkAndHolds("23456"));
  EXPECT_EQ(store_->Stat("k", {})->size_bytes, 36);
  EXPECT_EQ(other.requests()[0].path, "/there?signature=secret");
  EXPECT_EQ(other.requests()[0].Header("Authorization"), "");
}

TEST_F(HttpObjectStoreTest, ErrorsBehindARedirectDoNotShowItsQuery) {
  ScriptedHttpServer other([](const Request&) { return Answer{HttpReplyText(403, {}, "")}; });
  Start([&](const Request&) {
    return Answer{HttpReplyText(
        302, {absl::StrCat("Location: http://", other.authority(), "/there?signature=secret")},
        "")};
  });

  EXPECT_THAT(Read(2, 5), StatusIs(absl::StatusCode::kPermissionDenied, Not(HasSubstr("secret"))));
}

TEST_F(HttpObjectStoreTest, RedirectLoopEndsWithItsReason) {
  Start([](const Request&) { return Answer{HttpReplyText(302, {"Location: /k"}, "")}; });

  EXPECT_THAT(Read(0, 5), StatusIs(absl::StatusCode::kFailedPrecondition,
                                   HasSubstr("redirected more than 5 times")));
  EXPECT_THAT(requests(), SizeIs(6));
}

TEST_F(HttpObjectStoreTest, RedirectAwayFromHttpIsRefused) {
  for (const char* target : {"file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"}) {
    Start([&](const Request&) {
      return Answer{HttpReplyText(302, {absl::StrCat("Location: ", target)}, "")};
    });
    EXPECT_THAT(Read(0, 5), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("redirect")));
  }
}

TEST_F(HttpObjectStoreTest, StatAsksForTheHead) {
  StartGood();

  const auto info = store_->Stat("k", {});

  MUSTER_ASSERT_OK(info);
  EXPECT_EQ(info->size_bytes, 36);
  EXPECT_EQ(info->version, kEtag);
  EXPECT_EQ(requests()[0].method, "HEAD");
}

TEST_F(HttpObjectStoreTest, StatAsksForAByteWhereHeadsDoNotHelp) {
  for (const std::string& head :
       {HttpReplyText(405, {}, ""), Head(200, {"Transfer-Encoding: chunked"})}) {
    Start([&](const Request& request) {
      if (request.method == "HEAD") return Answer{head, Then::kClose};
      return Answer{GoodReply(request, kObject, kEtag)};
    });
    const auto info = store_->Stat("k", {});
    MUSTER_ASSERT_OK(info);
    EXPECT_EQ(info->size_bytes, 36);
    EXPECT_EQ(info->version, kEtag);
  }
}

TEST_F(HttpObjectStoreTest, KeysAreEncodedOnTheWire) {
  StartGood();

  MUSTER_EXPECT_OK(store_->Stat("a b/c?d#e%+\xC3\xA4", {}));

  EXPECT_EQ(requests()[0].path, "/a%20b/c%3Fd%23e%25%2B%C3%A4");
}

TEST_F(HttpObjectStoreTest, NobodyListeningIsUnavailable) {
  StartGood();
  server_.reset();

  EXPECT_THAT(Read(0, 5), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("http://127.0.0.1")));
}

TEST_F(HttpObjectStoreTest, RegistryKeepsOneStorePerHostAndWantsAHost) {
  ObjectStoreRegistry registry;
  MUSTER_ASSERT_OK(RegisterHttpObjectStore(registry, SystemClock(), *random_, Quick()));

  const auto one = registry.Open("http://h:1/a");
  const auto two = registry.Open("http://h:1/b%20c");
  const auto other = registry.Open("https://h:1/a");

  MUSTER_ASSERT_OK(one);
  MUSTER_ASSERT_OK(two);
  MUSTER_ASSERT_OK(other);
  EXPECT_EQ(one->store, two->store);
  EXPECT_NE(one->store, other->store);
  EXPECT_EQ(two->key, "b c");
  EXPECT_THAT(registry.Open("http:///a"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("host")));
}

TEST_F(HttpObjectStoreTest, LocalAddressesAreNotConnectedToUnlessTheyMayBe) {
  HttpStoreOptions options = Quick();
  std::vector<std::string> asked;
  options.connection.may_be_local = [&](absl::string_view url) {
    asked.emplace_back(url);
    return false;
  };
  StartGood(options);

  EXPECT_THAT(Read(0, 5).status(),
              ErrorIs(absl::StatusCode::kPermissionDenied, "LOCATION_NOT_ALLOWED"));
  EXPECT_THAT(std::string(Read(0, 5).status().message()),
              AllOf(HasSubstr("127.0.0.1"), HasSubstr("--allow-location")));
  EXPECT_THAT(requests(), SizeIs(0));
  EXPECT_THAT(asked, Each(HasSubstr("/k")));
}

TEST_F(HttpObjectStoreTest, RedirectsToLocalAddressesAreAskedAboutByTheirOwnUrl) {
  ScriptedHttpServer inside(
      [](const Request& request) { return Answer{GoodReply(request, kObject, kEtag)}; });
  HttpStoreOptions options = Quick();
  options.connection.may_be_local = [&](absl::string_view url) {
    return !absl::StrContains(url, inside.authority());
  };
  const std::string location = absl::StrCat("Location: http://", inside.authority(), "/latest?x=1");
  Start(
      [&](const Request&) {
        return Answer{Head(302, {location, "Content-Length: 0"})};
      },
      options);

  EXPECT_THAT(Read(0, 5).status(),
              ErrorIs(absl::StatusCode::kPermissionDenied, "LOCATION_NOT_ALLOWED"));
  EXPECT_THAT(requests(), SizeIs(1));
  EXPECT_THAT(inside.requests(), SizeIs(0));
}

}  // namespace
}  // namespace muster
