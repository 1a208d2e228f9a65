// steady_load --server=ADDR [--threads=N] [--shape=ROWSxCLASSES]... [--calls=N] [--seconds=N]
// [--stock] Calls without a pause and compares every answer with the core's, to the bit. Prints
// "ready" when each thread has had an answer to each shape; goes on until standard input ends, or
// for so many calls or seconds; then prints one line of JSON: what was called, failed and wrong.
// Exit code 0: nothing failed and nothing was wrong. --stock: the calls are those of a stock client
// of gRPC.
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "core/exec/executor.h"
#include "core/exec/loss_run.h"
#include "lossd/client.h"
#include "tests/containers/stock_client.h"
#include "tests/support/random.h"

namespace lossd {
namespace {

constexpr int kPollMilliseconds = 20;

struct Flags {
  std::string server;
  int threads = 4;
  std::vector<std::string> shapes = {"32x10", "250x1000", "2000x1000"};
  int64_t calls = 0;  // 0: any number
  double seconds = 600;
  bool stock = false;
};

// A batch and what the core makes of it.
struct Question {
  std::vector<int64_t> shape;
  std::vector<float> logits;
  std::vector<int64_t> labels;
  std::vector<float> gradient;
  LossResult result;

  LossInputs inputs() const {
    LossInputs inputs;
    inputs.predictions = TensorView::Of<float>(logits, shape);
    inputs.targets = TensorView::Of<int64_t>(labels, {shape[0]});
    return inputs;
  }
};

absl::StatusOr<Question> MakeQuestion(const std::string& text, Executor& executor) {
  const std::pair<std::string, std::string> extents = absl::StrSplit(text, 'x');
  int64_t rows = 0, classes = 0;
  if (!absl::SimpleAtoi(extents.first, &rows) || !absl::SimpleAtoi(extents.second, &classes) ||
      rows < 1 || classes < 1 || rows > (int64_t{1} << 40) / classes) {
    return absl::InvalidArgumentError(absl::StrCat("--shape is ", text, "; wanted ROWSxCLASSES"));
  }
  oracle::Random random(static_cast<uint64_t>(rows));
  Question question;
  question.shape = {rows, classes};
  question.logits.resize(rows * classes);
  for (float& x : question.logits) x = static_cast<float>(random.Below(1 << 20)) / (1 << 16);
  for (int64_t i = 0; i < rows; ++i) question.labels.push_back(random.Below(classes));
  question.gradient.resize(question.logits.size());
  LossSpec spec;
  spec.outputs.gradient = true;
  const LossOutputs into{.gradient = BytesOf(absl::MakeSpan(question.gradient))};
  absl::StatusOr<LossResult> result = ComputeLoss(spec, question.inputs(), into, executor);
  if (!result.ok()) return result.status();
  question.result = *std::move(result);
  return question;
}

// Who asks. Returns whether the answer has the core's bits.
class Caller {
 public:
  virtual ~Caller() = default;
  virtual absl::StatusOr<bool> Ask(const Question& question) = 0;
};

class OurCaller : public Caller {
 public:
  explicit OurCaller(const Client& client) : client_(client) {}

  absl::StatusOr<bool> Ask(const Question& question) override {
    gradient_.assign(question.gradient.size(), -7);
    const absl::StatusOr<LossResult> result = client_.Compute(
        LossSpec{}, question.inputs(), {.gradient = BytesOf(absl::MakeSpan(gradient_))});
    if (!result.ok()) return result.status();
    return result->loss == question.result.loss && result->exact == question.result.exact &&
           std::memcmp(gradient_.data(), question.gradient.data(),
                       gradient_.size() * sizeof(float)) == 0;
  }

 private:
  Client client_;
  std::vector<float> gradient_;
};

class StockCaller : public Caller {
 public:
  explicit StockCaller(const StockClient& client) : client_(client) {}

  absl::StatusOr<bool> Ask(const Question& question) override {
    std::string gradient;
    double loss = 0;
    const absl::Status status = client_.Compute(question.inputs(), gradient, loss);
    if (!status.ok()) return status;
    const size_t bytes = question.gradient.size() * sizeof(float);
    return loss == question.result.loss && gradient.size() == bytes &&
           std::memcmp(gradient.data(), question.gradient.data(), bytes) == 0;
  }

 private:
  const StockClient& client_;
};

using NewCaller = std::function<std::unique_ptr<Caller>()>;

class Load {
 public:
  Load(NewCaller new_caller, std::vector<Question> questions, int64_t calls)
      : new_caller_(std::move(new_caller)),
        questions_(std::move(questions)),
        wanted_calls_(calls) {}

