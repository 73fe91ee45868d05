#include "file_system_kind.h"

#include <array>

namespace larder {
namespace {

struct Kind {
  std::uint32_t f_type;
  std::string_view name;
};

// The numbers of statfs(2) and linux/magic.h; some have no header.
constexpr std::array kNetworkKinds{
    Kind{0x00006969, "NFS"},
    Kind{0x0000517B, "SMB"},
    Kind{0xFF534D42, "SMB (cifs)"},
    Kind{0xFE534D42, "SMB2"},
    Kind{0x01021997, "9p"},
    Kind{0x65735546, "FUSE"},
    Kind{0x00C36400, "Ceph"},
    Kind{0x5346414F, "AFS"},
    Kind{0x73757245, "Coda"},
    Kind{0x0000564C, "NCP"},
    Kind{0x0BD00BD0, "Lustre"},
    Kind{0x47504653, "GPFS"},
    Kind{0xAAD7AAEA, "PanFS"},
    Kind{0x19830326, "BeeGFS"},
    Kind{0x786F4256, "VirtualBox shared folder"},
    Kind{0xBACBACBC, "VMware shared folder"},
    Kind{0x7C7C6673, "Parallels shared folder"},
};

}  // namespace

std::string_view NetworkFileSystemName(std::uint32_t f_type) noexcept {
  for (const Kind& kind : kNetworkKinds) {
    if (kind.f_type == f_type) {
      return kind.name;
    }
  }
  return {};
}

}  // namespace larder
