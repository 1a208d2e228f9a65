#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/listen/accept_loop.h"
#include "server/listen/listen_address.h"
#include "server/security/file_watcher.h"
#include "server/security/tls_credentials.h"
#include "server/security/tls_files.h"
#include "tests/server/harness.h"
#include "tests/server/raw_socket.h"
#include "tests/server/small_server.h"
#include "tests/support/certificates.h"
#include "tests/support/temp_dir.h"

// Encryption: who gets in, what is refused, and files that change while the server runs.
namespace lossd::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

using Stub = v1::LossService::Stub;

constexpr int64_t kDay = 24 * 3600;

// A client with a certificate of its own (or none) that trusts `server_ca`.
std::unique_ptr<Stub> Client(const std::string& address, const std::string& server_ca,
                             const std::optional<Identity>& identity) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = server_ca;
  if (identity) {
    options.pem_private_key = identity->key;
    options.pem_cert_chain = identity->certificate;
  }
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return v1::LossService::NewStub(
      grpc::CreateCustomChannel(address, grpc::SslCredentials(options), arguments));
}

grpc::Status Call(Stub& stub) {
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  return stub.GetServerInfo(&context, {}, &info);
}

// A handshake by OpenSSL alone.
class Handshake {
 public:
  explicit Handshake(const std::string& address, int version = TLS1_3_VERSION) : socket_(address) {
    SSL_set_min_proto_version(ssl_, version);
    SSL_set_max_proto_version(ssl_, version);
    SSL_set_security_level(ssl_, 0);  // else OpenSSL itself would not offer TLS 1.1
    SSL_set_fd(ssl_, socket_.fd());
    const unsigned char h2[] = {2, 'h', '2'};
    SSL_set_alpn_protos(ssl_, h2, sizeof(h2));
    done_ = SSL_connect(ssl_) == 1;
  }
  ~Handshake() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  Handshake(const Handshake&) = delete;
  Handshake& operator=(const Handshake&) = delete;

  bool done() const { return done_; }

  // Of the server's certificate.
  int64_t serial() const {
    const X509* const certificate = SSL_get0_peer_certificate(ssl_);
    int64_t serial = -1;
    if (certificate != nullptr) {
      ASN1_INTEGER_get_int64(&serial, X509_get0_serialNumber(certificate));
    }
    return serial;
  }

 private:
  RawSocket socket_;
  SSL_CTX* context_ = SSL_CTX_new(TLS_client_method());
  SSL* ssl_ = SSL_new(context_);
  bool done_ = false;
};

class Tls : public ::testing::Test {
 protected:
  // As tools that rotate certificates do it: at one instant, by renaming.
  void Put(const std::string& path, const std::string& text) const {
    std::filesystem::rename(scratch_.Write("next", text), path);
  }
  void PutIdentity(const Identity& identity) const {
    Put(files_.key, identity.key);
    Put(files_.certificate, identity.certificate);
  }

  ServerOptions Options(bool mutual) const {
    PutIdentity(server_);
    Put(files_.client_ca, client_ca_.certificate());
    ServerOptions options = AnyPort();
    options.tls = files_;
    if (!mutual) options.tls.client_ca.clear();
    return options;
  }

  std::unique_ptr<Stub> ClientOf(const Server& server,
                                 const std::optional<Identity>& identity) const {
    return Client(server.addresses()[0], server_ca_.certificate(), identity);
  }

  const TempDir scratch_;
  const TlsFiles files_ = {.certificate = scratch_.Path("certificate.pem"),
                           .key = scratch_.Path("key.pem"),
                           .client_ca = scratch_.Path("client_ca.pem")};
  const Authority server_ca_{"servers"};
  const Authority client_ca_{"clients"};
  const Identity server_ = server_ca_.Sign(100);
};

// --------------------------------------------------------------------------------- who gets in

TEST_F(Tls, ServerAloneProvesItself) {
  const auto server = StartServer(Options(/*mutual=*/false));
  const grpc::Status status = Call(*ClientOf(*server, std::nullopt));
  EXPECT_TRUE(status.ok()) << status.error_message();
  const auto stranger = Client(server->addresses()[0], client_ca_.certificate(), std::nullopt);
  EXPECT_EQ(Call(*stranger).error_code(), grpc::StatusCode::UNAVAILABLE)
      << "the client does not trust another CA's server";
  EXPECT_EQ(Call(*StubFor(*server)).error_code(), grpc::StatusCode::UNAVAILABLE) << "in the clear";
}

