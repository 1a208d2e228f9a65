#include "server/calls/stream_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace lossd {
namespace {

using ::testing::HasSubstr;
using State = StreamSession::State;
using wire::SideKind;

// Two positions of two classes, with position weights and labels: each row of predictions 8 bytes,
// each side tensor 8 bytes.
LossTensorDescs Tensors() {
  LossTensorDescs tensors;
  tensors.predictions = {DType::kF32, {2, 2}};
  tensors.targets = {DType::kI32, {2}};
  tensors.position_weights = TensorDesc{DType::kF32, {2}};
  return tensors;
}

LossSpec BadSpec() {
  LossSpec spec;
  spec.label_smoothing = 2;
  return spec;
}

PartialSums OnePosition() {
  PartialSums sums;
  sums.position_count = 1;
  return sums;
}

// The protocol once more, as plain as can be; the tests below hold the session to it.
struct Model {
  State state = State::kHeader;
  int64_t weights = 0;  // bytes that came
  int64_t labels = 0;
  bool row[2] = {false, false};
  int computing = 0;

  bool Refuse() {
    state = State::kRefused;
    return false;
  }
  bool Header() {
    if (state != State::kHeader) return Refuse();
    state = State::kSide;
    return true;
  }
  bool Side(SideKind kind, int64_t offset, int64_t size) {
    if (state != State::kSide || size == 0) return Refuse();
    int64_t& here = weights < 8 ? weights : labels;
    const SideKind wanted = weights < 8 ? SideKind::kPositionWeights : SideKind::kTargets;
    if (kind != wanted || offset != here || offset + size > 8) return Refuse();
    here += size;
    if (labels == 8) state = State::kBlocks;
    return true;
  }
  bool Block(std::vector<int> rows, bool well_formed) {
    if (state != State::kBlocks || !well_formed) return Refuse();
    for (const int r : rows) {
      if (row[r]) return Refuse();
    }
    for (const int r : rows) row[r] = true;
    ++computing;
    return true;
  }
  bool End() {
    if (state != State::kBlocks || !row[0] || !row[1]) return Refuse();
    state = computing == 0 ? State::kDone : State::kDraining;
    return true;
  }
  bool Computed() {
    if (state == State::kRefused || computing == 0) return Refuse();
    if (--computing == 0 && state == State::kDraining) state = State::kDone;
    return true;
  }
};

struct Event {
  const char* name;
  std::function<absl::Status(StreamSession&)> happen;
  std::function<bool(Model&)> expect;
};

Event Side(const char* name, SideKind kind, int64_t offset, int64_t size) {
  return {name, [=](StreamSession& s) { return s.OnSideData(kind, offset, size); },
          [=](Model& m) { return m.Side(kind, offset, size); }};
}

Event Block(const char* name, Box box, int64_t bytes, int64_t probabilities, std::vector<int> rows,
            bool well_formed) {
  return {name,
          [=](StreamSession& s) {
            return s.OnBlock(box, {bytes, probabilities});
          },
          [=](Model& m) { return m.Block(rows, well_formed); }};
}

std::vector<Event> AllEvents() {
  const auto header = [](const LossSpec& spec, std::vector<Box> boxes) {
    return [=](StreamSession& s) { return s.OnHeader(spec, Tensors(), boxes); };
  };
  const auto refused = [](Model& m) { return m.Refuse(); };
  return {
      {"header", header({}, {}), [](Model& m) { return m.Header(); }},
      {"header_two_boxes", header({}, {{0, 1, 0, 1}, {1, 1, 0, 1}}),
       [](Model& m) { return m.Header(); }},
      {"header_bad_spec", header(BadSpec(), {}), refused},
      {"header_overlapping_boxes", header({}, {{0, 2, 0, 1}, {1, 1, 0, 1}}), refused},
      {"header_box_outside", header({}, {{0, 3, 0, 1}}), refused},
      Side("weights", SideKind::kPositionWeights, 0, 8),
      Side("weights_first_half", SideKind::kPositionWeights, 0, 4),
      Side("weights_second_half", SideKind::kPositionWeights, 4, 4),
      Side("weights_none", SideKind::kPositionWeights, 0, 0),
      Side("labels", SideKind::kTargets, 0, 8),
      Side("labels_too_many", SideKind::kTargets, 0, 9),
      Side("labels_gap", SideKind::kTargets, 4, 4),
      Side("undeclared", SideKind::kClassWeights, 0, 8),
      Block("row_0", {0, 1, 0, 1}, 8, 0, {0}, true),
      Block("row_1", {1, 1, 0, 1}, 8, 0, {1}, true),
      Block("short", {1, 1, 0, 1}, 7, 0, {1}, false),
      Block("probabilities", {1, 1, 0, 1}, 8, 8, {1}, false),
      Block("outside", {2, 1, 0, 1}, 8, 0, {}, false),
      Block("empty", {0, 0, 0, 1}, 0, 0, {}, false),
      {"end", [](StreamSession& s) { return s.OnEndOfUpload(); }, [](Model& m) { return m.End(); }},
      {"computed", [](StreamSession& s) { return s.OnBlockComputed(OnePosition()); },
       [](Model& m) { return m.Computed(); }},
  };
}

class Explorer {
 public:
  // Every sequence of up to `depth` further events; after a refusal one more is enough, since the
  // outcome must be the same refusal.
  void Explore(const StreamSession& session, const Model& model, int depth) {
    if (depth == 0) return;
    for (const Event& event : events_) {
      StreamSession next = session;
      Model expected = model;
      path_.push_back(event.name);
      const bool allowed = event.expect(expected);
      const absl::Status status = event.happen(next);
      ++cases_;
      ASSERT_EQ(status.ok(), allowed) << Path() << ": " << status;
      ASSERT_EQ(next.state(), expected.state) << Path();
      if (!allowed) {
        ASSERT_FALSE(status.message().empty()) << Path();
        if (session.state() == State::kRefused) {
          ASSERT_EQ(status, session_refusal_) << Path();
        }
      }
      if (next.state() == State::kDone) {
        ++done_;
        ASSERT_EQ(next.sums().position_count, 2) << Path();
      }
      if (allowed) {
        Explore(next, expected, depth - 1);
      } else if (session.state() != State::kRefused) {
        session_refusal_ = status;
        Explore(next, expected, 1);
      }
      if (::testing::Test::HasFatalFailure()) return;
      path_.pop_back();
    }
  }

