//! Consumer groups (classic protocol): membership, generations and committed offsets.
