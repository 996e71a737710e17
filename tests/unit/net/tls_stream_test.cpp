// TLS stream against TLS stream. The bytes between them go through the test's hands, which may
// chop, hold back, change or cut them.
#include "runtime/net/tls_stream.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "tests/unit/net/net_fixture.hpp"
#include "tests/unit/net/tls_fixture.hpp"

namespace blixard::net {
namespace {

using namespace test;

/// One end, as its owner sees it.
struct end {
  end(std::shared_ptr<SSL_CTX> c, const tls_stream_options& options, tls_scratch& scratch)
      : context(std::move(c)) {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    wire = unique_fd{fds[1]};
    stream =
        std::make_unique<tls_stream>(unique_fd{fds[0]}, options, context.get(), scratch, outcome);
  }
  io_result say(std::string_view text) {
    const iovec region{const_cast<char*>(text.data()), text.size()};
    return stream->write({&region, text.empty() ? 0U : 1U});
  }
  /// Reads once; what came is in `heard`.
  io_result listen() {
    const iovec region{room.data(), room.size()};
    const auto got = stream->read({&region, 1});
    if (got.status == io_status::ok) heard.append(room.data(), got.bytes);
    return got;
  }

  std::shared_ptr<SSL_CTX> context;
  std::shared_ptr<tls_outcome> outcome = std::make_shared<tls_outcome>();
  std::unique_ptr<tls_stream> stream;
  unique_fd wire;  // the other end of its socket
  std::vector<char> room = std::vector<char>(256 * 1024);
  std::string heard;
};

struct pair_of {
  pair_of(std::shared_ptr<SSL_CTX> dialler, std::shared_ptr<SSL_CTX> listener,
          std::optional<node_id> meant = std::nullopt, std::uint32_t records_per_key = 1000)
      : scratch(made()),
        a(std::move(dialler),
          {.dials = true, .meant = meant, .plain_answer = {}, .records_per_key = records_per_key},
          scratch),
        b(std::move(listener), {.dials = false, .meant = {}, .plain_answer = "plain answer"},
          scratch) {}
  static tls_scratch made() {
    tls_scratch s;
    s.make();
    return s;
  }
  /// Carries at most `most` bytes from one wire to the other; returns how many.
  std::size_t carry(end& from, end& to, std::size_t most = SIZE_MAX) {
    std::string bytes(std::min<std::size_t>(most, 1 << 20), '\0');
    const auto n = ::read(from.wire.get(), bytes.data(), bytes.size());
    if (n <= 0) return 0;
    bytes.resize(static_cast<std::size_t>(n));
    if (damage && bytes.size() > 10) bytes[10] = static_cast<char>(bytes[10] ^ 1);
    carried += bytes.size();
    EXPECT_EQ(::write(to.wire.get(), bytes.data(), bytes.size()), n);
    return bytes.size();
  }
  /// The handshake as far as it goes, `chop` bytes at a time.
  void shake(std::size_t chop = SIZE_MAX) {
    (void)a.say("!");  // begins it; not taken before the end
    for (bool moved = true; moved;) {
      moved = carry(a, b, chop) > 0;
      (void)b.listen();
      moved = carry(b, a, chop) > 0 || moved;
      (void)a.listen();
      if (!a.outcome->problem && a.outcome->other && a.heard.empty() && !begun) {
        begun = true;
        EXPECT_EQ(a.say("hello").bytes, 5u);
        moved = true;
      }
    }
  }

