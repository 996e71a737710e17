#include "runtime/storage/wal_command.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "runtime/storage/data_dir.hpp"
#include "runtime/storage/log_reader.hpp"
#include "runtime/storage/meta.hpp"
#include "runtime/storage/snapshots.hpp"

namespace blixard::storage {
namespace {

using visitor = std::function<void(const record_info&)>;

std::string_view name_of(record_type type) {
  switch (type) {
    case record_type::normal:
      return "normal";
    case record_type::conf:
      return "conf";
    case record_type::snapshot:
      return "snapshot";
  }
  return "damaged";
}

record_info info_of(const seen_record& r) {
  return {"wal/" + segment_name(r.at.segment),
          r.at.offset,
          record_bytes(r.head.length),
          r.head.index,
          r.head.term,
          std::string{name_of(r.head.type)},
          true,
          {}};
}

/// A node that runs here writes and removes files while they are read: segments shrink once their
/// names are gone, records are seen half written. So damage counts when another look finds it at
/// the same place, and a file that is gone is looked for again; after so many looks what was seen
/// last counts.
constexpr int looks_max = 10;

class inspector {
 public:
  inspector(file_system& fs, const std::string& dir, const visitor& visit)
      : fs_(fs), dir_(dir), visit_(visit) {}

  result<verify_result> run() {
    const auto owner = stored_owner(fs_, dir_);
    if (!owner) return tl::unexpected(owner.error());
    auto meta = settled_meta(owner->node);
    if (!meta) return tl::unexpected(meta.error());
    say_meta(*meta);
    if (auto done = log(owner->node, meta->state); !done) return tl::unexpected(done.error());
    if (auto done = snapshot_files(); !done) return tl::unexpected(done.error());
    return out_;
  }

 private:
  void say(const record_info& info) {
    ++out_.records;
    if (!info.ok) ++out_.damaged;
    if (visit_) visit_(info);
  }

  result<loaded_meta> settled_meta(node_id node) {
    auto meta = meta_file::load(fs_, dir_, node);
    for (int looks = 1; looks < looks_max && meta && meta->bad_copies != 0; ++looks) {
      auto again = meta_file::load(fs_, dir_, node);
      const bool same =
          again && again->bad_copies == meta->bad_copies && again->state.hard == meta->state.hard;
      meta = std::move(again);
      if (same) break;
    }
    return meta;
  }

  void say_meta(const loaded_meta& meta) {
    record_info info{"meta", 0, 0, meta.state.hard.commit, meta.state.hard.term, "meta", true, {}};
    if (meta.missing) info.note = "missing";
    if (meta.bad_copies != 0)
      info.note = std::to_string(meta.bad_copies) + " of 4 copies are unreadable";
    if (meta.damaged) info.note += "; the newest may be lost";
    info.ok = info.note.empty();
    say(info);
  }

  /// What one look at the log found; its sound records were said.
  struct look {
    log_walk walk;
    log_index last;
    std::vector<record_info> broken_segment;  // at most one, where the walk ended
    std::vector<record_info> behind;          // the damage
  };

  /// A record is said by the first look that reaches it.
  void say_once(wal_position at, const record_info& info) {
    if (said_up_to_ && at <= *said_up_to_) return;
    said_up_to_ = at;
    say(info);
  }

  result<look> look_at_log(node_id node, const meta_state& meta) {
    look seen;
    log_image image;
    const log_listener listener{
        [&](const segment_header& head) {
          const auto why = image.begin_segment(head);
          const record_info info{"wal/" + segment_name(head.sequence),
                                 0,
                                 segment_header_bytes,
                                 head.last_index,
                                 head.last_term,
                                 "segment",
                                 why.empty(),
                                 why};
          if (why.empty())
            say_once({head.sequence, 0}, info);
          else
            seen.broken_segment.push_back(info);
          return why;
        },
        [&](const seen_record& r) {
          const auto why = image.add(r);
          // What is complained about here is reported once, as the damage that ends the walk.
          if (why.empty()) say_once(r.at, info_of(r));
          return why;
        },
        [&](const seen_record& r) {
          seen.behind.push_back(info_of(r));
          seen.behind.back().note = "behind the damage: no part of the log until that is repaired";
        }};
    auto walk = walk_log(fs_, dir_ + "/wal", node, meta.durable, listener);
    if (!walk) return tl::unexpected(walk.error());
    if (!walk->corrupt && meta.hard.commit > image.last_index() && !image_is_behind_snapshot(image))
      walk->corrupt =
          damage{"wal/" + segment_name(walk->end.segment), walk->end.offset,
                 "entries up to " + to_string(meta.hard.commit) + " were committed", true};
    seen.last = image.last_index();
    seen.walk = std::move(*walk);
    return seen;
  }

  result<void> log(node_id node, const meta_state& meta) {
    std::optional<damage> before;
    for (int looks = 1;; ++looks) {
      auto seen = look_at_log(node, meta);
      const bool gone = !seen && seen.error().code == storage_errc::not_found;
      if (gone && looks < looks_max) continue;
      if (!seen) return tl::unexpected(seen.error());
      const auto& damaged = seen->walk.corrupt;
      const bool sure = !damaged || (before && before->file == damaged->file &&
                                     before->offset == damaged->offset);
      if (sure || looks == looks_max) {
        say_end(*seen);
        return {};
      }
      before = damaged;
    }
  }

