//! What the catalogue says to an order: its price and times, or why not.

use chrono::Duration;

use crate::catalogue::menu::{self, Bill};
use crate::catalogue::{Catalogue, NotAccepting, Shop};
use crate::error::Fault;
use crate::order::{Instant, Money, NewOrder, PartnerId, Pickup, Placed, ShopId};

/// Slots begin at each quarter of an hour.
const SLOT_SECONDS: i64 = 15 * 60;
/// How far ahead a slot may be.
const MAX_AHEAD: Duration = Duration::hours(24);
/// A scheduled order is offered so long before the shop must start it.
const OFFER_AHEAD: Duration = Duration::minutes(15);

/// A pickup slot of a shop. Whether it is full is judged by admission, which counts what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub at: Instant,
    pub capacity: u32,
}

/// When an order is offered and ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// When a scheduled order is offered to the shop; `None` for at once.
    pub offer_at: Option<Instant>,
    pub expected_ready_at: Instant,
    /// `None` for as soon as possible.
    pub slot: Option<Slot>,
}

/// An order that the catalogue agrees to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    pub placed: Placed,
    /// When a scheduled order is offered to the shop; `None` for at once.
    pub offer_at: Option<Instant>,
    pub expected_ready_at: Instant,
    /// `None` for as soon as possible.
    pub slot: Option<Slot>,
}

/// Why the catalogue does not agree. Of several reasons the one that stands first here is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The partner has no such shop.
    UnknownShop,
    /// The request makes no sense, for all of these reasons.
    Unprocessable(Vec<Fault>),
    ShopNotAccepting {
        why: NotAccepting,
        resume_at: Option<Instant>,
    },
    /// All that is sold out.
    ItemUnavailable(Vec<Fault>),
    /// The stated total is not what it costs now.
    PriceMismatch {
        present: Money,
    },
}

impl Catalogue {
    /// Judges a request and prices it. Without a stated total any price is right.
    ///
    /// For a slot, the shop's hours and the availability of items at the slot count, and of its present mode only a
    /// pause that lasts until then; its queue is limited by the slot's capacity instead.
    pub fn verdict(
        &self,
        partner: PartnerId,
        request: &NewOrder,
        now: Instant,
        traceparent: Option<String>,
    ) -> Result<Priced, Refusal> {
        let shop = self.shop(partner, request.shop_id).ok_or(Refusal::UnknownShop)?;
        let wanted_at = request.pickup.at;
        let (menu, changes) = self.sold_at(shop);
        let bill = Bill::new(menu, changes, &request.lines, wanted_at.unwrap_or(now));
        let present = Money { amount: bill.total, currency: shop.currency };

        let mut faults = bill.faults;
        if let Some(stated) = request.total
            && stated.currency != shop.currency
        {
            let detail = format!("this shop takes {}", shop.currency);
            faults.push(Fault::new("/total/currency", "currency_mismatch", detail));
        }
        faults.extend(wanted_at.and_then(|at| slot_fault("/pickup/at", at, now)));
        if !faults.is_empty() {
            return Err(Refusal::Unprocessable(faults));
        }
        let timing = self.timing(shop, bill.make_seconds, wanted_at, now)?;
        if !bill.sold_out.is_empty() {
            return Err(Refusal::ItemUnavailable(bill.sold_out));
        }
        if request.total.is_some_and(|stated| stated != present) {
            return Err(Refusal::PriceMismatch { present });
        }
        let placed = Placed {
            lines: bill.lines,
            total: present,
            payment_method: request.payment_method.clone(),
            on_unavailable: request.on_unavailable,
            metadata: request.metadata.clone(),
            replaces_order_id: request.replaces_order_id,
            traceparent,
            tracks_steps: shop.tracks_steps,
            make_seconds: bill.make_seconds,
        };
        Ok(Priced::new(placed, timing))
    }

