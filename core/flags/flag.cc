#include "core/flags/flag.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/flags/values.h"
#include "core/types/printable.h"
#include "lossd/status_macros.h"

namespace lossd {
namespace {

absl::Status NotA(std::string_view what, const std::string& text, const std::string& wanted) {
  return absl::InvalidArgumentError(absl::StrCat(Printable(text), " is no ",
                                                 absl::string_view(what.data(), what.size()),
                                                 "; wanted ", wanted));
}

// A flag of one value, by what reads and what writes it.
Flag OneValue(std::string name, std::string type, std::string help,
              std::function<absl::Status(const std::string&)> set,
              std::function<std::string()> get) {
  return {.name = std::move(name),
          .type = std::move(type),
          .help = std::move(help),
          .takes = Flag::Takes::kOne,
          .set = [set = std::move(set)](
                     const std::vector<std::string>& values) { return set(values.front()); },
          .get = [get = std::move(get)]() -> std::vector<std::string> {
            std::string text = get();
            if (text.empty()) return {};
            return {std::move(text)};
          }};
}

template <class T>
std::string RangeText(T least, T most) {
  if (most == std::numeric_limits<T>::max()) return absl::StrCat(least, " or more");
  return absl::StrCat(least, "..", most);
}

template <class T>
Flag AnyNumberFlag(std::string name, T& value, NumberRange<T> range, std::string help) {
  return OneValue(
      std::move(name), "N", std::move(help),
      [&value, range](const std::string& text) {
        T number = 0;
        if (!absl::SimpleAtoi(text, &number) || number < range.least || number > range.most) {
          return NotA("number in range", text, RangeText(range.least, range.most));
        }
        value = number;
        return absl::OkStatus();
      },
      [&value] { return absl::StrCat(value); });
}

std::string DurationText(absl::Duration value) {
  return value == absl::InfiniteDuration() ? "0" : absl::FormatDuration(value);
}

Flag AnyDurationFlag(std::string name, std::string help, const DurationRange& range,
                     std::function<void(absl::Duration)> set, std::function<absl::Duration()> get) {
  return OneValue(
      std::move(name), "DURATION", help + (range.or_never ? "; 0: never" : ""),
      [range, set = std::move(set)](const std::string& text) {
        const std::optional<absl::Duration> duration = ParseDurationOrSeconds(text);
        if (duration == absl::ZeroDuration() && range.or_never) {
          set(absl::InfiniteDuration());
          return absl::OkStatus();
        }
        if (!duration || *duration < range.least || *duration > range.most) {
          return NotA(
              "duration in range", text,
              absl::StrCat(range.or_never ? "0 (never) or " : "", absl::FormatDuration(range.least),
                           "..", absl::FormatDuration(range.most), ", as 250ms, 1m30s or seconds"));
        }
        set(*duration);
        return absl::OkStatus();
      },
      [get = std::move(get)] { return DurationText(get()); });
}

}  // namespace

Flag CheckedTextFlag(std::string name, std::string& value, std::string type, std::string help,
                     TextCheck check) {
  return OneValue(
      std::move(name), std::move(type), std::move(help),
      [&value, check](const std::string& text) {
        absl::Status checked = check(text);
        if (checked.ok()) value = text;
        return checked;
      },
      [&value] { return value; });
}

Flag CheckedTextsFlag(std::string name, std::vector<std::string>& values, std::string type,
                      std::string help, TextCheck check) {
  return {.name = std::move(name),
          .type = std::move(type),
          .help = std::move(help),
          .takes = Flag::Takes::kMany,
          .set = [&values, check](const std::vector<std::string>& given) -> absl::Status {
            for (const std::string& text : given) LOSSD_RETURN_IF_ERROR(check(text));
            values = given;
            return absl::OkStatus();
          },
          .get = [&values] { return values; }};
}

Flag TextFlag(std::string name, std::string& value, std::string type, std::string help) {
  return OneValue(
      std::move(name), std::move(type), std::move(help),
      [&value](const std::string& text) {
        value = text;
        return absl::OkStatus();
      },
      [&value] { return value; });
}

Flag TextFlag(std::string name, std::optional<std::string>& value, std::string type,
              std::string help) {
  return OneValue(
      std::move(name), std::move(type), std::move(help),
      [&value](const std::string& text) {
        value = text;
        return absl::OkStatus();
      },
      [&value] { return value.value_or(""); });
}

Flag FileFlag(std::string name, std::string& path, std::string help) {
  return TextFlag(std::move(name), path, "FILE", std::move(help));
}

Flag SwitchFlag(std::string name, bool& value, std::string help) {
  Flag flag = OneValue(
      std::move(name), "", std::move(help),
      [&value](const std::string& text) {
        return absl::SimpleAtob(text, &value) ? absl::OkStatus()
                                              : NotA("switch", text, "true or false");
      },
      [&value] { return value ? "true" : "false"; });
  flag.takes = Flag::Takes::kSwitch;
  return flag;
}

Flag NumberFlag(std::string name, int& value, NumberRange<int> range, std::string help) {
  return AnyNumberFlag(std::move(name), value, range, std::move(help));
}

Flag NumberFlag(std::string name, int64_t& value, NumberRange<int64_t> range, std::string help) {
  return AnyNumberFlag(std::move(name), value, range, std::move(help));
}

Flag SizeFlag(std::string name, int64_t& value, const SizeRange& range, std::string help) {
  const std::string wanted = range.most == std::numeric_limits<int64_t>::max()
                                 ? SizeText(range.least) + " or more"
                                 : absl::StrCat(SizeText(range.least), "..", SizeText(range.most));
  return OneValue(
      std::move(name), "SIZE", std::move(help),
      [&value, range, wanted](const std::string& text) {
        const std::optional<int64_t> bytes = ParseSize(text);
        if (!bytes || *bytes < range.least || *bytes > range.most) {
          return NotA("size in range", text, wanted + ", in bytes or with KiB, MiB, GiB, TiB");
        }
        value = *bytes;
        return absl::OkStatus();
      },
      [&value, range] { return value < range.least ? "" : SizeText(value); });
}

Flag DurationFlag(std::string name, absl::Duration& value, const DurationRange& range,
                  std::string help) {
  return AnyDurationFlag(
      std::move(name), std::move(help), range, [&value](absl::Duration given) { value = given; },
      [&value] { return value; });
}

Flag DurationFlag(std::string name, std::chrono::nanoseconds& value, const DurationRange& range,
                  std::string help) {
  return AnyDurationFlag(
      std::move(name), std::move(help), range,
      [&value](absl::Duration given) { value = absl::ToChronoNanoseconds(given); },
      [&value] { return absl::FromChrono(value); });
}

Flag WordFlag(std::string name, std::vector<std::string> words, std::function<void(size_t)> set,
              std::function<size_t()> get, std::string help) {
  return OneValue(
      std::move(name), "WORD", absl::StrCat(help, ": ", absl::StrJoin(words, ", ")),
      [words, set = std::move(set)](const std::string& text) {
        const auto found = std::find(words.begin(), words.end(), text);
        if (found == words.end()) {
          return NotA("word for this", text, absl::StrCat("one of ", absl::StrJoin(words, ", ")));
        }
        set(static_cast<size_t>(found - words.begin()));
        return absl::OkStatus();
      },
      [words, get = std::move(get)] { return words[get()]; });
}

}  // namespace lossd