  void say_end(const look& seen) {
    const auto& walk = seen.walk;
    const std::string end = "wal/" + segment_name(walk.end.segment);
    if (walk.corrupt) {
      const auto& d = *walk.corrupt;
      for (const auto& r : seen.broken_segment) say(r);
      say({d.file, d.offset, 0, seen.last.next(), {}, "damaged", false, d.what});
      for (const auto& r : seen.behind) say(r);
    } else if (walk.torn_bytes != 0) {
      out_.tail_bytes = walk.torn_bytes;
      say({end,
           walk.end.offset,
           walk.torn_bytes,
           seen.last.next(),
           {},
           "tail",
           true,
           "never acknowledged; a start cuts it"});
    }
  }

  /// A snapshot from a peer may be in place before the log has restarted behind it.
  bool image_is_behind_snapshot(const log_image& image) {
    const auto found = snapshots{fs_, dir_ + "/snap", 1}.load();
    return found && found->newest.index > image.last_index();
  }

  result<void> snapshot_files() {
    const auto names = fs_.list(dir_ + "/snap");
    if (!names) return tl::unexpected(names.error());
    for (const auto& name : *names) {
      if (!name.ends_with(".snap")) continue;
      const std::string file = "snap/" + name;
      const auto snap = read_snapshot(fs_, dir_ + "/" + file);
      const auto there = fs_.exists(dir_ + "/" + file);
      if (!snap && there && !*there) continue;  // removed meanwhile: a newer one is there
      if (!snap && snap.error().code != storage_errc::corrupt) return tl::unexpected(snap.error());
      record_info info{file, 0, 0, {}, {}, "snapshot_file", snap.has_value(), {}};
      if (snap) {
        info.length = snap->data.size();
        info.index = snap->index;
        info.term = snap->term;
      } else {
        info.note = "a checksum does not match";
      }
      say(info);
    }
    return {};
  }

  file_system& fs_;
  const std::string& dir_;
  const visitor& visit_;
  std::optional<wal_position> said_up_to_;  // of the log
  verify_result out_;
};

void print(const record_info& r, bool json, std::FILE* out) {
  if (!json) {
    std::fprintf(out, "%-40s %12llu %10llu %12llu %8llu  %-13s %s%s%s\n", r.file.c_str(),
                 static_cast<unsigned long long>(r.offset),
                 static_cast<unsigned long long>(r.length),
                 static_cast<unsigned long long>(r.index.value()),
                 static_cast<unsigned long long>(r.term.value()), r.type.c_str(),
                 r.ok ? "ok" : "DAMAGED", r.note.empty() ? "" : ": ", r.note.c_str());
    return;
  }
  nlohmann::ordered_json line{{"file", r.file},
                              {"offset", r.offset},
                              {"length", r.length},
                              {"index", r.index.value()},
                              {"term", r.term.value()},
                              {"type", r.type},
                              {"ok", r.ok}};
  if (!r.note.empty()) line["note"] = r.note;
  std::fprintf(out, "%s\n", line.dump().c_str());
}

void print_summary(const verify_result& found, bool json, std::FILE* out) {
  if (json) {
    const nlohmann::ordered_json line{{"records", found.records},
                                      {"damaged", found.damaged},
                                      {"tail_bytes", found.tail_bytes},
                                      {"ok", found.damaged == 0}};
    std::fprintf(out, "%s\n", line.dump().c_str());
    return;
  }
  std::fprintf(out, "%llu records, %llu damaged, %llu bytes of a torn tail: %s\n",
               static_cast<unsigned long long>(found.records),
               static_cast<unsigned long long>(found.damaged),
               static_cast<unsigned long long>(found.tail_bytes),
               found.damaged == 0 ? "ok" : "DAMAGED");
}

}  // namespace

result<verify_result> inspect(file_system& fs, const std::string& dir, const visitor& visit) {
  return inspector{fs, dir, visit}.run();
}

int wal_command(file_system& fs, bool verify, bool json, const std::string& dir, std::FILE* out,
                std::FILE* err) {
  if (!verify && !json)
    std::fprintf(out, "%-40s %12s %10s %12s %8s  %-13s %s\n", "file", "offset", "length", "index",
                 "term", "type", "ok");
  const auto found = inspect(fs, dir, [&](const record_info& r) {
    if (!verify || !r.ok || r.type == "tail") print(r, json, out);
  });
  if (!found) {
    std::fprintf(err, "error: %s\n", found.error().message.c_str());
    return found.error().code == storage_errc::not_found ? 3 : 1;
  }
  if (verify) print_summary(*found, json, out);
  return found->damaged == 0 ? 0 : 1;
}

int wal_command(bool verify, bool json, const std::string& dir, std::FILE* out, std::FILE* err) {
  posix_file_system fs;
  return wal_command(fs, verify, json, dir, out, err);
}

}  // namespace blixard::storage
