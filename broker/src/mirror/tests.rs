//! The ports on real partitions, a real catalog and RocksDB.
