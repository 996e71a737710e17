// Assembles a node: opens the disk, listens, joins, spawns the actors, wires them, and takes it all
// down again in the reverse order.
//
//   main thread     starts everything, then waits for a signal
//   I/O loop        transport, router, raft, node-state      WAL loop     wal actor
//   CAF scheduler   cache, planner, vm, repl                 supervisor   VMs      exposer   HTTP
#include "apps/node.hpp"

#include <fmt/format.h>
#include <malloc.h>
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <caf/actor_registry.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/send.hpp>

#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "actors/bridge.hpp"
#include "actors/cache.hpp"
#include "actors/hosted.hpp"
#include "actors/node_state.hpp"
#include "actors/planner.hpp"
#include "actors/raft.hpp"
#include "actors/repl.hpp"
#include "actors/router.hpp"
#include "actors/vm.hpp"
#include "actors/wal.hpp"
#include "apps/node_disk.hpp"
#include "apps/node_metrics.hpp"
#include "apps/succession.hpp"
#include "apps/version.hpp"
#include "messages/check.hpp"
#include "messages/cluster.pb.h"
#include "metrics/exposer.hpp"
#include "runtime/base/descriptors.hpp"
#include "runtime/base/fault.hpp"
#include "runtime/base/heap.hpp"
#include "runtime/base/stop_signals.hpp"
#include "runtime/net/loop.hpp"
#include "runtime/net/transport.hpp"
#include "runtime/repl/shell.hpp"
#include "runtime/vm/host.hpp"

namespace blixard::apps {
namespace {

using namespace std::chrono_literals;
constexpr std::uint64_t ms_ns = 1'000'000;
constexpr std::uint64_t s_ns = 1000 * ms_ns;
constexpr std::uint64_t hung_after_ns = 10 * s_ns;
constexpr auto stop_max = 9s;  // of the 10 s that a stop is promised to take at most

/// Members in the order of the documentation; text that is not UTF-8 (a path) is no reason to fail.
void print_event(const nlohmann::ordered_json& event) {
  const auto line =
      event.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  // One write: lines of two threads never mix.
  (void)!::write(STDOUT_FILENO, line.data(), line.size());
}

/// The end of a node that must not go on. What was acknowledged is durable already.
[[noreturn]] void fatal(int code, const std::string& why) {
  spdlog::critical("{}", why);
  print_event({{"event", "fatal"}, {"code", code}, {"error", why}});
  _exit(code);
}

void start_logging(const std::string& level) {
  const bool plain = std::getenv("NO_COLOR") != nullptr;
  auto logger = spdlog::stderr_color_mt(
      "blixard", plain ? spdlog::color_mode::never : spdlog::color_mode::automatic);
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
  spdlog::set_default_logger(std::move(logger));
  spdlog::set_level(spdlog::level::from_str(level));
}

std::uint64_t seed_of(const node_config& config) {
  if (config.seed != 0) return config.seed + config.id.value();
  std::uint64_t seed = 0;
  (void)!getrandom(&seed, sizeof seed, 0);
  return seed;
}

/// How many clients the node takes: as many as its descriptors are enough for.
std::size_t clients_allowed() {
  const auto descriptors = raise_descriptor_limit();
  const auto clients = clients_for(descriptors);
  if (clients < limits::connections_max)
    spdlog::warn(
        "this process may have {} files open, which is enough for {} clients; {} would be enough "
        "for all {} (LimitNOFILE, ulimit -n)",
        descriptors, clients, descriptors_for_all_clients(), limits::connections_max);
  return clients;
}

start_result<net::address> to_address(const endpoint& e) {
  auto parsed = net::address::parse(to_string(e));
  if (parsed) return *parsed;
  return tl::unexpected(
      start_error{static_cast<int>(exit_code::configuration), parsed.error().message});
}

/// CAF as it measured best (DESIGN, CAF notes in actors/README.md).
class system_config : public caf::actor_system_config {
 public:
  system_config() {
    const auto cores = std::max(2U, std::thread::hardware_concurrency());
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", std::size_t{cores - 1});
    set("scheduler.max-throughput", std::size_t{64});
    set("logger.verbosity", caf::atom("quiet"));
  }
};

raft::config core_config(const node_config& c, const node_disk& disk) {
  const auto ticks = [&](std::uint32_t ms) {
    return std::max(1U, (ms + c.tick_ms - 1) / c.tick_ms);
  };
  raft::config out;
  out.id = c.id;
  out.election_min_ticks = ticks(c.election_min_ms);
  out.election_max_ticks = ticks(c.election_max_ms);
  out.heartbeat_ticks = ticks(c.heartbeat_ms);
  out.election_rank = c.election_rank;
  out.seed = seed_of(c);
  out.max_inflight_msgs = limits::inflight_max_messages;
  out.max_inflight_bytes = limits::inflight_max_bytes;
  out.max_msg_bytes = limits::append_max_bytes;
  out.max_committed_bytes = 4 * limits::append_max_bytes;
  out.max_uncommitted_bytes = limits::uncommitted_max_bytes;
  out.repair = disk.repair;
  out.reads = c.lease_reads ? raft::read_mode::lease : raft::read_mode::safe;
  out.clock_drift_percent = c.clock_drift_percent;
  // Every node promises, whatever its own --reads says: so a leader with lease reads may have any
  // followers. A tick may be late, the next one on time, and a clock may jump once.
  out.tick_us = c.tick_ms * 1000;
  out.promise_ticks = std::max(1U, limits::promise_max_ms / c.tick_ms);
  out.promise_slack_ticks = 3;
  out.restart_hold_ticks = ticks(limits::promise_max_ms) + 2;
  out.restarted = disk.raft.hard.term.value() != 0;
  out.forward = false;  // the router forwards whole requests
  return out;
}

class node {
 public:
  node(const node_config& config, stop_signals& signals) : config_(config), signals_(signals) {}

