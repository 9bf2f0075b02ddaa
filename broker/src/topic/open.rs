//! Opening every topic's logs at start, on several threads.
