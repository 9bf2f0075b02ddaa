//! Where secrets are stored, for what concerns all of them.

use std::fmt;

use uuid::Uuid;

use super::{Owner, SecretError, Vault};
use crate::config::properties::Scope;
use crate::metadata::{Metadata, MetadataError, Transaction};
use crate::records::OfCluster;
use crate::records::broker_secret::BrokerSecretKeyspace;
use crate::records::link::LinkKeyspace;
use crate::records::link_secret::LinkSecretKeyspace;
use crate::records::sealed::{KeyOf, Sealed};
use carrick_link::record::LinkName;

/// One secret's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Link(LinkName, String),
    Broker(Scope, String),
}

/// What a place's owner has besides names.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnerId(Option<Uuid>);

impl OwnerId {
    pub(super) fn of(self, place: &Place) -> Owner<'_> {
        match place {
            Place::Link(_, config) => Owner::Link {
                id: self.0.unwrap_or_default(),
                config,
            },
            Place::Broker(scope, name) => Owner::Broker {
                scope: *scope,
                name,
            },
        }
    }
}

impl Place {
    /// The owner; `None` if its link is gone.
    pub(super) fn owner(&self, metadata: &Metadata) -> Option<OwnerId> {
        match self {
            Self::Broker(..) => Some(OwnerId(None)),
            Self::Link(link, _) => {
                let link = metadata.get::<LinkKeyspace>(link).ok()??;
                Some(OwnerId(Some(link.id)))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(link, config) => write!(f, "{config} of link {link}"),
            Self::Broker(Scope::Default, name) => write!(f, "{name} of all brokers"),
            Self::Broker(Scope::Broker(id), name) => write!(f, "{name} of broker {id}"),
        }
    }
}

impl Vault {
    /// Every stored secret.
    pub(super) fn places(&self) -> Result<Vec<(Place, Sealed)>, MetadataError> {
        let links = self.metadata.scan::<LinkSecretKeyspace>()?.into_iter();
        let links = links.map(|((link, config), it)| (Place::Link(link, config), it));
        let brokers = self.metadata.scan::<BrokerSecretKeyspace>()?.into_iter();
        let brokers = brokers.map(|((scope, name), it)| (Place::Broker(scope, name), it));
        Ok(links.chain(brokers).collect())
    }

    /// Encrypts a secret under the current data key, unless it is; whether it is now. One that can't
    /// be read stays as it is.
    pub(super) fn renew(&self, place: &Place) -> Result<bool, SecretError> {
        loop {
            let mut change = Transaction::new();
            let is_renewed = match place {
                Place::Link(link, config) => {
                    let key = (link.clone(), config.clone());
                    self.renew_in::<LinkSecretKeyspace>(&mut change, place, &key)?
                }
                Place::Broker(scope, name) => {
                    let key = (*scope, name.clone());
                    self.renew_in::<BrokerSecretKeyspace>(&mut change, place, &key)?
                }
            };
            if !is_renewed {
                return Ok(false);
            }
            match self.metadata.commit(change) {
                Err(MetadataError::Conflict(_)) => {}
                stored => return Ok(stored.map(|_| true)?),
            }
        }
    }

    fn renew_in<K: OfCluster<Value = Sealed>>(
        &self,
        change: &mut Transaction,
        place: &Place,
        key: &K::Key,
    ) -> Result<bool, SecretError> {
        let stored = change.read::<K>(&self.metadata, key)?;
        let (Some(stored), Some(owner)) = (stored, place.owner(&self.metadata)) else {
            // Deleted in the meantime.
            return Ok(true);
        };
        let sealing = self.sealing()?;
        if stored.key == KeyOf::Generation(sealing.generation()) {
            return Ok(true);
        }
        let Ok(secret) = sealing.open(owner.of(place), &stored) else {
            return Ok(false);
        };
        change.put::<K>(key, &sealing.seal(owner.of(place), &secret)?);
        Ok(true)
    }
}
