// An ordered map whose copies are free: a B+tree with reference-counted nodes, copied on write.
//
// Copying a tree copies one pointer. A change walks from the root to a leaf; nodes that only this
// tree refers to are changed in place, nodes that a copy shares are cloned first. So the owner pays
// nothing while no copy exists, and O(height) clones per change while one does: a consistent view
// for a snapshot of a million entries is taken in nanoseconds and read by another thread at
// leisure.
//
//            [ 17 | 42 ]                 inner: separator i is <= every key of child i+1
//           /     |     \                and > every key of child i
//     [3 9 11] [17 20] [42 57 60]        leaves: items in order, no links between leaves
//
// Deletion frees a node when it is empty and does not merge half-empty ones ("free-at-empty",
// Johnson & Shasha 1993): simpler, and as good for any mix with as many inserts as deletes.
//
// Where memory is not in the cache, a search costs the lines that it touches. So leaves keep a byte
// of each key and inner nodes the heads of their separators (key_heads.hpp) where `Order` gives
// them, and the pointers to items and children by themselves.
//
// Thread rule: a tree object has one owner; copies may live on any thread, since nodes that are
// shared are never written.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <utility>

#include "messages/buffer.hpp"
#include "messages/check.hpp"
#include "runtime/state/key_heads.hpp"

namespace blixard::state {

/// `Order` gives: `key_type` (owned, what inner nodes keep), `key_of(item)` and
/// `compare(probe, key or item's key)` as a three-way ordering for every probe type used.
///
/// Where the key of an item lies behind a pointer, every step of a binary search in a leaf is a
/// cache miss. Then `Order` may also give `tag_of(probe)`, a byte that equal keys share: a leaf
/// keeps them side by side, and only an item with that byte is looked at; and `fetch(item)`, which
/// asks memory for what a comparison and a reference will touch. Where keys are texts, compared as
/// unsigned bytes, `text_of(probe or key)` gives them.
template <class Item, class Order>
class cow_tree {
  static constexpr std::size_t fanout = 32;
  using key_type = typename Order::key_type;

  static constexpr bool has_tags = requires(const Item& i) { Order::tag_of(Order::key_of(i)); };
  static constexpr bool has_heads = requires(const key_type& k) { Order::text_of(k); };
  struct nothing {};

  struct node {
    explicit node(bool is_leaf) noexcept : leaf(is_leaf) {}
    void add_ref() const noexcept { refs.fetch_add(1, std::memory_order_relaxed); }
    void release() const noexcept {
      // acq_rel: whoever frees or reuses the node must see all reads of the others finished.
      if (refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
      if (leaf)
        delete static_cast<const leaf_node*>(this);
      else
        delete static_cast<const inner_node*>(this);
    }
    [[nodiscard]] bool unique() const noexcept { return refs.load(std::memory_order_acquire) == 1; }

    mutable std::atomic<std::uint32_t> refs{1};
    std::uint16_t count = 0;  // items, or children
    const bool leaf;
  };
  struct leaf_node : node {
    leaf_node() noexcept : node(true) {}
    [[no_unique_address]] std::array<std::uint8_t, has_tags ? fanout : 0> tags{};
    std::array<Item, fanout> items{};
  };
  struct inner_node : node {
    inner_node() noexcept : node(false) {}
    /// To be called when separators have changed.
    void read_heads() {
      if constexpr (has_heads)
        heads.read(this->count - 1U, [&](std::size_t i) { return Order::text_of(keys[i + 1]); });
    }
    [[no_unique_address]] std::conditional_t<has_heads, key_heads<fanout>, nothing> heads{};
    std::array<ref<node>, fanout> children{};
    std::array<key_type, fanout>
        keys{};  // keys[i] separates child i-1 from child i; keys[0] unused
  };

 public:
  cow_tree() = default;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  void clear() noexcept {
    root_ = nullptr;
    size_ = 0;
  }

  /// clear(), calling `between()` after each leaf that nobody else holds: what only this tree still
  /// holds may be much, and freeing it at once takes long.
  template <class Between>
  void let_go(Between&& between) {
    let_go_below(root_, between);
    size_ = 0;
  }

