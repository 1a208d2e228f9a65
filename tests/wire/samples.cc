#include "tests/wire/samples.h"

#include <bit>
#include <limits>
#include <string>

#include "lossd/exact_sum.h"
#include "lossd/losses.h"

namespace lossd::wire_test {
namespace {

double AnyDouble(Random& random) {
  if (random.OneIn(4)) return random.Pick({0.0, -0.0, 1.0, 0.5, -1.0});
  return std::bit_cast<double>(random.Next());
}

// Of all lengths as varints.
int64_t AnyInt(Random& random) {
  return static_cast<int64_t>(random.Next() >> random.Below(64)) * (random.OneIn(4) ? -1 : 1);
}

int64_t AnyCount(Random& random) {
  return static_cast<int64_t>(random.Next() >> (1 + random.Below(63)));
}

// Elements of DType by number, written down again here.
constexpr int kSizes[] = {0, 4, 8, 2, 2, 1, 2, 4, 8, 1, 2, 4, 8};

// Half of the options of a loss, or of a message inside of one.
void FillOptions(Random& random, google::protobuf::Message& loss) {
  using google::protobuf::FieldDescriptor;
  const google::protobuf::Reflection& reflection = *loss.GetReflection();
  for (int i = 0; i < loss.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* const option = loss.GetDescriptor()->field(i);
    if (random.OneIn(2)) continue;
    // The walk leaves lists and messages of options to the ordinary parse.
    if (option->is_repeated() || option->type() == FieldDescriptor::TYPE_MESSAGE) continue;
    if (option->type() == FieldDescriptor::TYPE_ENUM) {
      const int64_t last = option->enum_type()->value_count() - 1;
      reflection.SetEnumValue(&loss, option, static_cast<int>(1 + random.Below(last)));
    } else if (option->type() == FieldDescriptor::TYPE_BOOL) {
      reflection.SetBool(&loss, option, random.OneIn(2));
    } else if (option->type() == FieldDescriptor::TYPE_INT32) {
      reflection.SetInt32(&loss, option, static_cast<int32_t>(random.Below(128)));
    } else {
      reflection.SetDouble(&loss, option, AnyDouble(random));
    }
  }
}

void FillSpec(Random& random, v1::LossSpec& spec) {
  const auto sometimes = [&] { return random.OneIn(2); };
  const auto* const losses = v1::LossSpec::descriptor()->FindOneofByName("loss");
  google::protobuf::Message& loss = *spec.GetReflection()->MutableMessage(
      &spec, losses->field(static_cast<int>(random.Below(losses->field_count()))));
  FillOptions(random, loss);
  if (sometimes()) spec.set_class_axis(static_cast<int32_t>(AnyInt(random)));
  if (sometimes()) {
    spec.set_weight_normalization(static_cast<v1::WeightNormalization>(1 + random.Below(3)));
  }
  for (int64_t i = random.Below(5); i > 0; --i) spec.add_ignore_labels(AnyInt(random));
  if (sometimes()) spec.set_label_smoothing(AnyDouble(random));
  if (sometimes()) spec.set_loss_weight(AnyDouble(random));
  if (sometimes()) spec.set_reduction(static_cast<v1::Reduction>(1 + random.Below(7)));
  if (sometimes()) spec.set_denominator(AnyDouble(random));
  if (sometimes()) spec.set_gradient_scale(AnyDouble(random));
  if (sometimes()) spec.set_gradient_dtype(static_cast<v1::DType>(1 + random.Below(12)));
  if (sometimes()) {
    spec.set_all_ignored_policy(static_cast<v1::AllIgnoredPolicy>(1 + random.Below(3)));
  }
  if (sometimes()) {
    spec.set_non_finite_policy(static_cast<v1::NonFinitePolicy>(1 + random.Below(2)));
  }
  if (sometimes()) {
    v1::Outputs& outputs = *spec.mutable_outputs();
    if (sometimes()) outputs.set_gradient(sometimes());
    outputs.set_position_losses(sometimes());
    outputs.set_log_sum_exp(sometimes());
    outputs.set_argmax_hits(sometimes());
    outputs.set_probabilities(sometimes());
    outputs.set_label_log_probabilities(sometimes());
    outputs.set_entropy(sometimes());
    outputs.set_label_rank(sometimes());
  }
}

v1::Tensor SampleTensor(Random& random, bool with_data) {
  v1::Tensor tensor;
  const int dtype = static_cast<int>(1 + random.Below(12));
  tensor.set_dtype(static_cast<v1::DType>(dtype));
  int64_t bytes = kSizes[dtype];
  for (int64_t rank = random.Below(5); rank > 0; --rank) {
    const int64_t extent = random.OneIn(20) ? 0 : 1 + random.Below(5);
    tensor.add_shape(extent);
    bytes *= extent;
  }
  if (random.OneIn(2)) tensor.set_layout(static_cast<v1::Layout>(1 + random.Below(2)));
  if (with_data) tensor.set_data(SampleBytes(random, bytes));
  return tensor;
}

void FillRegion(Random& random, v1::Region& region) {
  region.set_token(SampleBytes(random, 16));
  region.set_offset(random.OneIn(3) ? 0 : random.Next() >> (7 + random.Below(51)) << 6);
}

// Those that may lie in a region.
v1::Tensor SampleLarge(Random& random, bool with_data) {
  v1::Tensor tensor = SampleTensor(random, with_data);
  if (!with_data || !random.OneIn(3)) return tensor;
  tensor.clear_data();
  FillRegion(random, *tensor.mutable_region());
  return tensor;
}

void FillOutputRegions(Random& random, v1::Outputs& outputs) {
  const bool wanted = !outputs.has_gradient() || outputs.gradient();
  if (wanted && random.OneIn(2)) FillRegion(random, *outputs.mutable_gradient_region());
  if (outputs.probabilities()) FillRegion(random, *outputs.mutable_probabilities_region());
}

void FillRequest(Random& random, bool with_data, v1::ComputeRequest& request) {
  FillSpec(random, *request.mutable_spec());
  if (with_data && random.OneIn(3)) {
    FillOutputRegions(random, *request.mutable_spec()->mutable_outputs());
  }
  *(random.OneIn(3)   ? request.mutable_target_values()
    : random.OneIn(2) ? request.mutable_class_indices()
                      : request.mutable_class_probabilities()) = SampleTensor(random, with_data);
  if (random.OneIn(2)) *request.mutable_class_weights() = SampleTensor(random, with_data);
  if (random.OneIn(2)) *request.mutable_position_weights() = SampleTensor(random, with_data);
  if (random.OneIn(2)) *request.mutable_upstream_gradient() = SampleTensor(random, with_data);
  if (random.OneIn(2)) *request.mutable_class_bias() = SampleTensor(random, with_data);
  if (random.OneIn(2)) *request.mutable_advantages() = SampleTensor(random, with_data);
  if (random.OneIn(2)) *request.mutable_old_values() = SampleTensor(random, with_data);
  if (random.OneIn(2)) *request.mutable_sequence_lengths() = SampleTensor(random, with_data);
  if (random.OneIn(2)) *request.mutable_label_lengths() = SampleTensor(random, with_data);
  if (random.OneIn(2)) *request.mutable_input_lengths() = SampleTensor(random, with_data);
  if (random.OneIn(2)) *request.mutable_sparse_probabilities() = SampleTensor(random, with_data);
  if (random.OneIn(2)) *request.mutable_ground_metric() = SampleTensor(random, with_data);
  if (random.OneIn(2)) *request.mutable_second_predictions() = SampleLarge(random, with_data);
  *request.mutable_predictions() = SampleLarge(random, with_data);
}

void FillBox(Random& random, v1::Box& box) {
  box.set_outer_begin(AnyInt(random));
  box.set_outer_count(AnyInt(random));
  box.set_inner_begin(AnyInt(random));
  box.set_inner_count(AnyInt(random));
}

void FillSum(Random& random, v1::ExactSum& sum) {
  ExactSum exact;
  for (int64_t i = random.Below(4); i > 0; --i) exact.Add(AnyDouble(random));
  const ExactSum::Portable portable = exact.ToPortable();
  sum.set_exponent(portable.exponent);
  sum.set_magnitude(portable.magnitude.data(), portable.magnitude.size());
  sum.set_nan_terms(portable.nan_terms);
  sum.set_positive_infinities(portable.positive_infinities);
  sum.set_negative_infinities(portable.negative_infinities);
}

// Counts at least 0, and any other numbers, in all fields of a message of sums.
void FillMembers(Random& random, google::protobuf::Message& sums) {
  const auto* const fields = sums.GetDescriptor();
  const auto* const reflection = sums.GetReflection();
  for (int i = 0; i < fields->field_count(); ++i) {
    const auto* const field = fields->field(i);
    if (field->cpp_type() == field->CPPTYPE_INT64) {
      reflection->SetInt64(&sums, field, AnyCount(random));
    } else if (field->cpp_type() == field->CPPTYPE_DOUBLE) {
      reflection->SetDouble(&sums, field, AnyDouble(random));
    } else if (random.OneIn(2)) {
      FillSum(random, static_cast<v1::ExactSum&>(*reflection->MutableMessage(&sums, field)));
    }
  }
}

void FillSums(Random& random, v1::PartialSums& sums) {
  if (random.OneIn(2)) FillSum(random, *sums.mutable_loss_sum());
  if (random.OneIn(2)) FillSum(random, *sums.mutable_weight_sum());
  sums.set_position_count(AnyCount(random));
  sums.set_valid_count(AnyCount(random));
  sums.set_ignored_count(AnyCount(random));
  sums.set_clamped_count(AnyCount(random));
  sums.set_nonfinite_count(AnyCount(random));
  sums.set_correct_count(AnyCount(random));
  if (random.OneIn(3)) FillSum(random, *sums.mutable_z_loss_sum());
  if (random.OneIn(3)) FillMembers(random, *sums.mutable_policy());
  if (random.OneIn(3)) FillMembers(random, *sums.mutable_preference());
  if (random.OneIn(3)) sums.set_infeasible_count(AnyCount(random));
}

void FillResult(Random& random, v1::LossResult& result) {
  result.set_loss(AnyDouble(random));
  result.set_loss_sum(AnyDouble(random));
  result.set_weight_sum(AnyDouble(random));
  result.set_denominator(AnyDouble(random));
  result.set_position_count(AnyCount(random));
  result.set_valid_count(AnyCount(random));
  result.set_ignored_count(AnyCount(random));
  result.set_clamped_count(AnyCount(random));
  result.set_nonfinite_count(AnyCount(random));
  if (random.OneIn(2)) result.set_correct_count(AnyCount(random));
  if (random.OneIn(3)) result.set_z_loss_sum(AnyDouble(random));
  if (random.OneIn(3)) result.set_infeasible_count(AnyCount(random));
  if (random.OneIn(3)) FillMembers(random, *result.mutable_policy());
  if (random.OneIn(3)) FillMembers(random, *result.mutable_preference());
  FillSums(random, *result.mutable_exact());
}

void FillTensorDefaults(v1::Tensor& tensor) {
  if (!tensor.has_layout()) tensor.set_layout(v1::LAYOUT_ROW_MAJOR);
}

void FillSumsDefaults(v1::PartialSums& sums) {
  sums.mutable_loss_sum();
  sums.mutable_weight_sum();
  // A sum of nothing is left out.
  if (sums.z_loss_sum().ByteSizeLong() == 0) sums.clear_z_loss_sum();
  if (sums.has_policy()) {
    sums.mutable_policy()->mutable_kl_old_sum();
    sums.mutable_policy()->mutable_kl_reference_sum();
    sums.mutable_policy()->mutable_ratio_sum();
    sums.mutable_policy()->mutable_entropy_sum();
  }
  if (sums.has_preference()) {
    sums.mutable_preference()->mutable_chosen_reward_sum();
    sums.mutable_preference()->mutable_rejected_reward_sum();
  }
}

}  // namespace

std::string SampleBytes(Random& random, int64_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.Next());
  return bytes;
}