TEST_F(Tls, ClientsProveThemselvesToo) {
  const auto server = StartServer(Options(/*mutual=*/true));
  const auto good = ClientOf(*server, client_ca_.Sign(1));
  EXPECT_TRUE(Call(*good).ok());
  const Authority other("others");
  struct Row {
    const char* what;
    std::optional<Identity> identity;
  };
  for (const Row& row : {Row{"no certificate", std::nullopt},
                         {"of another CA", other.Sign(2)},
                         {"of a CA with the same name", Authority("clients").Sign(3)},
                         {"of the server's CA", server_ca_.Sign(4)},
                         {"expired", client_ca_.Sign(5, -2 * kDay, -kDay)},
                         {"not yet valid", client_ca_.Sign(6, kDay, 2 * kDay)}}) {
    const grpc::Status status = Call(*ClientOf(*server, row.identity));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << row.what;
    EXPECT_TRUE(Call(*good).ok()) << row.what;
  }
  EXPECT_EQ(Call(*StubFor(*server)).error_code(), grpc::StatusCode::UNAVAILABLE) << "in the clear";
  WaitUntil(
      [&] { return server->live_calls() == 0; });  // the good ones end soon after their answer
  EXPECT_TRUE(Call(*ClientOf(*server, client_ca_.Sign(7))).ok());
}

TEST_F(Tls, IsOneOfTodaysVersions) {
  const auto server = StartServer(Options(/*mutual=*/false));
  const std::string& address = server->addresses()[0];
  EXPECT_FALSE(Handshake(address, TLS1_VERSION).done());
  EXPECT_FALSE(Handshake(address, TLS1_1_VERSION).done());
  EXPECT_TRUE(Handshake(address, TLS1_2_VERSION).done());
  EXPECT_TRUE(Handshake(address, TLS1_3_VERSION).done());
}

