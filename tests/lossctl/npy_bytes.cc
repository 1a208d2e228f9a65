#include "tests/lossctl/npy_bytes.h"

#include "absl/strings/str_cat.h"

namespace lossd::lossctl {

std::string NpyBytes(int major, absl::string_view dict, absl::string_view data) {
  const size_t length_size = major == 1 ? 2 : 4;
  std::string text(dict);
  while ((8 + length_size + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  std::string file = "\x93NUMPY";
  file += static_cast<char>(major);
  file += '\0';
  for (size_t i = 0; i < length_size; ++i) file += static_cast<char>(text.size() >> (8 * i));
  return absl::StrCat(file, text, data);
}

std::string NpyBytes(absl::string_view descr, absl::string_view shape, absl::string_view data,
                     bool fortran_order) {
  return NpyBytes(1,
                  absl::StrCat("{'descr': '", descr, "', 'fortran_order': ",
                               fortran_order ? "True" : "False", ", 'shape': ", shape, ", }"),
                  data);
}

}  // namespace lossd::lossctl
