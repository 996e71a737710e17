// What the storage tests share: entries with recognisable content, and a disk with a log on it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/storage/format.hpp"
#include "runtime/storage/sim_disk.hpp"
#include "runtime/storage/store.hpp"

namespace blixard::storage::test {

inline constexpr const char* dir = "data";

inline entry make_entry(std::uint64_t index, std::uint64_t term, std::size_t bytes = 20) {
  std::string text = "entry " + std::to_string(index) + " of term " + std::to_string(term) + " ";
  while (text.size() < bytes) text.push_back(static_cast<char>('a' + (text.size() + index) % 26));
  text.resize(bytes);
  return {blixard::term{term}, log_index{index}, entry_kind::normal, slice::copy_of(text)};
}

inline std::vector<entry> make_entries(std::uint64_t first, std::uint64_t last, std::uint64_t term,
                                       std::size_t bytes = 20) {
  std::vector<entry> all;
  for (auto i = first; i <= last; ++i) all.push_back(make_entry(i, term, bytes));
  return all;
}

inline blixard::snapshot make_snapshot(std::uint64_t index, std::uint64_t term,
                                       std::size_t bytes = 5000) {
  blixard::snapshot snap;
  snap.index = log_index{index};
  snap.term = blixard::term{term};
  snap.conf.voters = {node_id{1}, node_id{2}, node_id{3}};
  snap.conf.learners = {node_id{9}};
  snap.data = make_entry(index, term, bytes).data;
  return snap;
}

inline hard_state hard(std::uint64_t term, std::uint64_t vote, std::uint64_t commit) {
  return {blixard::term{term}, node_id{vote}, log_index{commit}};
}

inline store_options options(std::size_t segment_bytes = 8192) {
  return {{node_id{1}, cluster_id{77}}, segment_bytes, 1};
}

/// Opens, and fails the test where that is an error.
inline store::opened open(file_system& fs, const store_options& with = options()) {
  auto opened = store::open(fs, dir, with);
  if (!opened) {
    ADD_FAILURE() << "open: " << opened.error().message;
    std::abort();
  }
  return std::move(*opened);
}

/// Writes one batch and makes it durable.
inline void persist(store& disk, const std::vector<entry>& entries,
                    std::optional<hard_state> state = {}, const blixard::snapshot* snap = nullptr) {
  const persist_batch batch{persist_seq{1}, snap, entries, state, true};
  const auto written = disk.write({&batch, 1});
  ASSERT_TRUE(written) << written.error().message;
  const auto synced = disk.sync();
  ASSERT_TRUE(synced) << synced.error().message;
}

}  // namespace blixard::storage::test
