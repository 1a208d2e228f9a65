#include "server/metrics/metrics_server.h"

#include <microhttpd.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

// Scrapers come one at a time, every few seconds.
constexpr unsigned kConnections = 16;
constexpr unsigned kConnectionsOfOneAddress = 8;
constexpr unsigned kIdleSeconds = 5;
constexpr size_t kConnectionBytes = size_t{16} << 10;

MHD_Result Respond(MHD_Connection* connection, unsigned code, const char* header, const char* value,
                   std::string_view body) {
  MHD_Response* const response = MHD_create_response_from_buffer(
      body.size(), const_cast<char*>(body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, header, value);
  const MHD_Result queued = MHD_queue_response(connection, code, response);
  MHD_destroy_response(response);
  return queued;
}

MHD_Result RespondInWords(MHD_Connection* connection, unsigned code, std::string_view words) {
  return Respond(connection, code, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain", words);
}

// What libraries throw ends here: `handler` is called from C.
MHD_Result Answer(void* collectable, MHD_Connection* connection, const char* url,
                  const char* method, const char* version, const char* upload, size_t* upload_size,
                  void** state) {
  const std::string_view asked(method);
  if (asked != MHD_HTTP_METHOD_GET && asked != MHD_HTTP_METHOD_HEAD) {
    return Respond(connection, MHD_HTTP_METHOD_NOT_ALLOWED, MHD_HTTP_HEADER_ALLOW, "GET, HEAD", "");
  }
  if (std::string_view(url) != "/metrics") {
    return RespondInWords(connection, MHD_HTTP_NOT_FOUND, "wanted /metrics\n");
  }
  try {
    const auto* const metrics = static_cast<const prometheus::Collectable*>(collectable);
    const std::string text = prometheus::TextSerializer().Serialize(metrics->Collect());
    return Respond(connection, MHD_HTTP_OK, MHD_HTTP_HEADER_CONTENT_TYPE,
                   "text/plain; version=0.0.4; charset=utf-8", text);
  } catch (const std::exception&) {
    return RespondInWords(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory\n");
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(
    std::vector<ListenSocket> sockets, const prometheus::Collectable* metrics) {
  std::unique_ptr<MetricsServer> server(new MetricsServer(std::move(sockets)));
  for (const ListenSocket& socket : server->sockets_) {
    MHD_Daemon* const daemon = MHD_start_daemon(
        MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ITC, /*port=*/0, nullptr, nullptr, &Answer,
        const_cast<prometheus::Collectable*>(metrics), MHD_OPTION_LISTEN_SOCKET, socket.fd(),
        MHD_OPTION_CONNECTION_LIMIT, kConnections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        kConnectionsOfOneAddress, MHD_OPTION_CONNECTION_TIMEOUT, kIdleSeconds,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionBytes, MHD_OPTION_END);
    if (daemon == nullptr) {
      return absl::UnavailableError(absl::StrCat("cannot serve metrics: ", std::strerror(errno)));
    }
    server->daemons_.push_back(daemon);
  }
  return server;
}

MetricsServer::~MetricsServer() {
  for (MHD_Daemon* const daemon : daemons_) {
    MHD_quiesce_daemon(daemon);  // else it would close the socket, which is ours
    MHD_stop_daemon(daemon);
  }
}

}  // namespace lossd
