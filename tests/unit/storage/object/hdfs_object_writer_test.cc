#include "storage/object/hdfs_object_writer.h"

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/mutex.h"
#include "storage/base/status_macros.h"
#include "storage/object/hdfs_object_store.h"
#include "storage/object/object_store_registry.h"
#include "tests/support/scripted_http_server.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Answer = ScriptedHttpServer::Answer;
using Code = absl::StatusCode;
using Request = ScriptedHttpServer::Request;

constexpr int64_t kMiB = int64_t{1} << 20;

std::string ErrorJson(const std::string& exception) {
  return absl::StrCat(R"({"RemoteException":{"exception":")", exception, R"(","message":"told"}})");
}

// A name node and a data node at one address, with one file.
class FakeHdfs {
 public:
  // Answers instead where it returns something.
  using Interceptor = std::function<std::optional<Answer>(const Request& request)>;

  explicit FakeHdfs(Interceptor interceptor)
      : server_([this, interceptor](const Request& request) {
          if (std::optional<Answer> answer = interceptor(request)) return *answer;
          return Answer{Carry(request)};
        }) {}

  const std::string& authority() const { return server_.authority(); }

  // Whether this is the request of an operation that moves bytes, at the data node.
  static bool Moves(const Request& request, absl::string_view operation) {
    return absl::StrContains(request.path, absl::StrCat("op=", operation)) &&
           absl::StrContains(request.path, "&data");
  }

  std::string Carry(const Request& request) {
    const auto is = [&](absl::string_view operation) {
      return absl::StrContains(request.path, absl::StrCat("op=", operation));
    };
    const bool takes_bytes = is("CREATE") || is("APPEND");
    if (takes_bytes && !Moves(request, "")) {
      return HttpReplyText(200, {},
                           absl::StrCat(R"({"Location":"http://)", request.Header("Host"),
                                        request.path, R"(&data"})"));
    }
    MutexLock lock(mutex_);
    if (is("CREATE")) bytes_ = "";
    if (takes_bytes) Add(request.body);
    if (is("DELETE")) bytes_.reset();
    if (is("GETFILESTATUS") && !bytes_.has_value()) {
      return HttpReplyText(404, {}, ErrorJson("FileNotFoundException"));
    }
    if (!is("GETFILESTATUS")) return HttpReplyText(200, {}, R"({"boolean":true})");
    return HttpReplyText(
        200, {},
        absl::StrCat(R"({"FileStatus":{"fileId":7,"type":"FILE","length":)", bytes_->size(), "}}"));
  }

  // What reaches the file of a request that breaks off.
  void Take(absl::string_view bytes) {
    MutexLock lock(mutex_);
    Add(bytes);
  }

  std::optional<std::string> bytes() const {
    MutexLock lock(mutex_);
    return bytes_;
  }

 private:
  void Add(absl::string_view bytes) MUSTER_REQUIRES(mutex_) {
    bytes_ = absl::StrCat(bytes_.value_or(""), bytes);
  }

  mutable Mutex mutex_;
  std::optional<std::string> bytes_ MUSTER_GUARDED_BY(mutex_);
  ScriptedHttpServer server_;
};

class HdfsObjectWriterTest : public testing::Test {
 protected:
  // The whole of an object that takes one append.
  static std::string Pattern() {
    std::string bytes(33 * kMiB, '\0');
    for (size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<char>(i * 31 + (i >> 20) * 7);
    }
    return bytes;
  }

  absl::StatusOr<ObjectInfo> WriteWhole(FakeHdfs::Interceptor interceptor) {
    // Connections have threads of their own.
    hdfs_.emplace([this, interceptor = std::move(interceptor)](const Request& request) {
      MutexLock lock(interceptor_mutex_);
      return interceptor(request);
    });
    ObjectStoreRegistry registry;
    const std::string address = hdfs_->authority();
    const EnvironmentLookup lookup = [address](const char* name) {
      return absl::string_view(name) == "MUSTER_WEBHDFS_ADDRESS" ? address : std::string();
    };
    MUSTER_RETURN_IF_ERROR(RegisterHdfsObjectStore(
        registry, lookup, SystemClock(), *random_,
        {.connection = {.connect_timeout = absl::Seconds(2),
                        .stall_timeout = absl::Seconds(5),
                        .proxy = ""},
         .retry_for = absl::Seconds(2),
         .backoff = {.initial = absl::Milliseconds(1), .max = absl::Milliseconds(20)}}));
    MUSTER_ASSIGN_OR_RETURN(const ObjectRef object, registry.Open("hdfs://nn/folder/k"));
    const std::string bytes = Pattern();
    MUSTER_ASSIGN_OR_RETURN(
        const std::unique_ptr<ObjectWriter> writer,
        object.store->Create(object.key, {.size_bytes = static_cast<int64_t>(bytes.size())}));
    for (size_t offset = 0; offset < bytes.size(); offset += 8 * kMiB) {
      MUSTER_RETURN_IF_ERROR(
          writer->Write(offset, absl::string_view(bytes).substr(offset, 8 * kMiB)));
    }
    return writer->Commit();
  }

