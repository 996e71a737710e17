#include "runtime/storage/data_dir.hpp"

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "runtime/base/names.hpp"

namespace blixard::storage {
namespace {

constexpr const char* node_file = "node.json";

std::optional<std::uint64_t> from_hex(const std::string& text) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value, 16);
  if (parsed.ec != std::errc{} || parsed.ptr != end) return std::nullopt;
  return value;
}

struct node_json {
  int format = 0;
  identity owner;
};

std::optional<node_json> parse(const std::vector<std::byte>& content) {
  const auto* begin = reinterpret_cast<const char*>(content.data());
  const auto json = nlohmann::json::parse(begin, begin + content.size(), nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto format = json.find("format");
  if (format == json.end() || !format->is_number_integer()) return std::nullopt;
  node_json found{format->get<int>(), {}};
  if (found.format > format_version) return found;  // the rest is not ours to judge
  const auto node = json.find("node_id");
  const auto cluster = json.find("cluster_id");
  if (node == json.end() || !node->is_number_unsigned()) return std::nullopt;
  if (cluster == json.end() || !cluster->is_string()) return std::nullopt;
  const auto id = from_hex(cluster->get<std::string>());
  if (!id) return std::nullopt;
  found.owner = {node_id{node->get<std::uint64_t>()}, cluster_id{*id}};
  return found;
}

}  // namespace

result<data_dir> data_dir::open(file_system& fs, const std::string& path, const identity& wanted) {
  data_dir dir{fs, path};
  for (const auto& part : {path, dir.wal_dir(), dir.snap_dir()})
    if (auto done = fs.make_dir(part); !done) return tl::unexpected(done.error());
  auto lock = fs.lock(path + "/LOCK");
  if (!lock) return tl::unexpected(lock.error());
  dir.lock_ = std::move(*lock);
  if (auto done = dir.read_owner(wanted); !done) return tl::unexpected(done.error());
  return dir;
}

result<identity> stored_owner(file_system& fs, const std::string& dir) {
  const std::string file = dir + "/" + node_file;
  const auto content = read_file(fs, file);
  if (!content) return tl::unexpected(content.error());
  const auto found = parse(*content);
  if (!found)
    return fail(storage_errc::corrupt, file + " is damaged: it does not say whose data this is");
  if (found->format > format_version)
    return fail(storage_errc::too_new,
                file + " has format " + std::to_string(found->format) + ", this program knows " +
                    std::to_string(format_version) + "; use the newer program");
  return found->owner;
}

result<void> data_dir::read_owner(const identity& wanted) {
  const auto found = stored_owner(*fs_, path_);
  if (!found && found.error().code == storage_errc::not_found) {
    owner_ = wanted;
    fresh_ = true;
    return {};
  }
  if (!found) return tl::unexpected(found.error());
  if (found->node != wanted.node)
    return fail(storage_errc::other_owner, path_ + " holds the data of node " +
                                               to_string(found->node) + ", not of node " +
                                               to_string(wanted.node));
  owner_ = *found;
  return wanted.cluster && owner_.cluster ? set_cluster(wanted.cluster) : result<void>{};
}

result<void> data_dir::claim() {
  const nlohmann::ordered_json json{{"format", format_version},
                                    {"node_id", owner_.node.value()},
                                    {"cluster_id", hex_digits(owner_.cluster.value())}};
  const std::string text = json.dump() + "\n";
  if (auto done =
          replace_file(*fs_, path_, node_file, std::as_bytes(std::span{text.data(), text.size()}));
      !done)
    return done;
  fresh_ = false;
  return {};
}

result<void> data_dir::set_cluster(cluster_id cluster) {
  if (owner_.cluster == cluster) return {};
  if (owner_.cluster)
    return fail(storage_errc::other_owner, path_ + " holds the data of cluster " +
                                               hex_digits(owner_.cluster.value()) +
                                               ", not of cluster " + hex_digits(cluster.value()));
  owner_.cluster = cluster;
  return claim();
}

}  // namespace blixard::storage