  /// The item with that key, or null. Good until this tree is changed.
  template <class Probe>
  [[nodiscard]] const Item* find(const Probe& key) const {
    const node* n = root_.get();
    if (n == nullptr) return nullptr;
    const auto tag = tag_of(key);
    while (!n->leaf) {
      const auto& in = as_inner(*n);
      n = in.children[child_for(in, key)].get();
    }
    const auto& lf = as_leaf(*n);
    const auto [at, found] = position(lf, key, tag);
    return found ? &lf.items[at] : nullptr;
  }

  /// Inserts the item or puts it in the place of the one with its key, which is returned through
  /// `replaced` where that is not null. True if it is new.
  bool put(Item item, Item* replaced = nullptr) {
    const auto& key = Order::key_of(item);
    const auto where = descend(key);
    return put_at(where, std::move(item), replaced);
  }

  /// A put in steps, for a caller that has something else to do while memory comes: descend() finds
  /// the leaf, look() what may be the item with that key, put_at() puts the item with that key.
  /// Nothing else may happen to the tree in between.
  class spot {
    friend class cow_tree;
    leaf_node* leaf_ = nullptr;
    std::uint8_t tag_ = 0;
  };
  template <class Probe>
  [[nodiscard]] spot descend(const Probe& key) {
    spot out;
    out.tag_ = tag_of(key);
    if (!root_) root_ = ref<node>::adopt(new leaf_node);
    node* n = &own(root_);
    while (!n->leaf) {
      auto& in = as_inner(*n);
      n = &own(in.children[child_for(in, key)]);
    }
    out.leaf_ = &as_leaf(*n);
    return out;
  }
  void look(const spot& where) const {
    if constexpr (has_tags) {
      const std::size_t at = next_tagged(*where.leaf_, where.tag_, 0);
      if (at < where.leaf_->count) fetch_item(where.leaf_->items[at]);
    }
  }
  bool put_at(const spot& where, Item item, Item* replaced = nullptr) {
    const auto& key = Order::key_of(item);
    leaf_node* lf = where.leaf_;
    auto [at, found] = position(*lf, key, where.tag_);
    if (found) {
      if (replaced != nullptr) *replaced = std::move(lf->items[at]);
      lf->items[at] = std::move(item);
      return false;
    }
    if (lf->count == fanout) {
      lf = &split_down_to(key);
      at = binary_position(*lf, key).at;
    }
    open_gap(lf->items, at, lf->count);
    lf->items[at] = std::move(item);
    if constexpr (has_tags) {
      open_gap(lf->tags, at, lf->count);
      lf->tags[at] = where.tag_;
    }
    ++lf->count;
    ++size_;
    return true;
  }

  /// Removes the item with that key into `removed` (may be null). False if there is none; then
  /// nothing was changed or copied.
  template <class Probe>
  bool erase(const Probe& key, Item* removed = nullptr) {
    if (find(key) == nullptr) return false;
    erase_below(root_, key, removed);
    --size_;
    while (root_ && !root_->leaf && root_->count == 1) {
      ref<node> only = as_inner(*root_).children[0];
      root_ = std::move(only);
    }
    return true;
  }

  /// Calls `f(item)` in order.
  template <class F>
  void for_each(F&& f) const {
    if (root_) visit(*root_, f);
  }

  /// Calls `f(item)` in order from the first item whose key is not below `key`, while it returns
  /// true.
  template <class Probe, class F>
  void for_each_from(const Probe& key, F&& f) const {
    if (root_) (void)visit_from(*root_, key, f);
  }

  /// Calls `f(before, after)` in order of keys for the items of the leaves that the two trees do
  /// not share, while it returns true; false if it did not. One of the two is null where the other
  /// tree has no such key; both are there where the item is the same, too. Of copies that are k
  /// changes apart at most a few leaves for each are looked at, whatever the trees' size.
  template <class F>
  static bool for_each_unshared(const cow_tree& from, const cow_tree& to, F&& f) {
    cursor a{from.root_.get()};
    cursor b{to.root_.get()};
    while (!a.at_end() && !b.at_end()) {
      if (a.is_at_the_same_as(b)) {
        a.skip();
        b.skip();
      } else if (a.height() > 0 || b.height() > 0) {
        const auto taller = std::max(a.height(), b.height());
        if (a.height() == taller) a.enter();
        if (b.height() == taller) b.enter();
      } else if (!merge_step(a, b, f)) {
        return false;
      }
    }
    while (a.step_to_item())
      if (!f(a.take(), nullptr)) return false;
    while (b.step_to_item())
      if (!f(nullptr, b.take())) return false;
    return true;
  }