  const std::unique_ptr<Random> random_ = NewSeededRandom(1);
  Mutex interceptor_mutex_;
  std::optional<FakeHdfs> hdfs_;
};

TEST_F(HdfsObjectWriterTest, AppendWhoseReplyIsLostIsNotCarriedOutTwice) {
  std::atomic<bool> lost = false;
  MUSTER_ASSERT_OK(WriteWhole([&](const Request& request) -> std::optional<Answer> {
    if (lost || !FakeHdfs::Moves(request, "APPEND")) return std::nullopt;
    lost = true;
    hdfs_->Carry(request);
    return Answer{"", Answer::Then::kClose};
  }));

  EXPECT_TRUE(lost);
  EXPECT_TRUE(hdfs_->bytes() == Pattern());
}

// Goal: what arrives late counts too. The data node holds the file until it has written what it got.
TEST_F(HdfsObjectWriterTest, AppendThatBreaksOffIsGoneOnWithOnceTheFileIsFree) {
  std::atomic<int> appends = 0;
  std::string cut;
  MUSTER_ASSERT_OK(WriteWhole([&](const Request& request) -> std::optional<Answer> {
    if (!FakeHdfs::Moves(request, "APPEND")) return std::nullopt;
    ++appends;
    if (appends == 1) {
      cut = request.body.substr(0, 1'000);
      return Answer{"", Answer::Then::kClose};
    }
    if (appends == 2)
      return Answer{HttpReplyText(403, {}, ErrorJson("AlreadyBeingCreatedException"))};
    if (appends == 3) hdfs_->Take(cut);
    return std::nullopt;
  }));

  EXPECT_EQ(appends, 4);
  EXPECT_TRUE(hdfs_->bytes() == Pattern());
}

TEST_F(HdfsObjectWriterTest, CreationThatBreaksOffIsBegunAnew) {
  std::atomic<bool> broken = false;
  MUSTER_ASSERT_OK(WriteWhole([&](const Request& request) -> std::optional<Answer> {
    if (broken || !FakeHdfs::Moves(request, "CREATE")) return std::nullopt;
    broken = true;
    hdfs_->Take(request.body.substr(0, 1'000));
    return Answer{"", Answer::Then::kClose};
  }));

  EXPECT_TRUE(hdfs_->bytes() == Pattern());
}

TEST_F(HdfsObjectWriterTest, FileThatGetsTooLongIsDataLossAndDeleted) {
  std::atomic<bool> once = false;
  EXPECT_THAT(WriteWhole([&](const Request& request) -> std::optional<Answer> {
                if (once || !FakeHdfs::Moves(request, "APPEND")) return std::nullopt;
                once = true;
                hdfs_->Take(request.body + "more");
                return Answer{"", Answer::Then::kClose};
              }),
              StatusIs(Code::kDataLoss, HasSubstr("hdfs://nn/folder/k: has")));
  EXPECT_FALSE(hdfs_->bytes().has_value());
}

TEST_F(HdfsObjectWriterTest, ErrorsNameTheObjectAndTheWayOut) {
  EXPECT_THAT(WriteWhole([&](const Request& request) -> std::optional<Answer> {
                if (!FakeHdfs::Moves(request, "APPEND")) return std::nullopt;
                return Answer{HttpReplyText(403, {}, ErrorJson("InvalidToken"))};
              }),
              StatusIs(Code::kUnauthenticated,
                       AllOf(HasSubstr("hdfs://nn/folder/k:"), HasSubstr("MUSTER_WEBHDFS_TOKEN"),
                             Not(HasSubstr(".muster-tmp")))));
  EXPECT_FALSE(hdfs_->bytes().has_value());
}

}  // namespace
}  // namespace muster
