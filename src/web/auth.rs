//! Who asks: keys, how they are made and kept, and the extractors that demand one of a kind.
//!
//! A key is shown once, when it is made. Only its hash is kept, and a lookup by hash leaks nothing by its time.

use std::collections::HashMap;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use strum::{Display, EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use crate::error::{Code, Failure};
use crate::order::{Hash, PartnerId, ShopId};
use crate::web::problem::Problem;

/// Which of the three families of operations a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum KeyKind {
    Partner,
    Shop,
    Admin,
}

/// Makes keys.
pub struct Key;

impl Key {
    /// A new secret, `lungo_{kind}_` and 256 random bits, and the hash that is kept of it.
    pub fn generate(kind: KeyKind) -> (String, Hash) {
        let secret = format!("lungo_{kind}_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let hash = Self::hash(&secret);
        (secret, hash)
    }

    /// SHA-256 of the whole secret. The secret is random, so that it needs neither salt nor stretching.
    pub fn hash(secret: &str) -> Hash {
        Hash::of_bytes(secret.as_bytes())
    }
}

/// Whose key it is; after authentication, in the request's extensions.
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

/// All keys at one moment. Replaced as a whole: `web::Data<ArcSwap<Keys>>`.
#[derive(Clone, Debug, Default)]
pub struct Keys(HashMap<[u8; 32], KeyRecord>);

impl FromIterator<(Hash, KeyRecord)> for Keys {
    fn from_iter<I: IntoIterator<Item = (Hash, KeyRecord)>>(records: I) -> Self {
        Self(records.into_iter().map(|(Hash(hash), record)| (hash, record)).collect())
    }
}

impl Keys {
    /// The record of the key in an `Authorization` header.
    ///
    /// # Errors
    /// `unauthenticated` if there is no such header, it holds no key, or the key is unknown or revoked.
    pub fn authenticate(&self, authorization: &[&[u8]]) -> Result<KeyRecord, Failure> {
        let refuse = |detail: &str| Failure::new(Code::Unauthenticated, detail);
        let header = match authorization {
            [] => return Err(refuse("Send a key: `Authorization: Bearer <key>`.")),
            [one] => *one,
            _ => return Err(refuse("Send one Authorization header, not several.")),
        };
        let secret = bearer(header).ok_or_else(|| refuse("The Authorization header is not `Bearer <key>`."))?;
        match self.0.get(&Key::hash(secret).0) {
            None => Err(refuse("This key is not known.")),
            Some(KeyRecord { revoked: true, .. }) => Err(refuse("This key was revoked.")),
            Some(record) => Ok(*record),
        }
    }
}

/// The caller is this partner.
#[derive(Clone, Copy, Debug)]
pub struct AsPartner(pub PartnerId);

/// The caller is a tablet or till of this shop.
#[derive(Clone, Copy, Debug)]
pub struct AsShop {
    pub shop_id: ShopId,
    pub partner_id: PartnerId,
}

/// The caller is an operator.
#[derive(Clone, Copy, Debug)]
pub struct AsAdmin {
    pub key_id: Uuid,
}

macro_rules! extractors {
    ($($extractor:ident $kind:ident ($record:ident) $pattern:pat => $value:expr;)*) => {$(
        impl FromRequest for $extractor {
            type Error = Problem;
            type Future = Ready<Result<Self, Problem>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                ready(identify(request).and_then(|$record| match $record.owner {
                    $pattern => Ok($value),
                    _ => Err(wrong_kind($record.owner.kind(), KeyKind::$kind)),
                }))
            }
        }
    )*};
}

extractors! {
    AsPartner Partner (record) Owner::Partner(partner_id) => AsPartner(partner_id);
    AsShop Shop (record) Owner::Shop { shop_id, partner_id } => AsShop { shop_id, partner_id };
    AsAdmin Admin (record) Owner::Admin => AsAdmin { key_id: record.key_id };
}

fn identify(request: &HttpRequest) -> Result<KeyRecord, Problem> {
    let Some(keys) = request.app_data::<web::Data<ArcSwap<Keys>>>() else {
        return Err(Failure::new(Code::InternalError, "").because("no keys are configured in the App").into());
    };
    let headers: Vec<&[u8]> = request.headers().get_all(header::AUTHORIZATION).map(|value| value.as_bytes()).collect();
    let record = keys.load().authenticate(&headers)?;
    request.extensions_mut().insert(record.owner);
    Ok(record)
}

fn wrong_kind(got: KeyKind, needed: KeyKind) -> Problem {
    Failure::new(Code::Forbidden, format!("This needs a key of kind {needed}; this one is of kind {got}.")).into()
}