  tls_scratch scratch;
  end a, b;
  std::size_t carried = 0;
  bool begun = false;
  bool damage = false;
};

struct cluster {
  authority ca;
  issued one = ca.node(1), two = ca.node(2), ops = ca.client("ops");
  [[nodiscard]] pair_of connected(std::size_t chop = SIZE_MAX) const {
    pair_of p(context_of(ca, &one), context_of(ca, &two), node_id{2});
    p.shake(chop);
    EXPECT_EQ(p.b.heard, "hello");
    p.b.heard.clear();
    return p;
  }
};

TEST(tls_stream, both_sides_learn_whose_certificate_the_other_has) {
  const cluster c;
  auto p = c.connected();
  EXPECT_EQ(p.a.outcome->other, parse_identity("blixard://node/2"));
  EXPECT_EQ(p.b.outcome->other, parse_identity("blixard://node/1"));
  EXPECT_FALSE(p.a.outcome->problem || p.b.outcome->problem);
}

TEST(tls_stream, a_handshake_that_comes_byte_by_byte_is_the_same) {
  const cluster c;
  auto p = c.connected(1);
  EXPECT_EQ(p.b.outcome->other, parse_identity("blixard://node/1"));
}

TEST(tls_stream, nothing_is_taken_or_handed_out_before_the_handshake_is_done) {
  const cluster c;
  pair_of p(context_of(c.ca, &c.one), context_of(c.ca, &c.two));
  const auto first = p.a.say("secret");
  EXPECT_EQ(first.status, io_status::needs_read);
  EXPECT_EQ(first.bytes, 0u);
  EXPECT_EQ(p.a.say("secret").status, io_status::needs_read) << "and it says nothing twice";
  EXPECT_GT(p.carry(p.a, p.b), 0u);
  EXPECT_EQ(p.b.listen().status, io_status::would_block);
  EXPECT_EQ(p.carry(p.a, p.b), 0u);
  EXPECT_EQ(p.b.say("secret").status, io_status::needs_read);
}

TEST(tls_stream, small_pieces_are_gathered_into_full_records) {
  const cluster c;
  auto p = c.connected();
  std::string text = pattern(100 * 300);
  std::vector<iovec> regions;
  for (std::size_t at = 0; at < text.size(); at += 100) regions.push_back({text.data() + at, 100});
  p.carried = 0;
  EXPECT_EQ(p.a.stream->write(regions).bytes, text.size());
  p.carry(p.a, p.b);
  EXPECT_LE(p.carried, text.size() + 2 * 64) << "30,000 bytes are two records";
  EXPECT_EQ(p.b.listen().status, io_status::ok);
  EXPECT_TRUE(p.b.heard == text);
}

TEST(tls_stream, megabytes_pass_whole_whatever_the_pieces) {
  const cluster c;
  auto p = c.connected();
  const auto text = pattern(3 << 20);
  std::size_t said = 0, turns = 0;
  unsigned chop = 1;
  while (p.b.heard.size() < text.size() && ++turns < 100'000) {
    const auto some = std::min<std::size_t>(text.size() - said, 200'000);
    const auto done = p.a.say(std::string_view(text).substr(said, some));
    ASSERT_TRUE(done.status == io_status::ok || done.status == io_status::would_block);
    EXPECT_LE(done.held, tls_stream::sealed_max_bytes + 1024);
    said += done.bytes;
    chop = chop * 7 % 100'003;
    p.carry(p.a, p.b, chop + 1000);
    ASSERT_NE(p.b.listen().status, io_status::refused);
  }
  EXPECT_TRUE(p.b.heard == text);
}

TEST(tls_stream, keys_change_under_way_and_nobody_notices) {
  const cluster c;
  pair_of p(context_of(c.ca, &c.one), context_of(c.ca, &c.two), node_id{2}, 3);
  p.shake();
  std::string all = "hello";
  p.carried = 0;
  for (int i = 0; i < 30; ++i) {
    const auto text = pattern(100, static_cast<unsigned>(i));
    ASSERT_EQ(p.a.say(text).bytes, 100u);
    all += text;
    p.carry(p.a, p.b);
    ASSERT_EQ(p.b.listen().status, io_status::ok);
  }
  EXPECT_TRUE(p.b.heard == all);
  // A record of 100 bytes has 22 of its own; the rest is key updates, one for three of them.
  EXPECT_GE(p.carried, 30U * 122 + 9 * 20);
}

/// One that has a certificate and OpenSSL, and does as it likes.
struct raw_end {
  raw_end(const std::shared_ptr<SSL_CTX>& context, pair_of& p)
      : ssl(SSL_new(context.get())), other(p.b) {
    SSL_set_fd(ssl, p.b.wire.get());
    SSL_set_connect_state(ssl);
    for (int i = 0; i < 10 && !other.outcome->other; ++i) {
      (void)SSL_do_handshake(ssl);
      (void)other.listen();
    }
  }
  ~raw_end() { SSL_free(ssl); }
  raw_end(const raw_end&) = delete;
  raw_end& operator=(const raw_end&) = delete;
  void change_keys(int times) const {
    for (int i = 0; i < times; ++i) {
      SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
      EXPECT_EQ(SSL_do_handshake(ssl), 1);
    }
  }
  SSL* ssl;
  end& other;
};

TEST(tls_stream, one_that_changes_its_keys_and_says_nothing_is_refused) {
  const cluster c;
  pair_of p(context_of(c.ca, &c.one), context_of(c.ca, &c.two));
  const raw_end client(context_of(c.ca, &c.ops), p);
  ASSERT_EQ(p.b.outcome->other, parse_identity("blixard://client/ops"));
  for (int i = 0; i < 5; ++i) {  // between words it may
    client.change_keys(20);
    ASSERT_EQ(SSL_write(client.ssl, "x", 1), 1);
    (void)p.b.listen();
  }
  EXPECT_EQ(p.b.heard, "xxxxx");
  EXPECT_FALSE(p.b.outcome->problem);
  client.change_keys(200);
  EXPECT_EQ(p.b.listen().status, io_status::refused);
  ASSERT_TRUE(p.b.outcome->problem);
  EXPECT_EQ(p.b.outcome->problem->what, tls_failure::protocol);
}

TEST(tls_stream, what_the_socket_does_not_take_is_held_within_the_bound_and_leaves_first) {
  const cluster c;
  auto p = c.connected();
  const auto text = pattern(4 << 20);
  const auto first = p.a.say(text);
  EXPECT_EQ(first.status, io_status::ok);
  EXPECT_GT(first.held, 0u);
  EXPECT_LE(first.held, tls_stream::sealed_max_bytes + 1024);
  EXPECT_LT(first.bytes, text.size());
  const auto again = p.a.say("urgent");
  EXPECT_EQ(again.status, io_status::would_block) << "nothing is sealed behind what is held";
  EXPECT_EQ(again.held, first.held);
  while (p.carry(p.a, p.b, 50'000) > 0) {
    (void)p.a.say("");
    while (p.b.listen().status == io_status::ok) {
    }
  }
  EXPECT_EQ(p.a.say("urgent").bytes, 6u);
  p.carry(p.a, p.b);
  (void)p.b.listen();
  EXPECT_TRUE(p.b.heard == text.substr(0, first.bytes) + "urgent") << p.b.heard.size();
}

TEST(tls_stream, each_direction_ends_alone_and_cleanly) {
  const cluster c;
  auto p = c.connected();
  EXPECT_EQ(p.a.say("last words").bytes, 10u);
  EXPECT_EQ(p.a.stream->finish_writing(), 0u);
  p.carry(p.a, p.b);
  EXPECT_EQ(p.b.listen().status, io_status::ok);
  EXPECT_EQ(p.b.listen().status, io_status::end);
  EXPECT_EQ(p.b.heard, "last words");
  EXPECT_EQ(p.b.say("an answer").bytes, 9u) << "the other direction is open";
  p.carry(p.b, p.a);
  EXPECT_EQ(p.a.listen().status, io_status::ok);
  EXPECT_EQ(p.a.heard, "an answer");
  p.b.stream->finish_writing();
  p.carry(p.b, p.a);
  EXPECT_EQ(p.a.listen().status, io_status::end);
  EXPECT_FALSE(p.a.outcome->problem || p.b.outcome->problem);
}

TEST(tls_stream, a_stream_that_is_closed_by_choice_says_so) {
  const cluster c;
  auto p = c.connected();
  p.a.stream.reset();
  p.carry(p.a, p.b);
  p.b.wire.reset();
  EXPECT_EQ(p.b.listen().status, io_status::end);
}

TEST(tls_stream, an_end_that_was_not_said_is_a_cut) {
  const cluster c;
  auto p = c.connected();
  EXPECT_EQ(p.a.say("whole").bytes, 5u);
  p.carry(p.a, p.b);
  p.b.wire.reset();
  EXPECT_EQ(p.b.listen().status, io_status::ok);
  EXPECT_EQ(p.b.heard, "whole");
  EXPECT_EQ(p.b.listen().status, io_status::cut);
}

TEST(tls_stream, an_end_inside_a_record_is_a_cut) {
  const cluster c;
  auto p = c.connected();
  (void)p.a.say(pattern(5000));
  p.carry(p.a, p.b, 3000);
  EXPECT_EQ(p.b.listen().status, io_status::would_block);
  p.b.wire.reset();
  EXPECT_EQ(p.b.listen().status, io_status::cut);
  EXPECT_EQ(p.b.heard, "");
}

TEST(tls_stream, bytes_that_were_changed_on_the_way_end_it) {
  const cluster c;
  auto p = c.connected();
  p.damage = true;
  (void)p.a.say(pattern(5000));
  p.carry(p.a, p.b);
  EXPECT_EQ(p.b.listen().status, io_status::refused);
  EXPECT_EQ(p.b.heard, "");
  ASSERT_TRUE(p.b.outcome->problem);
  EXPECT_EQ(p.b.outcome->problem->what, tls_failure::protocol);
  EXPECT_EQ(p.b.say("more").status, io_status::refused);
}

TEST(tls_stream, an_end_during_the_handshake_is_told_as_one) {
  const cluster c;
  pair_of p(context_of(c.ca, &c.one), context_of(c.ca, &c.two));
  (void)p.a.say("!");
  p.a.wire.reset();
  EXPECT_EQ(p.a.listen().status, io_status::refused);
  EXPECT_EQ(p.a.outcome->problem->what, tls_failure::closed);
}

// ---------------------------------------------------------------- who is not accepted

struct refusal {
  const char* what;
  std::shared_ptr<SSL_CTX> dialler, listener;
  std::optional<node_id> meant;
  std::optional<tls_failure> at_dialler;
  const char* dialler_says;
  std::optional<tls_failure> at_listener;
  const char* listener_says;
};

std::vector<refusal> refusals() {
  const authority ca, other;
  const auto one = ca.node(1), two = ca.node(2), three = ca.node(3), ops = ca.client("ops");
  const auto stranger = other.node(1);
  const auto nobody = ca.issue({});
  const auto both = ca.issue({.uris = {"blixard://node/1", "blixard://client/ops"}});
  const auto old = ca.issue({.uris = {"blixard://node/1"}, .from_s = -3 * day_s, .to_s = -day_s});
  const auto early = ca.issue({.uris = {"blixard://node/1"}, .from_s = day_s, .to_s = 2 * day_s});
  const auto for_clients = ca.issue({.uris = {"blixard://node/2"}, .use = "clientAuth"});
  const auto of = [&](const issued& i) { return context_of(ca, &i); };
  const auto wrong = tls_failure::wrong_identity;
  const std::optional<tls_failure> fine;
  const std::optional<node_id> any, second{2};
  return {
      {"another node", of(one), of(three), second, wrong, "node 3 where node 2 was meant", fine,
       ""},
      {"a client answers", of(one), of(ops), any, wrong, "client ops, not of a node", fine, ""},
      {"nobody answers", of(one), of(nobody), any, wrong, "does not say whose", fine, ""},
      {"two names answer", of(one), of(both), any, wrong, "does not say whose", fine, ""},
      {"a client's use answers", of(one), of(for_clients), second, tls_failure::untrusted,
       "not accepted", tls_failure::refused, "ended"},
      {"nobody dials", of(nobody), of(two), second, fine, "", wrong, "does not say whose"},
      {"expired dials", of(old), of(two), second, tls_failure::refused, "has expired",
       tls_failure::expired, "its certificate has expired"},
      {"expired answers", of(one), of(old), any, tls_failure::expired, "has expired",
       tls_failure::refused, "of this side has expired"},
      {"too early dials", of(early), of(two), second, tls_failure::refused, "ended",
       tls_failure::expired, "not valid yet"},
      {"a stranger dials", context_of(ca, &stranger), of(two), second, tls_failure::refused,
       "of another authority", tls_failure::untrusted, "of another authority"},
      {"a stranger answers", of(one), context_of(ca, &stranger), any, tls_failure::untrusted,
       "of another authority", tls_failure::refused, "of another authority"},
      {"no certificate", context_of(ca, nullptr), of(two), second, tls_failure::refused,
       "wants a certificate", tls_failure::no_certificate, "no certificate"},
      {"TLS 1.2 only", context_of(ca, &one, TLS1_2_VERSION), of(two), second, tls_failure::refused,
       "ended", tls_failure::protocol, "TLS 1.3"},
  };
}

void expect_problem(const end& at, const std::optional<tls_failure>& what, const char* says,
                    const std::string& who) {
  ASSERT_EQ(at.outcome->problem.has_value(), what.has_value()) << who;
  if (!what) return;
  EXPECT_EQ(at.outcome->problem->what, *what) << who << ": " << at.outcome->problem->message;
  EXPECT_NE(at.outcome->problem->message.find(says), std::string::npos)
      << who << ": " << at.outcome->problem->message;
  EXPECT_FALSE(at.outcome->other) << who << ": refused, and still known as somebody";
}

TEST(tls_stream, who_is_not_accepted_gets_nothing_and_both_sides_say_why) {
  for (const auto& r : refusals()) {
    pair_of p(r.dialler, r.listener, r.meant);
    p.shake();
    EXPECT_EQ(p.b.heard, "") << r.what;
    // The dialler may be done before it hears: TLS 1.3 judges its certificate last.
    if (r.at_dialler == tls_failure::refused) p.a.outcome->other.reset();
    expect_problem(p.a, r.at_dialler, r.dialler_says, std::string(r.what) + ", dialler");
    expect_problem(p.b, r.at_listener, r.listener_says, std::string(r.what) + ", listener");
  }
}

TEST(tls_stream, one_that_speaks_frames_is_answered_in_plain_and_refused) {
  const cluster c;
  pair_of p(context_of(c.ca, &c.one), context_of(c.ca, &c.two));
  const auto hello = client_hello();
  ASSERT_EQ(::write(p.b.wire.get(), hello.data(), hello.size()),
            static_cast<ssize_t>(hello.size()));
  EXPECT_EQ(p.b.listen().status, io_status::refused);
  EXPECT_EQ(p.b.outcome->problem->what, tls_failure::plaintext);
  char answer[64] = {};
  EXPECT_EQ(::read(p.b.wire.get(), answer, sizeof answer), 12);
  EXPECT_STREQ(answer, "plain answer");
}

TEST(tls_stream, what_is_neither_tls_nor_frames_is_refused_in_silence) {
  const cluster c;
  pair_of p(context_of(c.ca, &c.one), context_of(c.ca, &c.two));
  ASSERT_EQ(::write(p.b.wire.get(), "GET / HTTP/1.1\r\n\r\n", 18), 18);
  EXPECT_EQ(p.b.listen().status, io_status::refused);
  EXPECT_EQ(p.b.outcome->problem->what, tls_failure::plaintext);
  char answer[64];
  EXPECT_EQ(::read(p.b.wire.get(), answer, sizeof answer), -1);
}

TEST(tls_stream, a_dialler_sees_that_the_other_side_speaks_frames_without_tls) {
  const cluster c;
  pair_of p(context_of(c.ca, &c.one), context_of(c.ca, &c.two));
  (void)p.a.say("!");
  const auto hello = client_hello();
  ASSERT_GT(::write(p.a.wire.get(), hello.data(), hello.size()), 0);
  EXPECT_EQ(p.a.listen().status, io_status::refused);
  EXPECT_EQ(p.a.outcome->problem->what, tls_failure::plaintext);
}

}  // namespace
}  // namespace blixard::net