 private:
  static const leaf_node& as_leaf(const node& n) { return static_cast<const leaf_node&>(n); }
  static leaf_node& as_leaf(node& n) { return static_cast<leaf_node&>(n); }
  static const inner_node& as_inner(const node& n) { return static_cast<const inner_node&>(n); }
  static inner_node& as_inner(node& n) { return static_cast<inner_node&>(n); }

  template <class Probe>
  static std::uint8_t tag_of(const Probe& key) {
    if constexpr (has_tags)
      return Order::tag_of(key);
    else
      return 0;
  }

  static void fetch_item(const Item& i) noexcept {
    if constexpr (requires { Order::fetch(i); }) Order::fetch(i);
  }

  /// Goes through a tree in order by whole subtrees, which are entered only where that is wanted.
  class cursor {
   public:
    explicit cursor(const node* root) noexcept : at_(root) {
      for (const node* n = root; n != nullptr && !n->leaf; n = as_inner(*n).children[0].get())
        ++height_;
    }
    [[nodiscard]] bool at_end() const noexcept { return at_ == nullptr; }
    /// Of the subtree that comes next: 0 is a leaf.
    [[nodiscard]] std::size_t height() const noexcept { return height_; }
    [[nodiscard]] bool is_at_the_same_as(const cursor& o) const noexcept {
      return at_ == o.at_ && item_ == o.item_;
    }
    /// Goes on with the children of an inner node.
    void enter() noexcept {
      CHECK_LT(depth_, path_.size());
      const auto& in = as_inner(*at_);
      path_[depth_++] = {&in, 0};
      at_ = in.children[0].get();
      --height_;
    }
    /// Goes on behind the subtree, or behind what is left of the leaf.
    void skip() noexcept {
      item_ = 0;
      for (; depth_ > 0; --depth_, ++height_) {
        auto& up = path_[depth_ - 1];
        if (++up.child == up.in->count) continue;
        at_ = up.in->children[up.child].get();
        return;
      }
      at_ = nullptr;
    }
    /// Enters the leaf that comes next; false at the end.
    bool step_to_item() noexcept {
      while (!at_end() && height_ > 0) enter();
      return !at_end();
    }
    /// In a leaf: its next item.
    [[nodiscard]] const Item& item() const noexcept { return as_leaf(*at_).items[item_]; }
    const Item* take() noexcept {
      const Item* out = &item();
      if (++item_ == at_->count) skip();
      return out;
    }

   private:
    // A node of any level is split for every 16 that were split below it: 2^64 insertions.
    static constexpr std::size_t levels_max = 16;
    struct step {
      const inner_node* in = nullptr;
      std::size_t child = 0;
    };
    const node* at_;
    std::size_t item_ = 0;
    std::size_t height_ = 0;
    std::size_t depth_ = 0;
    std::array<step, levels_max> path_;
  };

  /// Both in a leaf: the smaller key, or both items where the keys are equal.
  template <class F>
  static bool merge_step(cursor& a, cursor& b, F& f) {
    const auto order = Order::compare(Order::key_of(a.item()), Order::key_of(b.item()));
    const Item* before = order <= 0 ? a.take() : nullptr;
    const Item* after = order >= 0 ? b.take() : nullptr;
    return f(before, after);
  }

  /// The child that holds `key` if any does: the last one whose separator is not above it.
  template <class Probe>
  static std::size_t child_for(const inner_node& n, const Probe& key) {
    std::size_t lo = 0;
    std::size_t hi = n.count;
    if constexpr (has_heads) {
      const auto between = n.heads.find(Order::text_of(key));
      lo = between.first;
      hi = between.last + 1;
    }
    while (hi - lo > 1) {
      const std::size_t mid = (lo + hi) / 2;
      if (Order::compare(key, n.keys[mid]) < 0)
        hi = mid;
      else
        lo = mid;
    }
    return lo;
  }

