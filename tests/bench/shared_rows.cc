#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/exec/executor.h"
#include "core/exec/loss_run.h"
#include "lossd/shared_buffer.h"
#include "tests/bench/pair.h"
#include "tests/bench/row.h"
#include "tests/bench/timing.h"
#include "tests/support/temp_dir.h"

// Calls whose predictions and gradient lie in memory that is shared with the server, against the
// same call over gRPC, and against the core in this process.

namespace lossd::bench {
namespace {

constexpr int kRepeats = 21;

// A server that shares memory, a client, and a problem in ordinary memory and in shared memory.
class SharedPair {
 public:
  SharedPair(DType dtype, std::vector<int64_t> shape)
      : socket_("unix:" + folder_.Path("regions")),
        lossd_({"127.0.0.1:0"}, {"--shared-memory=" + socket_, "--memory-budget=4GiB"}),
        problem_(dtype, std::move(shape)),
        gradient_(problem_.inputs().predictions.bytes.size()),
        shared_inputs_(problem_.inputs()) {
    const ByteSpan predictions = problem_.inputs().predictions.bytes;
    constexpr size_t kPage = 4096;
    const size_t room = (predictions.size() + kPage - 1) / kPage * kPage;
    absl::StatusOr<SharedBuffer> buffer = SharedBuffer::Make(static_cast<int64_t>(2 * room));
    CheckOk(buffer.status());
    buffer_ = std::make_unique<SharedBuffer>(*std::move(buffer));
    const MutableByteSpan copy = buffer_->bytes().first(predictions.size());
    std::copy(predictions.begin(), predictions.end(), copy.begin());
    shared_inputs_.predictions.bytes = copy;
    shared_gradient_ = buffer_->bytes().subspan(room, predictions.size());
    ClientOptions options;
    options.shared_memory = socket_;
    absl::StatusOr<Client> client = Client::Connect(lossd_.address(), options);
    CheckOk(client.status());
    client_ = std::make_unique<Client>(*std::move(client));
  }

  void InRegion() {
    CheckOk(
        client_->Compute(problem_.spec(), shared_inputs_, {.gradient = shared_gradient_}).status());
  }
  void OverTcp() { ComputeOrDie(*client_, problem_, gradient_.span()); }
  void InProcess() {
    static Executor executor;
    CheckOk(
        ComputeLoss(problem_.spec(), problem_.inputs(), {.gradient = gradient_.span()}, executor)
            .status());
  }

 private:
  TempDir folder_;
  std::string socket_;
  ServerProcess lossd_;
  Problem problem_;
  Buffer gradient_;
  LossInputs shared_inputs_;
  std::unique_ptr<SharedBuffer> buffer_;
  MutableByteSpan shared_gradient_;
  std::unique_ptr<Client> client_;
};

void AddRows(DType dtype, const std::vector<int64_t>& shape, std::vector<Row>& rows) {
  const std::string name =
      absl::StrCat("shared memory, ", shape[0], "x", shape[1], " ", std::string(Name(dtype)));
  rows.push_back({.name = name,
                  .reference = "the same over TCP",
                  .bar = {BarKind::kRatio, 0.2},
                  .measure = [=](const Settings&) {
                    SharedPair pair(dtype, shape);
                    return Paired(
                        kRepeats, [&] { pair.InRegion(); }, [&] { pair.OverTcp(); });
                  }});
  rows.push_back({.name = name + ", in process",
                  .reference = "the core in this process",
                  .bar = {BarKind::kRatio, 1.1},
                  .measure = [=](const Settings&) {
                    SharedPair pair(dtype, shape);
                    return Paired(
                        kRepeats, [&] { pair.InRegion(); }, [&] { pair.InProcess(); });
                  }});
}

}  // namespace

std::vector<Row> SharedRows() {
  std::vector<Row> rows;
  AddRows(DType::kF32, {1024, 32000}, rows);
  AddRows(DType::kF32, {8192, 1000}, rows);
  AddRows(DType::kBF16, {512, 128256}, rows);
  AddRows(DType::kF32, {32, 10}, rows);
  return rows;
}

}  // namespace lossd::bench