    /// Judges a draft again that is about to become an order: everything but its price, which is bound.
    /// `placed` comes back unchanged. What left the menu meanwhile is [`Refusal::ItemUnavailable`].
    pub fn recheck(
        &self,
        partner: PartnerId,
        placed: &Placed,
        shop: ShopId,
        pickup: &Pickup,
        now: Instant,
    ) -> Result<Priced, Refusal> {
        let shop = self.shop(partner, shop).ok_or(Refusal::UnknownShop)?;
        if let Some(fault) = pickup.at.and_then(|at| slot_fault("/pickup/at", at, now)) {
            return Err(Refusal::Unprocessable(vec![fault]));
        }
        let timing = self.timing(shop, placed.make_seconds, pickup.at, now)?;
        let (menu, changes) = self.sold_at(shop);
        let gone = menu::gone(menu, changes, &placed.lines, pickup.at.unwrap_or(now));
        if gone.is_empty() { Ok(Priced::new(placed.clone(), timing)) } else { Err(Refusal::ItemUnavailable(gone)) }
    }

    /// Judges another slot for a scheduled order that takes `make_seconds`: when it is offered then.
    /// The fault's pointer is `/at`, in the pickup part of an order. Availability is not judged again.
    pub fn slot_offer_at(
        &self,
        partner: PartnerId,
        shop: ShopId,
        make_seconds: u32,
        at: Instant,
        now: Instant,
    ) -> Result<Timing, Refusal> {
        let shop = self.shop(partner, shop).ok_or(Refusal::UnknownShop)?;
        match slot_fault("/at", at, now) {
            Some(fault) => Err(Refusal::Unprocessable(vec![fault])),
            None => self.timing(shop, make_seconds, Some(at), now),
        }
    }

    /// `slot` must have been checked. Refuses only by [`Refusal::ShopNotAccepting`].
    fn timing(&self, shop: &Shop, make_seconds: u32, slot: Option<Instant>, now: Instant) -> Result<Timing, Refusal> {
        let Some(at) = slot else {
            let promise = self.promise(shop, make_seconds, now);
            if let Some(why) = promise.why {
                return Err(Refusal::ShopNotAccepting { why, resume_at: promise.resume_at });
            }
            let expected_ready_at = now + Duration::seconds(promise.expected_wait_seconds.into());
            return Ok(Timing { offer_at: None, expected_ready_at, slot: None });
        };
        let paused_past = shop.paused_until(now).filter(|until| *until > at);
        let opened_at = match shop.opened_at(at) {
            Ok(_) if paused_past.is_some() => Err(NotAccepting::Paused),
            by_hours => by_hours,
        };
        let opened_at = opened_at.map_err(|why| {
            let resume_at = shop.next_open(paused_past.unwrap_or(at));
            Refusal::ShopNotAccepting { why, resume_at }
        })?;
        let make = Duration::seconds(make_seconds.into());
        let offer_at = (at - make - OFFER_AHEAD).max(opened_at);
        Ok(Timing {
            offer_at: (offer_at > now).then_some(offer_at),
            expected_ready_at: at.max(offer_at.max(now) + make),
            slot: Some(Slot { at, capacity: shop.slot_capacity }),
        })
    }
}

impl Priced {
    fn new(placed: Placed, Timing { offer_at, expected_ready_at, slot }: Timing) -> Self {
        Self { placed, offer_at, expected_ready_at, slot }
    }
}