  // Explores from the state these events lead to.
  void ExploreAfter(const std::vector<std::string>& prefix, int depth) {
    StreamSession session{wire::Limits()};
    Model model;
    path_ = {"after"};
    for (const std::string& name : prefix) {
      for (const Event& event : events_) {
        if (event.name != name) continue;
        ASSERT_TRUE(event.expect(model)) << name;
        ASSERT_TRUE(event.happen(session).ok()) << name;
        path_.push_back(name);
      }
    }
    ASSERT_EQ(path_.size(), prefix.size() + 1);
    Explore(session, model, depth);
  }

  int64_t cases() const { return cases_; }
  int64_t done() const { return done_; }

 private:
  std::string Path() const {
    std::string path;
    for (const std::string& name : path_) path += " " + name;
    return path;
  }

  const std::vector<Event> events_ = AllEvents();
  std::vector<std::string> path_;
  absl::Status session_refusal_;
  int64_t cases_ = 0;
  int64_t done_ = 0;
};

TEST(StreamSession, EverySequenceOfFourEventsFromEveryState) {
  Explorer explorer;
  for (const std::vector<std::string>& prefix : std::vector<std::vector<std::string>>{
           {},
           {"header"},
           {"header_two_boxes", "weights_first_half"},
           {"header", "weights"},
           {"header", "weights", "labels"},
           {"header", "weights", "labels", "row_1"},
           {"header", "weights", "labels", "row_1", "computed"},
           {"header", "weights", "labels", "row_1", "row_0"},
           {"header", "weights", "labels", "row_1", "row_0", "end"},
           {"header", "weights", "labels", "row_1", "row_0", "end", "computed", "computed"}}) {
    explorer.ExploreAfter(prefix, 4);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(explorer.cases(), 1000);
  EXPECT_GT(explorer.done(), 10);
}

// -------------------------------------------------------------- what a refusal says, by name

struct Refusal {
  const char* name;
  std::function<absl::Status(StreamSession&)> last;  // after header, weights and labels
  absl::StatusCode code;
  const char* words;
};

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

const Refusal kAfterLabels[] = {
    {"second_header", [](StreamSession& s) { return s.OnHeader({}, Tensors(), {}); }, kInvalid,
     "a second header came where a block or the end of the upload was wanted"},
    {"excess_side_data", [](StreamSession& s) { return s.OnSideData(SideKind::kTargets, 8, 1); },
     kInvalid, "side data (targets) came where a block or the end of the upload was wanted"},
    {"short_block",
     [](StreamSession& s) {
       return s.OnBlock({0, 2, 0, 1}, {12, 0});
     },
     kInvalid, "predictions of block (outer 0..2, inner 0..1) are 12 bytes; wanted 16"},
    {"unwanted_probabilities",
     [](StreamSession& s) {
       return s.OnBlock({0, 2, 0, 1}, {16, 16});
     },
     kInvalid, "class_probabilities of block (outer 0..2, inner 0..1) are 16 bytes; wanted 0"},
    {"outside",
     [](StreamSession& s) {
       return s.OnBlock({1, 2, 0, 1}, {16, 0});
     },
     kInvalid, "box.outer_count is 2; wanted 1..1"},
    {"early_half_close", [](StreamSession& s) { return s.OnEndOfUpload(); }, kInvalid,
     "the upload ended after 0 of 2 positions"},
    {"no_such_block", [](StreamSession& s) { return s.OnBlockComputed({}); },
     absl::StatusCode::kInternal, "not been admitted"},
};

StreamSession WithLabels() {
  StreamSession session{wire::Limits()};
  EXPECT_TRUE(session.OnHeader({}, Tensors(), {}).ok());
  EXPECT_TRUE(session.OnSideData(SideKind::kPositionWeights, 0, 8).ok());
  EXPECT_TRUE(session.OnSideData(SideKind::kTargets, 0, 8).ok());
  return session;
}

TEST(StreamSession, RefusalsNameWhatCameAndWhatWasWanted) {
  for (const Refusal& row : kAfterLabels) {
    SCOPED_TRACE(row.name);
    StreamSession session = WithLabels();
    const absl::Status status = row.last(session);
    EXPECT_EQ(status.code(), row.code);
    EXPECT_THAT(std::string(status.message()), HasSubstr(row.words));
  }
}

TEST(StreamSession, RefusalsBeforeTheBlocks) {
  StreamSession no_header{wire::Limits()};
  EXPECT_EQ(no_header.OnBlock({0, 1, 0, 1}, {8, 0}),
            absl::InvalidArgumentError("a block came where the header was wanted"));
  StreamSession nothing{wire::Limits()};
  EXPECT_EQ(nothing.OnEndOfUpload(),
            absl::InvalidArgumentError("the end of the upload came where the header was wanted"));

  StreamSession session{wire::Limits()};
  ASSERT_TRUE(session.OnHeader({}, Tensors(), {}).ok());
  StreamSession wrong_order = session;
  EXPECT_EQ(wrong_order.OnSideData(SideKind::kTargets, 0, 8),
            absl::InvalidArgumentError(
                "side data is targets from byte 0; wanted position_weights from byte 0"));
  ASSERT_TRUE(session.OnSideData(SideKind::kPositionWeights, 0, 3).ok());
  StreamSession gap = session;
  EXPECT_EQ(gap.OnSideData(SideKind::kPositionWeights, 4, 4),
            absl::InvalidArgumentError("side data is position_weights from byte 4; wanted "
                                       "position_weights from byte 3"));
  StreamSession excess = session;
  EXPECT_EQ(excess.OnSideData(SideKind::kPositionWeights, 3, 6),
            absl::InvalidArgumentError(
                "side data from byte 3 of position_weights is 6 bytes; wanted 1..5"));
  StreamSession early_block = session;
  EXPECT_EQ(
      early_block.OnBlock({0, 1, 0, 1}, {8, 0}),
      absl::InvalidArgumentError("a block came where position_weights from byte 3 was wanted"));
  EXPECT_EQ(session.OnEndOfUpload(),
            absl::InvalidArgumentError("the upload ended after 3 of 8 bytes of position_weights"));
}

TEST(StreamSession, LimitsAreResourceExhaustedWithNumbers) {
  wire::Limits limits;
  limits.max_side_bytes = 15;
  StreamSession side(limits);
  const absl::Status too_much_side = side.OnHeader({}, Tensors(), {});
  EXPECT_EQ(too_much_side.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(too_much_side.message()),
              HasSubstr("targets of shape [2] brings the side tensors above 15 bytes"));

  limits = {};
  limits.max_tensor_bytes = 15;
  StreamSession tensor(limits);
  const absl::Status too_large = tensor.OnHeader({}, Tensors(), {});
  EXPECT_EQ(too_large.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(too_large.message()),
              HasSubstr("16 bytes; this server takes at most 15"));

  StreamSession part(limits);  // only what the call covers counts
  EXPECT_TRUE(part.OnHeader({}, Tensors(), {{1, 1, 0, 1}}).ok());

  limits.max_tensor_bytes = 16;
  limits.max_side_bytes = 16;
  StreamSession just_fits(limits);
  EXPECT_EQ(just_fits.OnHeader({}, Tensors(), {}), absl::OkStatus());

  StreamSession boxes{wire::Limits()};
  EXPECT_EQ(boxes.OnHeader({}, Tensors(), std::vector<Box>(65537, Box{0, 1, 0, 1})),
            absl::InvalidArgumentError("boxes has 65537 entries; wanted at most 65536"));
}

TEST(StreamSession, ProbabilitiesTravelInBlocksUnlessTheyDecideTheDenominator) {
  LossTensorDescs tensors;
  tensors.predictions = {DType::kF32, {2, 2}};
  tensors.target_kind = TargetKind::kClassProbabilities;
  tensors.targets = {DType::kF64, {2, 2}};
  StreamSession in_blocks{wire::Limits()};
  ASSERT_TRUE(in_blocks.OnHeader({}, tensors, {}).ok());
  EXPECT_EQ(in_blocks.state(), State::kBlocks);
  EXPECT_TRUE(in_blocks.OnBlock({0, 1, 0, 1}, {8, 16}).ok());
  EXPECT_FALSE(in_blocks.OnBlock({1, 1, 0, 1}, {8, 0}).ok());

  LossSpec spec;
  spec.reduction = Reduction::kWeightSum;
  StreamSession whole{wire::Limits()};
  ASSERT_TRUE(whole.OnHeader(spec, tensors, {}).ok());
  EXPECT_EQ(whole.state(), State::kSide);
  EXPECT_EQ(whole.side_bytes(SideKind::kTargets), 32);
}

TEST(StreamSession, NoPositionsNeedNoBlocks) {
  LossTensorDescs tensors;
  tensors.predictions = {DType::kF32, {0, 2}};
  tensors.targets = {DType::kI32, {0}};
  StreamSession session{wire::Limits()};
  ASSERT_TRUE(session.OnHeader({}, tensors, {}).ok());
  EXPECT_EQ(session.state(), State::kBlocks);
  EXPECT_TRUE(session.OnEndOfUpload().ok());
  EXPECT_EQ(session.state(), State::kDone);
}

TEST(StreamSession, OutsideFailureSticks) {
  StreamSession session = WithLabels();
  EXPECT_EQ(session.Refuse(absl::UnavailableError("no memory")),
            absl::UnavailableError("no memory"));
  EXPECT_EQ(session.OnEndOfUpload(), absl::UnavailableError("no memory"));
  EXPECT_EQ(session.Refuse(absl::InternalError("later")), absl::UnavailableError("no memory"));
}

}  // namespace
}  // namespace lossd
