#include "os/file_system_kind.h"

#include <array>

namespace larder {
namespace {

struct NetworkKind {
  std::uint32_t f_type;
  std::string_view name;
};

// The numbers of statfs(2) and linux/magic.h; some have no header.
constexpr std::array kNetworkKinds{
    NetworkKind{0x00006969, "NFS"},
    NetworkKind{0x0000517B, "SMB"},
    NetworkKind{0xFF534D42, "SMB (cifs)"},
    NetworkKind{0xFE534D42, "SMB2"},
    NetworkKind{0x01021997, "9p"},
    NetworkKind{0x65735546, "FUSE"},
    NetworkKind{0x00C36400, "Ceph"},
    NetworkKind{0x5346414F, "AFS"},
    NetworkKind{0x73757245, "Coda"},
    NetworkKind{0x0000564C, "NCP"},
    NetworkKind{0x0BD00BD0, "Lustre"},
    NetworkKind{0x47504653, "GPFS"},
    NetworkKind{0xAAD7AAEA, "PanFS"},
    NetworkKind{0x19830326, "BeeGFS"},
    NetworkKind{0x786F4256, "VirtualBox shared folder"},
    NetworkKind{0xBACBACBC, "VMware shared folder"},
    NetworkKind{0x7C7C6673, "Parallels shared folder"},
};

}  // namespace

std::string_view NetworkFileSystemName(std::uint32_t f_type) noexcept {
  for (const NetworkKind& kind : kNetworkKinds) {
    if (kind.f_type == f_type) {
      return kind.name;
    }
  }
  return {};
}

}  // namespace larder