v1::ComputeRequest SampleRequest(Random& random) {
  v1::ComputeRequest request;
  FillRequest(random, true, request);
  return request;
}

v1::ComputeStreamRequest SampleHeader(Random& random) {
  v1::ComputeStreamRequest part;
  FillRequest(random, false, *part.mutable_header()->mutable_request());
  for (int64_t i = random.Below(4); i > 0; --i)
    FillBox(random, *part.mutable_header()->add_boxes());
  return part;
}

v1::ComputeStreamRequest SampleSideData(Random& random) {
  v1::ComputeStreamRequest part;
  v1::SideData& side = *part.mutable_side_data();
  side.set_kind(static_cast<v1::SideData::Kind>(1 + random.Below(4)));
  side.set_offset_bytes(AnyInt(random));
  side.set_data(SampleBytes(random, random.Below(500)));
  return part;
}

v1::ComputeStreamRequest SampleBlock(Random& random) {
  v1::ComputeStreamRequest part;
  v1::PredictionBlock& block = *part.mutable_block();
  FillBox(random, *block.mutable_box());
  if (random.OneIn(2)) block.set_class_probabilities(SampleBytes(random, random.Below(300)));
  if (random.OneIn(3)) block.set_target_values(SampleBytes(random, random.Below(300)));
  block.set_predictions(SampleBytes(random, random.Below(500)));
  return part;
}

