//! What an operator does to mirrors: the same enum on the command line, in REST and in the link.

use serde::{Deserialize, Serialize};

/// One of the five things that an operator does to mirrors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Planned hand-over: waits for lag 0, then cuts. Loses nothing.
    Promote,
    /// Cuts immediately, with what is here.
    Failover,
    /// Stop mirroring for now.
    Pause,
    /// Mirror again: after a pause, after a failure, or instead of a promotion that still waits.
    Resume,
    /// Cancel a promotion that is still waiting: the mirror continues. `All` and a pattern select
    /// the mirrors that are being promoted.
    CancelPromotion,
}

impl Verb {
    pub const ALL: [Self; 5] = [
        Self::Promote,
        Self::Failover,
        Self::Pause,
        Self::Resume,
        Self::CancelPromotion,
    ];

    /// The verb in REST paths (`mirrors:promote`) and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Failover => "failover",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::CancelPromotion => "cancel-promote",
        }
    }

    /// The verb that REST paths call `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }

    /// The kind of cut that the verb leads to; `None` if the mirror stays a mirror.
    pub fn cut(self) -> Option<CutKind> {
        match self {
            Self::Promote => Some(CutKind::Promote),
            Self::Failover => Some(CutKind::Failover),
            Self::Pause | Self::Resume | Self::CancelPromotion => None,
        }
    }
}

/// The two ways to cut a mirror, as they are stored and reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CutKind {
    /// Planned, after lag 0.
    Promote,
    /// Immediately, with what is here.
    Failover,
}

impl CutKind {
    /// The verb that leads to it.
    pub fn verb(self) -> Verb {
        match self {
            Self::Promote => Verb::Promote,
            Self::Failover => Verb::Failover,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_found_by_its_name_and_two_of_them_cut() {
        for verb in Verb::ALL {
            assert_eq!(Verb::named(verb.name()), Some(verb));
            assert!(verb.cut().is_none_or(|kind| kind.verb() == verb));
        }
        assert_eq!(Verb::named("stop"), None);
        let cuts = Verb::ALL.iter().filter(|verb| verb.cut().is_some());
        assert_eq!(cuts.count(), 2);
    }
}
