//! The list of payment intents: the newest first, a page at a time.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::DateTime;
use serde_json::{Value, json};

use super::{Answer, Desk, Form, Refusal, is_permitted, objects, unauthorized};
use crate::gateway::simulator::Entry;
use crate::order::Instant;

/// `GET /v1/payment_intents`
pub(super) async fn list(desk: Data<Desk>, request: HttpRequest) -> HttpResponse {
    if !is_permitted(&request) {
        return unauthorized();
    }
    let form = Form(form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect());
    desk.list(&form).await.map_or_else(|refusal| Answer::of(&refusal), Answer::ok).send()
}

impl Desk {
    async fn list(&self, form: &Form) -> Result<Value, Refusal> {
        form.only(&["created[gte]", "created[lt]", "limit", "starting_after"])?;
        let instant = |name: &str, default: Instant| -> Result<Instant, Refusal> {
            let seconds = form.amount(name)?;
            let invalid = || Refusal::invalid("parameter_invalid_integer");
            seconds.map_or(Ok(default), |seconds| DateTime::from_timestamp(seconds, 0).ok_or_else(invalid))
        };
        let made = instant("created[gte]", Instant::MIN_UTC)?..instant("created[lt]", Instant::MAX_UTC)?;
        let limit = form.limit()?;
        let mut entries = self.gateway.made(&made).await.map_err(Refusal::of)?;
        entries.sort_unstable_by(|a, b| (b.made_at, &b.key).cmp(&(a.made_at, &a.key)));
        let start = match form.get("starting_after") {
            None => 0,
            Some(last) => entries.iter().position(|entry| entry.key == last).ok_or_else(Refusal::missing)? + 1,
        };
        let page: Vec<Value> = entries.iter().skip(start).take(limit).map(listed).collect();
        let has_more = entries.len() > start + page.len();
        Ok(json!({"object": "list", "url": "/v1/payment_intents", "has_more": has_more, "data": page}))
    }

    fn list_refunds(&self, form: &Form) -> Result<Value, Refusal> {
        form.only(&["payment_intent", "limit", "starting_after"])?;
        let id = form.get("payment_intent").ok_or_else(|| Refusal::invalid("parameter_missing"))?;
        let refunds = objects::refunds(&self.entry(id)?);
        let start = match form.get("starting_after") {
            None => 0,
            Some(last) => refunds.iter().position(|refund| refund["id"] == last).ok_or_else(Refusal::missing)? + 1,
        };
        let page: Vec<&Value> = refunds.iter().skip(start).take(form.limit()?).collect();
        let has_more = refunds.len() > start + page.len();
        Ok(json!({"object": "list", "url": "/v1/refunds", "has_more": has_more, "data": page}))
    }
}

/// `GET /v1/refunds` of one payment.
pub(super) async fn list_refunds(desk: Data<Desk>, request: HttpRequest) -> HttpResponse {
    if !is_permitted(&request) {
        return unauthorized();
    }
    let form = Form(form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect());
    desk.list_refunds(&form).map_or_else(|refusal| Answer::of(&refusal), Answer::ok).send()
}

fn listed(entry: &Entry) -> Value {
    let mut intent = objects::intent(entry);
    intent["created"] = json!(entry.made_at.timestamp());
    if let Some(installation) = &entry.installation {
        intent["metadata"]["installation"] = json!(installation);
    }
    intent
}
