#include "runtime/repl/format.hpp"

#include <algorithm>

#include "runtime/repl/shapes.hpp"

namespace blixard::repl {
namespace {

/// "PHASE_RUNNING" without its prefix, in lower case; numbers of a newer version stay numbers.
std::string short_name(const std::string& full, std::string_view prefix, int number) {
  if (full.empty()) return std::to_string(number);
  std::string out = full.substr(full.starts_with(prefix) ? prefix.size() : 0);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

errc code_of(std::uint32_t number) {
  // A code of a newer node is one that this client cannot judge.
  return number < static_cast<std::uint32_t>(errc_count) ? static_cast<errc>(number)
                                                         : errc::internal;
}

}  // namespace

std::string phase_name(pb::Phase p) { return short_name(pb::Phase_Name(p), "PHASE_", p); }
std::string desired_name(pb::Desired d) { return short_name(pb::Desired_Name(d), "DESIRED_", d); }
std::string backend_name(pb::Backend b) { return short_name(pb::Backend_Name(b), "BACKEND_", b); }
std::string state_name(pb::NodeState s) { return short_name(pb::NodeState_Name(s), "NODE_", s); }
std::string strategy_name(pb::Strategy s) {
  return short_name(pb::Strategy_Name(s), "STRATEGY_", s);
}

command_result result_of(const reply& r) {
  if (!r) return result_of(r.error());
  auto answer = std::make_shared<pb::Answer>();
  if (!answer->ParseFromArray(r->data(), static_cast<int>(r->size())))
    return result_of(make_error(errc::internal, "the node's answer cannot be read"));
  command_result out;
  out.failure.code = code_of(answer->error());
  out.failure.message = answer->message();
  out.failure.hint = answer->hint();
  out.failure.retry_after_ms = answer->retry_after_ms();
  out.index = log_index{answer->index()};
  out.term = blixard::term{answer->term()};
  out.node = node_id{answer->node()};
  out.answer = std::move(answer);
  return out;
}

command_result result_of(error e) {
  command_result out;
  out.failure = std::move(e);
  return out;
}

command_result result_of_text(std::string text) {
  command_result out;
  out.text = std::move(text);
  return out;
}

std::string phase_of(const command_result& r) {
  if (r.failure.code == errc::not_found) return "deleted";
  if (!r.ok() || !r.answer || !r.answer->has_vm()) return {};
  return phase_name(r.answer->vm().phase());
}

std::string reason_of(const command_result& r) {
  return r.answer && r.answer->has_vm() ? r.answer->vm().reason() : std::string{};
}

std::vector<std::string> lines_of(const command_result& r) {
  if (!r.answer || !r.answer->has_lines()) return {};
  const auto& lines = r.answer->lines().lines();
  return {lines.begin(), lines.end()};
}

command_result result_of_lines(const command_result& r, const std::vector<std::string>& lines) {
  command_result out = r;
  auto answer = std::make_shared<pb::Answer>(*r.answer);
  answer->mutable_lines()->mutable_lines()->Assign(lines.begin(), lines.end());
  out.answer = std::move(answer);
  return out;
}

std::string prompt_of(const command_result& r) {
  if (!r.ok() || !r.answer || !r.answer->has_status()) return "blixard> ";
  const auto& status = r.answer->status();
  std::string role = "unknown";
  for (const auto& m : status.members())
    if (m.id() == r.answer->node()) role = m.role();
  if (status.leader() == r.answer->node() && status.leader() != 0) role = "leader";
  return "blixard n" + std::to_string(r.answer->node()) + " " + role + " t" +
         std::to_string(status.term()) + "> ";
}

}  // namespace blixard::repl
