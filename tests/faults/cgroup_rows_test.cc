// Rows 37 and 44: a server in a control group (version 1) that gives it little memory, or no more
// threads. Skipped, loudly, where such groups cannot be made.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/faults/row.h"
#include "tests/support/temp_dir.h"

namespace lossd {
namespace {

using testing::Problem;

constexpr int64_t kMiB = 1 << 20;

class ControlGroup {
 public:
  explicit ControlGroup(const std::string& controller)
      : directory_(absl::StrCat("/sys/fs/cgroup/", controller, "/lossd-test-", getpid())) {
    std::error_code error;
    made_ = std::filesystem::create_directory(directory_, error) &&
            std::filesystem::exists(directory_ + "/tasks");
  }
  // Those in it have ended.
  ~ControlGroup() {
    HoldsWithin(absl::Seconds(5), [this] { return !made_ || rmdir(directory_.c_str()) == 0; });
  }
  ControlGroup(const ControlGroup&) = delete;
  ControlGroup& operator=(const ControlGroup&) = delete;

  bool made() const { return made_; }
  const std::string& directory() const { return directory_; }
  void Set(const std::string& file, int64_t value) const {
    std::ofstream(directory_ + "/" + file) << value;
  }
  int64_t Get(const std::string& file) const {
    int64_t value = -1;
    std::ifstream(directory_ + "/" + file) >> value;
    return value;
  }
  // The number behind `word` in a file of lines "word number".
  int64_t Get(const std::string& file, const std::string& word) const {
    std::ifstream lines(directory_ + "/" + file);
    std::string name;
    for (int64_t value = 0; lines >> name >> value;) {
      if (name == word) return value;
    }
    return -1;
  }

 private:
  std::string directory_;
  bool made_ = false;
};

class CgroupRows : public Row {
 protected:
  // The path of a program that is lossd, but enters the group first.
  std::string ProgramIn(const ControlGroup& group) {
    const char* const binary = std::getenv("LOSSD_BINARY");
    const std::string path = scratch_.Write(
        "lossd", absl::StrCat("#!/bin/sh\necho $$ > ", group.directory(), "/cgroup.procs\nexec ",
                              binary != nullptr ? binary : LOSSD_BUILT_BINARY, " \"$@\"\n"));
    chmod(path.c_str(), 0700);
    return path;
  }
  void ServeIn(const ControlGroup& group, const std::vector<std::string>& flags = {}) {
    const char* const before = std::getenv("LOSSD_BINARY");
    const std::string kept = before != nullptr ? before : "";
    const std::string program = ProgramIn(group);
    setenv("LOSSD_BINARY", program.c_str(), 1);
    Serve(flags);
    if (before != nullptr) {
      setenv("LOSSD_BINARY", kept.c_str(), 1);
    } else {
      unsetenv("LOSSD_BINARY");
    }
  }

  // `count` clients want `problem` computed at once; all get it, to the bit, in the end.
  void AllAreServed(int count, const Problem& problem, TransferMode mode) {
    AllOf(count, [&] {
      Client client = *Client::Connect(address(), {.channels = 1});
      std::vector<float> gradient(problem.gradient.size());
      const LossInputs inputs = problem.Inputs();
      const auto result =
          client.Compute(LossSpec{}, inputs, {.gradient = BytesOf<float>(absl::MakeSpan(gradient))},
                         {.timeout = absl::Seconds(100), .mode = mode});
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(result->loss, problem.result.loss);
      EXPECT_EQ(
          std::memcmp(gradient.data(), problem.gradient.data(), gradient.size() * sizeof(float)),
          0);
    });
  }

  // The same by clients that know the .proto only: they send one message, and again what they are
  // told to send again.
  void AllOthersAreServed(int count, const Problem& problem) {
    const v1::ComputeRequest request = problem.Request();
    AllOf(count, [&] {
      const auto stub = Stub();
      v1::ComputeResponse response;
      grpc::Status status;
      EXPECT_TRUE(HoldsWithin(absl::Seconds(100), [&] {
        grpc::ClientContext context;
        context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(60)));
        status = stub->Compute(&context, request, &response);
        return status.error_code() != grpc::StatusCode::UNAVAILABLE;
      }));
      ASSERT_TRUE(status.ok()) << status.error_message();
      EXPECT_EQ(response.result().loss(), problem.result.loss);
      const std::string& gradient = response.gradient().data();
      ASSERT_EQ(gradient.size(), problem.gradient.size() * sizeof(float));
      EXPECT_EQ(std::memcmp(gradient.data(), problem.gradient.data(), gradient.size()), 0);
    });
  }

