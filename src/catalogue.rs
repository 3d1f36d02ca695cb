//! Shops, menus, prices and availability, as one snapshot in memory that never changes.
//!
//! The store builds it from its rows again and again and swaps it in; every question is answered from one snapshot,
//! so that a price and the availability beside it belong together. Pure: `now` is always an argument.
//! `verdict` and `timing` decide about an order; this file is what a customer is told before there is one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::Duration;
use serde::Serialize;
use uuid::Uuid;

use crate::error::Fault;
use crate::order::{Instant, Money, PartnerId, ShopId};

mod calendar;
pub mod demo;
mod hours;
mod menu;
mod shop;
mod time_of_day;
pub mod timezone;
mod timing;
mod verdict;

pub use calendar::Exception;
pub use hours::{Hours, Opening, Span, Week};
pub use menu::{Availability, Item, ItemOption, OptionGroup, ShopItem, ShopOption};
pub use shop::{Mode, NotAccepting, Presence, Shop, check_name};
pub use time_of_day::TimeOfDay;
pub use timezone::Timezone;
pub use timing::{Slot, Timing};
pub use verdict::{Priced, Refusal};

use menu::{Changes, Menu};

/// What an order takes at a station while a partner's menu is still empty.
const DEFAULT_MAKE_SECONDS: u32 = 60;

/// All shops and menus, and how busy each shop is. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Apart from the menus, and each apart from the others: thousands of heartbeats replace one shop each.
    shops: Arc<HashMap<ShopId, Arc<Shop>>>,
    offer: Arc<Offer>,
    in_progress: Arc<HashMap<ShopId, u32>>,
}

#[derive(Clone, Debug, Default)]
struct Offer {
    /// By name.
    shops_of: HashMap<PartnerId, Vec<ShopId>>,
    menus: HashMap<PartnerId, Menu>,
    changes: HashMap<ShopId, Changes>,
    /// Exceptions to the hours of a shop, or of all shops of a partner.
    calendars: HashMap<Uuid, Arc<[Exception]>>,
    average_make_seconds: HashMap<PartnerId, u32>,
    /// Of a partner that sells nothing yet, and of a shop that changes nothing.
    empty_menu: Menu,
    no_changes: Changes,
}

/// An item as one shop offers it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MenuItem<'a> {
    pub item_id: &'a str,
    pub name: &'a str,
    pub price: Money,
    pub make_seconds: u32,
    pub option_groups: &'a [OptionGroup],
    /// Options that the shop does not have, and when each is back, where that is known.
    pub sold_out_options: Vec<(&'a str, Option<Instant>)>,
    /// Whether the shop has it, and the options that it cannot do without.
    pub available: bool,
    /// When it is back, where that is known.
    pub sold_out_until: Option<Instant>,
}

/// What a shop would say now to an order for as soon as possible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Promise {
    pub accepting: bool,
    pub why: Option<NotAccepting>,
    /// When it takes orders again, as far as that is known: never for one that is offline or full.
    pub resume_at: Option<Instant>,
    /// From now until the order is ready, if it were taken now.
    pub expected_wait_seconds: u32,
}

impl Catalogue {
    /// A snapshot of these rows. Of two rows with the same ids the later one counts. Menus keep the items' order.
    pub fn new(
        shops: Vec<Shop>,
        items: Vec<Item>,
        shop_items: Vec<ShopItem>,
        in_progress: HashMap<ShopId, u32>,
    ) -> Self {
        let mut offer = Offer::default();
        for item in items {
            offer.menus.entry(item.partner_id).or_default().add(item);
        }
        for (partner, menu) in &offer.menus {
            offer.average_make_seconds.insert(*partner, average(menu.active().map(|item| item.make_seconds)));
        }
        for change in shop_items {
            offer.changes.entry(change.shop_id).or_default().items.insert(change.item_id.clone(), change);
        }
        let shops: HashMap<_, _> = shops.into_iter().map(|shop| (shop.shop_id, Arc::new(shop))).collect();
        for shop in shops.values() {
            offer.shops_of.entry(shop.partner_id).or_default().push(shop.shop_id);
        }
        for ids in offer.shops_of.values_mut() {
            ids.sort_by_key(|id| (shops[id].name.as_str(), *id));
        }
        Self { shops: Arc::new(shops), offer: Arc::new(offer), in_progress: Arc::new(in_progress) }
    }

