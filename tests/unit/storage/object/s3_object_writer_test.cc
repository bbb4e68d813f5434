#include "storage/object/s3_object_writer.h"

#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/object/s3_object_store.h"
#include "tests/support/fake_s3_server.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Answer = ScriptedHttpServer::Answer;
using Code = absl::StatusCode;
using Request = ScriptedHttpServer::Request;

constexpr int64_t kMiB = int64_t{1} << 20;

// Each MiB differs from the others.
std::string Pattern(int64_t size) {
  std::string bytes(static_cast<size_t>(size), '\0');
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(i * 31 + (i >> 20) * 7);
  }
  return bytes;
}

class S3ObjectWriterTest : public testing::Test {
 protected:
  void Start(FakeS3Server::Interceptor interceptor = nullptr) {
    server_.emplace(std::move(interceptor));
    const std::string endpoint = absl::StrCat("http://", server_->authority());
    const EnvironmentLookup lookup = [endpoint](const char* name) -> std::string {
      static const std::map<std::string, std::string> variables = {
          {"AWS_ACCESS_KEY_ID", "AKID"}, {"AWS_SECRET_ACCESS_KEY", "s3cret"}, {"HOME", "/absent"}};
      if (std::string(name) == "AWS_ENDPOINT_URL") return endpoint;
      const auto found = variables.find(name);
      return found == variables.end() ? "" : found->second;
    };
    MUSTER_ASSERT_OK(RegisterS3ObjectStore(
        registry_, lookup, SystemClock(), *random_,
        {.connection = {.connect_timeout = absl::Seconds(2),
                        .stall_timeout = absl::Seconds(5),
                        .proxy = ""},
         .retry_for = absl::Milliseconds(400),
         .backoff = {.initial = absl::Milliseconds(1), .max = absl::Milliseconds(20)}}));
    const auto opened = registry_.Open("s3://bucket/k");
    MUSTER_ASSERT_OK(opened);
    store_ = opened->store;
  }

  // Writes `bytes` in one call.
  absl::StatusOr<ObjectInfo> WriteWhole(const std::string& bytes, int64_t part_size,
                                        bool must_not_exist = false) {
    auto writer =
        store_->Create("k", {static_cast<int64_t>(bytes.size()), part_size, must_not_exist});
    if (!writer.ok()) return writer.status();
    const absl::Status written = (*writer)->Write(0, bytes);
    if (!written.ok()) return written;
    return (*writer)->Commit();
  }

  const std::unique_ptr<Random> random_ = NewSeededRandom(1);
  ObjectStoreRegistry registry_;
  std::optional<FakeS3Server> server_;
  std::shared_ptr<ObjectStore> store_;
};

// Answers the first request of `method` whose path has `part` in it as the server would, and loses
// the reply.
FakeS3Server::Interceptor LosesReply(std::optional<FakeS3Server>& server, std::string method,
                                     std::string part) {
  return [&server, method, part, lost = std::make_shared<std::atomic<bool>>(false)](
             const Request& request) -> std::optional<Answer> {
    if (request.method != method || !absl::StrContains(request.path, part)) return std::nullopt;
    if (lost->exchange(true)) return std::nullopt;
    server->Carry(request);
    return Answer{"", Answer::Then::kClose};
  };
}

TEST_F(S3ObjectWriterTest, PartsAreThoseOfTheWriterWithTheirMd5) {
  Start();
  const std::string bytes = Pattern(12 * kMiB + 5);

  const auto info = WriteWhole(bytes, 6 * kMiB);

  MUSTER_ASSERT_OK(info);
  EXPECT_TRUE(server_->Stored("k") == bytes);
  const auto parts = server_->requests("PUT", "partNumber=");
  ASSERT_THAT(parts, SizeIs(3));
  for (const Request& part : parts) {
    const Md5Digest md5 = Md5Of(part.body);
    EXPECT_EQ(part.Header("Content-MD5"),
              absl::Base64Escape(absl::string_view(reinterpret_cast<const char*>(md5.data()), 16)));
  }
  const std::vector<Md5Digest> md5s = {Md5Of(parts[0].body), Md5Of(parts[1].body),
                                       Md5Of(parts[2].body)};
  EXPECT_EQ(info->version, absl::StrCat("\"", Md5ToHex(Md5Root(md5s)), "-3\""));
  EXPECT_EQ(server_->uploads(), 0);
}