  void Run(int threads, absl::Duration limit);

  // Prints the line of JSON; true if all went well.
  bool Report() const;

 private:
  void Worker();
  void Ask(const Question& question, Caller& caller);
  bool Done() const { return wanted_calls_ > 0 && calls_ >= wanted_calls_; }

  const NewCaller new_caller_;
  const std::vector<Question> questions_;
  const int64_t wanted_calls_;
  std::atomic<bool> stop_{false};
  std::atomic<int> ready_{0};
  std::atomic<int> working_{0};
  std::atomic<int64_t> calls_{0};
  std::atomic<int64_t> wrong_{0};

  mutable std::mutex mutex_;  // guards what follows
  int64_t failed_ = 0;
  std::string first_failure_;
  absl::Duration slowest_ = absl::ZeroDuration();
};

void Load::Ask(const Question& question, Caller& caller) {
  const absl::Time begin = absl::Now();
  const absl::StatusOr<bool> same = caller.Ask(question);
  const absl::Duration took = absl::Now() - begin;
  ++calls_;
  if (same.ok() && !*same) ++wrong_;
  const std::lock_guard lock(mutex_);
  slowest_ = std::max(slowest_, took);
  if (same.ok()) return;
  if (failed_++ == 0) first_failure_ = same.status().ToString();
}

void Load::Worker() {
  const std::unique_ptr<Caller> caller = new_caller_();
  for (bool first = true; !stop_; first = false) {
    for (const Question& question : questions_) {
      if (stop_ || Done()) break;
      Ask(question, *caller);
    }
    if (first) ++ready_;
    if (Done()) break;
  }
  --working_;
}

// Whether standard input has ended; waits for kPollMilliseconds.
bool InputEnded() {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  if (poll(&input, 1, kPollMilliseconds) <= 0) return false;
  char bytes[64];
  return read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0;
}

void Load::Run(int threads, absl::Duration limit) {
  const absl::Time end = absl::Now() + limit;
  working_ = threads;
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i) workers.emplace_back(&Load::Worker, this);
  bool told = false;
  while (working_ > 0 && !stop_) {
    if (InputEnded() || absl::Now() > end) stop_ = true;
    if (!told && ready_ == threads) {
      std::puts("ready");
      std::fflush(stdout);
      told = true;
    }
  }
  for (std::thread& worker : workers) worker.join();
}

bool Load::Report() const {
  const std::lock_guard lock(mutex_);
  absl::PrintF(R"({"calls":%d,"failed":%d,"wrong":%d,"slowest_ms":%d,"first_failure":"%s"})"
               "\n",
               calls_.load(), failed_, wrong_.load(), absl::ToInt64Milliseconds(slowest_),
               absl::CHexEscape(first_failure_));
  return calls_ > 0 && failed_ == 0 && wrong_ == 0;
}

int Fail(const absl::Status& status) {
  absl::FPrintF(stderr, "steady_load: %s\n", status.ToString());
  return 2;
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Calls without a pause and compares every answer with the core's", "steady_load");
  app.add_option("--server", flags.server, "Where lossd serves")->required();
  app.add_option("--threads", flags.threads, "Calls at once")->check(CLI::Range(1, 64));
  app.add_option("--shape", flags.shapes, "ROWSxCLASSES of a call; may be repeated");
  app.add_option("--calls", flags.calls, "After so many it ends; 0: any number");
  app.add_option("--seconds", flags.seconds, "After which it ends")->check(CLI::Range(0.1, 3600.0));
  app.add_flag("--stock", flags.stock, "Calls of a stock client, with gRPC's own retries");
  CLI11_PARSE(app, argc, argv);

  const StockClient stock(flags.server);
  NewCaller new_caller = [&] { return std::make_unique<StockCaller>(stock); };
  if (!flags.stock) {
    const absl::StatusOr<Client> client = Client::Connect(flags.server);
    if (!client.ok()) return Fail(client.status());
    new_caller = [client] { return std::make_unique<OurCaller>(*client); };
  }
  Executor executor(0);
  std::vector<Question> questions;
  for (const std::string& shape : flags.shapes) {
    absl::StatusOr<Question> question = MakeQuestion(shape, executor);
    if (!question.ok()) return Fail(question.status());
    questions.push_back(*std::move(question));
  }
  Load load(std::move(new_caller), std::move(questions), flags.calls);
  load.Run(flags.threads, absl::Seconds(flags.seconds));
  return load.Report() ? 0 : 1;
}

}  // namespace
}  // namespace lossd

int main(int argc, char** argv) { return lossd::Main(argc, argv); }
