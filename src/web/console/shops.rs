//! Shops and menus: who takes orders, how fast, and what is sold out or costs what.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use chrono::Duration;
use serde::Deserialize;
use serde_json::json;

use super::frame::Frame;
use super::guard::Visitor;
use super::{Action, Posted, show};
use crate::app::App;
use crate::catalogue::{
    Availability, Catalogue, Exception, Item, ItemOption, Mode, Presence, Shop, ShopItem, ShopOption,
};
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::order::{Instant, PartnerId, ShopId};
use crate::store::{Answers, OF_LATE};
use crate::web::catalogue::unknown_shop;
use crate::web::faults;
use crate::web::heard::id_in;
use crate::web::pages::page;
use crate::web::problem::Problem;
use crate::web::shop::{ItemAvailability, SetMode, unknown_item, unknown_option};

/// Shops of one list, and of one table of items and shops.
const LISTED: usize = 200;
const COLUMNS: usize = 30;
/// Dates with other hours that a shop's page shows.
const NEXT_DATES: usize = 10;

#[derive(Template)]
#[template(path = "console/shops.html")]
struct ShopsPage {
    frame: Frame,
    rows: Vec<ShopRow>,
    q: String,
    found: usize,
    of_late: String,
    menus: Vec<(PartnerId, String)>,
}

