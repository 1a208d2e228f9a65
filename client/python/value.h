#ifndef LOSSD_CLIENT_PYTHON_VALUE_H_
#define LOSSD_CLIENT_PYTHON_VALUE_H_

#include <nanobind/nanobind.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/python/array.h"
#include "lossd/dtype.h"
#include "lossd/loss_spec.h"

// The fields of a spec as Python has them: the type's name for annotations, and values both ways.

namespace lossd::python {

namespace nb = nanobind;

// The word of each value of an enum that is no option of a loss, but a field of every spec.
template <class E>
struct Word {
  E value;
  std::string_view word;
};
template <class E>
struct FieldWords;
template <>
struct FieldWords<WeightNormalization> {
  static constexpr Word<WeightNormalization> kRows[] = {{WeightNormalization::kLocal, "local"},
                                                        {WeightNormalization::kGlobal, "global"},
                                                        {WeightNormalization::kNone, "none"}};
};
template <>
struct FieldWords<Reduction> {
  static constexpr Word<Reduction> kRows[] = {{Reduction::kPositions, "positions"},
                                              {Reduction::kValid, "valid"},
                                              {Reduction::kWeightSum, "weight_sum"},
                                              {Reduction::kBatch, "batch"},
                                              {Reduction::kSum, "sum"},
                                              {Reduction::kGiven, "given"},
                                              {Reduction::kNone, "none"}};
};
template <>
struct FieldWords<AllIgnoredPolicy> {
  static constexpr Word<AllIgnoredPolicy> kRows[] = {{AllIgnoredPolicy::kZero, "zero"},
                                                     {AllIgnoredPolicy::kNan, "nan"},
                                                     {AllIgnoredPolicy::kError, "error"}};
};
template <>
struct FieldWords<NonFinitePolicy> {
  static constexpr Word<NonFinitePolicy> kRows[] = {{NonFinitePolicy::kPropagate, "propagate"},
                                                    {NonFinitePolicy::kError, "error"}};
};

// The words of an enum, whichever it is, with their values. An enum without words does not compile.
template <class E>
std::vector<std::pair<E, std::string>> WordsOf() {
  std::vector<std::pair<E, std::string>> words;
  if constexpr (requires { FieldWords<E>::kRows; }) {
    for (const Word<E>& row : FieldWords<E>::kRows) words.emplace_back(row.value, row.word);
  } else {
    for (size_t i = 0; i < std::size(Words<E>::kNames); ++i) {
      words.emplace_back(static_cast<E>(i + 1),
                         absl::AsciiStrToLower(std::string(Words<E>::kNames[i])));
    }
  }
  return words;
}

[[noreturn]] void ThrowWrongType(std::string_view name, nb::handle got, std::string_view wanted);
[[noreturn]] void ThrowWrongWord(std::string_view name, std::string_view got,
                                 std::string_view wanted);

// The words, each in quotes, with commas.
template <class E>
std::string ListWords() {
  return absl::StrJoin(WordsOf<E>(), ", ", [](std::string* list, const auto& word) {
    absl::StrAppend(list, "\"", word.second, "\"");
  });
}

// Type T of a field: Annotation() is its type in Python; Read throws TypeError for another one, and
// ValueError for a word that is none of an enum's.
template <class T>
struct FieldType {  // an enum
  static std::string Annotation() { return absl::StrCat("Literal[", ListWords<T>(), "]"); }
  static T Read(nb::handle from, std::string_view name) {
    if (!nb::isinstance<nb::str>(from)) ThrowWrongType(name, from, ListWords<T>());
    const auto text = nb::cast<std::string>(from);
    for (const auto& [known, word] : WordsOf<T>()) {
      if (word == text) return known;
    }
    ThrowWrongWord(name, text, ListWords<T>());
  }
  static nb::object Write(const T& from) {
    for (const auto& [known, word] : WordsOf<T>()) {
      if (known == from) return nb::str(word.c_str());
    }
    return nb::none();
  }
};

template <>
struct FieldType<double> {
  static std::string Annotation() { return "float"; }
  static double Read(nb::handle from, std::string_view name);
  static nb::object Write(double value) { return nb::float_(value); }
};

template <>
struct FieldType<bool> {
  static std::string Annotation() { return "bool"; }
  static bool Read(nb::handle from, std::string_view name);
  static nb::object Write(bool value) { return nb::bool_(value); }
};

template <>
struct FieldType<int64_t> {
  static std::string Annotation() { return "int"; }
  static int64_t Read(nb::handle from, std::string_view name);
  static nb::object Write(int64_t value) { return nb::int_(value); }
};

template <>
struct FieldType<int> {
  static std::string Annotation() { return "int"; }
  static int Read(nb::handle from, std::string_view name);
  static nb::object Write(int value) { return nb::int_(value); }
};

template <>
struct FieldType<DType> {
  static std::string Annotation() { return "DTypeLike"; }
  static DType Read(nb::handle from, std::string_view name) { return ReadDType(from, name); }
  static nb::object Write(DType value) { return nb::str(FrameworkName(value)); }
};

template <class T>
struct FieldType<std::optional<T>> {
  static std::string Annotation() { return absl::StrCat(FieldType<T>::Annotation(), " | None"); }
  static std::optional<T> Read(nb::handle from, std::string_view name) {
    if (from.is_none()) return std::nullopt;
    return FieldType<T>::Read(from, name);
  }
  static nb::object Write(const std::optional<T>& value) {
    return value ? FieldType<T>::Write(*value) : nb::none();
  }
};

template <class T>
struct FieldType<std::vector<T>> {
  static std::string Annotation() {
    return absl::StrCat("Sequence[", FieldType<T>::Annotation(), "]");
  }
  static std::vector<T> Read(nb::handle from, std::string_view name) {
    if (nb::isinstance<nb::str>(from) || !nb::hasattr(from, "__iter__")) {
      ThrowWrongType(name, from, Annotation());
    }
    std::vector<T> values;
    for (const nb::handle item : from) values.push_back(FieldType<T>::Read(item, name));
    return values;
  }
  static nb::object Write(const std::vector<T>& values) {
    nb::list list;
    for (const T& value : values) list.append(FieldType<T>::Write(value));
    return nb::tuple(list);
  }
};

// The options of a message M, by name, those that differ from their defaults.
template <class M>
nb::dict WriteOptions(const M& message) {
  nb::dict options;
  ForEachOption<M>([&]<class T>(const Option<M, T>& option) {
    const nb::object set = FieldType<T>::Write(message.*option.member);
    if (set.equal(FieldType<T>::Write(option.default_value()))) return;
    options[std::string(option.name).c_str()] = set;
  });
  return options;
}

template <class M>
M ReadOptions(nb::handle from, std::string_view name) {
  if (!nb::isinstance<nb::dict>(from)) ThrowWrongType(name, from, "a dict of options");
  M message;
  for (const auto [key, given] : nb::borrow<nb::dict>(from)) {
    const std::string wanted = nb::cast<std::string>(nb::str(key));
    bool found = false;
    ForEachOption<M>([&, given = nb::handle(given)]<class T>(const Option<M, T>& option) {
      if (option.name != wanted) return;
      found = true;
      message.*option.member = FieldType<T>::Read(given, wanted);
    });
    if (!found) ThrowWrongType(name, from, absl::StrCat("no option ", wanted));
  }
  return message;
}

// A oneof of messages: None, the name of one, or a dict of one name and its options.
template <class... M>
struct FieldType<std::variant<std::monostate, M...>> {
  using OneOf = std::variant<std::monostate, M...>;

