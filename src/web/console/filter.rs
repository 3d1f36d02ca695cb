//! What an operator types to find orders: `status:preparing shop:"Lungo Central" age>10m`.

use chrono::Duration;
use strum::VariantArray;

use crate::catalogue::Catalogue;
use crate::config::Span;
use crate::lifecycle::{PaymentStatus, Reason, Stage, Status};
use crate::order::{Instant, OrderId, PartnerId};
use crate::store::Sieve;

/// Suggestions that are given at once.
const SUGGESTED: usize = 12;

/// What can be typed before a value.
pub const KEYS: &[(&str, &str)] = &[
    ("status:", "where the order stands"),
    ("shop:", "a shop's name or id"),
    ("stage:", "what is to be done next"),
    ("payment:", "where its money is"),
    ("reason:", "why it ended"),
    ("customer:", "the partner's name for its customer"),
    ("partner:", "a partner's id"),
    ("age>", "older than, as 10m or 2h"),
    ("age<", "younger than"),
];

/// What was typed, understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Typed {
    pub sieve: Sieve,
    /// An order's id, by itself.
    pub order: Option<OrderId>,
    /// What was not understood, in words.
    pub faults: Vec<String>,
}

/// Reads a filter.
pub fn parse(text: &str, catalogue: &Catalogue, now: Instant) -> Typed {
    let mut typed = Typed::default();
    for token in tokens(text) {
        if let Err(fault) = read(&token, &mut typed, catalogue, now) {
            typed.faults.push(fault);
        }
    }
    typed
}

fn read(token: &str, typed: &mut Typed, catalogue: &Catalogue, now: Instant) -> Result<(), String> {
    let sieve = &mut typed.sieve;
    if let Some((sign, age)) =
        ['>', '<'].iter().find_map(|sign| token.strip_prefix("age")?.strip_prefix(*sign).map(|age| (*sign, age)))
    {
        let span: Span = age.parse().map_err(|_| format!("`{age}` is no length of time: write 10m or 2h."))?;
        let at = Duration::from_std(span.0).ok().and_then(|age| now.checked_sub_signed(age));
        let at = at.ok_or_else(|| format!("`{age}` is too long."))?;
        if sign == '>' {
            sieve.created_before = Some(at)
        } else {
            sieve.created_after = Some(at)
        }
        return Ok(());
    }
    let Some((key, value)) = token.split_once(':') else {
        let id = token
            .parse()
            .map_err(|_| format!("`{token}` is neither an order's id nor a filter, such as status:new."))?;
        typed.order = Some(id);
        return Ok(());
    };
    if value.is_empty() {
        return Err(format!("`{key}:` of what?"));
    }
    let unknown = |what: &str| format!("There is no {what} `{value}`.");
    match key {
        "status" => sieve.status = Some(value.parse().map_err(|_| unknown("status"))?),
        "stage" => sieve.stage = Some(value.parse().map_err(|_| unknown("stage"))?),
        "payment" => sieve.payment = Some(value.parse().map_err(|_| unknown("payment status"))?),
        "reason" => sieve.reason = Some(value.parse().map_err(|_| unknown("reason"))?),
        "customer" => sieve.customer = Some(value.to_owned()),
        "partner" => sieve.partner = Some(value.parse::<PartnerId>().map_err(|_| unknown("partner"))?),
        "shop" => {
            let fits = |shop: &&crate::catalogue::Shop| {
                shop.name.eq_ignore_ascii_case(value) || shop.shop_id.to_string() == value
            };
            sieve.shop = Some(catalogue.all_shops().find(fits).ok_or_else(|| unknown("shop"))?.shop_id);
        }
        _ => return Err(format!("Nothing can be filtered by `{key}`.")),
    }
    Ok(())
}

/// Splits at spaces outside of quotes, and takes the quotes away.
fn tokens(text: &str) -> Vec<String> {
    let (mut tokens, mut token, mut is_quoted) = (Vec::new(), String::new(), false);
    for c in text.chars().take(1000) {
        match c {
            '"' => is_quoted = !is_quoted,
            c if c.is_whitespace() && !is_quoted => {
                if !token.is_empty() {
                    tokens.push(std::mem::take(&mut token));
                }
            }
            c => token.push(c),
        }
    }
    if !token.is_empty() {
        tokens.push(token);
    }
    tokens
}

/// What the token that is being typed may become.
pub fn suggestions(token: &str, catalogue: &Catalogue) -> Vec<String> {
    let token = token.trim_start().replace('"', "");
    let words = |key: &str, words: &mut dyn Iterator<Item = &'static str>| -> Vec<String> {
        words.map(|word| format!("{key}:{word}")).collect()
    };
    let all: Vec<String> = match token.split_once(':').map(|(key, _)| key) {
        Some("status") => words("status", &mut Status::VARIANTS.iter().map(|status| status.word())),
        Some("stage") => words("stage", &mut Stage::VARIANTS.iter().map(|stage| stage.word())),
        Some("payment") => words("payment", &mut PaymentStatus::VARIANTS.iter().map(|status| status.word())),
        Some("reason") => words("reason", &mut Reason::VARIANTS.iter().map(|reason| reason.word())),
        Some("shop") => catalogue.all_shops().map(|shop| format!("shop:{}", shop.name)).collect(),
        _ => KEYS.iter().map(|(key, _)| (*key).to_owned()).collect(),
    };
    let wanted = token.to_lowercase();
    let starts = all.iter().filter(|one| one.to_lowercase().starts_with(&wanted) && one.to_lowercase() != wanted);
    let quoted = |one: &String| match one.split_once(':') {
        Some((key, value)) if value.contains(' ') => format!("{key}:\"{value}\""),
        _ => one.clone(),
    };
    starts.take(SUGGESTED).map(quoted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::demo;
    use crate::fixtures::at;

    fn catalogue() -> Catalogue {
        let demo = demo::demo();
        Catalogue::new(demo.shops, demo.items, demo.shop_items, Default::default())
    }

    #[test]
    fn a_filter_is_read_with_all_of_its_faults() {
        let read = |text| parse(text, &catalogue(), at(0));
        let typed = read("status:preparing shop:\"Lungo Central\" age>10m customer:cus_1");
        assert_eq!(typed.faults, Vec::<String>::new());
        assert_eq!(typed.sieve.status, Some(Status::Preparing));
        assert_eq!(typed.sieve.shop, Some(demo::LUNGO_CENTRAL));
        assert_eq!(typed.sieve.created_before, Some(at(-600)));
        assert_eq!(typed.sieve.customer.as_deref(), Some("cus_1"));
        assert_eq!(read("status:x foo:y age>never shop: plain").faults.len(), 5);
        assert_eq!(read("").sieve, Sieve::default());
        let id = OrderId::new();
        let typed = id.to_string();
        assert_eq!(read(&typed).order, Some(id));
        assert_eq!(read("age>99999999999y").faults.len(), 1);
    }

    #[test]
    fn what_is_being_typed_is_completed() {
        assert_eq!(suggestions("sta", &catalogue()), ["status:", "stage:"]);
        assert_eq!(suggestions("status:pre", &catalogue()), ["status:preparing"]);
        assert_eq!(suggestions("shop:lungo c", &catalogue()), ["shop:\"Lungo Central\""]);
        assert_eq!(suggestions("reason:nothing", &catalogue()), Vec::<String>::new());
    }
}
