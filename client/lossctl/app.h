#ifndef LOSSD_LOSSCTL_APP_H_
#define LOSSD_LOSSCTL_APP_H_

namespace lossd::lossctl {

// All of lossctl; returns the exit code.
int Main(int argc, const char* const* argv);

}  // namespace lossd::lossctl

#endif  // LOSSD_LOSSCTL_APP_H_
