#include "server/front/reflection.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/impl/server_builder_option.h>

#include <memory>
#include <vector>

namespace lossd {
namespace {

using grpc::reflection::ProtoServerReflectionPlugin;

class ReflectionOption final : public grpc::ServerBuilderOption {
 public:
  explicit ReflectionOption(bool on) : on_(on) {}

 private:
  void UpdateArguments(grpc::ChannelArguments* arguments) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins, [](const std::unique_ptr<grpc::ServerBuilderPlugin>& plugin) {
      return dynamic_cast<ProtoServerReflectionPlugin*>(plugin.get()) != nullptr;
    });
    if (on_) plugins->push_back(std::make_unique<ProtoServerReflectionPlugin>());
  }

  const bool on_;
};

}  // namespace

void SetReflection(bool on, grpc::ServerBuilder& builder) {
  builder.SetOption(std::make_unique<ReflectionOption>(on));
}

}  // namespace lossd
