//! Handlers over a real loopback socket.
