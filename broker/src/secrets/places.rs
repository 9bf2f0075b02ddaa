//! Where secrets are stored, for what concerns all of them.

use std::fmt;

use super::{Owner, SecretError, Vault};
use crate::metadata::{Metadata, MetadataError, Transaction};
use crate::records::link::LinkKeyspace;
use crate::records::link_secret::LinkSecretKeyspace;
use crate::records::sealed::{KeyOf, Sealed};
use carrick_link::record::LinkName;

/// One secret's record: of a link, for one of its configs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    link: LinkName,
    config: String,
}

impl Place {
    /// The owner; `None` if its link is gone.
    pub(super) fn owner(&self, metadata: &Metadata) -> Option<Owner<'_>> {
        let link = metadata.get::<LinkKeyspace>(&self.link).ok()??;
        Some(Owner {
            link: link.id,
            config: &self.config,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of link {}", self.config, self.link)
    }
}

impl Vault {
    /// Every stored secret.
    pub(super) fn places(&self) -> Result<Vec<(Place, Sealed)>, MetadataError> {
        let all = self.metadata.scan::<LinkSecretKeyspace>()?.into_iter();
        Ok(all
            .map(|((link, config), it)| (Place { link, config }, it))
            .collect())
    }

    /// Encrypts a secret under the current data key, unless it is; whether it is now. One that can't
    /// be read stays as it is.
    pub(super) fn renew(&self, place: &Place) -> Result<bool, SecretError> {
        let key = (place.link.clone(), place.config.clone());
        loop {
            let mut change = Transaction::new();
            let stored = change.read::<LinkSecretKeyspace>(&self.metadata, &key)?;
            let (Some(stored), Some(owner)) = (stored, place.owner(&self.metadata)) else {
                // Deleted in the meantime.
                return Ok(true);
            };
            let sealing = self.sealing()?;
            if stored.key == KeyOf::Generation(sealing.generation()) {
                return Ok(true);
            }
            let Ok(secret) = sealing.open(owner, &stored) else {
                return Ok(false);
            };
            change.put::<LinkSecretKeyspace>(&key, &sealing.seal(owner, &secret)?);
            match self.metadata.commit(change) {
                Err(MetadataError::Conflict(_)) => {}
                stored => return Ok(stored.map(|_| true)?),
            }
        }
    }
}
