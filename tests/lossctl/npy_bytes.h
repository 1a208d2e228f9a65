#ifndef LOSSD_TESTS_LOSSCTL_NPY_BYTES_H_
#define LOSSD_TESTS_LOSSCTL_NPY_BYTES_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace lossd::lossctl {

// A .npy file as bytes, made without the code under test. `dict` is padded like NumPy pads it.
std::string NpyBytes(int major, absl::string_view dict, absl::string_view data);

// Version 1 with the usual dictionary: NpyBytes("<f4", "(2, 3)", data).
std::string NpyBytes(absl::string_view descr, absl::string_view shape, absl::string_view data,
                     bool fortran_order = false);

// The bytes of numbers.
template <class T>
std::string Bytes(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

// The numbers behind the header of a file that was written with the default padding.
template <class T>
std::vector<T> Elements(const std::string& file) {
  const size_t header =
      10 + static_cast<unsigned char>(file[8]) + 256 * static_cast<unsigned char>(file[9]);
  std::vector<T> values((file.size() - header) / sizeof(T));
  file.copy(reinterpret_cast<char*>(values.data()), values.size() * sizeof(T), header);
  return values;
}

}  // namespace lossd::lossctl

#endif  // LOSSD_TESTS_LOSSCTL_NPY_BYTES_H_