    /// The same, with what shops have of options.
    pub fn with_options(mut self, options: Vec<ShopOption>) -> Self {
        let offer = Arc::make_mut(&mut self.offer);
        for ShopOption { shop_id, option_id, availability } in options {
            offer.changes.entry(shop_id).or_default().options.insert(option_id, availability);
        }
        self
    }

    /// The same, with what shops, and partners for all of their shops, say of dates.
    pub fn with_calendars(mut self, calendars: Vec<(Uuid, Vec<Exception>)>) -> Self {
        let calendars = calendars.into_iter().map(|(owner, exceptions)| (owner, exceptions.into()));
        Arc::make_mut(&mut self.offer).calendars = calendars.collect();
        let shops = self.shops.values().map(|shop| (shop.shop_id, Arc::new(self.with_exceptions(Shop::clone(shop)))));
        self.shops = Arc::new(shops.collect());
        self
    }

    /// A shop as it is stored, with what it and its partner say of dates.
    pub fn with_exceptions(&self, shop: Shop) -> Shop {
        let (exceptions, common_exceptions) = (self.calendar(shop.shop_id.0), self.calendar(shop.partner_id.0));
        Shop { exceptions, common_exceptions, ..shop }
    }

    /// What a shop, or a partner for all of its shops, says of dates.
    pub fn calendar(&self, owner: Uuid) -> Arc<[Exception]> {
        self.offer.calendars.get(&owner).cloned().unwrap_or_default()
    }

    /// Orders that the shop has in hand.
    pub fn in_progress(&self, shop: ShopId) -> u32 {
        self.in_progress.get(&shop).copied().unwrap_or(0)
    }

    /// The same shops and menus with another count of orders in progress.
    pub fn with_in_progress(&self, in_progress: HashMap<ShopId, u32>) -> Self {
        Self { in_progress: Arc::new(in_progress), ..self.clone() }
    }

    /// The same, with one shop heard of at `at`. Copies a pointer for every shop, and no menu.
    pub fn with_heartbeat(&self, shop: ShopId, at: Instant) -> Self {
        let Some(known) = self.shops.get(&shop).filter(|shop| shop.last_heartbeat_at.is_none_or(|last| last < at))
        else {
            return self.clone();
        };
        let mut shops = HashMap::clone(&self.shops);
        shops.insert(shop, Arc::new(Shop { last_heartbeat_at: Some(at), ..Shop::clone(known) }));
        Self { shops: Arc::new(shops), ..self.clone() }
    }

    /// The same, in place of another snapshot: with what that has counted, and with those heartbeats that it has heard and
    /// this one has not.
    pub fn in_place_of(&self, other: &Self) -> Self {
        let heard = self.shops.values().filter_map(|shop| {
            let at = other.shops.get(&shop.shop_id)?.last_heartbeat_at?;
            let is_later = shop.last_heartbeat_at.is_none_or(|last| last < at);
            is_later.then(|| (shop.shop_id, Arc::new(Shop { last_heartbeat_at: Some(at), ..Shop::clone(shop) })))
        });
        let heard: Vec<_> = heard.collect();
        let mut shops = self.shops.clone();
        if !heard.is_empty() {
            Arc::make_mut(&mut shops).extend(heard);
        }
        Self { shops, in_progress: other.in_progress.clone(), ..self.clone() }
    }

    /// The partner's shops by name.
    pub fn shops(&self, partner: PartnerId) -> impl Iterator<Item = &Shop> {
        self.offer.shops_of.get(&partner).into_iter().flatten().map(|id| &*self.shops[id])
    }

    /// The shops of all partners, in no order.
    pub fn all_shops(&self) -> impl Iterator<Item = &Shop> {
        self.shops.values().map(|shop| &**shop)
    }

