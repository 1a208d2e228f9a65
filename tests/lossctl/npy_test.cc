#include "client/npy/npy.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/lossctl/npy_bytes.h"
#include "tests/support/temp_dir.h"

namespace lossd::npy {
namespace {

using lossctl::Bytes;
using lossctl::NpyBytes;
using testing::ElementsAre;
using testing::HasSubstr;

std::string ElementBytes(const TensorView& view) {
  return std::string(reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size());
}

std::string Zeros(size_t count) { return std::string(count, '\0'); }

struct DTypeCase {
  const char* descr;
  DType dtype;
};

class ReadDType : public testing::TestWithParam<DTypeCase> {};

TEST_P(ReadDType, KeepsBytesAndNamesType) {
  const auto& [descr, dtype] = GetParam();
  std::string data;
  for (int64_t i = 0; i < 3 * SizeOf(dtype); ++i) data += static_cast<char>(i + 1);
  const TempDir scratch;
  const auto tensor = ReadNpy(scratch.Write("a.npy", NpyBytes(descr, "(3,)", data)));
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(tensor->view().desc, (TensorDesc{dtype, {3}, Layout::kRowMajor}));
  std::string wanted = data;
  if (descr[0] == '>') {
    const auto size = static_cast<size_t>(SizeOf(dtype));
    for (size_t i = 0; i < data.size(); ++i)
      wanted[i] = data[i / size * size + size - 1 - i % size];
  }
  EXPECT_EQ(ElementBytes(tensor->view()), wanted);
}

INSTANTIATE_TEST_SUITE_P(
    Descr, ReadDType,
    testing::Values(
        DTypeCase{"<f2", DType::kF16}, DTypeCase{"<f4", DType::kF32}, DTypeCase{"<f8", DType::kF64},
        DTypeCase{"|i1", DType::kI8}, DTypeCase{"<i1", DType::kI8}, DTypeCase{"<i2", DType::kI16},
        DTypeCase{"<i4", DType::kI32}, DTypeCase{"<i8", DType::kI64}, DTypeCase{"|u1", DType::kU8},
        DTypeCase{"<u2", DType::kU16}, DTypeCase{"<u4", DType::kU32}, DTypeCase{"<u8", DType::kU64},
        DTypeCase{"<V2", DType::kBF16}, DTypeCase{"|V2", DType::kBF16},
        DTypeCase{"bfloat16", DType::kBF16}, DTypeCase{">f2", DType::kF16},
        DTypeCase{">f4", DType::kF32}, DTypeCase{">f8", DType::kF64}, DTypeCase{">i1", DType::kI8},
        DTypeCase{">i2", DType::kI16}, DTypeCase{">i4", DType::kI32}, DTypeCase{">i8", DType::kI64},
        DTypeCase{">u1", DType::kU8}, DTypeCase{">u2", DType::kU16}, DTypeCase{">u4", DType::kU32},
        DTypeCase{">u8", DType::kU64}),
    [](const auto& info) {
      return absl::StrReplaceAll(info.param.descr, {{"<", "le_"}, {">", "be_"}, {"|", "any_"}});
    });

struct GoodCase {
  const char* name;
  std::string file;
  std::vector<int64_t> shape;
  Layout layout = Layout::kRowMajor;
};

class ReadGood : public testing::TestWithParam<GoodCase> {};

TEST_P(ReadGood, HasShapeAndLayout) {
  const TempDir scratch;
  const auto tensor = ReadNpy(scratch.Write("a.npy", GetParam().file));
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(tensor->view().desc.shape, GetParam().shape);
  EXPECT_EQ(tensor->view().desc.layout, GetParam().layout);
}

constexpr char kDict[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }";

INSTANTIATE_TEST_SUITE_P(
    File, ReadGood,
    testing::Values(
        GoodCase{"version_1", NpyBytes(1, kDict, "abcdef"), {2, 3}},
        GoodCase{"version_2", NpyBytes(2, kDict, "abcdef"), {2, 3}},
        GoodCase{"version_3", NpyBytes(3, kDict, "abcdef"), {2, 3}},
        // The length's low byte is above 127: read as a signed char it would be -10.
        GoodCase{"header_of_246",
                 NpyBytes(1, std::string(kDict) + std::string(140, ' '), "abcdef"),
                 {2, 3}},
        GoodCase{"header_of_65k",
                 NpyBytes(2, std::string(kDict) + std::string(65000, ' '), "abcdef"),
                 {2, 3}},
        GoodCase{"fortran_order",
                 NpyBytes("|u1", "(2, 3)", "abcdef", true),
                 {2, 3},
                 Layout::kColumnMajor},
        GoodCase{"rank_0", NpyBytes("<f8", "()", Zeros(8)), {}},
        GoodCase{"no_elements", NpyBytes("<f4", "(0, 5)", ""), {0, 5}},
        GoodCase{"keys_in_any_order",
                 NpyBytes(1, "{'shape':(2,3),'fortran_order':True,'descr':'|u1'}", "abcdef"),
                 {2, 3},
                 Layout::kColumnMajor},
        GoodCase{"double_quotes_and_blanks",
                 NpyBytes(1,
                          " { \"descr\" : \"|u1\" , \"fortran_order\" : False , \"shape\" : ( 2 "
                          ", 3 , ) } ",
                          "abcdef"),
                 {2, 3}},
        GoodCase{"python_2_longs", NpyBytes("|u1", "(2L, 3L)", "abcdef"), {2, 3}}),
    [](const auto& info) { return info.param.name; });

struct BadCase {
  const char* name;
  std::string file;
  const char* message;
};

class ReadBad : public testing::TestWithParam<BadCase> {};

TEST_P(ReadBad, IsRefusedByName) {
  const TempDir scratch;
  const std::string path = scratch.Write("a.npy", GetParam().file);
  const auto tensor = ReadNpy(path);
  ASSERT_FALSE(tensor.ok());
  EXPECT_EQ(tensor.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(tensor.status().message()), HasSubstr(path));
  EXPECT_THAT(std::string(tensor.status().message()), HasSubstr(GetParam().message));
}

// "(1,1,...)"
std::string Ones(int rank) {
  std::string shape = "(";
  for (int i = 0; i < rank; ++i) shape += "1,";
  return shape + ")";
}

std::string Shaped(const char* shape, const char* data = "abcdef") {
  return NpyBytes("|u1", shape, data);
}

INSTANTIATE_TEST_SUITE_P(
    File, ReadBad,
    testing::Values(
        BadCase{"empty", "", "is empty"},
        BadCase{"text", "1,2,3\n4,5,6\n", "is not a .npy file: it begins with '1,2,3"},
        BadCase{"archive", "PK\x03\x04 and so on", ".npz archive"},
        BadCase{"version_0", NpyBytes(0, kDict, "abcdef"), "version 0.0; wanted 1.0, 2.0 or 3.0"},
        BadCase{"version_4", NpyBytes(4, kDict, "abcdef"), "version 4.0"},
        BadCase{"header_past_end", absl::StrCat("\x93NUMPY\x01", Zeros(1), "\xff\xff{}"),
                "ends inside its header"},
        BadCase{"header_of_4_gib", absl::StrCat("\x93NUMPY\x02", Zeros(1), "\xff\xff\xff\xff{}"),
                "has a header of 4294967295 bytes"},
        BadCase{"cut_short", Shaped("(2, 3)", "abcde"),
                "is cut short: 5 bytes of elements; u8 [2,3] has 6"},
        BadCase{"too_long", Shaped("(2, 3)", "abcdefg"), "is too long: 7 bytes of elements"},
        BadCase{"elements_missing", Shaped("(2, 3)", ""), "is cut short: 0 bytes"},
        BadCase{"rank_0_empty", NpyBytes("<f8", "()", ""), "is cut short: 0 bytes"},
        BadCase{"huge", Shaped("(4611686018427387904,)"), "is cut short"},
        BadCase{"product_overflows", Shaped("(4611686018427387905, 4)"), "shape is too large"},
        BadCase{"bytes_overflow", NpyBytes("<f8", "(2305843009213693952,)", ""),
                "shape is too large"},
        BadCase{"zero_hides_overflow", Shaped("(0, 4611686018427387905, 4)", ""),
                "shape is too large"},
        BadCase{"extent_overflows", Shaped("(9223372036854775808,)"),
                "is more than 9223372036854775807"},
        BadCase{"extent_wraps_to_6", Shaped("(18446744073709551622,)"), "is more than"},
        BadCase{"negative", Shaped("(-2, -3)"), "shape: '-2, -3)"},
        BadCase{"fraction", Shaped("(2.0, 3)"), "shape: '.0, 3)"},
        BadCase{"not_a_tuple", Shaped("(6)"), "shape is (6); wanted a tuple"},
        BadCase{"list_as_shape", Shaped("[2, 3]"), "shape is '[2, 3]"},
        BadCase{"two_commas", Shaped("(2,, 3)"), "shape: ', 3)"},
        BadCase{"no_comma", Shaped("(2 3)"), "wanted ',' or ')'"},
        BadCase{"rank_65", NpyBytes("|u1", Ones(65), "a"), "more than 64 extents"},
        BadCase{"wide_bool", NpyBytes("<b4", "(1,)", Zeros(4)), "descr is '<b4'; wanted one of"},
        BadCase{"complex", NpyBytes("<c8", "(1,)", Zeros(8)), "descr is '<c8'"},
        BadCase{"objects", NpyBytes("|O", "(1,)", Zeros(8)), "descr is '|O'"},
        BadCase{"long_double", NpyBytes("<f16", "(1,)", Zeros(16)), "descr is '<f16'"},
        BadCase{"any_order_float", NpyBytes("|f4", "(1,)", Zeros(4)), "descr is '|f4'"},
        BadCase{"structure",
                NpyBytes(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
                         Zeros(4)),
                "descr is a list"},
        BadCase{"no_dictionary", NpyBytes(1, "[1, 2]", ""), "wanted a dictionary"},
        BadCase{"no_header", NpyBytes(1, "", ""), "the end of the header; wanted a dictionary"},
        BadCase{"unclosed", NpyBytes(1, "{'descr': '|u1'", ""),
                "the end of the header after a value"},
        BadCase{"no_descr", NpyBytes(1, "{'fortran_order': False, 'shape': (1,)}", "a"),
                "has no 'descr'"},
        BadCase{"no_order", NpyBytes(1, "{'descr': '|u1', 'shape': (1,)}", "a"),
                "has no 'fortran_order'"},
        BadCase{"no_shape", NpyBytes(1, "{'descr': '|u1', 'fortran_order': False}", "a"),
                "has no 'shape'"},
        BadCase{
            "key_twice",
            NpyBytes(1, "{'descr': '|u1', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
                     "a"),
            "has 'descr' twice"},
        BadCase{"unknown_key", NpyBytes(1, "{'descr': '|u1', 'color': 'red'}", "a"),
                "has the key 'color'"},
        BadCase{"order_as_number",
                NpyBytes(1, "{'descr': '|u1', 'fortran_order': 0, 'shape': (1,)}", "a"),
                "fortran_order is '0, "},
        BadCase{"junk_after",
                NpyBytes(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)} + x", "a"),
                "'+ x"},
        BadCase{"zero_bytes", NpyBytes(1, Zeros(40), ""), "\\x00"},
        BadCase{"quote_unclosed", NpyBytes(1, "{'descr: |u1}", ""), "has no closing quote"}),
    [](const auto& info) { return info.param.name; });

TEST(ReadNpy, RefusesEveryProperPrefix) {
  const std::string file = NpyBytes("<f4", "(2, 3)", Bytes<float>({1, 2, 3, 4, 5, 6}));
  const TempDir scratch;
  for (size_t size = 0; size < file.size(); ++size) {
    const auto tensor = ReadNpy(scratch.Write("a.npy", file.substr(0, size)));
    ASSERT_FALSE(tensor.ok()) << "the first " << size << " bytes were accepted";
    EXPECT_EQ(tensor.status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(ReadNpy(scratch.Write("a.npy", file)).ok());
}

// Any byte of the header may be anything: the answer is a tensor that fits the file, or an error.
TEST(ReadNpy, SurvivesEveryChangedByte) {
  const std::string file = NpyBytes("<i2", "(2, 3)", Bytes<int16_t>({1, 2, 3, 4, 5, 6}));
  const TempDir scratch;
  int accepted = 0;
  for (size_t i = 0; i < file.size() - 12; ++i) {
    for (const int change : {1, 2, 4, 8, 16, 32, 64, 128, 255}) {
      std::string changed = file;
      changed[i] = static_cast<char>(changed[i] ^ change);
      const auto tensor = ReadNpy(scratch.Write("a.npy", changed));
      if (!tensor.ok()) continue;
      ++accepted;
      EXPECT_EQ(ByteCount(tensor->view().desc), 12) << "byte " << i << " changed by " << change;
      EXPECT_EQ(tensor->view().bytes.size(), 12u);
    }
  }
  EXPECT_GT(accepted, 0);  // '<u2' among others
}

TEST(ReadNpy, NamesWhatIsNotAFile) {
  const TempDir scratch;
  const auto missing = ReadNpy(scratch.Path("missing.npy"));
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("missing.npy: cannot be opened"));
  const auto directory = ReadNpy(scratch.Path(""));
  EXPECT_THAT(std::string(directory.status().message()), HasSubstr("is a directory"));
  ASSERT_EQ(mkfifo(scratch.Path("pipe").c_str(), 0600), 0);
  const auto pipe = ReadNpy(scratch.Path("pipe"));  // nobody writes: may not wait
  EXPECT_THAT(std::string(pipe.status().message()), HasSubstr("is not a regular file"));
}

TEST(ReadNpy, OutlivesTheFile) {
  const TempDir scratch;
  const std::string path = scratch.Write("a.npy", NpyBytes("|u1", "(6,)", "abcdef"));
  absl::StatusOr<NpyTensor> tensor = ReadNpy(path);
  ASSERT_TRUE(tensor.ok());
  ASSERT_EQ(unlink(path.c_str()), 0);
  const NpyTensor copy = *tensor;
  tensor = absl::CancelledError("dropped");
  EXPECT_EQ(ElementBytes(copy.view()), "abcdef");
}

TEST(WriteNpy, WritesWhatNumPyWrites) {
  const TempDir scratch;
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const std::string path = scratch.Path("a.npy");
  ASSERT_TRUE(WriteNpy(path, TensorView::Of<float>(values, {2, 3})).ok());
  EXPECT_EQ(ReadWhole(path),
            absl::StrCat("\x93NUMPY\x01", Zeros(1), "v", Zeros(1),
                         "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
                         std::string(58, ' '), "\n", Bytes(values)));
}

TEST(WriteNpy, ReadsBackEveryTypeShapeAndLayout) {
  const TempDir scratch;
  const std::vector<std::vector<int64_t>> shapes = {
      {}, {1}, {5}, {0}, {2, 3}, {0, 7}, {2, 1, 3, 1, 2, 1, 1, 2}};
  for (const DType dtype : kAllDTypes) {
    for (const auto& shape : shapes) {
      for (const Layout layout : {Layout::kRowMajor, Layout::kColumnMajor}) {
        const TensorDesc desc{dtype, shape, layout};
        std::string data;
        for (int64_t i = 0; i < *ByteCount(desc); ++i) data += static_cast<char>(7 * i + 3);
        const std::string path = scratch.Path("a.npy");
        const absl::Status written =
            WriteNpy(path, {desc, {reinterpret_cast<const std::byte*>(data.data()), data.size()}});
        ASSERT_TRUE(written.ok()) << written;
        EXPECT_EQ((ReadWhole(path).size() - data.size()) % 64, 0u);
        const auto tensor = ReadNpy(path);
        ASSERT_TRUE(tensor.ok()) << tensor.status();
        EXPECT_EQ(tensor->view().desc, desc);
        EXPECT_EQ(ElementBytes(tensor->view()), data);
      }
    }
  }
}

TEST(WriteNpy, ReplacesAtOnceAndFollowsLinks) {
  const TempDir scratch;
  const std::string path = scratch.Write("a.npy", NpyBytes("|u1", "(6,)", "abcdef"));
  ASSERT_EQ(symlink("a.npy", scratch.Path("link.npy").c_str()), 0);
  const auto before = ReadNpy(path);
  ASSERT_TRUE(before.ok());
  const std::vector<uint8_t> values = {1, 2};
  ASSERT_TRUE(WriteNpy(scratch.Path("link.npy"), TensorView::Of<uint8_t>(values, {2})).ok());
  EXPECT_EQ(ElementBytes(before->view()), "abcdef") << "a reader saw the file change";
  EXPECT_EQ(ElementBytes(ReadNpy(path)->view()), "\x01\x02");
  EXPECT_THAT(scratch.FileNames(), ElementsAre("a.npy", "link.npy"));
  struct stat info;
  ASSERT_EQ(lstat(scratch.Path("link.npy").c_str(), &info), 0);
  EXPECT_TRUE(S_ISLNK(info.st_mode));
}

// A full disk, played by the limit on the size of files: the old file stays, no half file is left.
TEST(WriteNpy, LeavesNothingBehindWhenItFails) {
  const TempDir scratch;
  const std::string old_file = NpyBytes("|u1", "(6,)", "abcdef");
  const std::string path = scratch.Write("a.npy", old_file);
  signal(SIGXFSZ, SIG_IGN);
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit small = {.rlim_cur = 4096, .rlim_max = limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::vector<double> values(10000);
  const absl::Status status = WriteNpy(path, TensorView::Of<double>(values, {10000}));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("a.npy: cannot be written"));
  EXPECT_THAT(scratch.FileNames(), ElementsAre("a.npy"));
  EXPECT_EQ(ReadWhole(path), old_file);
}

TEST(WriteNpy, WritesIntoDevicesWithoutReplacingThem) {
  const std::vector<double> values(3);
  EXPECT_TRUE(WriteNpy("/dev/null", TensorView::Of<double>(values, {3})).ok());
  struct stat info;
  ASSERT_EQ(stat("/dev/null", &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
}

TEST(WriteNpy, RefusesBytesThatDoNotFitTheShape) {
  const TempDir scratch;
  const std::vector<double> values(3);
  const absl::Status status = WriteNpy(scratch.Path("a.npy"), TensorView::Of<double>(values, {4}));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(scratch.FileNames(), ElementsAre());
}

TEST(CheckWritable, SaysWhyNotAndLeavesNoTrace) {
  const TempDir scratch;
  EXPECT_TRUE(CheckWritable(scratch.Path("new.npy")).ok());
  EXPECT_TRUE(CheckWritable("/dev/null").ok());
  EXPECT_THAT(scratch.FileNames(), ElementsAre());
  const absl::Status directory = CheckWritable(scratch.Path(""));
  EXPECT_THAT(std::string(directory.message()), HasSubstr("is a directory"));
  const absl::Status missing = CheckWritable(scratch.Path("no/such/a.npy"));
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("a.npy: cannot be created"));
  EXPECT_FALSE(CheckWritable("").ok());
}

}  // namespace
}  // namespace lossd::npy
