#include "client/loading/attach_shard.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <stop_token>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/client/loading/loading_fixture.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

class AttachShardTest : public LoadingTest {
 protected:
  AttachShardTest() { options_.place = LoadPlace::kSharedMemory; }

  // What the other process would do with `fd`.
  absl::StatusOr<LoadedShard> Attach(int fd, uint32_t shard) {
    return AttachShard(catalogue_.client(), fd, {.model_version = "llama@v1", .shard = shard});
  }

  // A memfd with these bytes and seals.
  static UniqueFd SharedMemory(const std::string& bytes, int seals) {
    UniqueFd fd(memfd_create("attach-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_THAT(WriteAt(fd.get(), "memfd", 0, bytes), IsOk());
    EXPECT_EQ(fcntl(fd.get(), F_ADD_SEALS, seals), 0);
    return fd;
  }
};

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;

TEST_F(AttachShardTest, AttachedShardHasTheTensorsAndOutlivesTheOneThatWasLoaded) {
  const FixtureTensor expected = AddShard()[1];
  absl::StatusOr<LoadedShard> attached = absl::UnknownError("not attached");
  {
    const auto load = Start();
    const auto loaded = load->AwaitShard(0);
    MUSTER_ASSERT_OK(loaded);
    attached = Attach(loaded->shared_fd(), 0);
  }

  MUSTER_ASSERT_OK(attached);
  EXPECT_EQ(attached->bytes(), files_[0]);
  const auto tensor = attached->Find(expected.name);
  ASSERT_TRUE(tensor.has_value());
  EXPECT_EQ(tensor->bytes, FixtureTensorBytes(expected));
}

TEST_F(AttachShardTest, ShardWithoutPiecesIsComparedAsAWhole) {
  const std::string bytes = TestBytes(kMiB, 8);
  Register(ShardWithoutPieces(bytes, {"fake://a/0"}), 0);

  MUSTER_EXPECT_OK(Attach(SharedMemory(bytes, kSeals).get(), 0));
  EXPECT_THAT(Attach(SharedMemory(TestBytes(kMiB, 9), kSeals).get(), 0),
              ErrorIs(absl::StatusCode::kDataLoss, "SHARD_CORRUPT"));
}

TEST_F(AttachShardTest, MemoryThatCouldChangeIsRefused) {
  AddShard();
  const UniqueFd file(open("/dev/zero", O_RDONLY | O_CLOEXEC));

  for (const int seals : {0, F_SEAL_WRITE, F_SEAL_WRITE | F_SEAL_SHRINK}) {
    EXPECT_THAT(Attach(SharedMemory(files_[0], seals).get(), 0),
                ErrorIs(absl::StatusCode::kFailedPrecondition, "NOT_SEALED"));
  }
  EXPECT_THAT(Attach(file.get(), 0), ErrorIs(absl::StatusCode::kFailedPrecondition, "NOT_SEALED"));
}

TEST_F(AttachShardTest, OtherBytesAreRefused) {
  AddShard();
  std::string wrong = files_[0];
  wrong[kMiB + 3] ^= 1;

  EXPECT_THAT(Attach(SharedMemory(wrong, kSeals).get(), 0),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("shard 0: shared memory: piece 1")));
  EXPECT_THAT(Attach(SharedMemory(files_[0] + "x", kSeals).get(), 0),
              ErrorIs(absl::StatusCode::kDataLoss, "SHARD_CORRUPT"));
  EXPECT_THAT(Attach(SharedMemory(files_[0].substr(1), kSeals).get(), 0),
              ErrorIs(absl::StatusCode::kDataLoss, "SHARD_CORRUPT"));
}

// What another process finds when it maps the memory by this one's number.
int ReadInAnotherProcess(pid_t owner, int fd, const std::string& expected) {
  const std::string path = absl::StrCat("/proc/", owner, "/fd/", fd);
  const int own = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (own < 0) return 2;
  if (pwrite(own, "!", 1, 0) != -1) return 3;
  void* const memory = mmap(nullptr, expected.size(), PROT_READ, MAP_PRIVATE, own, 0);
  if (memory == MAP_FAILED) return 4;
  return std::memcmp(memory, expected.data(), expected.size()) == 0 ? 0 : 5;
}

TEST_F(AttachShardTest, SharedMemoryIsReadByAnotherProcess) {
  AddShard();
  auto load = Start();
  const auto shard = load->AwaitShard(0);
  MUSTER_ASSERT_OK(shard);
  // Its threads must be gone before the fork.
  load.reset();

  const pid_t owner = getpid();
  const pid_t child = fork();
  if (child == 0) _exit(ReadInAnotherProcess(owner, shard->shared_fd(), files_[0]));

  ASSERT_GT(child, 0);
  int state = 0;
  ASSERT_EQ(waitpid(child, &state, 0), child);
  EXPECT_TRUE(WIFEXITED(state));
  EXPECT_EQ(WEXITSTATUS(state), 0);
  EXPECT_EQ(shard->bytes(), files_[0]);
}

}  // namespace
}  // namespace muster