  /// The first item from `at` on that has the tag, or n.count.
  static std::size_t next_tagged(const leaf_node& n, std::uint8_t tag, std::size_t at) {
    const auto* from = n.tags.data();
    const auto* hit = std::memchr(from + at, tag, n.count - at);
    return hit == nullptr ? n.count
                          : static_cast<std::size_t>(static_cast<const std::uint8_t*>(hit) - from);
  }

  struct place {
    std::size_t at;  // of the first item that is not below the key
    bool found;
  };
  template <class Probe>
  static place position(const leaf_node& n, const Probe& key, std::uint8_t tag) {
    if constexpr (has_tags) {
      for (auto i = next_tagged(n, tag, 0); i < n.count; i = next_tagged(n, tag, i + 1))
        if (Order::compare(key, Order::key_of(n.items[i])) == 0) return {i, true};
    }
    return binary_position(n, key);
  }
  template <class Probe>
  static place binary_position(const leaf_node& n, const Probe& key) {
    std::size_t lo = 0;
    std::size_t hi = n.count;
    while (lo < hi) {
      const std::size_t mid = (lo + hi) / 2;
      const auto c = Order::compare(key, Order::key_of(n.items[mid]));
      if (c == 0) return {mid, true};
      if (c < 0)
        hi = mid;
      else
        lo = mid + 1;
    }
    return {lo, false};
  }

  /// The node behind `r`, cloned first if a copy of the tree shares it. Each thing that the clone
  /// refers to is counted, which touches it: all of them are asked for first.
  static node& own(ref<node>& r) {
    if (r->unique()) return *r;
    if (r->leaf) {
      const auto& from = as_leaf(*r);
      for (std::size_t i = 0; i < from.count; ++i) fetch_item(from.items[i]);
      auto* copy = new leaf_node;
      std::copy_n(from.items.begin(), from.count, copy->items.begin());
      copy->tags = from.tags;
      copy->count = from.count;
      r = ref<node>::adopt(copy);
    } else {
      const auto& from = as_inner(*r);
      for (std::size_t i = 0; i < from.count; ++i) __builtin_prefetch(from.children[i].get());
      auto* copy = new inner_node;
      std::copy_n(from.keys.begin(), from.count, copy->keys.begin());
      std::copy_n(from.children.begin(), from.count, copy->children.begin());
      copy->heads = from.heads;
      copy->count = from.count;
      r = ref<node>::adopt(copy);
    }
    return *r;
  }

  /// The leaf where a new key belongs, with room for it: nodes that are full are split on the way.
  template <class Probe>
  leaf_node& split_down_to(const Probe& key) {
    if (root_->count == fanout) grow_root();
    ref<node>* at = &root_;
    for (;;) {
      node& n = own(*at);
      if (n.leaf) return as_leaf(n);
      auto& in = as_inner(n);
      std::size_t c = child_for(in, key);
      if (in.children[c]->count == fanout) {
        split_child(in, c);
        if (Order::compare(key, in.keys[c + 1]) >= 0) ++c;
      }
      at = &in.children[c];
    }
  }

  void grow_root() {
    auto* top = new inner_node;
    top->children[0] = std::move(root_);
    top->count = 1;
    root_ = ref<node>::adopt(top);
    split_child(*top, 0);
  }