    /// A shop, whosever it is.
    pub fn find_shop(&self, shop: ShopId) -> Option<&Shop> {
        self.shops.get(&shop).map(|shop| &**shop)
    }

    /// `None` if the partner has no such shop.
    pub fn shop(&self, partner: PartnerId, shop: ShopId) -> Option<&Shop> {
        self.find_shop(shop).filter(|shop| shop.partner_id == partner)
    }

    /// All items of the partner in the menu's order, also those that are not active.
    pub fn items(&self, partner: PartnerId) -> &[Item] {
        self.offer.menus.get(&partner).map_or(&[], Menu::all)
    }

    /// All that is wrong with an item that somebody typed in. Where all shops of its partner have one currency, its prices
    /// have to be payable in it; otherwise each shop can have prices of its own.
    pub fn check_item(&self, item: &Item) -> Vec<Fault> {
        let mut currencies: Vec<_> = self.shops(item.partner_id).map(|shop| shop.currency).collect();
        currencies.dedup();
        let mut faults = item.check();
        if let [currency] = currencies[..] {
            faults.extend(item.unpayable_in(currency));
        }
        faults
    }

    /// All that is wrong with what a shop changes about an item.
    pub fn check_change(&self, shop: &Shop, change: &ShopItem) -> Vec<Fault> {
        let price = change.price.and_then(|price| menu::unpayable("/price", price, shop.currency));
        change.check().into_iter().chain(price).collect()
    }

    /// What the shop changes about an item, if it does.
    pub fn change(&self, shop: ShopId, item_id: &str) -> Option<&ShopItem> {
        self.offer.changes.get(&shop)?.items.get(item_id)
    }

    /// Each option of the partner's active items by its id, as it is named first, and whether the shop has it.
    pub fn options(&self, shop: &Shop) -> Vec<(&ItemOption, Availability)> {
        let (menu, changes) = self.sold_at(shop);
        let mut known = HashSet::new();
        let options = menu.active().flat_map(|item| &item.option_groups).flat_map(|group| &group.options);
        let options = options.filter(|option| known.insert(option.option_id.as_str()));
        options.map(|option| (option, changes.of_option(&option.option_id))).collect()
    }