TEST_F(S3ObjectWriterTest, SmallPartsAreGatheredInAnyOrderFromSeveralThreads) {
  Start();
  const std::string bytes = Pattern(13 * kMiB + 7);
  auto writer = store_->Create("k", {static_cast<int64_t>(bytes.size()), 2 * kMiB});
  MUSTER_ASSERT_OK(writer);
  std::atomic<int64_t> next = 7;
  std::atomic<int> failures = 0;

  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int64_t part = --next; part >= 0; part = --next) {
        const auto range = absl::string_view(bytes).substr(part * 2 * kMiB, 2 * kMiB);
        if (!(*writer)->Write(part * 2 * kMiB, range).ok()) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(failures, 0);
  MUSTER_ASSERT_OK((*writer)->Commit());
  EXPECT_TRUE(server_->Stored("k") == bytes);
  EXPECT_THAT(server_->requests("PUT", "partNumber="), SizeIs(3)) << "6 + 6 + 1 MiB";
}

TEST_F(S3ObjectWriterTest, ObjectOfOnePartIsStoredByOneRequest) {
  Start();

  MUSTER_ASSERT_OK(WriteWhole(Pattern(5 * kMiB), kMiB));

  EXPECT_TRUE(server_->Stored("k") == Pattern(5 * kMiB));
  EXPECT_THAT(server_->requests(), SizeIs(1));
}

TEST_F(S3ObjectWriterTest, WriterThatIsDroppedAbortsTheUpload) {
  Start();
  {
    auto writer = store_->Create("k", {12 * kMiB, 6 * kMiB});
    MUSTER_ASSERT_OK(writer);
    MUSTER_ASSERT_OK((*writer)->Write(0, Pattern(6 * kMiB)));
    EXPECT_EQ(server_->uploads(), 1);
  }

  EXPECT_EQ(server_->uploads(), 0);
  EXPECT_EQ(server_->Stored("k"), std::nullopt);
}

TEST_F(S3ObjectWriterTest, PartThatFailedMayBeWrittenAgain) {
  std::atomic<bool> denies = true;
  Start([&](const Request& request) -> std::optional<Answer> {
    if (!denies || !absl::StrContains(request.path, "partNumber=1")) return std::nullopt;
    return Answer{HttpReplyText(403, {}, S3ErrorXml("AccessDenied"))};
  });
  const std::string bytes = Pattern(12 * kMiB);
  const absl::string_view view = bytes;
  auto writer = store_->Create("k", {12 * kMiB, 2 * kMiB});
  MUSTER_ASSERT_OK(writer);
  MUSTER_ASSERT_OK((*writer)->Write(0, view.substr(0, 4 * kMiB)));

  EXPECT_THAT((*writer)->Write(4 * kMiB, view.substr(4 * kMiB, 2 * kMiB)),
              StatusIs(Code::kPermissionDenied, HasSubstr("s3://bucket/k")));
  denies = false;
  MUSTER_ASSERT_OK((*writer)->Write(4 * kMiB, view.substr(4 * kMiB)));

  MUSTER_ASSERT_OK((*writer)->Commit());
  EXPECT_TRUE(server_->Stored("k") == bytes);
}

TEST_F(S3ObjectWriterTest, EtagOfOtherBytesIsDataLoss) {
  Start([&](const Request& request) -> std::optional<Answer> {
    if (request.method != "POST" || !absl::StrContains(request.path, "uploadId=")) {
      return std::nullopt;
    }
    return Answer{HttpReplyText(200, {},
                                "<CompleteMultipartUploadResult><ETag>\"0123456789abcdef0123456789"
                                "abcdef-2\"</ETag></CompleteMultipartUploadResult>")};
  });

  EXPECT_THAT(WriteWhole(Pattern(12 * kMiB), 6 * kMiB),
              StatusIs(Code::kDataLoss, HasSubstr("0123456789abcdef")));
}