  // Runs `work` on that many threads at once.
  static void AllOf(int count, const std::function<void()>& work) {
    std::vector<std::thread> threads;
    threads.reserve(count);
    for (int i = 0; i < count; ++i) threads.emplace_back(work);
    for (std::thread& thread : threads) thread.join();
  }

  // Serves with 768 MiB, of which the budget is what the server finds out by itself, and overloads
  // it. The victim, whose calls are tried once, may be told to come again.
  void Overload(const std::function<void()>& load) {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "what the sanitizer keeps of freed memory does not fit into the group";
#endif
    const ControlGroup group("memory");
    if (!group.made()) GTEST_SKIP() << "no control group can be made for memory";
    constexpr int64_t kLimit = 768 * kMiB;
    group.Set("memory.limit_in_bytes", kLimit);
    ASSERT_EQ(group.Get("memory.limit_in_bytes"), kLimit);
    ServeIn(group);
    sentinel().Allow(1000);
    load();
    std::printf("  at most %ld of %ld MiB; %ld times the limit was met\n",
                static_cast<long>(group.Get("memory.max_usage_in_bytes") / kMiB),
                static_cast<long>(kLimit / kMiB), static_cast<long>(group.Get("memory.failcnt")));
    EXPECT_EQ(group.Get("memory.oom_control", "oom_kill"), 0);
    TearDown();  // before the group goes
  }

  TempDir scratch_;
};

// Four times the budget at once. A stream costs 64 MiB and its labels, a message of 60 MiB twice
// that.
TEST_F(CgroupRows, Row37_StreamsInAMemoryCgroup) {
  Overload([&] { AllAreServed(24, Problem(15 << 8, 4 << 10), TransferMode::kStream); });
}
TEST_F(CgroupRows, Row37_MessagesInAMemoryCgroup) {
  Overload([&] { AllAreServed(13, Problem(15 << 8, 4 << 10), TransferMode::kUnary); });
}
TEST_F(CgroupRows, Row37_MessagesOfOthersInAMemoryCgroup) {
  Overload([&] { AllOthersAreServed(13, Problem(15 << 8, 4 << 10)); });
}

// Once it serves, calls should need no more threads than there are. Not always so: now and then
// gRPC wants another helper, and without it answers nobody.
TEST_F(CgroupRows, SlowRow44_NoMoreThreads) {
  const ControlGroup group("pids");
  if (!group.made()) GTEST_SKIP() << "no control group can be made for pids";
  ServeIn(group);
  const Problem problem(4 << 10, 4 << 10);
  AllAreServed(4, problem, TransferMode::kStream);  // gRPC makes helpers of its own, once
  group.Set("pids.max", group.Get("pids.current"));
  AllAreServed(8, problem, TransferMode::kStream);
  sentinel().AwaitCalls(20);
  std::printf("  %ld threads; %ld could not be made\n",
              static_cast<long>(group.Get("pids.current")),
              static_cast<long>(group.Get("pids.events", "max")));
  TearDown();
}

// Without room for its threads it does not start: it says so and ends. gRPC and oneTBB would abort.
TEST_F(CgroupRows, Row44_NoThreadsAtTheStart) {
  const ControlGroup group("pids");
  if (!group.made()) GTEST_SKIP() << "no control group can be made for pids";
  for (const int most : {1, 2, 3, 6, 12, 20}) {
    group.Set("pids.max", most);
    Process process({ProgramIn(group), "--listen=127.0.0.1:0"});
    EXPECT_EQ(process.ReadLine(), std::nullopt) << most;
    EXPECT_EQ(process.Wait(), 1) << most;
  }
  group.Set("pids.max", 40);
  Process process({ProgramIn(group), "--listen=127.0.0.1:0"});
  EXPECT_TRUE(process.ReadLine().has_value());
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait(), 0);
}

}  // namespace
}  // namespace lossd
