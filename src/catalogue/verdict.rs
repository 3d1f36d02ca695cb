//! What the catalogue says to an order: its price and times, or why not.

use crate::catalogue::menu::{self, Bill};
use crate::catalogue::timing::{Slot, Timing, slot_fault};
use crate::catalogue::{Catalogue, NotAccepting};
use crate::error::Fault;
use crate::order::{Instant, Money, NewOrder, PartnerId, Pickup, Placed, ShopId};

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
    /// Too many orders wait for this payment method or this shop already.
    Crowded,
    /// The draft that is being confirmed binds nobody any more.
    DraftExpired,
    /// The draft was replaced while it was being judged: judge what it holds now.
    DraftReplaced,
    /// The request makes no sense, for all of these reasons.
    Unprocessable(Vec<Fault>),
    ShopNotAccepting {
        why: NotAccepting,
        resume_at: Option<Instant>,
        /// The first slot that this basket can have, where one is known.
        earliest_at: Option<Instant>,
    },
    /// The shop serves orders at the slot, and cannot have this one ready by then.
    SlotTooSoon {
        /// The first slot that this basket can have.
        earliest_at: Instant,
    },
    /// All that is sold out.
    ItemUnavailable(Vec<Fault>),
    /// The stated total is not what it costs now.
    PriceMismatch { present: Money },
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
        let bill = Bill::new(menu, changes, &request.lines, shop.currency, wanted_at.unwrap_or(now));
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
}