#[derive(Template)]
#[template(path = "console/shop.html")]
struct ShopPage {
    frame: Frame,
    row: ShopRow,
    facts: Vec<(&'static str, String)>,
    items: Vec<Cell>,
    options: Vec<OptionCell>,
    may_set_mode: bool,
    /// Heartbeats are expected, and the visitor may end that.
    may_end_watch: bool,
    may_set_items: bool,
}

#[derive(Template)]
#[template(path = "console/menu.html")]
struct MenuPage {
    frame: Frame,
    partner: PartnerId,
    name: String,
    shops: Vec<(ShopId, String)>,
    rows: Vec<(Cell, Vec<Cell>)>,
    hidden: usize,
    may_edit: bool,
    currency: String,
}

struct ShopRow {
    shop: Shop,
    mode: String,
    mode_look: &'static str,
    objection: Option<String>,
    heartbeat: String,
    heartbeat_look: &'static str,
    in_hand: u32,
    load_look: &'static str,
    p50: String,
    p95: String,
    answers: Answers,
    sold_out: usize,
}

/// An item at a shop, or on the menu of all.
struct Cell {
    item: Item,
    price: String,
    /// As it is typed.
    own: String,
    is_sold_out: bool,
    back: String,
}

/// An option at a shop, in whichever items it is one.
struct OptionCell {
    option_id: String,
    name: String,
    is_sold_out: bool,
    back: String,
}

impl OptionCell {
    fn new(option: &ItemOption, availability: Availability, now: Instant) -> Self {
        Self {
            option_id: option.option_id.clone(),
            name: option.name.clone(),
            is_sold_out: !availability.is_available(now),
            back: back(availability, now),
        }
    }
}

fn back(availability: Availability, now: Instant) -> String {
    match availability {
        Availability::SoldOut { until: Some(until) } => format!("for {}", show::span(until - now)),
        _ => "until somebody says otherwise".into(),
    }
}

impl ShopRow {
    fn new(catalogue: &Catalogue, shop: &Shop, answers: Answers, now: Instant) -> Self {
        let until = |at: Option<Instant>| at.map_or_else(String::new, |at| format!(" for {}", show::span(at - now)));
        let (mode, mode_look) = match shop.mode_at(now) {
            Mode::Open => ("open".to_owned(), "good"),
            Mode::Busy { minutes, until: end } => (format!("busy, +{minutes} min{}", until(end)), "warn"),
            Mode::Paused { until: end } => (format!("paused{}", until(Some(end))), "bad"),
        };
        let presence = shop.presence(now);
        let (seen, heartbeat_look) = match presence {
            Presence::Unknown => ("no tablet expected", ""),
            Presence::Online => ("online", "good"),
            Presence::Late => ("late", "warn"),
            Presence::Offline => ("offline", "bad"),
        };
        let heartbeat = match shop.last_heartbeat_at.filter(|_| presence != Presence::Unknown) {
            Some(at) => format!("{seen}, {} ago", show::span(now - at)),
            None => seen.to_owned(),
        };
        let in_hand = catalogue.in_progress(shop.shop_id);
        let milliseconds = |ms: Option<i64>| ms.map_or_else(String::new, |ms| show::span(Duration::milliseconds(ms)));
        let is_sold_out = |item: &&Item| {
            catalogue.change(shop.shop_id, &item.item_id).is_some_and(|change| !change.availability.is_available(now))
        };
        Self {
            mode,
            mode_look,
            objection: catalogue.promise(shop, 0, now).why.map(|why| {
                let word = serde_json::to_value(why).ok();
                show::plain(word.as_ref().and_then(|word| word.as_str()).unwrap_or_default())
            }),
            heartbeat,
            heartbeat_look,
            in_hand,
            load_look: match u64::from(in_hand) * 100 / u64::from(shop.max_in_progress.max(1)) {
                0..80 => "",
                80..100 => "warn-text",
                _ => "bad-text",
            },
            p50: milliseconds(answers.percentile(50)),
            p95: milliseconds(answers.percentile(95)),
            answers,
            sold_out: catalogue.items(shop.partner_id).iter().filter(is_sold_out).count(),
            shop: shop.clone(),
        }
    }
}

impl Cell {
    fn new(item: &Item, change: Option<&ShopItem>, currency: &str, now: Instant) -> Self {
        let availability = change.map_or(Availability::Available, |change| change.availability);
        let own = change.and_then(|change| change.price);
        let typed = |minor: i64| show::amount(minor, currency).replace(',', "").replace(&format!(" {currency}"), "");
        Self {
            price: show::amount(own.unwrap_or(item.price), currency),
            own: own.map_or_else(String::new, typed),
            is_sold_out: !availability.is_available(now),
            back: back(availability, now),
            item: item.clone(),
        }
    }
}

/// Which shops to list.
#[derive(Deserialize)]
pub struct ShopQuery {
    #[serde(default)]
    q: String,
}

/// `GET /console/shops`
pub async fn show_shops(visitor: Visitor, app: Data<App>, query: Query<ShopQuery>) -> Result<HttpResponse, Problem> {
    let (catalogue, now) = (app.catalogue(), now());
    let mut answers = app.store.answers().await.map_err(Failure::from)?;
    let wanted = query.q.trim().to_lowercase();
    let fits = |shop: &&Shop| shop.name.to_lowercase().contains(&wanted) || shop.shop_id.to_string() == wanted;
    let mut shops: Vec<&Shop> = catalogue.all_shops().filter(fits).collect();
    let found = shops.len();
    shops.sort_by_key(|shop| (shop.name.to_lowercase(), shop.shop_id));
    shops.truncate(LISTED);
    let row = |shop: &Shop| ShopRow::new(&catalogue, shop, answers.remove(&shop.shop_id).unwrap_or_default(), now);
    let partners = app.store.partners().await.map_err(Failure::from)?;
    let shown = ShopsPage {
        frame: visitor.frame("Shops"),
        rows: shops.into_iter().map(row).collect(),
        q: query.into_inner().q,
        found,
        of_late: show::grouped(OF_LATE),
        menus: partners.into_iter().map(|partner| (partner.partner_id, partner.name)).collect(),
    };
    Ok(page(&shown)?)
}

/// `GET /console/shops/{shop_id}`
pub async fn show_shop(visitor: Visitor, app: Data<App>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let (catalogue, now) = (app.catalogue(), now());
    let shop = catalogue.find_shop(ShopId(id_in(&id)?)).ok_or_else(unknown_shop)?;
    let answers = app.store.answers().await.map_err(Failure::from)?.remove(&shop.shop_id).unwrap_or_default();
    let currency = shop.currency.to_string();
    let cell = |item: &Item| Cell::new(item, catalogue.change(shop.shop_id, &item.item_id), &currency, now);
    let shown = ShopPage {
        frame: visitor.frame(shop.name.clone()),
        facts: vec![
            ("Time zone", shop.timezone.to_string()),
            ("Other hours on", other_hours(&shop.coming_exceptions(now))),
            ("Accepts by itself", if shop.auto_accept { "yes" } else { "no" }.into()),
            ("Tracks each step", if shop.tracks_steps { "yes" } else { "no" }.into()),
            ("Stations", shop.stations.to_string()),
            ("Orders in a slot", shop.slot_capacity.to_string()),
            ("Played by the simulator", if shop.simulated { "yes" } else { "no" }.into()),
            ("Id", shop.shop_id.to_string()),
        ],
        items: catalogue.items(shop.partner_id).iter().filter(|item| item.active).map(cell).collect(),
        options: catalogue.options(shop).into_iter().map(|(option, here)| OptionCell::new(option, here, now)).collect(),
        may_set_mode: visitor.may(Action::SetShopMode),
        may_end_watch: visitor.may(Action::EndShopWatch) && shop.presence(now) != Presence::Unknown,
        may_set_items: visitor.may(Action::SetShopItem),
        row: ShopRow::new(&catalogue, shop, answers, now),
    };
    Ok(page(&shown)?)
}

/// `POST /console/shops/{shop_id}/mode`
pub async fn set_mode(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let (id, now) = (ShopId(id_in(&id)?), now());
    let mode = posted.fields.text("mode");
    let lasts: Option<i64> = posted.fields.maybe("lasts", "a number of minutes")?;
    let minutes: Option<u32> = posted.fields.maybe("minutes", "a number of minutes")?;
    let until = lasts.and_then(Duration::try_minutes).and_then(|lasts| now.checked_add_signed(lasts));
    let (minutes, until) = match mode {
        "busy" => (minutes, until),
        "paused" => (None, until),
        _ => (None, None),
    };
    let said = json!({"mode": mode, "minutes": minutes, "until": until});
    let wanted: SetMode =
        serde_json::from_value(said.clone()).map_err(|_| Failure::new(Code::Unprocessable, "Open, busy or paused?"))?;
    let mode = wanted.parse("", now).map_err(faults::unprocessable)?;
    let store = app.store.recording(posted.entry(subject(id), said)?);
    let changed = store.change_shop(id, move |shop| shop.mode = mode).await.map_err(Failure::from)?;
    changed.ok_or_else(unknown_shop)?;
    app.take_effect().await;
    Ok(posted.done(&address(id), "The shop is told to everybody so."))
}

/// `POST /console/shops/{shop_id}/unwatch`
pub async fn end_watch(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let (id, now) = (ShopId(id_in(&id)?), now());
    let store = app.store.recording(posted.entry(subject(id), json!({}))?);
    let ended = store.change_shop(id, move |shop| shop.end_watch(now)).await.map_err(Failure::from)?;
    ended.ok_or_else(unknown_shop)?;
    app.take_effect().await;
    Ok(posted.done(&address(id), "Silence no longer takes the shop offline. Its next heartbeat begins the watch anew."))
}

/// `POST /console/shops/{shop_id}/items/{item_id}`: what the shop has, and what that costs there.
pub async fn set_item(app: Data<App>, path: Path<(String, String)>, posted: Posted) -> Result<HttpResponse, Problem> {
    let (id, item_id) = path.into_inner();
    let (id, now, catalogue) = (ShopId(id_in(&id)?), now(), app.catalogue());
    let shop = catalogue.find_shop(id).ok_or_else(unknown_shop)?;
    if !catalogue.items(shop.partner_id).iter().any(|item| item.item_id == item_id) {
        return Err(unknown_item().into());
    }
    let price = match posted.fields.text("price") {
        "" => None,
        text => Some(price(text, shop.currency.as_str())?),
    };
    let (availability, until) = said_availability(&posted, now)?;
    let is_available = availability == Availability::Available;
    let item = ShopItem { shop_id: id, item_id, price, availability };
    let found = catalogue.check_change(shop, &item);
    if !found.is_empty() {
        return Err(faults::unprocessable(found).into());
    }
    let detail = json!({"item": item.item_id, "price": price, "currency": shop.currency.to_string(),
        "available": is_available, "until": until});
    let store = app.store.recording(posted.entry(subject(id), detail)?);
    store.put_shop_item(item).await.map_err(Failure::from)?;
    app.take_effect().await;
    Ok(posted.done(&address(id), "The shop's menu says so now."))
}

/// `POST /console/shops/{shop_id}/options/{option_id}`: whether the shop has an option, in whichever items it is one.
pub async fn set_option(app: Data<App>, path: Path<(String, String)>, posted: Posted) -> Result<HttpResponse, Problem> {
    let (id, option_id) = path.into_inner();
    let (id, now, catalogue) = (ShopId(id_in(&id)?), now(), app.catalogue());
    let shop = catalogue.find_shop(id).ok_or_else(unknown_shop)?;
    if !catalogue.options(shop).iter().any(|(option, _)| option.option_id == option_id) {
        return Err(unknown_option().into());
    }
    let (availability, until) = said_availability(&posted, now)?;
    let is_available = availability == Availability::Available;
    let detail = json!({"option": option_id, "available": is_available, "until": until});
    let store = app.store.recording(posted.entry(subject(id), detail)?);
    store.put_shop_option(ShopOption { shop_id: id, option_id, availability }).await.map_err(Failure::from)?;
    app.take_effect().await;
    Ok(posted.done(&address(id), "The shop's menu says so now."))
}

/// Whether something is there, and when it is back.
fn said_availability(posted: &Posted, now: Instant) -> Result<(Availability, Option<Instant>), Failure> {
    let is_available = posted.fields.text("available") != "no";
    let lasts: Option<i64> = posted.fields.maybe("lasts", "a number of minutes")?;
    let lasts = lasts.filter(|_| !is_available).and_then(Duration::try_minutes);
    let until = lasts.and_then(|lasts| now.checked_add_signed(lasts));
    Ok((ItemAvailability::parse(is_available, until, now).map_err(faults::unprocessable)?, until))
}

/// The next dates on which a shop keeps other hours, in one line.
fn other_hours(exceptions: &[&Exception]) -> String {
    let told = |exception: &&Exception| {
        let openings = exception.openings.iter().map(|opening| format!("{}–{}", opening.open, opening.close));
        let openings = openings.collect::<Vec<_>>().join(", ");
        format!("{}: {}", exception.date, if openings.is_empty() { "closed" } else { &openings })
    };
    match exceptions {
        [] => "no date".into(),
        some => some.iter().take(NEXT_DATES).map(told).collect::<Vec<_>>().join("; "),
    }
}

/// `GET /console/menus/{partner_id}`: items and shops.
pub async fn show_menu(visitor: Visitor, app: Data<App>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let (partner, catalogue, now) = (PartnerId(id_in(&id)?), app.catalogue(), now());
    let partners = app.store.partners().await.map_err(Failure::from)?;
    let known = partners.into_iter().find(|known| known.partner_id == partner).ok_or_else(unknown_partner)?;
    let mut shops: Vec<&Shop> = catalogue.shops(partner).collect();
    shops.sort_by_key(|shop| (shop.name.to_lowercase(), shop.shop_id));
    let hidden = shops.len().saturating_sub(COLUMNS);
    let currency = currency_of(&catalogue, partner);
    shops.truncate(COLUMNS);
    let row = |item: &Item| {
        let at_shops = shops
            .iter()
            .map(|shop| Cell::new(item, catalogue.change(shop.shop_id, &item.item_id), shop.currency.as_str(), now));
        let on_menu = ShopItem {
            shop_id: ShopId(uuid::Uuid::nil()),
            item_id: item.item_id.clone(),
            price: Some(item.price),
            availability: Availability::Available,
        };
        (Cell::new(item, Some(&on_menu), &currency, now), at_shops.collect())
    };
    let shown = MenuPage {
        frame: visitor.frame(format!("Menu of {}", known.name)),
        partner,
        name: known.name,
        rows: catalogue.items(partner).iter().map(row).collect(),
        shops: shops.iter().map(|shop| (shop.shop_id, shop.name.clone())).collect(),
        hidden,
        may_edit: visitor.may(Action::EditItem),
        currency,
    };
    Ok(page(&shown)?)
}

/// `POST /console/menus/{partner_id}/items/{item_id}`: what an item is called and costs, and whether it is on the menu.
pub async fn edit_item(app: Data<App>, path: Path<(String, String)>, posted: Posted) -> Result<HttpResponse, Problem> {
    let (partner, item_id) = path.into_inner();
    let (partner, catalogue) = (PartnerId(id_in(&partner)?), app.catalogue());
    let known = catalogue.items(partner).iter().find(|item| item.item_id == item_id).ok_or_else(unknown_item)?;
    let item = Item {
        name: posted.fields.text("name").to_owned(),
        price: price(posted.fields.text("price"), &currency_of(&catalogue, partner))?,
        make_seconds: posted.fields.parse("make_seconds", "a number of seconds")?,
        active: posted.fields.text("active") == "yes",
        ..known.clone()
    };
    let found = catalogue.check_item(&item);
    if !found.is_empty() {
        return Err(faults::unprocessable(found).into());
    }
    let detail = json!({"item": item.item_id, "name": item.name, "price": item.price, "was": known.price,
        "currency": currency_of(&catalogue, partner), "make_seconds": item.make_seconds, "active": item.active});
    let store = app.store.recording(posted.entry(format!("partner:{partner}"), detail)?);
    store.put_item(item).await.map_err(Failure::from)?;
    app.take_effect().await;
    Ok(posted.done(&format!("/console/menus/{partner}"), "All shops' menus say so now."))
}

/// The currency that a partner's menu is written in: its shops mostly have one. Where they do not, a price is still
/// minor units of each.
fn currency_of(catalogue: &Catalogue, partner: PartnerId) -> String {
    catalogue.shops(partner).map(|shop| shop.currency.to_string()).min().unwrap_or_else(|| "EUR".into())
}

fn price(text: &str, currency: &str) -> Result<i64, Failure> {
    show::minor(text, currency)
        .ok_or_else(|| Failure::new(Code::Unprocessable, format!("`{text}` is no price in {currency}.")))
}

fn unknown_partner() -> Failure {
    Failure::new(Code::NotFound, "There is no such partner.")
}

fn subject(shop: ShopId) -> String {
    format!("shop:{shop}")
}

fn address(shop: ShopId) -> String {
    format!("/console/shops/{shop}")
}
