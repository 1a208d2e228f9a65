// Certificates and tokens that a client cannot use, or may not: said when it is made, before
// anybody is dialled.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "lossd/client.h"
#include "tests/support/certificates.h"
#include "tests/support/temp_dir.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kTarget[] = "loss.example:50151";
constexpr int64_t kDay = 24 * 3600;

std::string RefusalOf(const ClientOptions& options, const std::string& target = kTarget) {
  const absl::StatusOr<Client> client = Client::Connect(target, options);
  EXPECT_EQ(client.status().code(), absl::StatusCode::kInvalidArgument) << client.status();
  return std::string(client.status().message());
}

class SecurityOptions : public ::testing::Test {
 protected:
  const TempDir scratch_;
  const Authority ca_{"ca"};
  const Identity one_ = ca_.Sign(1);
  const std::string ca_file_ = scratch_.Write("ca.pem", ca_.certificate());
  const std::string certificate_ = scratch_.Write("one.pem", one_.certificate);
  const std::string key_ = scratch_.Write("one.key", one_.key);
};

TEST_F(SecurityOptions, TlsFilesThatCannotBeUsedAreNamed) {
  const Identity expired = ca_.Sign(2, -2 * kDay, -kDay);
  const std::string garbage = scratch_.Write("garbage", "secret");
  const std::string cut = scratch_.Write("cut.pem", ca_.certificate().substr(0, 200));
  const std::string other_key = scratch_.Write("other.key", ca_.Sign(3).key);
  const std::string old = scratch_.Write("old.pem", expired.certificate);
  const std::string old_key = scratch_.Write("old.key", expired.key);
  struct Row {
    TlsOptions tls;
    std::string message;
  };
  for (const Row& row :
       {Row{{.ca_file = "/nowhere"}, "tls.ca_file /nowhere: No such file or directory"},
        {{.ca_file = "/tmp"}, "tls.ca_file /tmp: not a regular file"},
        {{.ca_file = garbage}, "tls.ca_file " + garbage + ": has no certificate in PEM form"},
        {{.ca_file = cut}, "tls.ca_file " + cut + ": certificate 1 in it is garbled"},
        {{.certificate_file = certificate_},
         "tls.certificate_file is given without tls.key_file; wanted both"},
        {{.key_file = key_}, "tls.key_file is given without tls.certificate_file; wanted both"},
        {{.certificate_file = "/nowhere", .key_file = key_},
         "tls.certificate_file /nowhere: No such file or directory"},
        {{.certificate_file = certificate_, .key_file = "/nowhere"},
         "tls.key_file /nowhere: No such file or directory"},
        {{.certificate_file = certificate_, .key_file = garbage},
         "tls.key_file " + garbage + ": has no private key in PEM form, or it is encrypted"},
        {{.certificate_file = certificate_, .key_file = other_key},
         "tls.key_file " + other_key + ": the key does not belong to the certificate in " +
             certificate_},
        {{.certificate_file = old, .key_file = old_key},
         "tls.certificate_file " + old + ": the certificate has expired on "},
        {{.server_name = "two words"}, "tls.server_name is 'two words'; wanted a host name"},
        {{.server_name = "name\n"}, "tls.server_name is 'name\n'; wanted a host name"}}) {
    EXPECT_THAT(RefusalOf({.tls = row.tls}), StartsWith(row.message));
  }
  EXPECT_TRUE(Client::Connect(kTarget, {.tls = TlsOptions{}}).ok());
  EXPECT_TRUE(Client::Connect(kTarget, {.tls = TlsOptions{.ca_file = ca_file_,
                                                          .certificate_file = certificate_,
                                                          .key_file = key_,
                                                          .server_name = "127.0.0.1"}})
                  .ok());
}

TEST_F(SecurityOptions, TokensThatCannotBeUsedAreNotShown) {
  const std::string path = scratch_.Path("token");
  struct Row {
    std::string text;
    std::string words;
  };
  for (const Row& row : {Row{"", "has no token"},
                         {"# a comment\n\n", "has no token"},
                         {"secret\nsecret2\n", "has 2 tokens; wanted one"},
                         {"secret of words", "line 1 has a blank and then neither"},
                         {"\nsecret\x80\n", "line 2 has a blank or a character"},
                         {std::string(4097, 's'), "line 1 has more than 4096 characters"}}) {
    scratch_.Write("token", row.text);
    const std::string message = RefusalOf({.tls = TlsOptions{}, .token_file = path});
    EXPECT_THAT(message, StartsWith("token_file " + path + ": " + row.words));
    EXPECT_THAT(message, Not(HasSubstr("secret")));
  }
  EXPECT_THAT(RefusalOf({.tls = TlsOptions{}, .token_file = "/nowhere"}),
              StartsWith("token_file /nowhere: No such file"));
  for (const char* const garbled : {"secret of words", "secret\n", "\xff"}) {
    const std::string message = RefusalOf({.tls = TlsOptions{}, .token = garbled});
    EXPECT_EQ(message, "token has a blank or a character that is not visible ASCII");
  }
  scratch_.Write("token", "good");
  EXPECT_EQ(RefusalOf({.tls = TlsOptions{}, .token = "good", .token_file = path}),
            "token and token_file are both given; wanted one");
}

// All targets: target_test.cc.
TEST_F(SecurityOptions, ATokenDoesNotCrossANetworkInTheClear) {
  const std::string token_file = scratch_.Write("token", "secret\n");
  for (const ClientOptions& options :
       {ClientOptions{.token = "secret"}, ClientOptions{.token_file = token_file}}) {
    EXPECT_EQ(RefusalOf(options),
              "the token would cross the network in the clear on its way to loss.example:50151; "
              "wanted TLS, a Unix socket or a loopback address");
    EXPECT_THAT(RefusalOf(options, "ipv4:127.0.0.1:1,192.0.2.1:1"), HasSubstr("in the clear"));
    for (const char* const local : {"localhost:1", "127.0.0.1:1", "[::1]:1", "unix:/nowhere"}) {
      EXPECT_TRUE(Client::Connect(local, options).ok()) << local;
    }
    ClientOptions encrypted = options;
    encrypted.tls = TlsOptions{.ca_file = ca_file_};
    EXPECT_TRUE(Client::Connect(kTarget, encrypted).ok());
  }
  EXPECT_TRUE(Client::Connect(kTarget).ok()) << "without a token";
}

}  // namespace
}  // namespace lossd
