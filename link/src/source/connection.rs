//! One connection to a broker. In work.
