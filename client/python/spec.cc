#include "client/python/spec.h"

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/python/value.h"

namespace lossd::python {
namespace {

// A field of a spec, of the loss's message or of LossSpec.
struct Field {
  std::string name;
  std::string annotation;
  nb::object default_value;
  std::string help;
  std::function<void(LossSpec& spec, nb::handle value)> set;
  std::function<nb::object(const LossSpec& spec)> get;
};

template <class T>
Field Common(const char* name, T LossSpec::*member, const char* help) {
  return {name,
          FieldType<T>::Annotation(),
          FieldType<T>::Write(LossSpec{}.*member),
          help,
          [name, member](LossSpec& spec, nb::handle value) {
            spec.*member = FieldType<T>::Read(value, name);
          },
          [member](const LossSpec& spec) { return FieldType<T>::Write(spec.*member); }};
}

// The fields of LossSpec that a loss takes, but the outputs, which calls say.
std::vector<Field> CommonFields(const LossFacts& loss) {
  std::vector<Field> fields = {
      Common("class_axis", &LossSpec::class_axis,
             "Dimension of the classes; negative counts from the last. Default 1, of vectors 0."),
      Common("weight_normalization", &LossSpec::weight_normalization,
             "How class weights are scaled; default \"local\"."),
      Common("loss_weight", &LossSpec::loss_weight, "Scales loss and gradient."),
      Common("reduction", &LossSpec::reduction, "What the sum of the losses is divided by."),
      Common("denominator", &LossSpec::denominator, "With reduction \"given\", and only then."),
      Common("gradient_scale", &LossSpec::gradient_scale, "Scales the gradient only."),
      Common("gradient_dtype", &LossSpec::gradient_dtype, "Default: that of the predictions."),
      Common("all_ignored_policy", &LossSpec::all_ignored_policy,
             "The answer where nothing counts."),
      Common("non_finite_policy", &LossSpec::non_finite_policy,
             "What becomes of rows with NaN or +inf."),
  };
  if (loss.second_gradient) {
    fields.push_back(Common("second_gradient_dtype", &LossSpec::second_gradient_dtype,
                            "Default: that of the second predictions."));
  }
  if (loss.ignores) {
    fields.push_back(Common("ignore_labels", &LossSpec::ignore_labels,
                            "Labels to skip; with class indices only."));
  }
  if (loss.smooths) {
    fields.push_back(Common("label_smoothing", &LossSpec::label_smoothing,
                            "Share of the target that is spread over all classes."));
  }
  return fields;
}

// Words of Python's get an underscore.
std::string PythonName(std::string_view name) {
  return std::string(name).append(name == "lambda" ? "_" : "");
}

template <class L, class T>
Field OptionField(const Option<L, T>& option) {
  const std::string name = PythonName(option.name);
  T L::*const member = option.member;
  return {name,
          FieldType<T>::Annotation(),
          FieldType<T>::Write(option.default_value()),
          std::string(option.help),
          [name, member](LossSpec& spec, nb::handle value) {
            std::get<L>(spec.loss).*member = FieldType<T>::Read(value, name);
          },
          [member](const LossSpec& spec) {
            return FieldType<T>::Write(std::get<L>(spec.loss).*member);
          }};
}

template <class L>
std::vector<Field> OptionFields() {
  std::vector<Field> fields;
  ForEachOption<L>([&fields](const auto& option) { fields.push_back(OptionField(option)); });
  return fields;
}

// By index of the loss: its options, then the common fields. Never destroyed: the interpreter is
// gone by then.
const std::vector<std::vector<Field>>& AllFields() {
  static const auto& fields = *[] {
    auto* all = new std::vector<std::vector<Field>>;
    ForEachLoss([all]<class L>(const L& loss) {
      all->push_back(OptionFields<L>());
      for (Field& field : CommonFields(FactsOf(loss))) all->back().push_back(std::move(field));
    });
    return all;
  }();
  return fields;
}

const std::vector<Field>& FieldsOf(const LossSpec& spec) { return AllFields()[spec.loss.index()]; }

std::string Name(const LossSpec& spec) { return std::string(FactsOf(spec.loss).name); }

// With default options.
LossSpec SpecByName(const std::string& name) {
  LossSpec spec;
  for (size_t i = 0; i < kLossCount; ++i) {
    if (kLossFacts[i].name != name) continue;
    spec.loss = kDefaultLosses[i];
    return spec;
  }
  throw nb::value_error(absl::StrCat("the loss is \"", name, "\"; wanted one of ",
                                     absl::StrJoin(kLossFacts, ", ",
                                                   [](std::string* names, const LossFacts& loss) {
                                                     names->append(loss.name);
                                                   }))
                            .c_str());
}

void SetField(LossSpec& spec, std::string_view name, nb::handle value) {
  for (const Field& field : FieldsOf(spec)) {
    if (field.name == name) return field.set(spec, value);
  }
  throw nb::type_error(absl::StrCat(Name(spec), " has no option ", std::string(name)).c_str());
}

void MakeSpec(LossSpec* spec, const std::string& loss, const nb::kwargs& fields) {
  new (spec) LossSpec(SpecByName(loss));
  for (const auto [name, value] : fields) {
    SetField(*spec, nb::cast<std::string>(name), value);
  }
}

// The fields that are not as they are by default.
nb::dict Changed(const LossSpec& spec) {
  nb::dict changed;
  for (const Field& field : FieldsOf(spec)) {
    const nb::object value = field.get(spec);
    if (!value.equal(field.default_value)) changed[field.name.c_str()] = value;
  }
  return changed;
}

std::string Repr(nb::handle self) {
  const auto& spec = nb::cast<const LossSpec&>(self);
  std::string text = nb::cast<std::string>(self.type().attr("__name__"));
  const bool bare = self.type().is(nb::type<LossSpec>());
  absl::StrAppend(&text, "(", bare ? absl::StrCat("\"", Name(spec), "\"") : "");
  const char* comma = bare ? ", " : "";
  for (const auto [name, value] : Changed(spec)) {
    absl::StrAppend(&text, comma, nb::cast<std::string>(name), "=",
                    nb::cast<std::string>(nb::repr(value)));
    comma = ", ";
  }
  return text + ")";
}

// A spec of the same class with other fields.
nb::object Rebuild(nb::handle self, const nb::dict& fields) {
  const nb::handle type = self.type();
  if (!type.is(nb::type<LossSpec>())) return type(**nb::borrow<nb::kwargs>(fields));
  return type(Name(nb::cast<const LossSpec&>(self)), **nb::borrow<nb::kwargs>(fields));
}

nb::object Replace(nb::handle self, const nb::kwargs& fields) {
  const nb::dict merged = Changed(nb::cast<const LossSpec&>(self));
  for (const auto [name, value] : fields) merged[name] = value;
  return Rebuild(self, merged);
}

nb::object Reduce(nb::handle self) {
  const auto& spec = nb::cast<const LossSpec&>(self);
  return nb::make_tuple(nb::module_::import_("lossd._meaning").attr("rebuild"),
                        nb::make_tuple(self.type(), Name(spec), Changed(spec)));
}

nb::object GetField(const LossSpec& spec, const std::string& name) {
  for (const Field& field : FieldsOf(spec)) {
    if (field.name == name) return field.get(spec);
  }
  throw nb::attribute_error(absl::StrCat(Name(spec), " has no option ", name).c_str());
}

nb::list DescribeFields(const std::vector<Field>& fields, size_t begin, size_t end) {
  nb::list list;
  for (size_t i = begin; i < end; ++i) {
    nb::dict field;
    field["name"] = fields[i].name;
    field["annotation"] = fields[i].annotation;
    field["default"] = fields[i].default_value;
    field["help"] = fields[i].help;
    list.append(field);
  }
  return list;
}

const char* NameOf(Per per) {
  switch (per) {
    case Per::kElement:
      return "element";
    case Per::kPosition:
      return "position";
    case Per::kClass:
      return "class";
    case Per::kClassOrOne:
      return "class or one";
    case Per::kSequence:
      return "sequence";
    case Per::kSlot:
      return "label of a position";
    case Per::kClassPair:
      return "pair of classes";
  }
  return "";
}

nb::str Str(std::string_view text) { return nb::str(text.data(), text.size()); }

nb::tuple TensorNames(const LossSpec& spec) {
  nb::list names;
  for (const TensorRule& rule : FactsOf(spec.loss).tensors)
    names.append(Str(FactsOf(rule.role).name));
  return nb::tuple(names);
}

nb::dict DescribeLoss(size_t index) {
  const LossFacts& facts = kLossFacts[index];
  const std::vector<Field>& fields = AllFields()[index];
  const size_t options = fields.size() - CommonFields(facts).size();
  nb::dict loss;
  loss["name"] = Str(facts.name);
  loss["family"] = Str(lossd::NameOf(facts.family));
  loss["predictions"] = Str(lossd::NameOf(facts.predictions));
  nb::list tensors;
  for (const TensorRule& rule : facts.tensors) {
    nb::dict tensor;
    tensor["name"] = Str(FactsOf(rule.role).name);
    tensor["required"] = rule.presence == Presence::kRequired;
    tensors.append(tensor);
  }
  loss["tensors"] = tensors;
  loss["options"] = DescribeFields(fields, 0, options);
  loss["common"] = DescribeFields(fields, options, fields.size());
  return loss;
}

nb::dict Catalogue() {
  nb::dict catalogue;
  nb::list losses;
  for (size_t i = 0; i < kLossCount; ++i) losses.append(DescribeLoss(i));
  catalogue["losses"] = losses;
  nb::list tensors;
  for (const TensorFacts& row : kTensorRows<TensorDesc>) {
    nb::dict tensor;
    tensor["name"] = Str(row.name);
    tensor["member"] = Str(row.member_name());
    tensor["per"] = NameOf(row.per);
    tensor["is_target"] = row.target_kind.has_value();
    tensors.append(tensor);
  }
  catalogue["tensors"] = tensors;
  nb::list outputs;
  for (const OutputFacts& row : kOutputRows<bool>) {
    nb::dict output;
    output["name"] = Str(row.name);
    output["per"] = NameOf(row.per);
    outputs.append(output);
  }
  catalogue["outputs"] = outputs;
  return catalogue;
}

}  // namespace

const LossSpec& ReadSpec(nb::handle spec) {
  if (nb::isinstance<LossSpec>(spec)) return nb::cast<const LossSpec&>(spec);
  if (!nb::isinstance<nb::str>(spec)) {
    ThrowWrongType("spec", spec, "a loss, as one of lossd.losses, or the name of one");
  }
  // Names with their defaults, made once.
  static auto& by_name = *new std::map<std::string, LossSpec>;
  const auto name = nb::cast<std::string>(spec);
  const auto found = by_name.find(name);
  if (found != by_name.end()) return found->second;
  return by_name.emplace(name, SpecByName(name)).first->second;
}

void BindSpec(nb::module_& module) {
  nb::class_<LossSpec>(module, "Spec",
                       "A loss and what is computed of it. Each loss has a class of its own.")
      .def("__init__", &MakeSpec, nb::arg("loss"), nb::arg("fields"))
      .def_prop_ro("loss", &Name, "Name of the loss.")
      .def_prop_ro("tensors", &TensorNames, "Names of the tensors that the loss takes.")
      .def("__getattr__", &GetField)
      .def("__repr__", [](nb::handle self) { return Repr(self); })
      .def("changed", &Changed, "The fields that differ from their defaults.")
      .def("replace", &Replace, nb::arg("fields"), "The same but for the fields that are given.")
      .def("__reduce__", &Reduce)
      .def("__eq__",
           [](const LossSpec& a, nb::handle b) {
             if (!nb::isinstance<LossSpec>(b)) return false;
             const auto& other = nb::cast<const LossSpec&>(b);
             return a.loss.index() == other.loss.index() && Changed(a).equal(Changed(other));
           })
      .def("__hash__", [](const LossSpec& spec) {
        return nb::hash(nb::make_tuple(Name(spec), nb::repr(Changed(spec))));
      });
  module.def("catalogue", &Catalogue,
             "All losses, tensors and outputs, from which the classes and functions are made.");
}

}  // namespace lossd::python
