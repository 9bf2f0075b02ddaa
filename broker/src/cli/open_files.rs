//! The limit of open files. A partition that is written to holds one, a quiet one none, and each
//! connection one. The soft limit that processes usually get is intended for programs that
//! `select`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Below this the limit is named as low: 25,000 partitions that are written to, and as many clients.
const LOW: u64 = 50_000;

/// Raises the soft limit to the hard one, and warns if even that is low.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files cannot be raised to the hard one");
    }
    match getrlimit(Resource::Nofile).current {
        Some(files) if files < LOW => tracing::warn!(
            files,
            "the limit of open files is low: each partition that is written to needs one, each \
             connection one. Raise it (`LimitNOFILE` of the service, or `ulimit -Hn`)"
        ),
        files => tracing::debug!(?files, "limit of open files"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        raise_limit();
        let after = getrlimit(Resource::Nofile);
        assert_eq!(after.current, before.maximum);
        assert_eq!(after.maximum, before.maximum);
    }
}