TEST_F(Tls, GarbageAndHaltingHandshakesAreClosed) {
  ServerOptions options = Options(/*mutual=*/true);
  options.connections.handshake_timeout = absl::Seconds(2);  // the last call here has it, too
  const auto server = StartServer(options);
  const RawSocket silent(server->addresses()[0]);
  const RawSocket halting(server->addresses()[0]);
  halting.Send({"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11});  // begins a ClientHello
  const RawSocket garbage(server->addresses()[0]);
  garbage.Send(std::string(1000, '\xa5'));
  const RawSocket http(server->addresses()[0]);
  http.Send(kHttp2Begin);
  for (const RawSocket* const one : {&silent, &halting, &garbage, &http}) {
    EXPECT_TRUE(one->WaitForClose());
  }
  WaitUntil([&] { return server->connections() == 0; });
  EXPECT_TRUE(Call(*ClientOf(*server, client_ca_.Sign(1))).ok());
}

TEST_F(Tls, ProtectsAnAddressOthersReach) {
  ServerOptions options = Options(/*mutual=*/false);
  options.listen = {"0.0.0.0:0"};
  const auto server = StartServer(options);
  const std::string& bound = server->addresses()[0];
  const auto stub =
      Client("localhost" + bound.substr(bound.rfind(':')), server_ca_.certificate(), std::nullopt);
  EXPECT_TRUE(Call(*stub).ok());
}

// --------------------------------------------------------------------------- files that change

// A server whose files are read again when the test says so.
class Reloaded : public Tls {
 protected:
  Reloaded() {
    PutIdentity(server_);
    Put(files_.client_ca, client_ca_.certificate());
    credentials_ = *TlsCredentials::Load(files_);
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    auto acceptor = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials_);
    grpc_server_ = builder.BuildAndStart();
    const auto listen = ListenAddress::Parse("127.0.0.1:0");
    auto sockets = *listen->Listen();
    address_ = listen->WithPort(sockets.front().Port());
    loop_ = *AcceptLoop::Start(
        std::move(sockets), std::move(acceptor),
        {.connections = 100, .silent = 100, .silent_timeout = absl::InfiniteDuration()}, &ledger_);
  }
  ~Reloaded() override {
    loop_->Stop();
    grpc_server_->Shutdown();
  }

  bool LetsIn(const Identity& client) {
    return Call(*Client(address_, server_ca_.certificate(), client)).ok();
  }

  PeerService service_;
  std::shared_ptr<TlsCredentials> credentials_;
  std::unique_ptr<grpc::Server> grpc_server_;
  Ledger ledger_{{}};
  std::unique_ptr<AcceptLoop> loop_;
  std::string address_;
};

TEST_F(Reloaded, NewConnectionsGetTheNewCertificate) {
  const Identity client = client_ca_.Sign(1);
  const auto old = Client(address_, server_ca_.certificate(), client);
  EXPECT_TRUE(Call(*old).ok());
  EXPECT_EQ(Handshake(address_).serial(), 100);
  PutIdentity(server_ca_.Sign(101));
  EXPECT_EQ(Handshake(address_).serial(), 100) << "before it is read";
  EXPECT_TRUE(credentials_->Reload().ok());
  EXPECT_EQ(Handshake(address_).serial(), 101);
  EXPECT_TRUE(Call(*old).ok());
  EXPECT_TRUE(LetsIn(client));
}

TEST_F(Reloaded, FilesThatCannotBeUsedChangeNothing) {
  const Identity client = client_ca_.Sign(1);
  const Identity next = server_ca_.Sign(101);
  Put(files_.certificate, next.certificate);  // half of a rotation
  EXPECT_THAT(std::string(credentials_->Reload().message()),
              HasSubstr("does not belong to the certificate"));
  EXPECT_TRUE(LetsIn(client));
  Put(files_.key, "garbage");
  EXPECT_FALSE(credentials_->Reload().ok());
  std::filesystem::remove(files_.certificate);
  EXPECT_THAT(std::string(credentials_->Reload().message()), HasSubstr("No such file"));
  EXPECT_TRUE(LetsIn(client));
  EXPECT_EQ(Handshake(address_).serial(), 100);
  PutIdentity(next);
  EXPECT_TRUE(credentials_->Reload().ok());
  EXPECT_EQ(Handshake(address_).serial(), 101);
  EXPECT_TRUE(LetsIn(client));
}

TEST_F(Reloaded, ARemovedCaLetsNobodyInAnyMore) {
  const Authority next("next clients");
  EXPECT_TRUE(LetsIn(client_ca_.Sign(1)));
  EXPECT_FALSE(LetsIn(next.Sign(1)));
  Put(files_.client_ca, client_ca_.certificate() + next.certificate());
  EXPECT_TRUE(credentials_->Reload().ok());
  EXPECT_TRUE(LetsIn(client_ca_.Sign(1)));
  EXPECT_TRUE(LetsIn(next.Sign(1)));
  Put(files_.client_ca, next.certificate());
  EXPECT_TRUE(credentials_->Reload().ok());
  EXPECT_FALSE(LetsIn(client_ca_.Sign(1)));
  EXPECT_TRUE(LetsIn(next.Sign(1)));
}

// The whole way, under load: files change, a watching thread notices, no call fails.
TEST_F(Tls, RotationUnderLoadFailsNoCall) {
  const auto server = StartServer(Options(/*mutual=*/false));
  const Identity client = client_ca_.Sign(1);
  const auto lasting = ClientOf(*server, client);
  std::atomic<bool> stop = false;
  std::atomic<int64_t> calls = 0;
  std::atomic<int64_t> failures = 0;
  const auto load = [&](bool connect_anew) {
    while (!stop) {
      Stub* stub = lasting.get();
      std::unique_ptr<Stub> fresh;
      if (connect_anew) {
        fresh = ClientOf(*server, client);
        stub = fresh.get();
      }
      const grpc::Status status = Call(*stub);
      ++calls;
      if (!status.ok()) ++failures;
    }
  };
  std::vector<std::thread> threads;
  for (const bool connect_anew : {true, true, false}) threads.emplace_back(load, connect_anew);
  for (int64_t serial = 101; serial <= 102; ++serial) {
    PutIdentity(server_ca_.Sign(serial));
    WaitUntil([&] { return Handshake(server->addresses()[0]).serial() == serial; });
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0) << "of " << calls;
  EXPECT_GT(calls, 10);
}

// ------------------------------------------------------------------------- files that are wrong

TEST_F(Tls, FilesThatCannotBeUsedAreNamed) {
  const Identity other = server_ca_.Sign(101);
  const std::string whole = server_.certificate + server_ca_.certificate();
  const std::string cut = whole.substr(0, whole.size() - 100);
  const Identity expired = server_ca_.Sign(5, -2 * kDay, -kDay);
  const Identity early = server_ca_.Sign(6, kDay, 2 * kDay);
  struct Row {
    std::string certificate;
    std::string key;
    std::string client_ca;
    const char* words;
  };
  for (const Row& row :
       {Row{"", server_.key, "", "--tls-cert .*certificate.pem: has no certificate in PEM form"},
        {"garbage", server_.key, "", "--tls-cert .*: has no certificate in PEM form"},
        {server_.key, server_.key, "", "--tls-cert .*: has no certificate in PEM form"},
        {cut, server_.key, "", "--tls-cert .*: certificate 2 in it is garbled"},
        {server_.certificate, "", "", "--tls-key .*key.pem: has no private key.*"},
        {server_.certificate, server_.certificate, "", "--tls-key .*: has no private key.*"},
        {server_.certificate, other.key, "",
         "--tls-key .*: the key does not belong to the certificate in .*certificate.pem"},
        {expired.certificate, expired.key, "", "--tls-cert .*: the certificate has expired on .*"},
        {early.certificate, early.key, "", "--tls-cert .*: the certificate is not valid before.*"},
        {whole, server_.key, server_.key, "--tls-client-ca .*client_ca.pem: has no certificate.*"},
        {whole, server_.key, cut.substr(0, 300),
         "--tls-client-ca .*: certificate 1 in it is garbled"}}) {
    Put(files_.certificate, row.certificate);
    Put(files_.key, row.key);
    TlsFiles files = files_;
    if (row.client_ca.empty()) {
      files.client_ca.clear();
    } else {
      Put(files_.client_ca, row.client_ca);
    }
    const absl::Status status = LoadTlsFiles(files).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), MatchesRegex(row.words));
  }
  PutIdentity({whole, server_.key});
  Put(files_.client_ca, client_ca_.certificate());
  EXPECT_TRUE(LoadTlsFiles(files_).ok()) << LoadTlsFiles(files_).status();
}

