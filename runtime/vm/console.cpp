#include "runtime/vm/console.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace blixard::vm {
namespace {

constexpr std::size_t line_max_bytes = 4096;

std::string older(const std::string& path, std::size_t n) {
  return n == 0 ? path : path + "." + std::to_string(n);
}

unique_fd open_append(const std::string& path) {
  return unique_fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
}

/// Length of the escape sequence that starts at raw[0] == ESC.
std::size_t escape_length(std::string_view raw) {
  if (raw.size() < 2) return raw.size();
  if (raw[1] == '[') {  // CSI: parameters up to a final byte @ to ~
    std::size_t i = 2;
    while (i < raw.size() && (raw[i] < '@' || raw[i] > '~')) ++i;
    return std::min(i + 1, raw.size());
  }
  if (raw[1] == ']' || raw[1] == 'P') {  // OSC, DCS: up to BEL or ESC backslash
    for (std::size_t i = 2; i < raw.size(); ++i) {
      if (raw[i] == '\a') return i + 1;
      if (raw[i] == '\x1b') return std::min(i + 2, raw.size());
    }
    return raw.size();
  }
  return 2;
}

/// Length of the well-formed UTF-8 sequence of two or more bytes at raw[0]; 0: there is none.
std::size_t utf8_length(std::string_view raw) {
  const auto lead = static_cast<unsigned char>(raw[0]);
  const std::size_t length = lead >= 0xF0 && lead < 0xF5 ? 4
                             : lead >= 0xE0              ? 3
                             : lead >= 0xC2              ? 2
                                                         : 0;
  if (length == 0 || lead >= 0xF5 || raw.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((static_cast<unsigned char>(raw[i]) & 0xC0U) != 0x80U) return 0;
  const auto second = static_cast<unsigned char>(raw[1]);
  if (lead == 0xE0 && second < 0xA0) return 0;  // overlong
  if (lead == 0xED && second > 0x9F) return 0;  // surrogates
  if (lead == 0xF0 && second < 0x90) return 0;
  if (lead == 0xF4 && second > 0x8F) return 0;
  if (lead == 0xC2 && second < 0xA0) return 0;  // C1 controls
  return length;
}

}  // namespace

tl::expected<console_writer, error> console_writer::open(const std::string& path,
                                                         console_limits limits) {
  unique_fd fd = open_append(path);
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0)
    return tl::unexpected(system_error("cannot open " + path));
  return console_writer{path, limits, std::move(fd), static_cast<std::size_t>(info.st_size)};
}

void console_writer::append(std::string_view bytes) {
  while (!bytes.empty()) {
    if (size_ >= limits_.file_bytes || !fd_) rotate();
    if (!fd_) {
      lost_ += bytes.size();
      return;
    }
    const std::size_t room = limits_.file_bytes - std::min(size_, limits_.file_bytes);
    const ssize_t n = ::write(fd_.get(), bytes.data(), std::min(room, bytes.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      lost_ += bytes.size();
      return;
    }
    const auto written = static_cast<std::size_t>(n);
    at_line_start_ = bytes[written - 1] == '\n';
    size_ += written;
    bytes.remove_prefix(written);
  }
}

void console_writer::note(std::string_view text) {
  std::string line = at_line_start_ ? "" : "\n";
  line.append("[blixard] ").append(text).append("\n");
  append(line);
}

void console_writer::rotate() {
  fd_.reset();
  if (limits_.files <= 1) {
    ::unlink(path_.c_str());
  } else {
    for (std::size_t n = limits_.files - 1; n > 0; --n)
      ::rename(older(path_, n - 1).c_str(), older(path_, n).c_str());
  }
  fd_ = open_append(path_);
  size_ = 0;
}

std::vector<std::string> read_tail(const std::string& path, std::size_t lines,
                                   console_limits limits) {
  std::string text;  // grows to the front: older files are read only while lines are missing
  for (std::size_t n = 0; n < limits.files; ++n) {
    const auto part = read_file(older(path, n), limits.file_bytes);
    if (!part && n == 0) continue;  // being rotated: its lines are in the next one by now
    if (!part) break;
    text.insert(0, *part);
    if (static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) > lines) break;
  }
  std::vector<std::string> result;
  std::string_view rest{text};
  if (!rest.empty() && rest.back() == '\n') rest.remove_suffix(1);
  while (!rest.empty() && result.size() < lines) {
    const auto newline = rest.rfind('\n');
    const auto begin = newline == std::string_view::npos ? 0 : newline + 1;
    result.push_back(clean_line(rest.substr(begin)));
    rest = rest.substr(0, newline == std::string_view::npos ? 0 : newline);
  }
  std::reverse(result.begin(), result.end());
  return result;
}

std::string clean_line(std::string_view raw) {
  std::string out;
  while (!raw.empty() && out.size() < line_max_bytes) {
    const auto c = static_cast<unsigned char>(raw[0]);
    std::size_t length = 1;
    if (c == 0x1B) {
      length = escape_length(raw);
    } else if (c == '\t') {
      out.push_back(' ');
    } else if (c >= 0x20 && c < 0x7F) {
      out.push_back(raw[0]);
    } else if (c >= 0x80) {
      length = utf8_length(raw);
      if (length == 0)
        out.push_back('?');
      else
        out.append(raw.substr(0, length));
      length = std::max<std::size_t>(length, 1);
    }
    raw.remove_prefix(length);
  }
  return out;
}

}  // namespace blixard::vm
