#ifndef LOSSD_TESTS_CLIENT_DOUBLING_SERVICE_H_
#define LOSSD_TESTS_CLIENT_DOUBLING_SERVICE_H_

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/testing/local_transport.h"
#include "lossd/loss_spec.h"

namespace lossd {

// How one call goes.
struct Script {
  absl::Status failure = {};          // what the call ends with
  int64_t blocks_before_failure = 0;  // answered blocks, after which it ends so
  bool fail_before_summary = false;   // instead: all blocks are answered, and then it ends so
  bool ends_without_summary = false;  // with OK
  bool never_ends = false;
  std::vector<wire::Message> at_header = {};  // sent before the first block has come
  // What becomes of the messages of a whole answer; by default nothing.
  std::function<void(std::vector<wire::Message>& answer)> meddle = {};
};

// A stand-in for lossd on f32 predictions: the gradient is twice the predictions, the loss the sum
// of the predictions over D, the number of all predictions. Calls go by `scripts`, the last one for
// all calls after it, and are recorded.
class DoublingService : public LocalService {
 public:
  explicit DoublingService(std::vector<Script> scripts = {{}}) : scripts_(std::move(scripts)) {}

  struct Record {
    std::string method;
    absl::Time time;
    LossSpec spec;
    std::vector<Box> header_boxes;
    std::vector<Box> blocks;
    std::vector<std::string> parts;  // "header", "side 4 @0 +16", "block"
  };

  absl::StatusOr<wire::Message> Unary(const std::string& method,
                                      const wire::Message& request) override;
  std::unique_ptr<StreamPeer> Stream(const std::string& method) override;

  void set_transport(const Transport* transport) { transport_ = transport; }
  const std::vector<std::shared_ptr<Record>>& records() const { return records_; }

 private:
  std::shared_ptr<Record> NewRecord(const std::string& method);
  const Script& NextScript();

  std::vector<Script> scripts_;
  std::vector<std::shared_ptr<Record>> records_;
  const Transport* transport_ = nullptr;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_CLIENT_DOUBLING_SERVICE_H_