  static std::string Words() {
    return absl::StrJoin({absl::StrCat("\"", std::string(LossRow<M>::kName), "\"")...}, ", ");
  }
  static std::string Annotation() {
    return absl::StrCat("Literal[", Words(), "] | dict[str, dict[str, Any]] | None");
  }
  static OneOf Read(nb::handle from, std::string_view name) {
    if (from.is_none()) return {};
    nb::object chosen = nb::borrow(from);
    nb::object options = nb::dict();
    if (nb::isinstance<nb::dict>(from) && nb::len(from) == 1) {
      for (const auto [key, given] : nb::borrow<nb::dict>(from)) {
        chosen = nb::borrow(key);
        options = nb::borrow(given);
      }
    }
    if (!nb::isinstance<nb::str>(chosen)) ThrowWrongType(name, from, Annotation());
    const auto word = nb::cast<std::string>(chosen);
    OneOf message;
    const auto read = [&]<class One>(const One&) {
      if (LossRow<One>::kName == word) message = ReadOptions<One>(options, name);
    };
    (read(M()), ...);
    if (message.index() == 0) ThrowWrongWord(name, word, Words());
    return message;
  }
  static nb::object Write(const OneOf& from) {
    nb::object written = nb::none();
    const auto write = [&]<class One>(const One&) {
      const One* const set = std::get_if<One>(&from);
      if (set == nullptr) return;
      const nb::str word(std::string(LossRow<One>::kName).c_str());
      const nb::dict options = WriteOptions(*set);
      written = word;
      if (nb::len(options) == 0) return;
      nb::dict named;
      named[word] = options;
      written = named;
    };
    (write(M()), ...);
    return written;
  }
};

// A message that may be absent: None, or a dict of its options.
template <class M>
struct FieldType<std::variant<std::monostate, M>> {
  using Message = std::variant<std::monostate, M>;

  static std::string Annotation() { return "dict[str, Any] | None"; }
  static Message Read(nb::handle from, std::string_view name) {
    if (from.is_none()) return {};
    if (!nb::isinstance<nb::dict>(from)) ThrowWrongType(name, from, Annotation());
    return ReadOptions<M>(nb::borrow(from), name);
  }
  static nb::object Write(const Message& from) {
    const M* const set = std::get_if<M>(&from);
    return set == nullptr ? nb::none() : nb::object(WriteOptions(*set));
  }
};

}  // namespace lossd::python

#endif  // LOSSD_CLIENT_PYTHON_VALUE_H_