TEST_F(S3ObjectWriterTest, PartWithTheEtagOfOtherBytesIsDataLossAtOnce) {
  Start([this](const Request& request) -> std::optional<Answer> {
    if (!absl::StrContains(request.path, "partNumber=1")) return std::nullopt;
    server_->Carry(request);
    return Answer{HttpReplyText(200, {"ETag: \"0123456789abcdef0123456789abcdef\""}, "")};
  });

  EXPECT_THAT(WriteWhole(Pattern(12 * kMiB), 6 * kMiB),
              StatusIs(Code::kDataLoss, HasSubstr("s3://bucket/k: part 1: expected ETag")));
  EXPECT_THAT(server_->requests("POST", "uploadId="), IsEmpty());
  EXPECT_EQ(server_->uploads(), 0);
}

TEST_F(S3ObjectWriterTest, PartWithoutAnEtagIsDataLoss) {
  Start([this](const Request& request) -> std::optional<Answer> {
    if (!absl::StrContains(request.path, "partNumber=")) return std::nullopt;
    server_->Carry(request);
    return Answer{HttpReplyText(200, {}, "")};
  });

  EXPECT_THAT(WriteWhole(Pattern(12 * kMiB), 6 * kMiB),
              StatusIs(Code::kDataLoss, HasSubstr("no ETag")));
}

// Goal: an upload whose id never arrived is not kept.
TEST_F(S3ObjectWriterTest, UploadWhoseBeginningWasLostIsAborted) {
  Start(LosesReply(server_, "POST", "uploads="));
  // Somebody's, below a longer key.
  Request other;
  other.method = "POST";
  other.path = "/bucket/k2?uploads=";
  server_->Carry(other);

  MUSTER_EXPECT_OK(WriteWhole(Pattern(12 * kMiB), 6 * kMiB, /*must_not_exist=*/true));
  EXPECT_EQ(server_->uploads(), 1);
}

TEST_F(S3ObjectWriterTest, UploadsThatNeverGotAnIdAreAborted) {
  Start([this](const Request& request) -> std::optional<Answer> {
    if (!absl::StrContains(request.path, "uploads=") || request.method != "POST") return {};
    server_->Carry(request);
    return Answer{"", Answer::Then::kClose};
  });

  EXPECT_THAT(WriteWhole(Pattern(12 * kMiB), 6 * kMiB, /*must_not_exist=*/true),
              StatusIs(Code::kUnavailable, HasSubstr("tried")));
  EXPECT_EQ(server_->uploads(), 0);
}

TEST_F(S3ObjectWriterTest, WhoMayReplaceAnObjectLeavesOtherWritersUploads) {
  Start(LosesReply(server_, "POST", "uploads="));

  MUSTER_EXPECT_OK(WriteWhole(Pattern(12 * kMiB), 6 * kMiB, /*must_not_exist=*/false));
  EXPECT_EQ(server_->uploads(), 1);
}

TEST_F(S3ObjectWriterTest, ErrorInsideASuccessfulCompletionIsTriedAgain) {
  std::atomic<bool> fails = true;
  Start([&](const Request& request) -> std::optional<Answer> {
    if (request.method != "POST" || !absl::StrContains(request.path, "uploadId=") ||
        !fails.exchange(false)) {
      return std::nullopt;
    }
    return Answer{HttpReplyText(200, {}, S3ErrorXml("InternalError"))};
  });

  MUSTER_EXPECT_OK(WriteWhole(Pattern(12 * kMiB), 6 * kMiB));
  EXPECT_TRUE(server_->Stored("k") == Pattern(12 * kMiB));
}

// Ceph 16 does that.
TEST_F(S3ObjectWriterTest, CompletionThatLeavesTheEtagEmptyIsAskedFor) {
  Start([this](const Request& request) -> std::optional<Answer> {
    if (request.method != "POST" || !absl::StrContains(request.path, "uploadId=")) return {};
    server_->Carry(request);
    return Answer{HttpReplyText(
        200, {}, "<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>")};
  });
  const std::string bytes = Pattern(17 * kMiB);
  const auto info = WriteWhole(bytes, 8 * kMiB);

  MUSTER_ASSERT_OK(info);
  EXPECT_EQ(info->version, store_->Stat("k", {})->version);
  EXPECT_TRUE(server_->Stored("k") == bytes);
}