  /// Splits the full child `c` of an owned node that has room for one more.
  static void split_child(inner_node& parent, std::size_t c) {
    node& left = own(parent.children[c]);
    key_type separator{};
    ref<node> right =
        left.leaf ? split_leaf(as_leaf(left), separator) : split_inner(as_inner(left), separator);
    open_gap(parent.keys, c + 1, parent.count);
    open_gap(parent.children, c + 1, parent.count);
    parent.keys[c + 1] = std::move(separator);
    parent.children[c + 1] = std::move(right);
    ++parent.count;
    parent.read_heads();
  }
  static constexpr std::size_t half = fanout / 2;
  static ref<node> split_leaf(leaf_node& from, key_type& separator) {
    auto* n = new leaf_node;
    std::move(from.items.begin() + half, from.items.end(), n->items.begin());
    for (std::size_t i = half; i < fanout; ++i) from.items[i] = Item{};
    if constexpr (has_tags) std::copy(from.tags.begin() + half, from.tags.end(), n->tags.begin());
    n->count = fanout - half;
    from.count = half;
    separator = separator_of(from.items[half - 1], n->items[0]);
    return ref<node>::adopt(n);
  }
  /// Above `low`, not above `high`: of texts the shortest, which mostly needs no memory of its own.
  static key_type separator_of(const Item& low, const Item& high) {
    if constexpr (has_heads) {
      const std::string_view a = Order::text_of(Order::key_of(low));
      const std::string_view b = Order::text_of(Order::key_of(high));
      const auto differ = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).second;
      return key_type{b.begin(), differ + 1};
    } else {
      return key_type{Order::key_of(high)};
    }
  }
  static ref<node> split_inner(inner_node& from, key_type& separator) {
    auto* n = new inner_node;
    std::move(from.keys.begin() + half, from.keys.end(), n->keys.begin());
    std::move(from.children.begin() + half, from.children.end(), n->children.begin());
    n->count = fanout - half;
    from.count = half;
    separator = std::move(n->keys[0]);
    n->read_heads();
    from.read_heads();
    return ref<node>::adopt(n);
  }

  template <class Array>
  static void open_gap(Array& a, std::size_t at, std::size_t count) {
    std::move_backward(a.begin() + static_cast<std::ptrdiff_t>(at),
                       a.begin() + static_cast<std::ptrdiff_t>(count),
                       a.begin() + static_cast<std::ptrdiff_t>(count + 1));
  }
  template <class Array>
  static void close_gap(Array& a, std::size_t at, std::size_t count) {
    std::move(a.begin() + static_cast<std::ptrdiff_t>(at + 1),
              a.begin() + static_cast<std::ptrdiff_t>(count),
              a.begin() + static_cast<std::ptrdiff_t>(at));
    a[count - 1] = {};
  }

  /// Removes a key that is there; empties `r` when nothing is left below it.
  template <class Probe>
  static void erase_below(ref<node>& r, const Probe& key, Item* removed) {
    node& n = own(r);
    if (n.leaf) {
      auto& lf = as_leaf(n);
      const auto [at, found] = position(lf, key, tag_of(key));
      CHECK(found);
      if (removed != nullptr) *removed = std::move(lf.items[at]);
      close_gap(lf.items, at, lf.count);
      if constexpr (has_tags) close_gap(lf.tags, at, lf.count);
      if (--lf.count == 0) r = nullptr;
    } else {
      auto& in = as_inner(n);
      const std::size_t c = child_for(in, key);
      erase_below(in.children[c], key, removed);
      if (in.children[c]) return;
      close_gap(in.keys, c, in.count);
      close_gap(in.children, c, in.count);
      if (--in.count == 0)
        r = nullptr;
      else
        in.read_heads();
    }
  }

  template <class Between>
  static void let_go_below(ref<node>& r, Between& between) {
    if (!r) return;
    const bool mine = r->unique();  // nobody can get hold of it any more
    const bool leaf = r->leaf;
    if (mine && !leaf)
      for (std::size_t i = 0; i < r->count; ++i) let_go_below(as_inner(*r).children[i], between);
    r = nullptr;
    if (mine && leaf) between();
  }

  template <class F>
  static void visit(const node& n, F& f) {
    for (std::size_t i = 0; i < n.count; ++i) {
      if (n.leaf)
        f(as_leaf(n).items[i]);
      else
        visit(*as_inner(n).children[i], f);
    }
  }

  template <class Probe, class F>
  static bool visit_from(const node& n, const Probe& key, F& f) {
    if (n.leaf) {
      const auto& lf = as_leaf(n);
      for (std::size_t i = binary_position(lf, key).at; i < lf.count; ++i)
        if (!f(lf.items[i])) return false;
      return true;
    }
    const auto& in = as_inner(n);
    for (std::size_t c = child_for(in, key); c < in.count; ++c)
      if (!visit_from(*in.children[c], key, f)) return false;
    return true;
  }

  ref<node> root_;
  std::size_t size_ = 0;
};

}  // namespace blixard::state