    /// What the shop sells, in the menu's order, with present price and availability; `None` if the partner has
    /// no such shop.
    pub fn menu(&self, partner: PartnerId, shop: ShopId, now: Instant) -> Option<Vec<MenuItem<'_>>> {
        let shop = self.shop(partner, shop)?;
        let (menu, changes) = self.sold_at(shop);
        let items = menu.active().map(|item| {
            let change = changes.items.get(&item.item_id);
            let availability = change.map_or(Availability::Available, |change| change.availability);
            let is_there = availability.is_available(now);
            let cannot_make = changes.cannot_make(item, now);
            let options = item.option_groups.iter().flat_map(|group| &group.options);
            let sold_out = options.filter_map(|option| {
                let availability = changes.of_option(&option.option_id);
                (!availability.is_available(now)).then(|| (option.option_id.as_str(), availability.back_at(now)))
            });
            let amount = change.and_then(|change| change.price).unwrap_or(item.price);
            MenuItem {
                item_id: &item.item_id,
                name: &item.name,
                price: Money { amount, currency: shop.currency },
                make_seconds: item.make_seconds,
                option_groups: &item.option_groups,
                sold_out_options: sold_out.collect(),
                available: is_there && cannot_make.is_none(),
                sold_out_until: match cannot_make {
                    None => availability.back_at(now),
                    Some(back_at) if is_there => back_at,
                    Some(back_at) => back_at.zip(availability.back_at(now)).map(|(one, other)| one.max(other)),
                },
            }
        });
        Some(items.collect())
    }

    /// What an average order takes at one station: a piece of the partner's menu, all of its items weighed alike.
    pub fn average_make_seconds(&self, partner: PartnerId) -> u32 {
        self.offer.average_make_seconds.get(&partner).copied().unwrap_or(DEFAULT_MAKE_SECONDS)
    }

    /// What the shop would say now to an order that takes `make_seconds`. It takes no order that would not be ready
    /// before it closes.
    ///
    /// The wait is Olo's rule, for a free place and then for the order itself: orders in progress × average make
    /// time ÷ stations, + `make_seconds`, + the minutes that a busy shop adds. One order stays at one station.
    pub fn promise(&self, shop: &Shop, make_seconds: u32, now: Instant) -> Promise {
        let in_progress = self.in_progress(shop.shop_id);
        let average = self.average_make_seconds(shop.partner_id);
        let place = u64::from(in_progress) * u64::from(average) / u64::from(shop.stations.max(1));
        let wait = place + u64::from(make_seconds) + 60 * u64::from(shop.busy_minutes(now));
        let expected_wait_seconds = wait.try_into().unwrap_or(u32::MAX);

        let ready_at = now + Duration::seconds(expected_wait_seconds.into());
        let make = Duration::seconds(make_seconds.into());
        let (why, resume_at) = objection(shop, in_progress, ready_at, make, now).unzip();
        Promise { accepting: why.is_none(), why, resume_at: resume_at.flatten(), expected_wait_seconds }
    }

    /// Why the shop would not take one of the orders now that it has in progress already, and when it takes orders
    /// again: such an order does not stand in its own way.
    pub fn objection_to_present(&self, shop: &Shop, now: Instant) -> Option<(NotAccepting, Option<Instant>)> {
        let in_progress = self.in_progress(shop.shop_id);
        objection(shop, in_progress.saturating_sub(1), now, Duration::zero(), now)
    }

    fn sold_at(&self, shop: &Shop) -> (&Menu, &Changes) {
        let Offer { menus, changes, empty_menu, no_changes, .. } = &*self.offer;
        (menus.get(&shop.partner_id).unwrap_or(empty_menu), changes.get(&shop.shop_id).unwrap_or(no_changes))
    }
}

/// Why a shop with so many orders takes none now that takes `make` and would be ready at `ready_at`; and when it does
/// again, as far as that is known.
fn objection(
    shop: &Shop,
    in_progress: u32,
    ready_at: Instant,
    make: Duration,
    now: Instant,
) -> Option<(NotAccepting, Option<Instant>)> {
    let paused_until = shop.paused_until(now);
    let span = shop.serving_at(now);
    let why = match span {
        Err(why) => why,
        Ok(span) if ready_at > span.closes_at => NotAccepting::LastOrder,
        Ok(_) if paused_until.is_some() => NotAccepting::Paused,
        Ok(_) if shop.presence(now) == Presence::Offline => NotAccepting::Offline,
        Ok(_) if in_progress >= shop.max_in_progress => NotAccepting::Full,
        Ok(_) => return None,
    };
    let from = paused_until.unwrap_or(now);
    let resume_at = match (why, span) {
        // A smaller order may still fit; this one waits for the next opening.
        (NotAccepting::LastOrder, Ok(span)) => shop.next_open(from.max(span.closes_at), make),
        (NotAccepting::Closed | NotAccepting::LastOrder | NotAccepting::Paused, _) => shop.next_open(from, make),
        (NotAccepting::Offline | NotAccepting::Full, _) => None,
    };
    Some((why, resume_at))
}

