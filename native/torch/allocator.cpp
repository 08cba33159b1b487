// Memory of large tensors. A training step asks for the same sizes again and again; malloc returns blocks of this size to the system
// and the next step pays for a page fault per 4 KiB (measured: 0.3 s of a 1.5 s float32 step). Here they are kept, and lie on huge pages.
#include "shim.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <unordered_map>

namespace {

constexpr size_t kHugePage = size_t{2} << 20;

// Free blocks kept at most: an eighth of the machine's memory, since several trainers may share it.
size_t cache_limit() {
  static const size_t limit = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGE_SIZE)) / 8;
  return limit;
}

class Blocks {
 public:
  void* take(size_t bytes) {
    const size_t size = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    std::lock_guard<std::mutex> lock(mutex_);
    // The smallest free block that fits and wastes at most an eighth.
    auto found = free_.lower_bound(size);
    if (found != free_.end() && found->first <= size + size / 8) {
      void* block = found->second;
      sizes_[block] = found->first;
      cached_ -= found->first;
      free_.erase(found);
      return block;
    }
    void* block = map(size);
    if (block == nullptr) {
      drop(0);
      block = map(size);
    }
    TORCH_CHECK(block != nullptr, "out of memory: ", bytes, " bytes for a tensor");
    sizes_[block] = size;
    return block;
  }

  // False for memory that was not taken here.
  bool give(void* block) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = sizes_.find(block);
    if (found == sizes_.end()) return false;
    const size_t size = found->second;
    sizes_.erase(found);
    free_.emplace(size, block);
    cached_ += size;
    if (cached_ > cache_limit()) drop(cache_limit() / 2);
    return true;
  }

 private:
  // Twice the alignment is mapped and the rest given back: huge pages need aligned blocks.
  static void* map(size_t size) {
    auto start = static_cast<char*>(mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (start == MAP_FAILED) return nullptr;
    auto aligned = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(start) + kHugePage - 1) / kHugePage * kHugePage);
    if (aligned > start) munmap(start, aligned - start);
    const size_t after = start + size + kHugePage - (aligned + size);
    if (after > 0) munmap(aligned + size, after);
    madvise(aligned, size, MADV_HUGEPAGE);
    return aligned;
  }

  // Largest first, until at most `keep` bytes are cached.
  void drop(size_t keep) {
    while (cached_ > keep && !free_.empty()) {
      auto largest = std::prev(free_.end());
      munmap(largest->second, largest->first);
      cached_ -= largest->first;
      free_.erase(largest);
    }
  }

  std::mutex mutex_;
  std::multimap<size_t, void*> free_;
  std::unordered_map<void*, size_t> sizes_;
  size_t cached_ = 0;
};

Blocks& blocks() {
  static auto* instance = new Blocks();  // never destroyed: tensors may outlive every static
  return *instance;
}

// The one deleter of every tensor's memory, small or large. Only aligned memory can be a block of ours.
void release(void* memory) {
  if (reinterpret_cast<uintptr_t>(memory) % kHugePage != 0 || !blocks().give(memory)) c10::free_cpu(memory);
}

class CachingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) const override {
    void* memory = bytes < kHugePage ? c10::alloc_cpu(bytes) : blocks().take(bytes);
    return {memory, memory, &release, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }
};

CachingAllocator allocator;

// Above the default allocator's priority, for every tensor made from now on.
const bool installed = [] {
  c10::SetCPUAllocator(&allocator, 10);
  return true;
}();

}  // namespace