impl Priced {
    fn new(placed: Placed, Timing { offer_at, expected_ready_at, slot }: Timing) -> Self {
        Self { placed, offer_at, expected_ready_at, slot }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use chrono::{DateTime, Duration};
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::catalogue::demo::{self, Demo};
    use crate::catalogue::{Availability, Hours, Mode, Opening, ShopItem, ShopOption, Timezone};
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
        demo.shops[0].timezone = Timezone::utc();
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

    #[test]
    fn what_costs_nothing_cannot_be_ordered() {
        let free = catalogue(|demo| demo.items.iter_mut().for_each(|item| item.price = 0));
        let tea = NewOrder { lines: vec![line("tea", &[], 1)], total: Some(euro(0)), ..example() };
        let Err(Refusal::Unprocessable(faults)) = verdict(&free, &tea) else { panic!("must be refused") };
        assert_eq!(told(&faults), [("/lines", "nothing_to_pay")]);
        assert!(verdict(&free, &NewOrder { total: None, ..example() }).is_ok(), "its options cost something");
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
        let earliest_at = Some(at(NOON) + Duration::minutes(15));
        let paused = Refusal::ShopNotAccepting { why: NotAccepting::Paused, resume_at: Some(until), earliest_at };
        assert_eq!(judge(&demo, &wrong_price), paused);

        demo.items.iter_mut().for_each(|item| item.active = false);
        assert!(matches!(judge(&demo, &wrong_price), Refusal::Unprocessable(_)));

        let elsewhere = NewOrder { shop_id: ShopId::new(), ..wrong_price };
        assert_eq!(judge(&demo, &elsewhere), Refusal::UnknownShop);
        let stranger = catalogue(|_| {}).verdict(PartnerId::new(), &example(), at(NOON), None);
        assert_eq!(stranger, Err(Refusal::UnknownShop));
    }

    #[test]
    fn what_is_back_at_the_slot_can_be_ordered_for_it() {
        let catalogue = catalogue(|demo| demo.shop_items = vec![sold_out("lungo", Some("2025-07-15T14:00:00Z"))]);
        assert!(matches!(verdict(&catalogue, &example()), Err(Refusal::ItemUnavailable(_))));
        assert!(verdict(&catalogue, &for_slot("2025-07-15T13:45:00Z")).is_err());
        assert!(verdict(&catalogue, &for_slot("2025-07-15T14:00:00Z")).is_ok());
    }

    #[test]
    fn an_option_that_is_sold_out_is_told_with_its_pointer_until_it_is_back() {
        let back = "2025-07-15T14:00:00Z";
        let oat = ShopOption {
            shop_id: demo::LUNGO_CENTRAL,
            option_id: "milk_oat".into(),
            availability: Availability::SoldOut { until: Some(at(back)) },
        };
        let without = catalogue(|_| {}).with_options(vec![oat]);
        let Err(Refusal::ItemUnavailable(faults)) = verdict(&without, &example()) else { panic!("must be sold out") };
        assert_eq!(told(&faults), [("/lines/0/options/0", "item_unavailable")]);
        assert!(verdict(&without, &for_slot("2025-07-15T13:45:00Z")).is_err());
        assert!(verdict(&without, &for_slot(back)).is_ok());
        let plain = NewOrder { lines: vec![line("lungo", &["milk_whole"], 1)], total: None, ..example() };
        assert!(verdict(&without, &plain).is_ok());
        let elsewhere = NewOrder { shop_id: demo::LUNGO_STATION, ..example() };
        assert!(verdict(&without, &elsewhere).is_ok());

        let placed = verdict(&catalogue(|_| {}), &example()).unwrap().placed;
        let again = without.recheck(demo::PARTNER, &placed, demo::LUNGO_CENTRAL, &Pickup::default(), at(NOON));
        let Err(Refusal::ItemUnavailable(faults)) = again else { panic!("must be sold out") };
        assert_eq!(told(&faults), [("/lines/0/options/0", "item_unavailable")]);
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
        let too_soon = Pickup { at: Some(at(NOON)), ..Pickup::default() };
        let earliest_at = at("2025-07-15T12:15:00Z");
        assert_eq!(recheck(&dearer, &too_soon), Err(Refusal::SlotTooSoon { earliest_at }));
        let closing = catalogue(|demo| {
            from_seven_to_six(demo);
            let opening = Opening::new("07:00".parse().unwrap(), "12:01".parse().unwrap());
            demo.shops[0].hours = Hours::every_day(opening);
            demo.shops[0].last_order_minutes = 0;
        });
        for judged in [recheck(&closing, &soon), verdict(&closing, &example())] {
            let Err(Refusal::ShopNotAccepting { why, .. }) = judged else { panic!("{judged:?}") };
            assert_eq!(why, NotAccepting::LastOrder);
        }
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
        let option = prop_oneof![Just("milk_oat".to_owned()), Just("extra_shot".to_owned()), ".{0,8}"];
        let quantity = prop_oneof![1..9_u32, any::<u32>()];
        (item, prop::collection::vec(option, 0..4), quantity).prop_map(|(item_id, options, quantity)| RequestedLine {
            item_id,
            options,
            quantity,
        })
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
        fn what_is_promised_is_before_closing_and_never_after_the_slot(
            pieces in 1..90_u32,
            minutes in 0..1_440_i64,
            quarters in prop::option::of(0..96_i64),
            in_progress in 0..50_u32,
            last_order_minutes in 0..30_u32,
        ) {
            let mut demo = demo::demo();
            from_seven_to_six(&mut demo);
            demo.shops[0].last_order_minutes = last_order_minutes;
            let shop = demo.shops[0].clone();
            let counts = HashMap::from([(shop.shop_id, in_progress)]);
            let catalogue = Catalogue::new(demo.shops, demo.items, demo.shop_items, counts);
            let now = at("2025-07-15T00:00:00Z") + Duration::minutes(minutes);
            let judge = |slot: Option<Instant>| {
                let pickup = Pickup { at: slot, ..Pickup::default() };
                let lines = vec![line("filter", &[], pieces)];
                catalogue.verdict(demo::PARTNER, &NewOrder { lines, total: None, pickup, ..example() }, now, None)
            };
            let slot = quarters.map(|quarters| at("2025-07-15T00:00:00Z") + Duration::minutes(minutes.div_euclid(15) * 15 + 15 + quarters * 15));
            let earliest = match judge(slot) {
                Ok(priced) => {
                    let ready_at = priced.expected_ready_at;
                    let span = shop.spans(ready_at - Duration::seconds(1))[0];
                    prop_assert!(span.opens_at < ready_at && ready_at <= span.closes_at);
                    let begun_at = ready_at - Duration::seconds(priced.placed.make_seconds.into());
                    prop_assert!(begun_at >= now && begun_at >= span.opens_at);
                    prop_assert!(slot.is_none_or(|slot| slot == ready_at));
                    None
                }
                Err(Refusal::SlotTooSoon { earliest_at }) => Some(earliest_at),
                Err(Refusal::ShopNotAccepting { earliest_at, .. }) => earliest_at,
                Err(other) => panic!("{other:?}"),
            };
            if let Some(earliest) = earliest {
                prop_assert!(earliest >= slot.unwrap_or(now));
                prop_assert!(judge(Some(earliest)).is_ok(), "{earliest} is offered and refused");
                let before = earliest - Duration::minutes(15);
                prop_assert!(before < slot.unwrap_or(now) || judge(Some(before)).is_err(), "{before} is earlier");
            }
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
                demo.shops[0].timezone = "Pacific/Kiritimati".parse().unwrap();
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
