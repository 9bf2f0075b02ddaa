//! All names that a properties file may have, from three tables: those with an effect here, those
//! of Kafka without one, and those of its older releases.

use super::def::{Check, ConfigDef};
use super::ignored::IGNORED;
use super::unlisted::REMOVED;
use super::used::USED;

/// Names further away than this many edits aren't offered as what was meant.
const SUGGESTION_MAX_EDITS: usize = 4;

/// The definition of a broker property, used or ignored.
pub fn definition(name: &str) -> Option<ConfigDef> {
    if let Some(def) = used(name) {
        return Some(*def);
    }
    let mut known = REMOVED.iter().map(|(name, kind)| (*name, *kind, None));
    let listed = IGNORED.iter().find(|(known, ..)| *known == name).copied();
    let (name, kind, default) = listed.or_else(|| known.find(|(known, ..)| *known == name))?;
    let doc = "A Kafka property without effect here.";
    Some(ConfigDef {
        name,
        kind,
        default,
        check: Check::Any,
        doc,
    })
}

/// The definition of a property that does something here.
pub fn used(name: &str) -> Option<&'static ConfigDef> {
    USED.iter().find(|def| def.name == name)
}

/// The known name that is most like this one, if it is like it at all.
pub fn nearest(name: &str) -> Option<String> {
    let used = USED.iter().map(|def| def.name);
    let known = used.chain(IGNORED.iter().map(|(known, ..)| *known));
    known
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .filter(|(edits, _)| *edits <= SUGGESTION_MAX_EDITS)
        .min()
        .map(|(_, known)| known.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_passes_its_own_check() {
        for def in USED {
            if let Some(default) = def.default {
                assert_eq!(def.check(default), Ok(()), "{}", def.name);
            }
        }
    }

    #[test]
    fn no_name_is_listed_twice() {
        let mut names: Vec<_> = USED.iter().map(|def| def.name).collect();
        names.extend(IGNORED.iter().map(|(name, ..)| *name));
        names.extend(REMOVED.iter().map(|(name, _)| *name));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
