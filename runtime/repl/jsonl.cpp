#include "runtime/repl/jsonl.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "messages/check.hpp"
#include "runtime/base/nesting.hpp"

namespace blixard::repl {

/// What one line asks for.
struct jsonl_session::line_spec {
  std::string id;  // JSON text; empty: a plain line
  std::vector<std::string> words;
  operation_id op;
  std::optional<std::uint32_t> timeout_ms;
};

struct jsonl_session::running {
  std::string id;
  bool plain = false;
  invocation inv;
  task work;
  std::optional<std::uint64_t> timer_ms;
};

namespace {

using json = nlohmann::json;

tl::unexpected<error> refuse_line(std::string message, std::string hint = {}) {
  return tl::unexpected(make_error(errc::invalid_argument, std::move(message), std::move(hint)));
}

constexpr std::string_view members_hint =
    R"(such as {"id":1,"cmd":"kv get k","timeout_ms":1000,"client":"c","seq":1})";

/// The words of "cmd": a line, or an array of words.
tl::expected<std::vector<std::string>, error> words_of(const json& cmd) {
  if (cmd.is_string()) return split_words(cmd.get_ref<const std::string&>());
  std::vector<std::string> out;
  if (!cmd.is_array()) return refuse_line("cmd is neither text nor an array of words");
  for (const auto& word : cmd) {
    if (!word.is_string()) return refuse_line("cmd holds something that is not text");
    out.push_back(word.get<std::string>());
  }
  return out;
}

tl::expected<std::uint64_t, error> number_member(const json& line, const char* name,
                                                 std::uint64_t min, std::uint64_t max) {
  const auto& v = line.at(name);
  if (!v.is_number_unsigned() || v.get<std::uint64_t>() < min || v.get<std::uint64_t>() > max)
    return refuse_line(std::string(name) + " is not a whole number from " + std::to_string(min) +
                       " to " + std::to_string(max));
  return v.get<std::uint64_t>();
}

tl::expected<void, error> check_members(const json& line) {
  for (const auto& [key, value] : line.items())
    if (key != "id" && key != "cmd" && key != "timeout_ms" && key != "client" && key != "seq")
      return refuse_line("unknown member \"" + key + "\"", std::string(members_hint));
  if (!line.contains("cmd")) return refuse_line("cmd is missing", std::string(members_hint));
  if (line.contains("client") != line.contains("seq"))
    return refuse_line("client and seq belong together");
  if (line.contains("client") &&
      (!line.at("client").is_string() || line.at("client").get_ref<const std::string&>().empty()))
    return refuse_line("client is not a text, or is an empty one");
  return {};
}

bool starts_json(std::string_view line) {
  const auto first = line.find_first_not_of(" \t\r");
  return first != std::string_view::npos && line[first] == '{';
}

/// The id of a line, "null" where it has none: a JSON line's answer always has one.
std::string id_of(const json& line) {
  const auto at = line.find("id");
  return at == line.end() ? "null" : at->dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

jsonl_session::jsonl_session(port& p, jsonl_options options, emit_fn emit)
    : port_(p), options_(options), emit_(std::move(emit)) {}

jsonl_session::~jsonl_session() = default;

void jsonl_session::feed(std::string_view bytes, task_clock now) {
  now_ = now;
  input_.append(bytes);
  take_lines(now);
}

void jsonl_session::take_lines(task_clock now) {
  std::size_t begin = 0;
  while (wants_input()) {
    const auto end = input_.find('\n', begin);
    if (end == std::string::npos) break;
    if (!std::exchange(skipping_, false))
      take_line(std::string_view(input_).substr(begin, end - begin), true, now);
    begin = end + 1;
  }
  input_.erase(0, begin);
  const bool line_open = input_.find('\n') == std::string::npos;
  if (line_open && input_.size() > options_.line_max_bytes) take_overlong(now);
}

void jsonl_session::take_overlong(task_clock now) {
  auto e = make_error(errc::too_large, "the line has more than " +
                                           std::to_string(options_.line_max_bytes) + " bytes");
  const bool json_line = starts_json(input_);
  input_.clear();
  if (std::exchange(skipping_, true)) return;
  if (json_line)
    refuse(e, "null");
  else
    refuse_plain(std::move(e), now);
}

void jsonl_session::end_of_input(task_clock now) {
  now_ = now;
  ended_ = true;
  take_lines(now);
  if (!wants_input()) return;  // what is left waits for room; see turn()
  if (!skipping_ && !input_.empty()) take_line(std::exchange(input_, {}), false, now);
  input_.clear();
}

void jsonl_session::take_line(std::string_view line, bool whole, task_clock now) {
  if (!starts_json(line)) {
    if (!whole)
      return refuse_plain(make_error(errc::invalid_argument,
                                     "the input ended in the middle of this line; it was not run",
                                     "end every line with a line end"),
                          now);
    plain_.push_back({std::string(line), {errc::ok, {}, {}, 0}});
    return start_next_plain(now);
  }
  const auto parsed =
      nests_too_deeply(line) ? json(json::value_t::discarded) : json::parse(line, nullptr, false);
  if (parsed.is_discarded())
    return refuse(make_error(errc::invalid_argument, "the line is not a JSON object",
                             std::string(members_hint)),
                  "null");
  line_spec spec;
  spec.id = id_of(parsed);
  if (auto ok = check_members(parsed); !ok) return refuse(ok.error(), spec.id);
  auto words = words_of(parsed.at("cmd"));
  if (!words) return refuse(words.error(), spec.id);
  spec.words = std::move(*words);
  if (parsed.contains("timeout_ms")) {
    const auto n = number_member(parsed, "timeout_ms", 0, 86'400'000);
    if (!n) return refuse(n.error(), spec.id);
    spec.timeout_ms = static_cast<std::uint32_t>(std::max<std::uint64_t>(*n, 1));
  }
  if (parsed.contains("seq")) {
    const auto n = number_member(parsed, "seq", 1, UINT64_MAX);
    if (!n) return refuse(n.error(), spec.id);
    spec.op = {parsed.at("client").get<std::string>(), *n};
  }
  start(std::move(spec), now);
}

void jsonl_session::start_next_plain(task_clock now) {
  while (!plain_running_ && !plain_.empty()) {
    const auto next = std::move(plain_.front());
    plain_.pop_front();
    if (next.refused.code != errc::ok) {
      refuse(next.refused, {});
      continue;
    }
    auto words = split_words(next.line);
    if (!words) {
      refuse(words.error(), {});
      continue;
    }
    line_spec spec;
    spec.words = std::move(*words);
    start(std::move(spec), now);
  }
}

void jsonl_session::start(line_spec spec, task_clock now) {
  auto inv = parse_command(spec.words);
  if (!inv) return refuse(inv.error(), spec.id);
  const auto act = inv->spec->act;
  const bool endless = act == action::watch || (act == action::follow && inv->has("--follow"));
  if (endless || act == action::timing || act == action::source || act == action::quit)
    return refuse(
        make_error(errc::unsupported, inv->spec->name() +
                                          (endless ? " gives more than one answer and is" : " is") +
                                          " for the shell only"),
        spec.id);
  if (spec.timeout_ms && inv->has("--timeout"))
    return refuse(make_error(errc::invalid_argument, "give timeout_ms or --timeout, not both"),
                  spec.id);
  // A line's own timeout also bounds commands that would wait longer by default.
  if (spec.timeout_ms) inv->flags["--timeout"] = {std::to_string(*spec.timeout_ms) + "ms"};
  const bool plain = spec.id.empty();
  if (plain) plain_running_ = true;
  running_.push_back(
      {spec.id, plain, *inv, task(*inv, std::move(spec.op), options_.timeout_ms), {}});
  const auto at = std::prev(running_.end());
  step(at, at->work.start(now));
}

void jsonl_session::step(std::list<running>::iterator at, task::step s) {
  switch (s.what) {
    case task::step::kind::send:
      port_.submit(*s.send, [this, at](const reply& r) { step(at, at->work.on_reply(r, now_)); });
      return;
    case task::step::kind::wait:
      at->timer_ms = now_.mono_ms + s.wait_ms;
      return;
    case task::step::kind::finish:
      emit_(render_json(*s.result, &at->inv, at->id));
      if (at->plain) plain_running_ = false;
      running_.erase(at);
      return;
  }
}

void jsonl_session::turn(task_clock now) {
  now_ = now;
  for (auto at = running_.begin(); at != running_.end();) {
    const auto current = at++;  // a finished task erases itself
    if (!current->timer_ms || *current->timer_ms > now.mono_ms) continue;
    current->timer_ms.reset();
    step(current, current->work.on_timer(now));
  }
  start_next_plain(now);
  if (ended_)
    end_of_input(now);
  else if (wants_input())
    take_lines(now);
}

void jsonl_session::refuse(const error& e, std::string_view id) {
  emit_(render_json(result_of(e), nullptr, id));
}

/// A plain line that cannot be run keeps its place in the order of answers.
void jsonl_session::refuse_plain(error e, task_clock now) {
  plain_.push_back({{}, std::move(e)});
  start_next_plain(now);
}

bool jsonl_session::wants_input() const noexcept {
  return running_.size() + plain_.size() < options_.open_max;
}

bool jsonl_session::finished() const noexcept {
  return ended_ && running_.empty() && plain_.empty() && input_.empty();
}

int jsonl_session::wait_ms(std::uint64_t now_ms) const {
  int out = -1;
  for (const auto& r : running_) {
    if (!r.timer_ms) continue;
    const int left = *r.timer_ms > now_ms ? static_cast<int>(*r.timer_ms - now_ms) : 0;
    out = out < 0 ? left : std::min(out, left);
  }
  return out;
}

}  // namespace blixard::repl
