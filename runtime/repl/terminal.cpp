#include "runtime/repl/terminal.hpp"

#include <fcntl.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cwchar>
#include <deque>

#include "runtime/repl/text_table.hpp"

namespace blixard::repl {
namespace {

constexpr char ctrl_c = 3;
constexpr int history_size = 1000;

}  // namespace

class terminal::impl {
 public:
  impl(terminal_options options, complete_fn complete)
      : options_(std::move(options)), complete_(std::move(complete)), fd_(fileno(options_.in)) {
    // Lines are edited in characters of the person's encoding; of this thread only, since a locale
    // of the process must not change under the other threads of a node.
    locale_ = ::newlocale(LC_CTYPE_MASK, "", nullptr);
    if (locale_ != nullptr) locale_before_ = ::uselocale(locale_);
    ::tcgetattr(fd_, &original_);
    edit_ = el_init("blixard", options_.in, options_.out, options_.err);
    el_set(edit_, EL_CLIENTDATA, this);
    el_set(edit_, EL_PROMPT, &prompt_callback);
    el_set(edit_, EL_EDITOR, "emacs");
    el_set(edit_, EL_SIGNAL, 0);
    el_source(edit_, nullptr);  // the person's own ~/.editrc
    el_set(edit_, EL_SETTY, "-d", "-isig", nullptr);
    el_set(edit_, EL_SETTY, "-x", "-isig", nullptr);
    el_set(edit_, EL_GETCFN, &getc_callback);
    el_set(edit_, EL_ADDFN, "blixard-complete", "complete the word", &complete_callback);
    el_set(edit_, EL_BIND, "^I", "blixard-complete", nullptr);
    el_set(edit_, EL_ADDFN, "blixard-cancel", "drop the line", &cancel_callback);
    el_set(edit_, EL_BIND, "^C", "blixard-cancel", nullptr);
    el_set(edit_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    open_history();
    be_quiet();
  }

  ~impl() {
    if (!options_.history_file.empty()) {
      HistEvent event;
      history(history_, &event, H_SAVE, options_.history_file.c_str());
    }
    history_end(history_);
    el_end(edit_);
    ::tcsetattr(fd_, TCSADRAIN, &original_);
    if (locale_ == nullptr) return;
    ::uselocale(locale_before_);
    ::freelocale(locale_);
  }
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  std::optional<std::string> read_line(const std::string& prompt) {
    prompt_ = prompt;
    dropped_ = false;
    int count = 0;
    el_resize(edit_);  // the window may have another size by now
    const char* text = el_gets(edit_, &count);
    be_quiet();  // libedit gives back one that echoes: what is typed ahead would be shown twice
    if (dropped_) {
      std::fputs("\n", options_.out);
      return std::string{};
    }
    if (text == nullptr || count <= 0) return std::nullopt;
    std::string line(text, static_cast<std::size_t>(count));
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
    return line;
  }

  void remember(const std::string& line) {
    if (line.empty() || line.front() == ' ') return;
    HistEvent event;
    history(history_, &event, H_ENTER, line.c_str());
  }

  /// Between two lines: bytes as they are typed, not shown, no signals; output as usual.
  void be_quiet() {
    termios quiet = original_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    ::tcsetattr(fd_, TCSADRAIN, &quiet);
  }
  [[nodiscard]] int input_fd() const { return fd_; }

  bool interrupted() {
    std::array<char, 256> bytes;
    const auto n = ::read(fd_, bytes.data(), bytes.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return false;
    if (n <= 0) return true;
    for (ssize_t i = 0; i < n; ++i) {
      if (bytes[static_cast<std::size_t>(i)] == ctrl_c) {
        typed_ahead_.clear();
        return true;
      }
      typed_ahead_.push_back(bytes[static_cast<std::size_t>(i)]);
    }
    return false;
  }

 private:
  static impl& self(EditLine* edit) {
    impl* out = nullptr;
    el_get(edit, EL_CLIENTDATA, &out);
    return *out;
  }

  static char* prompt_callback(EditLine* edit) { return self(edit).prompt_.data(); }

  static unsigned char cancel_callback(EditLine* edit, int /*key*/) {
    std::fputs("^C", self(edit).options_.out);
    self(edit).dropped_ = true;
    return CC_NEWLINE;
  }

  static unsigned char complete_callback(EditLine* edit, int /*key*/) {
    const LineInfo* line = el_line(edit);
    auto& me = self(edit);
    const auto found = me.complete_({line->buffer, line->cursor});
    if (!found.insert.empty()) {
      if (el_insertstr(edit, found.insert.c_str()) != 0) return CC_ERROR;
      return CC_REFRESH;
    }
    if (found.list.empty()) return CC_ERROR;  // rings the bell
    int width = 80;
    el_get(edit, EL_GETTC, "co", &width, nullptr);
    const auto list = in_columns(found.list, static_cast<std::size_t>(std::max(width, 1)));
    std::fprintf(me.options_.out, "\n%s", list.c_str());
    return CC_REDISPLAY;
  }

  /// One byte of input, or nothing at the end (or when the shell is to stop).
  std::optional<char> next_byte() {
    if (!typed_ahead_.empty()) {
      const char c = typed_ahead_.front();
      typed_ahead_.pop_front();
      return c;
    }
    while (true) {
      std::array<pollfd, 2> fds{pollfd{fd_, POLLIN, 0}, pollfd{options_.stop_fd, POLLIN, 0}};
      if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return std::nullopt;
      if (fds[1].revents != 0) return std::nullopt;
      if (fds[0].revents == 0) continue;
      char c = 0;
      const auto n = ::read(fd_, &c, 1);
      if (n == 1) return c;
      if (n == 0 || (errno != EINTR && errno != EAGAIN)) return std::nullopt;
    }
  }

  /// Assembles a character from its bytes, in the locale's encoding.
  static int getc_callback(EditLine* edit, wchar_t* out) {
    auto& me = self(edit);
    std::mbstate_t state{};
    while (true) {
      const auto c = me.next_byte();
      if (!c) return 0;
      const auto n = std::mbrtowc(out, &*c, 1, &state);
      if (n == static_cast<std::size_t>(-2)) continue;  // more bytes are needed
      if (n == static_cast<std::size_t>(-1)) {
        state = {};
        continue;  // not a character of this locale
      }
      if (n == 0) *out = L'\0';
      return 1;
    }
  }

  void open_history() {
    history_ = history_init();
    HistEvent event;
    history(history_, &event, H_SETSIZE, history_size);
    history(history_, &event, H_SETUNIQUE, 1);
    el_set(edit_, EL_HIST, history, history_);
    const auto& file = options_.history_file;
    if (file.empty()) return;
    // Made here with its mode, so that it is never readable by others, not even for a moment.
    const int fd = ::open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) return;
    ::fchmod(fd, 0600);
    ::close(fd);
    history(history_, &event, H_LOAD, file.c_str());
  }

  terminal_options options_;
  complete_fn complete_;
  int fd_;
  locale_t locale_ = nullptr;
  locale_t locale_before_ = nullptr;
  termios original_{};
  EditLine* edit_ = nullptr;
  History* history_ = nullptr;
  std::string prompt_;
  bool dropped_ = false;
  std::deque<char> typed_ahead_;
};

terminal::terminal(terminal_options options, complete_fn complete)
    : impl_(std::make_unique<impl>(std::move(options), std::move(complete))) {}
terminal::~terminal() = default;

std::optional<std::string> terminal::read_line(const std::string& prompt) {
  return impl_->read_line(prompt);
}
void terminal::remember(const std::string& line) { impl_->remember(line); }
int terminal::input_fd() const { return impl_->input_fd(); }
bool terminal::interrupted() { return impl_->interrupted(); }

}  // namespace blixard::repl
