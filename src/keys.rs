//! Keys: who asks. A key is shown once, when it is made; only its hash is kept.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use crate::order::{Hash, PartnerId, ShopId};

/// Which of the three families of operations a key opens.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum KeyKind {
    Partner,
    Shop,
    Admin,
}

impl KeyKind {
    /// A new secret of this kind: `lungo_{kind}_` and 256 random bits.
    pub fn generate(self) -> String {
        format!("lungo_{self}_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
    }
}

/// SHA-256 of the whole secret. The secret is random, so that it needs neither salt nor stretching.
pub fn hash(secret: &str) -> Hash {
    Hash::of_bytes(secret.as_bytes())
}

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Partner(PartnerId),
    Shop { shop_id: ShopId, partner_id: PartnerId },
    Admin,
}

impl Owner {
    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Partner(_) => KeyKind::Partner,
            Self::Shop { .. } => KeyKind::Shop,
            Self::Admin => KeyKind::Admin,
        }
    }

    /// The partner on whose behalf the request acts; none for an operator.
    pub fn partner(&self) -> Option<PartnerId> {
        match self {
            Self::Partner(partner_id) | Self::Shop { partner_id, .. } => Some(*partner_id),
            Self::Admin => None,
        }
    }
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    pub key_id: Uuid,
    pub owner: Owner,
    pub revoked: bool,
}

/// All keys at one moment. A look-up by hash leaks nothing by its time.
#[derive(Clone, Debug, Default)]
pub struct Keys(HashMap<[u8; 32], KeyRecord>);

impl FromIterator<(Hash, KeyRecord)> for Keys {
    fn from_iter<I: IntoIterator<Item = (Hash, KeyRecord)>>(records: I) -> Self {
        Self(records.into_iter().map(|(Hash(hash), record)| (hash, record)).collect())
    }
}

impl Keys {
    pub fn find(&self, secret: &str) -> Option<&KeyRecord> {
        self.0.get(&hash(secret).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_documented_form_and_is_never_the_same() {
        let secret = KeyKind::Shop.generate();
        assert_eq!(secret.len(), "lungo_shop_".len() + 43);
        assert_ne!(secret, KeyKind::Shop.generate());
    }
}