v1::ComputeResponse SampleResponse(Random& random) {
  v1::ComputeResponse response;
  FillResult(random, *response.mutable_result());
  if (random.OneIn(2)) *response.mutable_position_losses() = SampleTensor(random, true);
  if (random.OneIn(2)) *response.mutable_log_sum_exp() = SampleTensor(random, true);
  if (random.OneIn(2)) *response.mutable_argmax_hits() = SampleTensor(random, true);
  if (random.OneIn(2)) *response.mutable_probabilities() = SampleTensor(random, true);
  if (random.OneIn(2)) *response.mutable_gradient() = SampleTensor(random, true);
  if (random.OneIn(2)) *response.mutable_label_log_probabilities() = SampleTensor(random, true);
  if (random.OneIn(2)) *response.mutable_entropy() = SampleTensor(random, true);
  if (random.OneIn(2)) *response.mutable_label_rank() = SampleTensor(random, true);
  if (random.OneIn(2)) *response.mutable_second_gradient() = SampleTensor(random, true);
  return response;
}

v1::ComputeStreamResponse SampleBlockResult(Random& random) {
  v1::ComputeStreamResponse answer;
  v1::BlockResult& block = *answer.mutable_block();
  FillBox(random, *block.mutable_box());
  FillSums(random, *block.mutable_sums());
  const auto bytes = [&] { return SampleBytes(random, random.OneIn(2) ? 0 : random.Below(300)); };
  block.set_position_losses(bytes());
  block.set_log_sum_exp(bytes());
  block.set_argmax_hits(bytes());
  block.set_probabilities(bytes());
  block.set_gradient(bytes());
  block.set_label_log_probabilities(bytes());
  block.set_entropy(bytes());
  block.set_label_rank(bytes());
  block.set_second_gradient(bytes());
  return answer;
}