  int run();

 private:
  start_result<void> load_certificates();
  start_result<void> open();
  start_result<void> open_lease();
  start_result<void> join_if_needed();
  start_result<void> start_vms();
  start_result<void> start_metrics();
  void spawn();
  void start_timers();
  void announce();
  int wait_for_stop();
  void stop();
  [[nodiscard]] std::vector<vm::backend_kind> offered_backends() const;
  [[nodiscard]] std::shared_ptr<const pb::Node> describe() const;
  [[nodiscard]] metrics::readiness readiness() const;
  [[nodiscard]] metrics::readiness liveness() const;

  const node_config& config_;
  stop_signals& signals_;
  tls_ptr tls_;  // null: without TLS
  node_disk disk_;
  std::string advertise_;
  net::address bound_;

  // Construction order is destruction order reversed: what actors refer to goes last.
  metrics::registry registry_{version};
  std::unique_ptr<published> flags_;
  actors::shared_facts facts_;
  actors::links links_;
  routing::buffer_pool pool_;
  std::unique_ptr<routing::inbound_budget> inbound_;
  std::unique_ptr<net::loop> loop_;
  std::atomic<std::uint64_t> turned_ns_{0};  // when the loop last came round; 0: not started
  std::unique_ptr<net::loop> wal_loop_;      // its thread may block in the disk
  actors::bridge bridge_{links_};
  std::unique_ptr<net::transport> io_;
  std::vector<metrics::registry::binding> bindings_;
  std::unique_ptr<metrics::exposer> exposer_;
  std::unique_ptr<vm::supervisor> supervisor_;
  std::optional<vm::lease_page> lease_;
  system_config caf_config_;
  std::unique_ptr<caf::actor_system> system_;
  std::unique_ptr<actors::host> router_host_;
  std::unique_ptr<actors::host> raft_host_;
  std::unique_ptr<actors::host> state_host_;
  std::unique_ptr<actors::host> wal_host_;
  actors::repl_actor repl_;
  std::unique_ptr<succession_watch> succession_;
  std::thread loop_thread_;
  std::thread wal_thread_;
};

start_result<void> node::load_certificates() {
  if (!config_.tls.configured()) return {};
  auto loaded =
      net::tls_credentials::load(config_.tls, config_.id, [](bool ok, const std::string& line) {
        spdlog::log(ok ? spdlog::level::info : spdlog::level::err, "{}", line);
      });
  if (!loaded) {
    const auto& e = loaded.error();
    return tl::unexpected(start_error{static_cast<int>(exit_code::tls),
                                      e.hint.empty() ? e.message : e.message + ": " + e.hint});
  }
  tls_ = std::move(*loaded);
  spdlog::info("mutual TLS as {}", net::to_string(tls_->identity()));
  return {};
}

start_result<void> node::open() {
  auto disk = open_disk(config_);
  if (!disk) return tl::unexpected(disk.error());
  disk_ = std::move(*disk);
  const auto bind = to_address(config_.bind);
  if (!bind) return tl::unexpected(bind.error());
  inbound_ = std::make_unique<routing::inbound_budget>(config_.memory_cap_bytes / 2);
  loop_ = std::make_unique<net::loop>();
  wal_loop_ = std::make_unique<net::loop>();
  io_ = std::make_unique<net::transport>(
      *loop_, pool_, bridge_,
      net::transport_config{.self = config_.id,
                            .cluster = disk_.cluster,
                            .bind = *bind,
                            .advertise = config_.advertise ? to_string(*config_.advertise) : "",
                            .version = version,
                            .seed = seed_of(config_),
                            .frame_max_bytes = config_.max_frame_bytes,
                            .send_total_max_bytes = config_.memory_cap_bytes / 2,
                            .clients_max = clients_allowed(),
                            .inbound = inbound_.get(),
                            .tls = tls_});
  auto bound = io_->listen();
  if (!bound)
    return tl::unexpected(start_error{static_cast<int>(exit_code::bind), bound.error().message});
  bound_ = *bound;
  advertise_ = config_.advertise ? to_string(*config_.advertise) : bound_.to_string();
  if (const auto told = net::address::parse(advertise_); !told || !net::can_be_dialled(*told))
    return tl::unexpected(
        start_error{static_cast<int>(exit_code::configuration),
                    "advertise: \"" + advertise_ + "\" is no address that others can dial"});
  for (const auto& [id, where] : config_.dial) {
    const auto dialled = to_address(where);
    if (!dialled) return tl::unexpected(dialled.error());
    io_->set_dial_override(id, *dialled);
  }
  return {};
}

start_result<void> node::open_lease() {
  auto lease = vm::lease_page::open(config_.data_dir + "/lease");
  if (!lease)
    return tl::unexpected(
        start_error{static_cast<int>(exit_code::no_space), lease.error().message});
  lease_.emplace(std::move(*lease));
  return {};
}

start_result<void> node::join_if_needed() {
  auto peers = load_peers(config_.data_dir);
  if (disk_.cluster.value() == 0) {
    auto ticket = ask_to_join(config_, tls_, advertise_, lease_->disk());
    if (!ticket) return tl::unexpected(ticket.error());
    if (ticket->was_member) {
      if (auto started = start_over(disk_, ticket->term); !started)
        return tl::unexpected(started.error());
    }
    if (auto r = disk_.store->set_cluster(ticket->cluster); !r)
      return tl::unexpected(start_error{storage::exit_code(r.error().code), r.error().message});
    disk_.cluster = ticket->cluster;
    peers = std::move(ticket->members);
    save_peers(config_.data_dir, peers);
    spdlog::info("admitted to cluster {:016x}", disk_.cluster.value());
  } else if (!config_.join.empty()) {
    if (auto ok = check_join(config_, tls_, disk_.cluster); !ok) return ok;
  }
  io_->set_cluster(disk_.cluster);
  for (const auto& p : peers)
    if (const auto where = net::address::parse(p.address); where && p.id != config_.id)
      io_->set_peer(p.id, *where);
  return {};
}

start_result<void> node::start_vms() {
  if (auto made = disk_.files->make_dir(config_.data_dir + "/vms"); !made)
    return tl::unexpected(start_error{storage::exit_code(made.error().code), made.error().message});
  vm::supervisor_options options;
  options.data_dir = config_.data_dir;
  options.backends = offered_backends();
  options.guest_kernel = config_.guest_kernel;
  options.guest_initrd = config_.guest_initrd;
  options.on_report = [this](const pb::VmReport_One& r) {
    caf::anon_send(links_.vm, actors::vm_observed{std::make_shared<const pb::VmReport_One>(r)});
  };
  options.on_log = [](const char* level, const std::string& line) {
    spdlog::log(spdlog::level::from_str(level), "{}", line);
  };
  supervisor_ = std::make_unique<vm::supervisor>(std::move(options));
  return {};
}

metrics::readiness node::readiness() const {
  metrics::readiness r;
  const auto now_ns = net::monotonic_ns();
  const auto s = flags_->read();
  if (s.raft.cluster_size == 0) r.reasons.emplace_back("not a member of a cluster yet");
  if (const auto view = facts_.raft.load(); view && view->recovering)
    r.reasons.emplace_back("the damaged log is being repaired");
  if (!s.raft.leader)
    r.reasons.emplace_back("no leader is known");
  else if (now_ns - std::min(now_ns, s.raft.leader_contact_ns) > config_.election_max_ms * ms_ns)
    r.reasons.emplace_back("the leader was not heard within an election timeout");
  if (std::max(s.raft.commit.value(), facts_.committed_elsewhere.load(std::memory_order_relaxed)) >
      s.state.applied.value() + 1000)
    r.reasons.emplace_back("more than 1000 committed entries are not applied yet");
  struct statvfs fs {};
  if (access(config_.data_dir.c_str(), W_OK) != 0 || statvfs(config_.data_dir.c_str(), &fs) != 0 ||
      fs.f_bavail == 0)
    r.reasons.emplace_back("the data directory cannot be written");
  return r;
}

/// The loop carries everything that a node does for others. A disk that hangs does not stop it, nor
/// does the lack of a quorum.
metrics::readiness node::liveness() const {
  metrics::readiness r;
  const auto turned = turned_ns_.load(std::memory_order_relaxed);
  const auto now = net::monotonic_ns();
  if (turned != 0 && now > turned + hung_after_ns)
    r.reasons.push_back(
        fmt::format("the main loop has stood still for {} s", (now - turned) / s_ns));
  return r;
}

start_result<void> node::start_metrics() {
  auto page = published::create(config_.data_dir + "/status", config_.id, disk_.cluster);
  if (!page)
    return tl::unexpected(start_error{static_cast<int>(exit_code::no_space), page.error().message});
  flags_ = std::move(*page);
  bindings_.push_back(registry_.bind<metrics::metric::net_tls_expires>(
      [this] { return tls_ ? static_cast<double>(tls_->not_after()) : 0.0; }));
  const auto as_double = [](std::uint64_t n) { return static_cast<double>(n); };
  bindings_.push_back(registry_.bind<metrics::metric::status_writes>(
      [this, as_double] { return as_double(flags_->writes()); }));
  bindings_.push_back(registry_.bind<metrics::metric::status_rereads>(
      [this, as_double] { return as_double(flags_->rereads()); }));
  registry_.gauge<metrics::metric::wal_truncated>().set(disk_.truncated_bytes);
  auto started = metrics::exposer::start(to_string(config_.metrics),
                                         {.live = [this] { return liveness(); },
                                          .metrics = [this] { return registry_.text(); },
                                          .ready = [this] { return readiness(); }});
  if (!started)
    return tl::unexpected(start_error{static_cast<int>(exit_code::bind), started.error().message});
  exposer_ = std::move(*started);
  return {};
}

/// What works on this host, and of that what the configuration names if it names any.
std::vector<vm::backend_kind> node::offered_backends() const {
  auto out = vm::available_backends();
  const auto& named = config_.backends;
  std::erase_if(out, [&](vm::backend_kind b) {
    return !named.empty() && std::ranges::find(named, vm::to_string(b)) == named.end();
  });
  return out;
}

std::shared_ptr<const pb::Node> node::describe() const {
  auto n = std::make_shared<pb::Node>();
  const auto host = vm::host_capacity(config_.data_dir);
  n->set_id(config_.id.value());
  n->set_name(config_.name);
  n->set_address(advertise_);
  n->set_version(std::string{version});
  auto& c = *n->mutable_capacity();
  c.set_vcpus(config_.vcpus != 0 ? config_.vcpus : host.vcpus);
  c.set_memory_bytes(config_.memory_bytes != 0 ? config_.memory_bytes : host.memory_bytes);
  c.set_disk_bytes(config_.disk_bytes != 0 ? config_.disk_bytes : host.disk_bytes);
  for (const auto& [key, value] : config_.labels) {
    auto& l = *n->add_labels();
    l.set_key(key);
    l.set_value(value);
  }
  for (const auto b : offered_backends()) n->add_backends(static_cast<pb::Backend>(b));
  const auto& qemu = vm::detect_qemu();
  n->set_accelerator(qemu.binary.empty() ? "" : qemu.accelerator);
  n->set_disk(lease_->disk());
  if (!qemu.why.empty()) spdlog::info("{}", qemu.why);
  return n;
}

void node::spawn() {
  facts_.self = config_.id;
  facts_.cluster = disk_.cluster;
  facts_.version = version;
  facts_.witness = disk_.witness;
  facts_.flags = flags_.get();
  facts_.registry = &registry_;
  system_ = std::make_unique<caf::actor_system>(caf_config_);
  auto& sys = *system_;
  router_host_ = std::make_unique<actors::host>(sys, *loop_);
  raft_host_ = std::make_unique<actors::host>(sys, *loop_);
  state_host_ = std::make_unique<actors::host>(sys, *loop_);
  wal_host_ = std::make_unique<actors::host>(sys, *wal_loop_);
  const auto applied = disk_.machine.applied_index();
  links_.router = actors::spawn_hosted<actors::router>(
      sys, *router_host_, links_, facts_, loop_.get(), io_.get(),
      [this](const auto& members) { save_peers(config_.data_dir, members, disk_.witness); },
      inbound_.get());
  links_.raft = actors::spawn_hosted<actors::raft_driver>(
      sys, *raft_host_, links_, facts_, loop_.get(),
      actors::raft_options{.tick_ns = config_.tick_ms * ms_ns,
                           .snapshot_entries = config_.snapshot_entries,
                           .snapshot_rate = config_.snapshot_rate,
                           .incoming = std::exchange(disk_.incoming, std::nullopt),
                           .advertise = advertise_,
                           .adaptive_window = config_.adaptive_window,
                           .lease_reads = config_.lease_reads,
                           .fatal = fatal,
                           .pool = &pool_},
      core_config(config_, disk_), disk_.raft, applied);
  links_.wal = actors::spawn_hosted<actors::wal>(sys, *wal_host_, links_, facts_,
                                                 std::move(disk_.store), fatal);
  links_.cache = sys.spawn<actors::cache>(links_, facts_);
  links_.planner = sys.spawn<actors::planner>(links_);
  auto self = describe();  // with what the lease page says
  succession_ = std::make_unique<succession_watch>(facts_, self->disk(), tls_, [](const auto& why) {
    fatal(static_cast<int>(exit_code::removed), why);
  });
  links_.vm = sys.spawn<actors::vm_manager>(links_, facts_, *supervisor_, std::move(*lease_));
  links_.state = actors::spawn_hosted<actors::node_state>(
      sys, *state_host_, links_, facts_, std::move(disk_.machine), std::move(self));
  disk_.raft.entries.clear();
  disk_.raft.snapshot.reset();
}

void node::start_timers() {
  loop_->every(config_.tick_ms * ms_ns, [this] {
    keep_heap_in_order();  // of the thread that applies, also while there is nothing to apply
    actors::post<caf::message_priority::high>(links_.raft, actors::tick_atom::value);
  });
  loop_->every(actors::router::tick_ns, [this] {
    turned_ns_.store(net::monotonic_ns(), std::memory_order_relaxed);
    caf::anon_send(links_.router, actors::tick_atom::value);
  });
  loop_->every(250 * ms_ns, [this] {
    caf::anon_send(links_.state, actors::tick_atom::value);
    caf::anon_send(links_.vm, actors::tick_atom::value);
  });
}

void node::announce() {
  print_event({{"event", "ready"},
               {"id", config_.id.value()},
               {"pid", getpid()},
               {"bind", bound_.to_string()},
               {"metrics", exposer_->address()},
               {"last_index", disk_.last_index.value()},
               {"term", std::max(disk_.raft.hard.term, disk_.last_term).value()},
               {"wal_truncated_bytes", disk_.truncated_bytes},
               {"recovering", disk_.repair != 0},
               {"fault_points", fault::compiled_in},
               {"version", version}});
}

int node::wait_for_stop() {
  if (config_.repl) {
    repl_ = system_->spawn<actors::repl_shell>(links_);
    repl::mailbox_port port{[this](const repl::request& r, repl::mailbox_port::answer_fn done) {
      caf::anon_send(repl_, actors::repl_request{r, std::move(done)});
    }};
    repl::shell_options options;
    options.script_answers_json = true;  // a node's stdout carries JSON lines, but for a person
    options.stop_fd = signals_.fd();     // a signal ends the shell, too
    const int code = repl::run_shell(port, options);
    if (signals_.told()) return 0;
    signals_.tell();
    return code;
  }
  signals_.wait();
  spdlog::info("stopping");
  return 0;
}

std::thread run_loop(net::loop& loop, const char* name) {
  return std::thread([&loop, name] {
    prctl(PR_SET_NAME, name);
    prctl(PR_SET_TIMERSLACK, 1);
    loop.run();
  });
}

void node::stop() {
  caf::anon_send(links_.router, actors::stop_atom::value);
  caf::anon_send(links_.raft, actors::stop_atom::value);
  succession_.reset();
  for (int i = 0; i < 100 && flags_->is_leader() && flags_->cluster_size() > 1; ++i)
    std::this_thread::sleep_for(10ms);
  supervisor_->stop();
  loop_->post([this] { io_->shutdown(500, [this] { loop_->stop(); }); });
  loop_thread_.join();
  facts_.process_ends.store(true, std::memory_order_relaxed);
  // Hosted actors end on the loop: it runs until their last message was handled.
  const auto end = [](const auto& actor) {
    if (actor)
      caf::anon_send<caf::message_priority::high>(
          caf::actor_cast<caf::actor>(actor),
          caf::exit_msg{actor->address(), caf::exit_reason::user_shutdown});
  };
  end(repl_);
  end(links_.vm);
  end(links_.cache);
  end(links_.planner);
  end(links_.state);
  end(links_.raft);
  end(links_.router);
  end(links_.wal);
  while (system_->registry().running() > 0) {
    loop_->stop();
    loop_->run();
    std::this_thread::sleep_for(1ms);
  }
  wal_loop_->stop();
  wal_thread_.join();
  repl_ = nullptr;
  links_ = {};
  system_->await_all_actors_done();
}

int node::run() {
  prctl(PR_SET_TIMERSLACK, 1);
  signal(SIGPIPE, SIG_IGN);
  if (fault::compiled_in) {
    if (auto armed = fault::arm_from_environment(config_.seed); !armed) {
      print_event({{"event", "fatal"}, {"code", 3}, {"error", armed.error()}});
      return static_cast<int>(exit_code::configuration);
    }
  }
  // Trying the accelerator takes a while: meanwhile the disk is read and the cluster joined.
  auto qemu = std::async(std::launch::async, [] { (void)vm::detect_qemu(); });
  for (auto step : {&node::load_certificates, &node::open, &node::open_lease, &node::join_if_needed,
                    &node::start_metrics, &node::start_vms}) {
    if (auto done = (this->*step)(); !done) {
      qemu.wait();
      spdlog::error("{}", done.error().message);
      if (done.error().code >= 3)
        print_event(
            {{"event", "fatal"}, {"code", done.error().code}, {"error", done.error().message}});
      return done.error().code;
    }
  }
  qemu.wait();
  for (auto& b : bind_io(registry_, *io_, pool_, *inbound_)) bindings_.push_back(std::move(b));
  spawn();
  if (auto started = supervisor_->start(); !started) {
    print_event({{"event", "fatal"}, {"code", 11}, {"error", started.error().message}});
    _exit(static_cast<int>(exit_code::no_space));
  }
  start_timers();
  loop_thread_ = run_loop(*loop_, "blixard-io");
  wal_thread_ = run_loop(*wal_loop_, "blixard-wal");
  signals_.serving();
  announce();
  const auto code = wait_for_stop();
  stop();
  return code;
}

// What is large and brief (a snapshot while it is packed) goes back to the kernel when it is let
// go. By itself malloc raises this threshold to the size of whatever was freed, and then keeps as
// much in the heap of every thread that ever held a snapshot. The other two keep their usual
// hysteresis.
void return_large_memory() {
  (void)mallopt(M_MMAP_THRESHOLD, 512 * 1024);
  (void)mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
  (void)mallopt(M_TOP_PAD, 256 * 1024);
}

}  // namespace

int run_node(const node_config& config) {
  return_large_memory();
  start_logging(config.log_level);
  set_check_handler([](const std::string& what) {
    fatal(static_cast<int>(exit_code::invariant), "an invariant is broken: " + what);
  });
  stop_signals signals(stop_max, [](const char* why) { spdlog::info("{}", why); });
  const auto n = std::make_unique<node>(config, signals);
  return n->run();
}

}  // namespace blixard::apps
