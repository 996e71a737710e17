// Requests to the raft lab, line by line: each gets one JSON answer with its id, and another lab
// says the same bytes to the same requests.
#include <nlohmann/json.hpp>

#include "apps/raftlab/lab.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace blixard::fuzz {

void one(input in) {
  raft::lab::laboratory a;
  raft::lab::laboratory b;
  std::string_view rest = in.rest();
  for (int i = 0; i < 40 && !rest.empty(); ++i) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const std::string line{rest.substr(0, end)};
    rest.remove_prefix(std::min(end + 1, rest.size()));
    // A million ticks are allowed, and take their time.
    if (line.find("0000") != std::string::npos) continue;
    const std::string answer = a.answer(line);
    CHECK(b.answer(line) == answer);
    CHECK(answer.find('\n') == std::string::npos);
    const auto parsed = nlohmann::json::parse(answer);
    CHECK(parsed.is_object() && parsed.contains("id") && parsed.contains("ok"));
    CHECK(parsed["ok"].get<bool>() != parsed.contains("err"));
  }
}

std::vector<std::string> examples() {
  const std::string start =
      R"({"op":"new","node":1,"config":{"election_ticks":10,"heartbeat_ticks":2,"seed":1,)"
      R"("prevote":false,"async_persist":true},"disk":{"hard":{"term":1,"vote":0,"commit":2},)"
      R"("snapshot":{"index":2,"term":1,"conf":{"voters":[1,2,3]}},"entries":[]},"applied":2})"
      "\n";
  const std::string lead =
      R"({"op":"campaign","node":1})"
      "\n"
      R"({"op":"ready","node":1})"
      "\n"
      R"({"op":"persisted","node":1,"seq":1})"
      "\n"
      R"({"op":"step","node":1,"msg":{"type":"vote_resp","from":2,"to":1,"term":2,"reject":false}})"
      "\n"
      R"({"op":"ready","node":1})"
      "\n";
  const std::string follow =
      R"({"op":"step","node":1,"msg":{"type":"append","from":2,"to":1,"term":2,"prev":[1,2],)"
      R"("entries":[{"term":2,"index":3,"kind":"normal","data":"a"}],"commit":3}})"
      "\n"
      R"({"op":"ready","node":1})"
      "\n"
      R"({"op":"applied","node":1,"index":3})"
      "\n"
      R"({"op":"status","node":1})"
      "\n";
  const std::string changes =
      R"({"op":"step","node":1,"msg":{"type":"append_resp","from":2,"to":1,"term":2,"match":3}})"
      "\n"
      R"({"op":"applied","node":1,"index":3})"
      "\n"
      R"({"op":"propose_conf","node":1,"change":{"changes":[{"op":"voter","node":4}]}})"
      "\n"
      R"({"op":"propose","node":1,"data":"x"})"
      "\n"
      R"({"op":"read_index","node":1,"ctx":"r"})"
      "\n"
      R"({"op":"transfer","node":1,"target":2})"
      "\n"
      R"({"op":"tick","node":1,"n":3})"
      "\n"
      R"({"op":"ready","node":1})"
      "\n"
      R"({"op":"compact","node":1,"first":3})"
      "\n"
      R"({"op":"report","node":1,"peer":2,"what":"unreachable"})"
      "\n";
  return {start + lead,
          start + follow,
          start + lead + changes,
          R"({"op":"unit","fn":"committed","cfg":[1,2,3],"acked":{"1":12,"2":5}})"
          "\n",
          R"({"op":"unit","fn":"conf","kind":"enter","conf":{"voters":[1,2]},"changes":[]})"
          "\n",
          start + R"({"op":"step","node":1,"msg":{"type":"snapshot","from":2,"to":1,"term":3,)"
                  R"("snapshot":{"index":9,"term":2,"conf":{"voters":[1,2]},"data":"S"}}})"
                  "\n"};
}

}  // namespace blixard::fuzz
