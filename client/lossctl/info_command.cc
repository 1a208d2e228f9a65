#include "client/lossctl/info_command.h"

#include "absl/strings/str_cat.h"
#include "client/lossctl/report.h"

namespace lossd::lossctl {

int RunInfo(const ServerFlags& flags, bool json) {
  CallOptions options;
  options.timeout = absl::Seconds(10);
  if (const absl::Status status = ReadTimeout(flags, &options.timeout); !status.ok()) {
    return BadUsage(status.message());
  }
  absl::StatusOr<Client> client = Connect(flags);
  if (!client.ok()) return BadUsage(client.status().message());
  const absl::StatusOr<ServerInfo> info = client->GetServerInfo(options);
  if (!info.ok()) return Refused(info.status(), *flags.server);
  return Print(json ? absl::StrCat(Text(ToJson(*info)), "\n") : Table(Rows(*info)));
}

}  // namespace lossd::lossctl
