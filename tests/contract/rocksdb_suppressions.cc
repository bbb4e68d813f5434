// Tells ThreadSanitizer which reports are RocksDB's own.
//
// The packaged RocksDB is not built for ThreadSanitizer, so the atomics by which its memtable hands
// rows from a writer to readers are invisible, and every such row looks like a race. In each of
// those reports the write is in the memtable or in the arena under it. A race between members of
// our store has neither frame, because RocksDB never calls back into it, and is still reported.
// Without the sanitizer nobody calls this.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:rocksdb::MemTable::\nrace:rocksdb::Arena::\n";
}