v1::ComputeStreamResponse SampleSummary(Random& random) {
  v1::ComputeStreamResponse answer;
  FillResult(random, *answer.mutable_summary());
  return answer;
}

template <class L, class T>
void FillDefault(const Option<L, T>& option, google::protobuf::Message& loss) {
  if constexpr (kIsOneOf<T>) {
    ForEachMember<T>([&]<class M>(const M&) {
      const auto* const field = loss.GetDescriptor()->FindFieldByNumber(LossRow<M>::kNumber);
      if (!loss.GetReflection()->HasField(loss, field)) return;
      google::protobuf::Message& inner = *loss.GetReflection()->MutableMessage(&loss, field);
      ForEachOption<M>([&inner](const auto& its) { FillDefault(its, inner); });
    });
    return;
  } else {
    const auto* const field = loss.GetDescriptor()->FindFieldByNumber(option.number);
    const google::protobuf::Reflection& reflection = *loss.GetReflection();
    if (!field->has_presence() || reflection.HasField(loss, field)) return;
    const T usual = option.default_value();
    if constexpr (std::is_same_v<T, double>) {
      reflection.SetDouble(&loss, field, usual);
    } else if constexpr (std::is_same_v<T, bool>) {
      reflection.SetBool(&loss, field, usual);
    } else if constexpr (std::is_same_v<T, int32_t>) {
      reflection.SetInt32(&loss, field, usual);
    } else if constexpr (std::is_enum_v<T>) {
      reflection.SetEnumValue(&loss, field, static_cast<int>(usual));
    }
  }
}

