// Claims about what programs and people are shown; the JSON shapes are those of the documentation.
#include "runtime/repl/format.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <sstream>

#include "messages/cluster.pb.h"
#include "runtime/repl/text_table.hpp"
#include "runtime/repl/utf8.hpp"

namespace blixard::repl {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

command_result result_from(const pb::Answer& a) {
  const auto bytes = a.SerializeAsString();
  return result_of(std::as_bytes(std::span(bytes)));
}

invocation command(const std::string& line) { return *parse_command(*split_words(line)); }

json shown(const pb::Answer& a, const std::string& line, std::string_view id = {}) {
  const auto inv = command(line);
  return json::parse(render_json(result_from(a), &inv, id));
}

std::string text_of(const pb::Answer& a, const std::string& line) {
  return render_text(result_from(a), command(line));
}

pb::Answer good(std::uint64_t index = 91) {
  pb::Answer a;
  a.set_index(index);
  a.set_term(4);
  a.set_node(1);
  return a;
}

pb::Answer failed(errc code, std::uint64_t index = 0) {
  pb::Answer a;
  a.set_error(static_cast<std::uint32_t>(code));
  a.set_message("what happened");
  a.set_hint("what to do");
  a.set_index(index);
  a.set_term(index == 0 ? 0 : 4);
  return a;
}

pb::Vm sample_vm() {
  pb::Vm vm;
  vm.set_id(5);
  vm.mutable_spec()->set_name("web");
  vm.mutable_spec()->set_tenant("default");
  vm.mutable_spec()->set_vcpus(2);
  vm.mutable_spec()->set_memory_bytes(512 << 20);
  auto* label = vm.mutable_spec()->add_labels();
  label->set_key("tier");
  label->set_value("front");
  vm.set_generation(3);
  vm.set_node(2);
  vm.set_phase(pb::PHASE_RUNNING);
  vm.set_backend(pb::BACKEND_QEMU);
  vm.set_accelerator("tcg");
  vm.set_pid(4242);
  return vm;
}

TEST(json_answer, ok_has_index_term_node_and_result) {
  auto a = good();
  a.mutable_kv()->set_version(3);
  EXPECT_EQ(shown(a, "kv put k v"),
            json::parse(R"({"op":"ok","index":91,"term":4,"node":1,"result":{"version":3}})"));
  EXPECT_EQ(shown(a, "kv cas k a b")["result"], json::parse(R"({"version":3})"));
}

TEST(json_answer, fields_stand_in_the_documented_order_on_one_line) {
  auto a = good();
  a.mutable_kv()->set_version(3);
  const auto inv = command("kv put k v");
  EXPECT_EQ(render_json(result_from(a), &inv, "7"),
            R"({"id":7,"op":"ok","index":91,"term":4,"node":1,"result":{"version":3}})");
}

TEST(json_answer, ids_of_any_kind_are_echoed) {
  for (const std::string id : {"7", "\"seven\"", "null", "[1,{\"a\":2}]", "18446744073709551615"})
    EXPECT_EQ(shown(good(), "kv delete k", id)["id"], json::parse(id)) << id;
  EXPECT_FALSE(shown(good(), "kv delete k").contains("id"));
}

TEST(json_answer, a_failure_that_observed_the_state_has_an_index) {
  EXPECT_EQ(shown(failed(errc::conflict, 92), "kv cas k a b", "7"),
            json::parse(R"({"id":7,"op":"fail","index":92,"term":4,"error":
                {"code":"conflict","message":"what happened","hint":"what to do"}})"));
  EXPECT_FALSE(shown(failed(errc::no_leader), "kv get k").contains("index"));
}

TEST(json_answer, overloaded_says_when_to_come_back) {
  auto a = failed(errc::overloaded);
  a.set_retry_after_ms(120);
  EXPECT_EQ(shown(a, "kv put k v")["error"]["retry_after_ms"], 120);
}

TEST(json_answer, op_is_what_the_code_means_for_the_command) {
  for (int i = 1; i < errc_count; ++i) {
    const auto code = static_cast<errc>(i);
    const auto op = shown(failed(code), "kv put k v")["op"];
    EXPECT_EQ(op, outcome_of(code) == outcome::info ? "info" : "fail") << to_string(code);
  }
  const auto lost = render_json(result_of(make_error(errc::connection_lost, "gone")), nullptr);
  EXPECT_EQ(json::parse(lost)["op"], "info");
}

TEST(json_answer, a_code_of_a_newer_node_and_bytes_that_are_no_answer_are_unknown_outcomes) {
  pb::Answer newer;
  newer.set_error(200);
  EXPECT_EQ(shown(newer, "kv put k v")["op"], "info");
  const std::string garbage = "\xff\xff\xff";
  const auto r = result_of(std::as_bytes(std::span(garbage)));
  EXPECT_EQ(r.failure.code, errc::internal);
}

TEST(json_shape, kv) {
  auto a = good();
  a.mutable_kv()->set_key("k");
  a.mutable_kv()->set_value("v");
  a.mutable_kv()->set_version(3);
  EXPECT_EQ(shown(a, "kv get k")["result"], json::parse(R"({"key":"k","value":"v","version":3})"));
  auto done = good();
  done.mutable_done();
  EXPECT_EQ(shown(done, "kv delete k")["result"], json::object());
  auto list = good();
  *list.mutable_kv_items()->add_items() = a.kv();
  EXPECT_EQ(shown(list, "kv list")["result"]["items"],
            json::parse(R"([{"key":"k","value":"v","version":3}])"));
}

TEST(json_shape, bytes_that_are_not_text_come_as_base64_too) {
  auto a = good();
  a.mutable_kv()->set_key("k");
  a.mutable_kv()->set_value("\xff\x00x", 3);
  EXPECT_EQ(shown(a, "kv get k")["result"]["value_base64"], "/wB4");
  a.mutable_kv()->set_value("\xff\x01", 2);
  EXPECT_EQ(shown(a, "kv get k")["result"]["value_base64"], "/wE=");
  a.mutable_kv()->set_value("\xff", 1);
  EXPECT_EQ(shown(a, "kv get k")["result"]["value_base64"], "/w==");
  a.mutable_kv()->set_value("text");
  EXPECT_FALSE(shown(a, "kv get k")["result"].contains("value_base64"));
}

TEST(json_shape, vm) {
  auto a = good();
  *a.mutable_vm() = sample_vm();
  for (const std::string line : {"vm show web", "vm create web", "vm stop web"}) {
    const auto vm = shown(a, line)["result"];
    EXPECT_EQ(vm["name"], "web") << line;
    EXPECT_EQ(vm["tenant"], "default");
    EXPECT_EQ(vm["id"], 5);
    EXPECT_EQ(vm["generation"], 3);
    EXPECT_EQ(vm["desired"], "running");
    EXPECT_EQ(vm["phase"], "running");
    EXPECT_EQ(vm["node"], 2);
    EXPECT_EQ(vm["backend"], "qemu");
    EXPECT_EQ(vm["pid"], 4242);
    EXPECT_EQ(vm["reason"], "");
    EXPECT_EQ(vm["memory_bytes"], 512 << 20);
    EXPECT_EQ(vm["labels"]["tier"], "front");
  }
  auto list = good();
  *list.mutable_vms()->add_vms() = sample_vm();
  EXPECT_EQ(shown(list, "vm list")["result"]["vms"][0]["name"], "web");
  auto none = good();
  none.mutable_vms();
  EXPECT_EQ(shown(none, "vm list")["result"], json::parse(R"({"vms":[]})"));
}

TEST(json_shape, explain) {
  auto a = good();
  auto& d = *a.mutable_decision();
  d.set_node(2);
  auto* c = d.add_candidates();
  c->set_node(2);
  c->set_score(0.75);
  auto* r = d.add_rejected();
  r->set_node(1);
  r->add_reasons("needs 4G of memory, 1G is free");
  d.set_fix("free 3G on node 1");
  EXPECT_EQ(shown(a, "vm explain web")["result"], json::parse(R"({"name":"web","node":2,"index":91,
      "candidates":[{"node":2,"score":0.75}],
      "rejected":[{"node":1,"reasons":["needs 4G of memory, 1G is free"]}],
      "fix":"free 3G on node 1"})"));
}

TEST(json_shape, nodes_and_status) {
  auto a = good();
  auto& n = *a.mutable_nodes()->add_nodes();
  n.set_id(2);
  n.set_state(pb::NODE_CORDONED);
  n.mutable_capacity()->set_vcpus(8);
  n.mutable_allocated()->set_memory_bytes(1024);
  const auto node = shown(a, "node list")["result"]["nodes"][0];
  EXPECT_EQ(node["id"], 2);
  EXPECT_EQ(node["state"], "cordoned");
  EXPECT_EQ(node["capacity"]["vcpus"], 8);
  EXPECT_EQ(node["allocated"]["memory_bytes"], 1024);
  EXPECT_EQ(node["labels"], json::object());
  EXPECT_EQ(shown(a, "node show 2")["result"]["id"], 2);

  auto b = good();
  auto& s = *b.mutable_status();
  s.set_cluster_id(0xABCDEF);
  s.set_leader(1);
  s.set_term(4);
  s.set_commit_index(91);
  s.set_applied_index(90);
  auto& m = *s.add_members();
  m.set_id(1);
  m.set_address("127.0.0.1:7001");
  m.set_role("leader");
  m.set_state("ready");
  m.set_match_index(91);
  m.set_version("0.1.0");
  const auto status = shown(b, "cluster status")["result"];
  EXPECT_EQ(status["cluster_id"], "0000000000abcdef");
  EXPECT_EQ(status["leader"], 1);
  EXPECT_EQ(status["commit_index"], 91);
  EXPECT_EQ(status["applied_index"], 90);
  const auto member = status["nodes"][0];
  EXPECT_EQ(member["address"], "127.0.0.1:7001");
  EXPECT_EQ(member["role"], "leader");
  EXPECT_EQ(member["state"], "ready");
  EXPECT_EQ(member["match_index"], 91);
  EXPECT_EQ(member["version"], "0.1.0");
}

TEST(json_shape, digest_caches_and_lines) {
  auto d = good();
  d.mutable_digest()->set_index(42);
  d.mutable_digest()->set_digest("00ff");
  EXPECT_EQ(shown(d, "cluster digest --at 42")["result"],
            json::parse(R"({"index":42,"digest":"00ff"})"));
  auto c = good();
  c.mutable_caches()->add_caches()->set_name("summary");
  EXPECT_EQ(shown(c, "cache stats")["result"]["caches"][0]["name"], "summary");
  auto l = good();
  l.mutable_lines()->add_lines("one");
  EXPECT_EQ(shown(l, "vm logs web")["result"], json::parse(R"({"lines":["one"]})"));
}

TEST(json_answer, a_refused_create_still_says_why_per_node) {
  auto a = failed(errc::unplaceable, 5);
  *a.mutable_vm() = sample_vm();
  const auto out = shown(a, "vm create web");
  EXPECT_EQ(out["op"], "fail");
  EXPECT_EQ(out["result"]["name"], "web");
}

// ---------------------------------------------------------------- for people

TEST(text, kv_get_prints_the_value_alone) {
  auto a = good();
  a.mutable_kv()->set_value("v");
  EXPECT_EQ(text_of(a, "kv get k"), "v\n");
  a.mutable_kv()->set_version(3);
  EXPECT_EQ(text_of(a, "kv put k v"), "ok, version 3 (index 91)\n");
}

TEST(text, a_vm_that_does_not_run_says_why) {
  auto a = good();
  *a.mutable_vm() = sample_vm();
  EXPECT_EQ(text_of(a, "vm show web").find("why"), std::string::npos);
  EXPECT_NE(text_of(a, "vm show web").find("512M"), std::string::npos);
  EXPECT_EQ(text_of(a, "vm create web"), "web: running on node 2\n");

  a.mutable_vm()->set_phase(pb::PHASE_FAILED);
  a.mutable_vm()->set_reason("qemu: could not open /k: No such file");
  EXPECT_NE(text_of(a, "vm show web").find("why      qemu: could not open /k"), std::string::npos)
      << text_of(a, "vm show web");

  a.mutable_vm()->set_phase(pb::PHASE_STOPPED);
  a.mutable_vm()->set_desired(pb::DESIRED_STOPPED);
  a.mutable_vm()->clear_reason();
  EXPECT_NE(text_of(a, "vm show web").find("vm start web starts it"), std::string::npos);

  a.mutable_vm()->set_phase(pb::PHASE_PENDING);
  a.mutable_vm()->set_desired(pb::DESIRED_RUNNING);
  auto* r = a.mutable_vm()->add_rejected();
  r->set_node(1);
  r->add_reasons("cordoned");
  a.mutable_vm()->set_fix("node uncordon 1");
  const auto pending = text_of(a, "vm show web");
  EXPECT_NE(pending.find("  node 1: cordoned\n"), std::string::npos) << pending;
  EXPECT_NE(pending.find("fix: node uncordon 1\n"), std::string::npos);
}

pb::Vm vm_with_a_past() {
  auto vm = sample_vm();
  vm.set_phase_ms(1'795'485'423'609);
  vm.set_restarts(1);
  vm.set_crashes(2);
  vm.add_gave_up(3);
  vm.add_gave_up(1);
  vm.set_retry_ms(1'795'485'433'609);
  auto& e = *vm.add_events();
  e.set_index(17);
  e.set_time_ms(1'795'485'423'609);
  e.set_text("node 1 gave it up: \x1b[31mno kernel");
  return vm;
}

TEST(text, a_vm_shows_its_history_and_when_it_is_tried_again) {
  auto a = good();
  *a.mutable_vm() = vm_with_a_past();
  const auto text = text_of(a, "vm show web");
  EXPECT_THAT(text, HasSubstr("phase        running since 2026-11-24 01:57:03Z\n"));
  EXPECT_THAT(text, HasSubstr("restarts     1 asked for; failed 2 times\n"));
  EXPECT_THAT(text, HasSubstr("given up by  node 3, 1; there again after 2026-11-24 01:57:13Z\n"));
  EXPECT_THAT(
      text, HasSubstr("history:\n  2026-11-24 01:57:03Z  node 1 gave it up: \\x1b[31mno kernel\n"));
}

TEST(json_shape, a_vms_history) {
  auto a = good();
  *a.mutable_vm() = vm_with_a_past();
  const auto vm = shown(a, "vm show web")["result"];
  EXPECT_EQ(vm["crashes"], 2);
  EXPECT_EQ(vm["phase_ms"], 1'795'485'423'609);
  EXPECT_EQ(vm["retry_ms"], 1'795'485'433'609);
  EXPECT_EQ(vm["gave_up"], json::parse("[3,1]"));
  EXPECT_EQ(vm["events"][0]["index"], 17);
  EXPECT_EQ(vm["events"][0]["time_ms"], 1'795'485'423'609);
  EXPECT_EQ(vm["events"].size(), 1U);
}

std::string failure_of(errc code, const std::string& message, const std::string& hint,
                       const std::string& line) {
  const auto inv = parse_command(*split_words(line));
  return render_failure(result_of(make_error(code, message, hint)), &*inv);
}

TEST(text, errors_say_what_whether_and_what_next) {
  EXPECT_EQ(failure_of(errc::conflict, "version is 3", "read it again", "kv cas k a b"),
            "error: version is 3 (conflict)\nhint: read it again\n");
  EXPECT_EQ(failure_of(errc::not_found, "", "", "kv get k"), "error: not_found (not_found)\n");
}

TEST(text, an_unknown_outcome_matters_only_where_something_may_have_changed) {
  for (const std::string line : {"kv put a b", "vm stop web", "cluster remove 3", "vm create web"})
    EXPECT_THAT(failure_of(errc::timeout, "no answer", "", line),
                testing::HasSubstr("outcome is unknown"))
        << line;
  for (const std::string line : {"kv get a", "vm list", "cluster digest", "wait vm web", "metrics"})
    EXPECT_EQ(failure_of(errc::timeout, "no answer", "", line), "error: no answer (timeout)\n");
}

TEST(text, a_refused_create_says_why_each_node_refused_and_then_what_to_do) {
  auto a = failed(errc::unplaceable, 5);
  auto* r = a.mutable_decision()->add_rejected();
  r->set_node(2);
  r->add_reasons("cordoned");
  r->add_reasons("too small");
  EXPECT_EQ(
      render_failure(result_from(a), nullptr),
      "error: what happened (unplaceable)\n  node 2: cordoned; too small\nhint: what to do\n");
}

TEST(text, a_command_says_what_is_still_to_come) {
  auto a = good();
  auto& vm = *a.mutable_vm() = sample_vm();
  vm.set_desired(pb::DESIRED_RUNNING);
  vm.set_phase(pb::PHASE_SCHEDULED);
  EXPECT_EQ(text_of(a, "vm create web"),
            "web: scheduled on node 2; 'wait vm web' waits until it runs\n");
  vm.mutable_spec()->set_tenant("acme");
  EXPECT_EQ(text_of(a, "vm create web"),
            "acme/web: scheduled on node 2; 'wait vm web --tenant acme' waits until it runs\n");
  vm.mutable_spec()->set_tenant("default");
  vm.set_phase(pb::PHASE_RUNNING);
  vm.set_desired(pb::DESIRED_PAUSED);
  EXPECT_EQ(text_of(a, "vm pause web"), "web: running on node 2, to be paused\n");
  vm.set_phase(pb::PHASE_PAUSED);
  EXPECT_EQ(text_of(a, "vm pause web"), "web: paused on node 2\n");
  vm.set_desired(pb::DESIRED_RUNNING);
  EXPECT_EQ(text_of(a, "vm resume web"), "web: paused on node 2, to be resumed\n");
}

TEST(text, explain_tells_where_it_is_from_where_it_would_go) {
  auto a = good();
  auto& d = *a.mutable_decision();
  d.set_node(1);
  const auto add = [&d](std::uint64_t node, double score) {
    auto& c = *d.add_candidates();
    c.set_node(node);
    c.set_score(score);
  };
  add(1, 0.5);
  add(3, -999999.5);
  EXPECT_EQ(text_of(a, "vm explain web"),
            "web: node 1 (at index 91)\n"
            "  node 1: score 0.500\n"
            "  node 3: only if no other fits: it gave this VM up, or its group is full there\n");
  d.set_node(2);
  EXPECT_THAT(
      text_of(a, "vm explain web"),
      testing::StartsWith("web: node 2 (at index 91); placed now, it would go to node 1\n"));
}

TEST(text, one_node_is_shown_as_fields_and_several_as_a_table) {
  auto a = good();
  auto& n = *a.mutable_nodes()->add_nodes();
  n.set_id(7);
  n.set_name("rack-7");
  n.mutable_capacity()->set_vcpus(8);
  n.mutable_allocated()->set_vcpus(3);
  EXPECT_THAT(text_of(a, "node show 7"), testing::HasSubstr("vcpus     3/8 used\n"));
  EXPECT_THAT(text_of(a, "node list"), testing::StartsWith("ID  NAME"));
}

TEST(text, cluster_status_sums_up_what_there_is_and_what_is_used_of_it) {
  auto a = good();
  auto& s = *a.mutable_status()->mutable_summary();
  s.set_nodes_total(3);
  s.set_nodes_healthy(2);
  s.mutable_total()->set_vcpus(8);
  s.mutable_total()->set_memory_bytes(3ULL << 30U);
  s.mutable_total()->set_disk_bytes(90ULL << 30U);
  s.mutable_used()->set_vcpus(1);
  s.mutable_used()->set_memory_bytes(256ULL << 20U);
  s.mutable_used()->set_disk_bytes(1ULL << 30U);
  EXPECT_THAT(text_of(a, "cluster status"), testing::HasSubstr("nodes    2 of 3 healthy\n"
                                                               "vcpus    1/8 used\n"
                                                               "memory   256M/3G used\n"
                                                               "disk     1G/90G used\n"
                                                               "vms      none\n"));
  s.set_nodes_leaving(1);
  EXPECT_THAT(text_of(a, "cluster status"), HasSubstr("nodes    2 of 3 healthy, 1 leaving\n"));
  EXPECT_EQ(shown(a, "cluster status")["result"]["summary"]["nodes_leaving"], 1);
}

TEST(text, a_filter_that_no_metric_matches_is_told) {
  auto a = good();
  a.mutable_lines();
  EXPECT_EQ(text_of(a, "metrics rfat"), "no metric's name has rfat\n");
  EXPECT_EQ(text_of(a, "vm logs web"), "");
}

TEST(text, values_cannot_command_the_terminal_or_spoil_a_column) {
  EXPECT_EQ(printable("a\x1b[2J\nb\tc\x7f"), "a\\x1b[2J\\nb\\tc\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "2J"),
            "\\xc2\\x9b2J")
      << "a C1 control is two bytes";
  EXPECT_EQ(printable("\xff"
                      "a\xc3"),
            "\\xffa\\xc3")
      << "bytes that are no text";
  EXPECT_EQ(printable("größe 東京 🙂"), "größe 東京 🙂");
  EXPECT_EQ(for_terminal("a\n\tb\x1b]0;x\x07\n"), "a\n\tb\\x1b]0;x\\x07\n");
  auto a = good();
  auto* item = a.mutable_kv_items()->add_items();
  item->set_key("k");
  item->set_value("\x1b[2J");
  EXPECT_EQ(text_of(a, "kv list").find('\x1b'), std::string::npos);
  EXPECT_EQ(failure_of(errc::not_found, "key '\x1b[2J' is not there", "", "kv get x"),
            "error: key '\\x1b[2J' is not there (not_found)\n");
}

TEST(utf8, is_the_shortest_form_without_surrogates_up_to_the_last_character) {
  for (const std::string good : {"", "a", "ä", "€", "🙂", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"})
    EXPECT_TRUE(is_utf8(good)) << good;
  for (const std::string bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
        "\xf4\x90\x80\x80", "\xf5", "\xe2\x82", "a\xff"})
    EXPECT_FALSE(is_utf8(bad)) << testing::PrintToString(bad);
}

TEST(text_table, a_text_that_is_too_wide_loses_its_middle) {
  EXPECT_EQ(abridged("short", 8), "short");
  EXPECT_EQ(abridged("12345678", 8), "12345678");
  EXPECT_EQ(abridged("123456789", 8), "12 ... 9");
  EXPECT_EQ(abridged("killed by signal 9: last words of the console (restart 1 of 3)", 40),
            "killed by signal 9 ...  (restart 1 of 3)");
  EXPECT_EQ(abridged("\xC3\xA4\xC3\xB6\xC3\xBC"
                     "456789",
                     8),
            "\xC3\xA4\xC3\xB6 ... 9");
}

TEST(text_table, what_a_screen_has_no_room_for_is_counted_in_its_last_row) {
  const std::string five = "1\n2\n3\n4\n5\n";
  EXPECT_EQ(first_rows(five, 6, 80), five) << "the cursor stands in the sixth row";
  EXPECT_EQ(first_rows(five, 5, 80), "1\n2\n3\n... 2 more lines\n");
  EXPECT_EQ(first_rows(five, 3, 80), "1\n... 4 more lines\n");
  EXPECT_EQ(first_rows("12345678\n2\n3\n", 4, 4), "12345678\n... 2 more lines\n") << "two rows";
  EXPECT_EQ(first_rows("", 5, 80), "");
}

TEST(text, a_list_of_nodes_has_a_column_of_labels_where_one_has_any) {
  auto a = good();
  auto& n = *a.mutable_nodes()->add_nodes();
  n.set_id(1);
  EXPECT_EQ(text_of(a, "node list").find("LABELS"), std::string::npos);
  auto& l = *n.add_labels();
  l.set_key("zone");
  l.set_value("a");
  EXPECT_THAT(text_of(a, "node list"), HasSubstr("LABELS"));
  EXPECT_THAT(text_of(a, "node list"), HasSubstr("zone=a"));
}

TEST(text, lists_of_ordinary_nodes_and_caches_fit_into_80_columns) {
  const auto widest = [](const std::string& text) {
    std::size_t out = 0;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) out = std::max(out, display_width(line));
    return out;
  };
  auto a = good();
  auto& n = *a.mutable_nodes()->add_nodes();
  n.set_id(12);
  n.set_name("node-12");
  n.set_address("127.0.0.1:7012");
  n.set_state(pb::NODE_CORDONED);
  n.mutable_capacity()->set_vcpus(16);
  n.mutable_allocated()->set_vcpus(12);
  n.mutable_capacity()->set_memory_bytes(8035ULL << 20U);
  n.mutable_allocated()->set_memory_bytes(1536ULL << 20U);
  n.mutable_capacity()->set_disk_bytes(221ULL << 30U);
  n.mutable_allocated()->set_disk_bytes(105ULL << 30U);
  n.add_backends(pb::BACKEND_QEMU);
  n.add_backends(pb::BACKEND_PROCESS);
  n.set_accelerator("tcg");
  const auto list = text_of(a, "node list");
  EXPECT_LE(widest(list), 80U) << list;
  EXPECT_THAT(list, HasSubstr("12/16  1536/8035M  105/221G  qemu/tcg,process\n"));
  EXPECT_EQ(list.find("NAME"), std::string::npos) << "which says no more than the id";
  n.set_name("rack-a");
  EXPECT_THAT(text_of(a, "node list"), HasSubstr("12  rack-a  127"));

  auto s = good();
  auto& m = *s.mutable_status()->add_members();
  m.set_id(2);
  m.set_address("127.0.0.1:7002");
  m.set_role("follower");
  m.set_state("joining");
  m.set_match_index(12'345);
  m.set_window_messages(256);
  m.set_quality("disconnected");
  m.set_rtt_us(12'340);
  m.set_version("0.1.0");
  EXPECT_LE(widest(text_of(s, "cluster status")), 80U) << text_of(s, "cluster status");
  m.set_quality("excellent");
  EXPECT_LE(widest(text_of(s, "cluster status")), 80U) << text_of(s, "cluster status");

  auto c = good();
  auto& cache = *c.mutable_caches()->add_caches();
  cache.set_name("placement");
  cache.set_hits(1'234'567);
  cache.set_size(1234);
  cache.set_capacity(4096);
  EXPECT_LE(widest(text_of(c, "cache stats")), 80U) << text_of(c, "cache stats");
}

TEST(text, a_list_of_vms_shows_both_ends_of_a_long_reason_and_vm_show_all_of_it) {
  auto a = good();
  auto& vm = *a.mutable_vms()->add_vms();
  vm.mutable_spec()->set_name("web");
  const auto why =
      "killed by signal 9 (SIGKILL): " + std::string(200, 'x') + " (restart 1 of 3 in 5 s)";
  vm.set_reason(why);
  EXPECT_THAT(text_of(a, "vm list"), HasSubstr("killed by signal 9 (SIGKILL): x"));
  EXPECT_THAT(text_of(a, "vm list"), HasSubstr("x (restart 1 of 3 in 5 s)"));
  EXPECT_EQ(text_of(a, "vm list").find(std::string(80, 'x')), std::string::npos);
  auto b = good();
  *b.mutable_vm() = vm;
  EXPECT_THAT(text_of(b, "vm show web"), HasSubstr(why));
}

TEST(text, a_list_of_vms_is_in_the_order_that_people_count_in_and_json_in_that_of_bytes) {
  auto a = good();
  for (const auto& [tenant, name] :
       {std::pair{"acme", "a"}, {"default", "p1"}, {"default", "p10"}, {"default", "p2"}}) {
    auto& spec = *a.mutable_vms()->add_vms()->mutable_spec();
    spec.set_tenant(tenant);
    spec.set_name(name);
  }
  std::vector<std::string> text;
  std::istringstream lines(text_of(a, "vm list"));
  for (std::string line; std::getline(lines, line);) text.push_back(line.substr(0, line.find(' ')));
  EXPECT_THAT(text, testing::ElementsAre("NAME", "acme/a", "p1", "p2", "p10"));
  std::vector<std::string> names;
  const auto listed = shown(a, "vm list");
  for (const auto& vm : listed["result"]["vms"]) names.push_back(vm["name"]);
  EXPECT_THAT(names, testing::ElementsAre("a", "p1", "p10", "p2"));
  EXPECT_EQ(text_of(a, "vm list").find("there are more"), std::string::npos);
  a.mutable_vms()->set_truncated(true);
  EXPECT_THAT(text_of(a, "vm list"), HasSubstr("there are more"));
}

TEST(text, a_list_of_keys_shows_as_much_of_each_value_as_has_room) {
  auto a = good();
  auto& item = *a.mutable_kv_items()->add_items();
  item.set_key("key");
  item.set_version(7);
  item.set_value(std::string(66, 'x'));
  EXPECT_THAT(text_of(a, "kv list"), HasSubstr("key        7  " + std::string(66, 'x') + "\n"));
  item.set_value(std::string(256, 'x'));
  EXPECT_THAT(text_of(a, "kv list"),
              HasSubstr("key        7  " + std::string(55, 'x') + "... (256 B)\n"));
  item.set_key(std::string(100, 'k'));
  item.set_value(std::string(3 << 10, 'x'));
  EXPECT_THAT(text_of(a, "kv list"), HasSubstr("7  " + std::string(22, 'x') + "... (3K)\n"));
  EXPECT_EQ(first_columns("gr\xC3\xB6\xC3\x9F"
                          "e",
                          3),
            "gr\xC3\xB6");
  EXPECT_EQ(first_columns("gr", 3), "gr");
}

TEST(columns, are_as_many_as_fit) {
  EXPECT_EQ(in_columns({}, 80), "");
  EXPECT_EQ(in_columns({"a", "bb", "c"}, 80), "a   bb  c\n");
  EXPECT_EQ(in_columns({"a", "bb", "c", "d"}, 6), "a   c\nbb  d\n");
  EXPECT_EQ(in_columns({"longer than that", "b"}, 5), "longer than that\nb\n");
}

TEST(text, columns_are_aligned_and_lines_have_no_trailing_blanks) {
  text_table t({"NAME", ">N", "X"});
  t.add({"a", "1", ""});
  t.add({"längst", "1000", "y"});
  EXPECT_EQ(t.str(),
            "NAME       N  X\n"
            "a          1\n"
            "längst  1000  y\n");
}

TEST(text, the_prompt_shows_node_role_and_term) {
  auto a = good();
  auto& s = *a.mutable_status();
  s.set_leader(2);
  s.set_term(3);
  auto& m = *s.add_members();
  m.set_id(1);
  m.set_role("follower");
  EXPECT_EQ(prompt_of(result_from(a)), "blixard n1 follower t3> ");
  s.set_leader(1);
  EXPECT_EQ(prompt_of(result_from(a)), "blixard n1 leader t3> ");
  EXPECT_EQ(prompt_of(result_of(make_error(errc::timeout, ""))), "blixard> ");
}

TEST(json_event, a_fatal_exit_is_one_line_whatever_the_message) {
  const auto e = json::parse(fatal_event(12, "disk \"x\"\nfull"));
  EXPECT_EQ(e["event"], "fatal");
  EXPECT_EQ(e["code"], 12);
  EXPECT_EQ(e["error"], "disk \"x\"\nfull");
}

}  // namespace
}  // namespace blixard::repl