TEST_F(S3ObjectWriterTest, CompletionWhoseReplyIsLostHasSucceeded) {
  Start(LosesReply(server_, "POST", "uploadId="));

  const auto info = WriteWhole(Pattern(12 * kMiB), 6 * kMiB, /*must_not_exist=*/true);

  MUSTER_ASSERT_OK(info);
  EXPECT_EQ(info->version, store_->Stat("k", {})->version);
}

TEST_F(S3ObjectWriterTest, ConditionalPutWhoseReplyIsLostHasSucceeded) {
  Start(LosesReply(server_, "PUT", "/k"));

  MUSTER_EXPECT_OK(store_->Put("k", "bytes", {.must_not_exist = true}));
  EXPECT_EQ(server_->Stored("k"), "bytes");
}

// There the ETag says nothing about the content, so that it can't tell whose object is there.
TEST_F(S3ObjectWriterTest, LostCompletionIsNoErrorWhereTheBucketEncrypts) {
  Start(LosesReply(server_, "POST", "uploadId="));
  server_->EncryptWithKms();

  MUSTER_EXPECT_OK(WriteWhole(Pattern(12 * kMiB), 6 * kMiB));
  EXPECT_TRUE(server_->Stored("k") == Pattern(12 * kMiB));
}

TEST_F(S3ObjectWriterTest, LostConditionalPutIsNoErrorWhereTheBucketEncrypts) {
  Start(LosesReply(server_, "PUT", "/k"));
  server_->EncryptWithKms();

  MUSTER_EXPECT_OK(store_->Put("k", "abc", {.must_not_exist = true}));
}

TEST_F(S3ObjectWriterTest, ObjectOfAnotherWriterIsNotTakenForOnesOwnWhereTheBucketEncrypts) {
  Start([this](const Request& request) -> std::optional<Answer> {
    // Another writer is faster, between the look and the write.
    if (request.method == "PUT") server_->Store("k", "abc");
    return std::nullopt;
  });
  server_->EncryptWithKms();

  EXPECT_THAT(store_->Put("k", "abc", {.must_not_exist = true}), StatusIs(Code::kAlreadyExists));
}

TEST_F(S3ObjectWriterTest, LostRaceIsAlreadyExists) {
  Start([&](const Request& request) -> std::optional<Answer> {
    if (request.method != "HEAD") return std::nullopt;
    // Somebody comes in between.
    server_->Store("k", "theirs");
    return Answer{"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"};
  });

  EXPECT_THAT(store_->Put("k", "mine", {.must_not_exist = true}),
              StatusIs(Code::kAlreadyExists, HasSubstr("s3://bucket/k")));
  EXPECT_EQ(server_->Stored("k"), "theirs");
}

TEST_F(S3ObjectWriterTest, ServerWithoutConditionalWritesIsAskedFirst) {
  Start([&](const Request& request) -> std::optional<Answer> {
    if (request.Header("If-None-Match").empty()) return std::nullopt;
    return Answer{HttpReplyText(501, {}, S3ErrorXml("NotImplemented"))};
  });

  MUSTER_EXPECT_OK(store_->Put("k", "first", {.must_not_exist = true}));
  EXPECT_THAT(store_->Put("k", "second", {.must_not_exist = true}), StatusIs(Code::kAlreadyExists));
  EXPECT_EQ(server_->Stored("k"), "first");
}

TEST_F(S3ObjectWriterTest, MorePartsThanS3AllowsAreInvalidBeforeAnythingIsSent) {
  Start();

  EXPECT_THAT(store_->Create("k", {.size_bytes = 10'001 * 8 * kMiB}),
              StatusIs(Code::kInvalidArgument, HasSubstr("10000")));
  MUSTER_EXPECT_OK(store_->Create("k", {.size_bytes = 10'000 * 8 * kMiB}));
  EXPECT_THAT(server_->requests(), IsEmpty());
}

}  // namespace
}  // namespace muster