fn average(seconds: impl Iterator<Item = u32>) -> u32 {
    let (sum, count) = seconds.fold((0_u64, 0_u64), |(sum, count), next| (sum + u64::from(next), count + 1));
    sum.checked_div(count).and_then(|average| average.try_into().ok()).unwrap_or(DEFAULT_MAKE_SECONDS)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NOON: &str = "2025-07-15T12:00:00Z";

    fn at(text: &str) -> Instant {
        text.parse().unwrap()
    }

    fn item(partner_id: PartnerId, item_id: &str, price: i64, make_seconds: u32) -> Item {
        let option_groups = Vec::new();
        Item {
            partner_id,
            item_id: item_id.into(),
            name: item_id.into(),
            price,
            make_seconds,
            option_groups,
            active: true,
        }
    }

    fn promise(shop: Shop, in_progress: u32, now: &str) -> Promise {
        let items = vec![item(shop.partner_id, "lungo", 350, 60), item(shop.partner_id, "tea", 300, 120)];
        let counts = HashMap::from([(shop.shop_id, in_progress)]);
        Catalogue::new(vec![shop.clone()], items, Vec::new(), counts).promise(&shop, 100, at(now))
    }

    fn shop() -> Shop {
        Shop::new(PartnerId::new(), "Lungo Central", "EUR".parse().unwrap())
    }

    fn from_seven_to_six() -> Shop {
        let opening = Opening::new("07:00".parse().unwrap(), "18:00".parse().unwrap());
        Shop { hours: Hours::every_day(opening), last_order_minutes: 15, ..shop() }
    }

    /// Open from seven on.
    fn until(close: &str) -> Shop {
        let opening = Opening::new("07:00".parse().unwrap(), close.parse().unwrap());
        Shop { hours: Hours::every_day(opening), ..shop() }
    }

    fn paused(until: &str, shop: Shop) -> Shop {
        Shop { mode: Mode::Paused { until: at(until) }, ..shop }
    }

    fn silent_for(seconds: i64, shop: Shop) -> Shop {
        Shop { last_heartbeat_at: Some(at(NOON) - Duration::seconds(seconds)), ..shop }
    }

    #[rstest]
    #[case::always(shop(), NOON, None, None)]
    #[case::open(from_seven_to_six(), NOON, None, None)]
    #[case::closed(
        from_seven_to_six(),
        "2025-07-15T19:00:00Z",
        Some(NotAccepting::Closed),
        Some("2025-07-16T07:00:00Z")
    )]
    #[case::cut_off(
        from_seven_to_six(),
        "2025-07-15T17:50:00Z",
        Some(NotAccepting::LastOrder),
        Some("2025-07-16T07:00:00Z")
    )]
    #[case::ready_at_closing(until("12:02"), "2025-07-15T12:00:20Z", None, None)]
    #[case::not_ready_by_closing(
        until("12:02"),
        "2025-07-15T12:00:21Z",
        Some(NotAccepting::LastOrder),
        Some("2025-07-16T07:00:00Z")
    )]
    #[case::paused_and_not_ready_by_closing(
        paused("2025-07-16T08:00:00Z", until("12:01")),
        NOON,
        Some(NotAccepting::LastOrder),
        Some("2025-07-16T08:00:00Z")
    )]
    #[case::paused(
        paused("2025-07-15T12:30:00Z", shop()),
        NOON,
        Some(NotAccepting::Paused),
        Some("2025-07-15T12:30:00Z")
    )]
    #[case::pause_is_over(paused(NOON, shop()), NOON, None, None)]
    #[case::paused_into_the_night(
        paused("2025-07-15T20:00:00Z", from_seven_to_six()),
        NOON,
        Some(NotAccepting::Paused),
        Some("2025-07-16T07:00:00Z")
    )]
    #[case::closed_and_then_paused(
        paused("2025-07-16T08:00:00Z", from_seven_to_six()),
        "2025-07-15T19:00:00Z",
        Some(NotAccepting::Closed),
        Some("2025-07-16T08:00:00Z")
    )]
    #[case::late(silent_for(179, shop()), NOON, None, None)]
    #[case::offline(silent_for(180, shop()), NOON, Some(NotAccepting::Offline), None)]
    #[case::paused_and_offline(
        paused("2025-07-15T12:30:00Z", silent_for(180, shop())),
        NOON,
        Some(NotAccepting::Paused),
        Some("2025-07-15T12:30:00Z")
    )]
    #[case::never_open(Shop { hours: Hours::Weekly(Week::default()), ..shop() }, NOON, Some(NotAccepting::Closed), None)]
    #[case::paused_for_ever(
        paused("9999-12-31T23:59:59Z", from_seven_to_six()),
        NOON,
        Some(NotAccepting::Paused),
        None
    )]
    fn accepts(
        #[case] shop: Shop,
        #[case] now: &str,
        #[case] why: Option<NotAccepting>,
        #[case] resume_at: Option<&str>,
    ) {
        let promise = promise(shop, 0, now);
        assert_eq!((promise.why, promise.resume_at), (why, resume_at.map(at)));
        assert_eq!(promise.accepting, why.is_none());
    }

    #[rstest]
    #[case::idle(shop(), 0, 100)]
    #[case::queue(shop(), 4, 4 * 90 / 2 + 100)]
    #[case::more_stations(Shop { stations: 4, ..shop() }, 4, 4 * 90 / 4 + 100)]
    #[case::busy(Shop { mode: Mode::Busy { minutes: 5, until: None }, ..shop() }, 4, 180 + 100 + 300)]
    #[case::absurd(Shop { stations: 0, ..shop() }, u32::MAX, u32::MAX)]
    fn waits_for_a_place_and_for_itself(#[case] shop: Shop, #[case] in_progress: u32, #[case] seconds: u32) {
        assert_eq!(promise(shop, in_progress, NOON).expected_wait_seconds, seconds);
    }

    #[test]
    fn is_full_at_its_limit_and_only_there() {
        let small = Shop { max_in_progress: 2, ..shop() };
        assert!(promise(small.clone(), 1, NOON).accepting);
        assert_eq!(promise(small.clone(), 2, NOON).why, Some(NotAccepting::Full));
        let full = Catalogue::new(vec![small.clone()], vec![], vec![], HashMap::from([(small.shop_id, 2)]));
        assert!(full.with_in_progress(HashMap::new()).promise(&small, 60, at(NOON)).accepting);
        let read_again = Catalogue::new(vec![small.clone()], vec![], vec![], HashMap::new()).in_place_of(&full);
        assert!(!read_again.promise(&small, 60, at(NOON)).accepting);
    }

    #[test]
    fn a_heartbeat_changes_one_shop_and_never_goes_back() {
        let (one, other) = (shop(), shop());
        let catalogue = Catalogue::new(vec![one.clone(), other.clone()], vec![], vec![], HashMap::new());
        let later = at(NOON) + Duration::seconds(20);
        let heard = catalogue.with_heartbeat(one.shop_id, later).with_heartbeat(one.shop_id, at(NOON));
        assert_eq!(heard.find_shop(one.shop_id).unwrap().last_heartbeat_at, Some(later));
        assert_eq!(heard.find_shop(other.shop_id), Some(&other));
        assert_eq!(heard.shops(one.partner_id).next().unwrap().last_heartbeat_at, Some(later));
        assert_eq!(catalogue.with_heartbeat(ShopId::new(), later).all_shops().count(), 2);
        let merged = catalogue.in_place_of(&heard);
        assert_eq!(merged.find_shop(one.shop_id), heard.find_shop(one.shop_id));
        assert_eq!(heard.in_place_of(&catalogue).find_shop(one.shop_id), heard.find_shop(one.shop_id));
    }

    #[test]
    fn shops_are_sorted_and_seen_by_their_partner_only() {
        let (mine, other) = (PartnerId::new(), PartnerId::new());
        let euro = "EUR".parse().unwrap();
        let shops = vec![Shop::new(mine, "B", euro), Shop::new(mine, "A", euro), Shop::new(other, "C", euro)];
        let foreign = shops[2].shop_id;
        let catalogue = Catalogue::new(shops, vec![item(other, "tea", 1, 1)], vec![], HashMap::new());
        assert_eq!(catalogue.shops(mine).map(|shop| shop.name.as_str()).collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(catalogue.shops(PartnerId::new()).count(), 0);
        assert!(catalogue.shop(mine, foreign).is_none() && catalogue.menu(mine, foreign, at(NOON)).is_none());
        assert!(catalogue.menu(other, foreign, at(NOON)).is_some());
    }

    #[test]
    fn a_menu_shows_the_shops_own_price_and_what_it_has() {
        let shop = shop();
        let partner = shop.partner_id;
        let mut items: Vec<_> = ["a", "b", "c", "d"].map(|id| item(partner, id, 300, 60)).into();
        items[3].active = false;
        let later = at(NOON) + Duration::hours(1);
        let change = |item_id: &str, price, availability| ShopItem {
            shop_id: shop.shop_id,
            item_id: item_id.into(),
            price,
            availability,
        };
        let changes = vec![
            change("b", Some(320), Availability::SoldOut { until: Some(later) }),
            change("c", None, Availability::SoldOut { until: None }),
            change("unknown", None, Availability::Available),
        ];
        let shop_id = shop.shop_id;
        let catalogue = Catalogue::new(vec![shop], items, changes, HashMap::new());
        let shown = |now| {
            let menu = catalogue.menu(partner, shop_id, now).unwrap();
            menu.iter().map(|i| (i.item_id, i.price.amount, i.available, i.sold_out_until)).collect::<Vec<_>>()
        };
        assert_eq!(shown(at(NOON)), [("a", 300, true, None), ("b", 320, false, Some(later)), ("c", 300, false, None)]);
        assert_eq!(shown(later)[1], ("b", 320, true, None));
        assert_eq!(catalogue.average_make_seconds(PartnerId::new()), DEFAULT_MAKE_SECONDS);
    }

    #[test]
    fn a_menu_shows_which_options_the_shop_has() {
        let demo = demo::demo();
        let until = at(NOON) + Duration::hours(1);
        let sold_out = |option_id: &str, until| ShopOption {
            shop_id: demo::LUNGO_CENTRAL,
            option_id: option_id.into(),
            availability: Availability::SoldOut { until },
        };
        let options = vec![sold_out("milk_oat", Some(until)), sold_out("milk_whole", None), sold_out("gone", None)];
        let catalogue = Catalogue::new(demo.shops, demo.items, demo.shop_items, HashMap::new()).with_options(options);
        let shown = |shop, item: &str, now| {
            let menu = catalogue.menu(demo::PARTNER, shop, now).unwrap();
            menu.into_iter().find(|shown| shown.item_id == item).unwrap()
        };
        let cappuccino = shown(demo::LUNGO_CENTRAL, "cappuccino", at(NOON));
        assert_eq!(cappuccino.sold_out_options, [("milk_whole", None), ("milk_oat", Some(until))]);
        assert_eq!(
            (cappuccino.available, cappuccino.sold_out_until),
            (false, Some(until)),
            "it is not made without milk"
        );
        assert!(shown(demo::LUNGO_CENTRAL, "lungo", at(NOON)).available);
        assert!(shown(demo::LUNGO_CENTRAL, "cappuccino", until).available);
        assert_eq!(shown(demo::LUNGO_STATION, "lungo", at(NOON)).sold_out_options, []);
        let shop = catalogue.find_shop(demo::LUNGO_CENTRAL).unwrap();
        let known: Vec<_> = catalogue.options(shop).into_iter().map(|(option, _)| option.option_id.as_str()).collect();
        assert_eq!(known, ["milk_whole", "milk_oat", "extra_shot", "syrup_vanilla", "syrup_caramel"]);
    }

    #[test]
    fn what_a_partner_says_of_a_date_holds_for_its_shops_only() {
        let (one, other) = (from_seven_to_six(), from_seven_to_six());
        let closed = Exception { date: at(NOON).date_naive(), openings: Vec::new() };
        let catalogue = Catalogue::new(vec![one.clone(), other.clone()], vec![], vec![], HashMap::new())
            .with_calendars(vec![(one.partner_id.0, vec![closed])]);
        let why = |shop: &Shop| catalogue.promise(catalogue.find_shop(shop.shop_id).unwrap(), 60, at(NOON)).why;
        assert_eq!((why(&one), why(&other)), (Some(NotAccepting::Closed), None));
        let heard = catalogue.with_heartbeat(one.shop_id, at(NOON));
        assert_eq!(heard.promise(heard.find_shop(one.shop_id).unwrap(), 60, at(NOON)).why, Some(NotAccepting::Closed));
        assert_eq!(catalogue.with_exceptions(one.clone()).common_exceptions.len(), 1);
    }
}