TEST_F(Tls, HalfOfTheFilesIsNotEnough) {
  for (const auto& [files, words] :
       {std::pair(TlsFiles{"a", "", ""}, "--tls-cert is given without --tls-key; wanted both"),
        {TlsFiles{"", "a", ""}, "--tls-key is given without --tls-cert; wanted both"},
        {TlsFiles{"", "", "a"}, "--tls-client-ca is given without --tls-cert; wanted both"}}) {
    ServerOptions options = AnyPort();
    options.tls = files;
    EXPECT_EQ(Server::Start(options).status(), absl::InvalidArgumentError(words));
  }
}

// ------------------------------------------------------------------------------------- watching

TEST(FileWatcher, NoticesWhateverHappensToAFile) {
  const TempDir scratch;
  const std::string path = scratch.Write("file", "one");
  const std::string link = scratch.Path("link");
  std::filesystem::create_symlink(path, link);
  int changes = 0;
  FileWatcher watcher;
  watcher.Watch({scratch.Path("other"), link}, [&] { ++changes; });
  const auto changed = [&] {
    watcher.Look();
    return std::exchange(changes, 0);
  };
  EXPECT_EQ(changed(), 0);
  scratch.Write("file", "another");  // behind the link
  EXPECT_EQ(changed(), 1);
  EXPECT_EQ(changed(), 0);
  scratch.Write("next", "another");  // the same contents, another file
  std::filesystem::remove(link);
  EXPECT_EQ(changed(), 1);
  std::filesystem::create_symlink(scratch.Path("next"), link);
  scratch.Write("other", "");
  EXPECT_EQ(changed(), 1);
}

}  // namespace
}  // namespace lossd::testing