/// The token after the scheme, if it has the form of a key of ours.
fn bearer(header: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let token = token.trim();
    let (kind, random) = token.strip_prefix("lungo_")?.split_once('_')?;
    let formed = scheme.eq_ignore_ascii_case("bearer")
        && kind.parse::<KeyKind>().is_ok()
        && random.len() == 43
        && random.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    formed.then_some(token)
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{self, TestRequest};
    use actix_web::{App, HttpResponse};
    use serde_json::Value;

    use super::*;
    use crate::web::edge;

    struct Ring {
        keys: web::Data<ArcSwap<Keys>>,
        partner: String,
        shop: String,
        admin: String,
        revoked: String,
    }

    fn ring() -> Ring {
        let partner_id = PartnerId::new();
        let mut records = Vec::new();
        let mut add = |owner: Owner, revoked| {
            let (secret, hash) = Key::generate(owner.kind());
            records.push((hash, KeyRecord { key_id: Uuid::now_v7(), owner, revoked }));
            secret
        };
        let partner = add(Owner::Partner(partner_id), false);
        let shop = add(Owner::Shop { shop_id: ShopId::new(), partner_id }, false);
        let admin = add(Owner::Admin, false);
        let revoked = add(Owner::Partner(partner_id), true);
        let keys = web::Data::new(ArcSwap::from_pointee(records.into_iter().collect()));
        Ring { keys, partner, shop, admin, revoked }
    }

    async fn ask(ring: &Ring, uri: &str, authorization: &[&str]) -> (u16, Value) {
        let app = test::init_service(
            App::new()
                .wrap(from_fn(edge::serve))
                .app_data(ring.keys.clone())
                .service(
                    web::resource("/partner").to(|AsPartner(id): AsPartner| async move { HttpResponse::Ok().json(id) }),
                )
                .service(web::resource("/shop").to(|shop: AsShop| async move { HttpResponse::Ok().json(shop.shop_id) }))
                .service(
                    web::resource("/admin").to(|admin: AsAdmin| async move { HttpResponse::Ok().json(admin.key_id) }),
                ),
        )
        .await;
        let mut request = TestRequest::get().uri(uri);
        for value in authorization {
            request = request.append_header(("authorization", *value));
        }
        let answer = test::call_service(&app, request.to_request()).await;
        let status = answer.status().as_u16();
        assert_eq!(answer.headers().contains_key("www-authenticate"), status == 401);
        (status, test::read_body_json(answer).await)
    }

    #[actix_web::test]
    async fn a_key_opens_its_own_family_only() {
        let ring = ring();
        for (secret, own) in [(&ring.partner, "/partner"), (&ring.shop, "/shop"), (&ring.admin, "/admin")] {
            for uri in ["/partner", "/shop", "/admin"] {
                let (status, body) = ask(&ring, uri, &[&format!("Bearer {secret}")]).await;
                assert_eq!(status, if uri == own { 200 } else { 403 }, "{body}");
            }
            assert_eq!(ask(&ring, own, &[&format!("bEARER  {secret}")]).await.0, 200);
        }
    }

    #[actix_web::test]
    async fn every_other_key_is_refused_and_never_repeated() {
        let ring = ring();
        let (unknown, _) = Key::generate(KeyKind::Partner);
        let mut details = std::collections::BTreeSet::new();
        for headers in [
            vec![],
            vec!["Bearer".to_owned()],
            vec!["Basic bHVuZ286bHVuZ28=".to_owned()],
            vec![format!("Bearer {}x", ring.partner)],
            vec![format!("Bearer {unknown}")],
            vec![format!("Bearer {}", ring.revoked)],
            vec![format!("Bearer {}", ring.partner), format!("Bearer {}", ring.partner)],
        ] {
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let (status, body) = ask(&ring, "/partner", &headers).await;
            assert_eq!((status, &body["code"]), (401, &Value::from("unauthenticated")), "{headers:?}");
            assert!(!body.to_string().contains("lungo_"), "{body}");
            details.insert(body["detail"].to_string());
        }
        assert_eq!(details.len(), 5);
    }

    #[::std::prelude::v1::test]
    fn a_key_has_its_documented_form_and_is_kept_as_a_hash() {
        let (secret, hash) = Key::generate(KeyKind::Shop);
        assert_eq!(secret.len(), "lungo_shop_".len() + 43);
        assert_eq!(hash, Key::hash(&secret));
        assert_ne!(secret, Key::generate(KeyKind::Shop).0);
    }
}
