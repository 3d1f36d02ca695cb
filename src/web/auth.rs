//! Who asks: the extractors that demand a key of one kind.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::{Method, header};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use arc_swap::ArcSwap;
use uuid::Uuid;

use crate::app::App;
use crate::error::{Code, Failure};
use crate::keys::{KeyKind, KeyRecord, Keys, Owner};
use crate::order::{PartnerId, ShopId};
use crate::store;
use crate::web::limits::{Bucket, Limits};
use crate::web::problem::Problem;

/// The record of the key in an `Authorization` header.
///
/// # Errors
/// `unauthenticated` if there is no such header, it holds no key, or the key is unknown or revoked.
pub fn authenticate(keys: &Keys, authorization: &[&[u8]]) -> Result<KeyRecord, Failure> {
    let refuse = |detail: &str| Failure::new(Code::Unauthenticated, detail);
    let header = match authorization {
        [] => return Err(refuse("Send a key: `Authorization: Bearer <key>`.")),
        [one] => *one,
        _ => return Err(refuse("Send one Authorization header, not several.")),
    };
    let secret = bearer(header).ok_or_else(|| refuse("The Authorization header is not `Bearer <key>`."))?;
    match keys.find(secret) {
        None => Err(refuse("This key is not known.")),
        Some(KeyRecord { revoked: true, .. }) => Err(refuse("This key was revoked.")),
        Some(record) => Ok(*record),
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
    // Who is signed in by a cookie was looked up before (see `web::board`): it comes with the record of its key.
    let signed_in = request.extensions().get::<KeyRecord>().copied();
    let record = match signed_in {
        Some(record) => record,
        None => {
            let headers = request.headers().get_all(header::AUTHORIZATION).map(|value| value.as_bytes());
            authenticate(&keys.load(), &headers.collect::<Vec<_>>())?
        }
    };
    request.extensions_mut().insert(record.owner);
    let is_of_orders = ["/orders", "/drafts", "/events"].iter().any(|part| request.path().contains(part));
    if record.owner.kind() != KeyKind::Admin
        && is_of_orders
        && request.app_data::<web::Data<App>>().is_some_and(|app| app.store.is_withheld())
    {
        return Err(Failure::from(store::Error::Withheld).into());
    }
    if let (Owner::Partner(partner), Some(limits)) = (record.owner, request.app_data::<web::Data<Limits>>()) {
        let (allowed, left) = limits.take(partner, bucket(request));
        request.extensions_mut().insert(left);
        allowed?;
    }
    Ok(record)
}

fn bucket(request: &HttpRequest) -> Bucket {
    let is_cancellation = request.method() == Method::DELETE || request.path().ends_with("/cancel");
    if is_cancellation { Bucket::Cancellations } else { Bucket::Others }
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
    use crate::keys;
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
            let secret = owner.kind().generate();
            records.push((keys::hash(&secret), KeyRecord { key_id: Uuid::now_v7(), owner, revoked }));
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
        let unknown = KeyKind::Partner.generate();
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
}