// Those of every tensor that a message has.
void FillTensors(google::protobuf::Message& message) {
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  reflection.ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->message_type() != v1::Tensor::descriptor()) continue;
    FillTensorDefaults(static_cast<v1::Tensor&>(*reflection.MutableMessage(&message, field)));
  }
}

bool HasSecondGradient(const v1::LossSpec& spec) {
  for (const LossFacts& loss : kLossFacts) {
    if (loss.number == static_cast<int>(spec.loss_case())) return loss.second_gradient;
  }
  return false;
}

void FillDefaults(v1::ComputeRequest& request) {
  v1::LossSpec& spec = *request.mutable_spec();
  ForEachLoss([&spec]<class L>(const L&) {
    if (spec.loss_case() != LossRow<L>::kNumber) return;
    const auto* const field = v1::LossSpec::descriptor()->FindFieldByNumber(LossRow<L>::kNumber);
    google::protobuf::Message& loss = *spec.GetReflection()->MutableMessage(&spec, field);
    ForEachOption<L>([&loss](const auto& option) { FillDefault(option, loss); });
  });
  if (!spec.has_loss_weight()) spec.set_loss_weight(1);
  if (!spec.has_reduction()) spec.set_reduction(v1::REDUCTION_POSITIONS);
  if (!spec.has_gradient_scale()) spec.set_gradient_scale(1);
  if (!spec.has_all_ignored_policy()) spec.set_all_ignored_policy(v1::ALL_IGNORED_POLICY_ZERO);
  if (!spec.has_non_finite_policy()) spec.set_non_finite_policy(v1::NON_FINITE_POLICY_PROPAGATE);
  v1::Outputs& outputs = *spec.mutable_outputs();
  if (!outputs.has_gradient()) outputs.set_gradient(true);
  if (HasSecondGradient(spec)) {
    if (!outputs.has_second_gradient()) outputs.set_second_gradient(outputs.gradient());
  } else if (!outputs.second_gradient()) {
    outputs.clear_second_gradient();
  }
  FillTensors(request);
  FillTensorDefaults(*request.mutable_predictions());
}

void FillDefaults(v1::ComputeStreamRequest& part) {
  if (part.has_header()) FillDefaults(*part.mutable_header()->mutable_request());
}

void FillDefaults(v1::ComputeResponse& response) {
  FillSumsDefaults(*response.mutable_result()->mutable_exact());
  FillTensors(response);
}

void FillDefaults(v1::ComputeStreamResponse& answer) {
  if (answer.has_block()) FillSumsDefaults(*answer.mutable_block()->mutable_sums());
  if (answer.has_summary()) FillSumsDefaults(*answer.mutable_summary()->mutable_exact());
}

}  // namespace lossd::wire_test
