// QEMU's command line, made from a typed request. Nothing a user writes becomes an option: values
// are checked and escaped, paths are made absolute by the caller.
//
// Machine: microvm under KVM with a kernel (fast, small), q35 otherwise. Under TCG microvm has no
// timer that a Linux guest can calibrate against when the host is busy: about one boot in ten hung
// in calibration here, none of 60 did on q35, which boots as fast.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "messages/errc.hpp"

namespace blixard::vm {

struct qemu_port {
  std::uint16_t host = 0;  // on 127.0.0.1
  std::uint16_t guest = 0;
};

/// What a VM's QEMU is to be. Paths are absolute or empty.
struct qemu_request {
  std::string binary;
  std::string accelerator;  // "kvm" or "tcg"
  std::string name;
  std::string uuid;
  std::uint32_t vcpus = 1;
  std::uint64_t memory_bytes = 0;  // rounded up to whole MiB
  std::string kernel;              // empty: boot from disk_image
  std::string initrd;
  std::string append;      // "console=ttyS0" is put in front unless it names a console
  std::string disk_image;  // raw or qcow2, see disk_format
  std::string disk_format = "raw";
  std::string scratch_disk;  // raw; a second disk, empty at the start
  std::vector<qemu_port> ports;
};

/// The whole command line. Pure. Errors: errc::invalid_argument (control characters, neither kernel
/// nor disk, 0 or more than 255 processors, less than 16 MiB, a port 0 or given twice).
[[nodiscard]] tl::expected<std::vector<std::string>, error> qemu_argv(const qemu_request& r);

/// Checks that every file of the request is there, regular and readable.
/// Errors: errc::not_found and others, with the path and the system's text.
[[nodiscard]] tl::expected<void, error> check_qemu_files(const qemu_request& r);

/// "qcow2" or "raw", by the file's first bytes. Errors: as system_error.
[[nodiscard]] tl::expected<std::string, error> disk_format_of(const std::string& path);

/// A value inside an option: commas doubled. Pure.
[[nodiscard]] std::string escape_option(std::string_view value);

}  // namespace blixard::vm