fn slot_fault(pointer: &str, at: Instant, now: Instant) -> Option<Fault> {
    // Every time zone in use is a multiple of 15 minutes off UTC, so its quarters are UTC's.
    let is_on_quarter = at.timestamp().rem_euclid(SLOT_SECONDS) == 0 && at.timestamp_subsec_nanos() == 0;
    if at < now {
        Some(Fault::new(pointer, "in_the_past", "the slot is over"))
    } else if at > now + MAX_AHEAD {
        Some(Fault::new(pointer, "too_far_ahead", "a slot is at most 24 hours ahead"))
    } else if !is_on_quarter {
        Some(Fault::new(pointer, "not_a_slot", "slots begin at each quarter of an hour"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use chrono::DateTime;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::catalogue::demo::{self, Demo};
    use crate::catalogue::{Availability, Hours, Mode, Opening, ShopItem};
    use crate::order::{CustomerId, OnUnavailable, RequestedLine};

    const NOON: &str = "2025-07-15T12:00:00Z";

    fn at(text: &str) -> Instant {
        text.parse().unwrap()
    }

    fn euro(amount: i64) -> Money {
        Money { amount, currency: "EUR".parse().unwrap() }
    }

    fn line(item_id: &str, options: &[&str], quantity: u32) -> RequestedLine {
        let options = options.iter().map(|option| option.to_string()).collect();
        RequestedLine { item_id: item_id.into(), options, quantity }
    }

    /// The example of the contract: 2 × (lungo + oat milk).
    fn example() -> NewOrder {
        NewOrder {
            customer_id: CustomerId("cus_82f1".into()),
            shop_id: demo::LUNGO_CENTRAL,
            lines: vec![line("lungo", &["milk_oat"], 2)],
            total: Some(euro(820)),
            payment_method: "pm_card_visa".into(),
            pickup: Pickup::default(),
            on_unavailable: OnUnavailable::RemoveLine,
            metadata: BTreeMap::from([("table".into(), "4".into())]),
            replaces_order_id: None,
        }
    }

    fn catalogue(change: impl FnOnce(&mut Demo)) -> Catalogue {
        let mut demo = demo::demo();
        change(&mut demo);
        Catalogue::new(demo.shops, demo.items, demo.shop_items, HashMap::new())
    }

    fn verdict(catalogue: &Catalogue, request: &NewOrder) -> Result<Priced, Refusal> {
        catalogue.verdict(demo::PARTNER, request, at(NOON), None)
    }

    fn for_slot(slot: &str) -> NewOrder {
        NewOrder { pickup: Pickup { at: Some(at(slot)), ..Pickup::default() }, ..example() }
    }

    fn from_seven_to_six(demo: &mut Demo) {
        let opening = Opening::new("07:00".parse().unwrap(), "18:00".parse().unwrap());
        demo.shops[0].timezone = chrono_tz::Tz::UTC;
        demo.shops[0].hours = Hours::every_day(opening);
        demo.shops[0].last_order_minutes = 15;
    }

    fn sold_out(item_id: &str, until: Option<&str>) -> ShopItem {
        let availability = Availability::SoldOut { until: until.map(at) };
        ShopItem { shop_id: demo::LUNGO_CENTRAL, item_id: item_id.into(), price: None, availability }
    }

    fn told(faults: &[Fault]) -> Vec<(&str, &str)> {
        faults.iter().map(|fault| (fault.pointer.as_str(), fault.code.as_ref())).collect()
    }

    #[test]
    fn the_example_of_the_contract_costs_820() {
        let catalogue = catalogue(|_| {});
        let trace = Some("00-trace-01".to_owned());
        let priced = catalogue.verdict(demo::PARTNER, &example(), at(NOON), trace.clone()).unwrap();
        let placed = &priced.placed;
        assert_eq!((placed.total, placed.make_seconds), (euro(820), 2 * placed.lines[0].make_seconds));
        assert_eq!((placed.lines[0].unit_price, placed.lines[0].options[0].price), (410, 60));
        assert_eq!((&placed.traceparent, placed.tracks_steps), (&trace, true));
        assert_eq!((&placed.metadata, placed.on_unavailable), (&example().metadata, OnUnavailable::RemoveLine));
        assert_eq!((priced.offer_at, priced.slot), (None, None));
        assert_eq!(priced.expected_ready_at, at(NOON) + Duration::seconds(placed.make_seconds.into()));

        let unpriced = NewOrder { total: None, ..example() };
        assert_eq!(verdict(&catalogue, &unpriced).unwrap().placed.total, euro(820));
    }

    #[rstest]
    #[case::unknown_item(vec![line("mate", &[], 1)], &[("/lines/0/item_id", "unknown_item")])]
    #[case::unknown_option(vec![line("lungo", &["milk_oat", "gold"], 1)], &[("/lines/0/options/1", "unknown_option")])]
    #[case::option_of_another_item(vec![line("tea", &["milk_oat"], 1)], &[("/lines/0/options/0", "unknown_option")])]
    #[case::option_twice(vec![line("lungo", &["milk_oat", "milk_oat"], 1)], &[("/lines/0/options/1", "too_many_options")])]
    #[case::group_above_max(vec![line("lungo", &["milk_oat", "milk_whole"], 1)], &[("/lines/0/options/1", "too_many_options")])]
    #[case::group_below_min(vec![line("flat_white", &[], 1)], &[("/lines/0/options", "too_few_options")])]
    #[case::too_many_pieces(vec![line("tea", &[], 99), line("tea", &[], 99), line("tea", &[], 3)], &[("/lines", "out_of_range")])]
    #[case::nothing(vec![], &[("/lines", "out_of_range")])]
    #[case::absurd(vec![line("tea", &[], u32::MAX)], &[("/lines/0", "amount_out_of_range"), ("/lines", "out_of_range")])]
    fn makes_no_sense(#[case] lines: Vec<RequestedLine>, #[case] expected: &[(&str, &str)]) {
        let Err(Refusal::Unprocessable(faults)) = verdict(&catalogue(|_| {}), &NewOrder { lines, ..example() }) else {
            panic!("must be refused as unprocessable");
        };
        assert_eq!(told(&faults), expected);
    }

    #[rstest]
    #[case::past("2025-07-15T11:45:00Z", Some("in_the_past"))]
    #[case::now("2025-07-15T12:00:00Z", None)]
    #[case::soon("2025-07-15T12:15:00Z", None)]
    #[case::off_by_minutes("2025-07-15T12:20:00Z", Some("not_a_slot"))]
    #[case::off_by_a_second("2025-07-15T12:15:01Z", Some("not_a_slot"))]
    #[case::off_by_a_millisecond("2025-07-15T12:15:00.001Z", Some("not_a_slot"))]
    #[case::in_a_day("2025-07-16T12:00:00Z", None)]
    #[case::beyond_a_day("2025-07-16T12:15:00Z", Some("too_far_ahead"))]
    fn slots_are_quarters_within_a_day(#[case] slot: &str, #[case] code: Option<&str>) {
        let catalogue = catalogue(|_| {});
        let unprocessable = |pointer: &str, refusal: Option<Refusal>| match refusal {
            None => None,
            Some(Refusal::Unprocessable(faults)) => {
                assert_eq!((faults.len(), faults[0].pointer.as_str()), (1, pointer));
                Some(faults[0].code.to_string())
            }
            Some(other) => panic!("{other:?}"),
        };
        let created = unprocessable("/pickup/at", verdict(&catalogue, &for_slot(slot)).err());
        let moved = catalogue.slot_offer_at(demo::PARTNER, demo::LUNGO_CENTRAL, 100, at(slot), at(NOON));
        assert_eq!((created.as_deref(), unprocessable("/at", moved.err()).as_deref()), (code, code));
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let request = NewOrder {
            lines: vec![line("mate", &[], 150), line("lungo", &["gold", "milk_oat", "milk_whole"], 60)],
            total: Some(Money { amount: 1, currency: "USD".parse().unwrap() }),
            ..for_slot("2025-07-15T11:07:00Z")
        };
        let Err(Refusal::Unprocessable(faults)) = verdict(&catalogue(|_| {}), &request) else {
            panic!("must be refused as unprocessable");
        };
        assert_eq!(
            told(&faults),
            [
                ("/lines/0/item_id", "unknown_item"),
                ("/lines/1/options/0", "unknown_option"),
                ("/lines/1/options/2", "too_many_options"),
                ("/lines", "out_of_range"),
                ("/total/currency", "currency_mismatch"),
                ("/pickup/at", "in_the_past"),
            ]
        );
    }

    #[test]
    fn the_first_of_several_reasons_is_given() {
        let wrong_price = NewOrder { total: Some(euro(819)), ..example() };
        let mut demo = demo::demo();
        let judge = |demo: &Demo, request: &NewOrder| {
            let Demo { shops, items, shop_items, .. } = demo.clone();
            verdict(&Catalogue::new(shops, items, shop_items, HashMap::new()), request).unwrap_err()
        };
        assert_eq!(judge(&demo, &wrong_price), Refusal::PriceMismatch { present: euro(820) });

        demo.shop_items = vec![sold_out("lungo", None)];
        let Refusal::ItemUnavailable(faults) = judge(&demo, &wrong_price) else { panic!("must be sold out") };
        assert_eq!(told(&faults), [("/lines/0/item_id", "item_unavailable")]);

        let until = at(NOON) + Duration::minutes(10);
        demo.shops[0].mode = Mode::Paused { until };
        let paused = Refusal::ShopNotAccepting { why: NotAccepting::Paused, resume_at: Some(until) };
        assert_eq!(judge(&demo, &wrong_price), paused);

        demo.items.iter_mut().for_each(|item| item.active = false);
        assert!(matches!(judge(&demo, &wrong_price), Refusal::Unprocessable(_)));

        let elsewhere = NewOrder { shop_id: ShopId::new(), ..wrong_price };
        assert_eq!(judge(&demo, &elsewhere), Refusal::UnknownShop);
        let stranger = catalogue(|_| {}).verdict(PartnerId::new(), &example(), at(NOON), None);
        assert_eq!(stranger, Err(Refusal::UnknownShop));
    }

    #[rstest]
    #[case::later_today("2025-07-15T16:00:00Z", Ok(Some("2025-07-15T15:41:40Z")))]
    #[case::just_scheduled("2025-07-15T12:30:00Z", Ok(Some("2025-07-15T12:11:40Z")))]
    #[case::too_soon_to_wait("2025-07-15T12:15:00Z", Ok(None))]
    #[case::first_of_the_day("2025-07-16T07:00:00Z", Ok(Some("2025-07-16T07:00:00Z")))]
    #[case::second_of_the_day("2025-07-16T07:15:00Z", Ok(Some("2025-07-16T07:00:00Z")))]
    #[case::third_of_the_day("2025-07-16T07:30:00Z", Ok(Some("2025-07-16T07:11:40Z")))]
    #[case::before_opening("2025-07-16T06:45:00Z", Err((NotAccepting::Closed, "2025-07-16T07:00:00Z")))]
    #[case::last_slot("2025-07-15T17:30:00Z", Ok(Some("2025-07-15T17:11:40Z")))]
    #[case::past_the_cut_off("2025-07-15T17:45:00Z", Err((NotAccepting::LastOrder, "2025-07-16T07:00:00Z")))]
    #[case::at_closing("2025-07-15T18:00:00Z", Err((NotAccepting::Closed, "2025-07-16T07:00:00Z")))]
    fn a_slot_is_offered_in_time(#[case] slot: &str, #[case] offered: Result<Option<&str>, (NotAccepting, &str)>) {
        let catalogue = catalogue(from_seven_to_six);
        let expected = offered
            .map(|offer_at| offer_at.map(at))
            .map_err(|(why, resume_at)| Refusal::ShopNotAccepting { why, resume_at: Some(at(resume_at)) });
        let moved = catalogue.slot_offer_at(demo::PARTNER, demo::LUNGO_CENTRAL, 200, at(slot), at(NOON));
        assert_eq!(moved.as_ref().map(|timing| timing.offer_at).map_err(Clone::clone), expected);
        if let Ok(timing) = moved {
            let capacity = catalogue.shop(demo::PARTNER, demo::LUNGO_CENTRAL).unwrap().slot_capacity;
            assert_eq!(timing.slot, Some(Slot { at: at(slot), capacity }));
            let made = timing.offer_at.unwrap_or(at(NOON)) + Duration::seconds(200);
            assert_eq!(timing.expected_ready_at, made.max(at(slot)));
        }
    }

    #[rstest]
    #[case::over_before_the_slot(Mode::Paused { until: at("2025-07-15T14:00:00Z") }, None)]
    #[case::over_at_the_slot(Mode::Paused { until: at("2025-07-15T15:00:00Z") }, None)]
    #[case::beyond_the_slot(Mode::Paused { until: at("2025-07-15T16:00:00Z") }, Some(NotAccepting::Paused))]
    #[case::busy(Mode::Busy { minutes: 60, until: None }, None)]
    fn the_present_mode_does_not_matter_to_a_slot(#[case] mode: Mode, #[case] expected: Option<NotAccepting>) {
        let catalogue = catalogue(|demo| {
            demo.shops[0].mode = mode;
            demo.shops[0].last_heartbeat_at = Some(at(NOON) - Duration::hours(1));
            demo.shops[0].max_in_progress = 0;
        });
        let why = match verdict(&catalogue, &for_slot("2025-07-15T15:00:00Z")) {
            Ok(_) => None,
            Err(Refusal::ShopNotAccepting { why, .. }) => Some(why),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(why, expected);
    }

    #[test]
    fn what_is_back_at_the_slot_can_be_ordered_for_it() {
        let catalogue = catalogue(|demo| demo.shop_items = vec![sold_out("lungo", Some("2025-07-15T14:00:00Z"))]);
        assert!(matches!(verdict(&catalogue, &example()), Err(Refusal::ItemUnavailable(_))));
        assert!(verdict(&catalogue, &for_slot("2025-07-15T13:45:00Z")).is_err());
        assert!(verdict(&catalogue, &for_slot("2025-07-15T14:00:00Z")).is_ok());
    }

    #[test]
    fn a_shops_own_price_counts() {
        let own = ShopItem { price: Some(400), availability: Availability::Available, ..sold_out("lungo", None) };
        let dearer = catalogue(|demo| demo.shop_items = vec![own]);
        assert_eq!(verdict(&dearer, &example()), Err(Refusal::PriceMismatch { present: euro(920) }));
    }

    #[test]
    fn a_draft_keeps_its_price_and_nothing_else() {
        let priced = verdict(&catalogue(|_| {}), &example()).unwrap();
        let recheck = |changed: &Catalogue, pickup: &Pickup| {
            changed.recheck(demo::PARTNER, &priced.placed, demo::LUNGO_CENTRAL, pickup, at(NOON))
        };
        let soon = Pickup::default();
        let dearer = catalogue(|demo| demo.items.iter_mut().for_each(|item| item.price += 100));
        assert_eq!(recheck(&dearer, &soon), Ok(priced.clone()));

        let gone = |changed: &Catalogue| match recheck(changed, &soon) {
            Err(Refusal::ItemUnavailable(faults)) => faults.into_iter().map(|fault| fault.pointer).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(gone(&catalogue(|demo| demo.shop_items = vec![sold_out("lungo", None)])), ["/lines/0/item_id"]);
        assert_eq!(gone(&catalogue(|demo| demo.items.clear())), ["/lines/0/item_id"]);
        let without_options = |demo: &mut Demo| demo.items.iter_mut().for_each(|item| item.option_groups.clear());
        assert_eq!(gone(&catalogue(without_options)), ["/lines/0/options/0"]);

        let paused = catalogue(|demo| demo.shops[0].mode = Mode::Paused { until: at("2025-07-15T13:00:00Z") });
        assert!(matches!(recheck(&paused, &soon), Err(Refusal::ShopNotAccepting { why: NotAccepting::Paused, .. })));
        let over = Pickup { at: Some(at("2025-07-15T11:45:00Z")), ..Pickup::default() };
        assert!(matches!(recheck(&dearer, &over), Err(Refusal::Unprocessable(_))));
    }

    fn sensible_line() -> impl Strategy<Value = RequestedLine> {
        let drinks = prop_oneof![
            Just(line("lungo", &[], 1)),
            Just(line("lungo", &["milk_oat"], 1)),
            Just(line("cappuccino", &["milk_whole", "extra_shot"], 1)),
            Just(line("croissant", &[], 1)),
        ];
        (drinks, 1..10_u32).prop_map(|(drink, quantity)| RequestedLine { quantity, ..drink })
    }

    fn any_line() -> impl Strategy<Value = RequestedLine> {
        let item = prop_oneof![Just("lungo".to_owned()), Just("gold".to_owned()), ".{0,8}"];
        let option = prop_oneof![Just("milk_oat".to_owned()), Just("syrup".to_owned()), ".{0,8}"];
        (item, prop::collection::vec(option, 0..5), any::<u32>())
            .prop_map(|(item_id, options, quantity)| RequestedLine { item_id, options, quantity })
    }

    fn any_instant() -> impl Strategy<Value = Instant> {
        let (first, last) = (DateTime::<chrono::Utc>::MIN_UTC.timestamp(), Instant::MAX_UTC.timestamp());
        let noon = at(NOON).timestamp();
        prop_oneof![first..=last, noon - 90_000..noon + 90_000, Just(first), Just(last)]
            .prop_map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap())
    }

    proptest! {
        #[test]
        fn a_price_is_additive_whatever_the_order_of_lines(
            one in prop::collection::vec(sensible_line(), 1..8),
            other in prop::collection::vec(sensible_line(), 1..8),
        ) {
            let catalogue = catalogue(|_| {});
            let price = |lines: &[RequestedLine]| {
                let request = NewOrder { lines: lines.to_vec(), total: None, ..example() };
                let placed = verdict(&catalogue, &request).unwrap().placed;
                (placed.total.amount, placed.make_seconds)
            };
            let mut both = [one.clone(), other.clone()].concat();
            let (one, other, sum) = (price(&one), price(&other), price(&both));
            prop_assert_eq!(sum, (one.0 + other.0, one.1 + other.1));
            both.sort();
            prop_assert_eq!(sum, price(&both));
        }

        #[test]
        fn a_verdict_never_panics(
            lines in prop::collection::vec(any_line(), 0..6),
            amount in any::<Option<i64>>(),
            slot in prop::option::of(any_instant()),
            paused_until in any_instant(),
            (price, make_seconds) in (any::<i64>(), any::<u32>()),
            is_paused in any::<bool>(),
        ) {
            let catalogue = catalogue(|demo| {
                from_seven_to_six(demo);
                demo.shops[0].timezone = chrono_tz::Tz::Pacific__Kiritimati;
                if is_paused {
                    demo.shops[0].mode = Mode::Paused { until: paused_until };
                }
                let mut gold = demo.items[0].clone();
                (gold.item_id, gold.price, gold.make_seconds) = ("gold".into(), price, make_seconds);
                demo.items.push(gold);
            });
            let pickup = Pickup { at: slot, ..Pickup::default() };
            let request = NewOrder { lines, total: amount.map(euro), pickup, ..example() };
            if let Ok(priced) = verdict(&catalogue, &request) {
                let sum: i64 = priced.placed.lines.iter().map(crate::order::Line::price).sum();
                prop_assert_eq!(priced.placed.total.amount, sum);
            }
        }
    }
}
