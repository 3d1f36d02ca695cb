//! When an order is offered and ready: for as soon as possible, or for a slot that the customer chose.
//!
//! A time that is told is kept: an order is ready before its shop closes, and a slot is never sooner than as soon as
//! possible, nor sooner than the shop can make it after it opens. What cannot be kept is refused, with the earliest slot
//! that can.

use chrono::{DateTime, Duration};

use crate::catalogue::{Catalogue, NotAccepting, Refusal, Shop};
use crate::error::Fault;
use crate::order::{Instant, PartnerId, ShopId};

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

impl Catalogue {
    /// Judges another slot, or none for as soon as possible, for a scheduled order that takes `make_seconds`: when it
    /// is offered then. The fault's pointer is `/at`, in the pickup part of an order. Availability is not judged again,
    /// and the order does not count against the shop's capacity: it is one of those in progress.
    pub fn moved(
        &self,
        partner: PartnerId,
        shop: ShopId,
        make_seconds: u32,
        at: Option<Instant>,
        now: Instant,
    ) -> Result<Timing, Refusal> {
        let shop = self.shop(partner, shop).ok_or(Refusal::UnknownShop)?;
        let Some(at) = at else {
            if let Some((why, resume_at)) = self.objection_to_present(shop, now) {
                return Err(self.not_accepting(shop, make_seconds, (why, resume_at), now, now));
            }
            let wait = self.promise(shop, make_seconds, now).expected_wait_seconds;
            let expected_ready_at = now + Duration::seconds(wait.into());
            self.check_ready_by_closing(shop, make_seconds, expected_ready_at, now)?;
            return Ok(Timing { offer_at: None, expected_ready_at, slot: None });
        };
        match slot_fault("/at", at, now) {
            Some(fault) => Err(Refusal::Unprocessable(vec![fault])),
            None => self.timing(shop, make_seconds, Some(at), now),
        }
    }

    /// `slot` must have been checked. Refuses only by [`Refusal::ShopNotAccepting`] and [`Refusal::SlotTooSoon`].
    pub(super) fn timing(
        &self,
        shop: &Shop,
        make_seconds: u32,
        slot: Option<Instant>,
        now: Instant,
    ) -> Result<Timing, Refusal> {
        let promise = self.promise(shop, make_seconds, now);
        let soonest = now + Duration::seconds(promise.expected_wait_seconds.into());
        let Some(at) = slot else {
            return match promise.why {
                Some(why) => Err(self.not_accepting(shop, make_seconds, (why, promise.resume_at), now, now)),
                None => Ok(Timing { offer_at: None, expected_ready_at: soonest, slot: None }),
            };
        };
        let make = Duration::seconds(make_seconds.into());
        let paused_past = shop.paused_until(now).filter(|until| *until > at);
        let span = match shop.serving_at(at) {
            Ok(_) if paused_past.is_some() => Err(NotAccepting::Paused),
            by_hours => by_hours,
        };
        let span = span.map_err(|why| {
            let resume_at = shop.next_open(paused_past.unwrap_or(at), make);
            self.not_accepting(shop, make_seconds, (why, resume_at), at, now)
        })?;
        if at < soonest || at - span.opens_at < make {
            let earliest_at = self.earliest_slot(shop, make_seconds, at, now);
            return Err(match earliest_at.filter(|earliest| *earliest < span.closes_at) {
                Some(earliest_at) => Refusal::SlotTooSoon { earliest_at },
                None => {
                    let resume_at = shop.next_open(span.closes_at, make);
                    Refusal::ShopNotAccepting { why: NotAccepting::LastOrder, resume_at, earliest_at }
                }
            });
        }
        let offer_at = (at - make - OFFER_AHEAD).max(span.opens_at);
        Ok(Timing {
            offer_at: (offer_at > now).then_some(offer_at),
            expected_ready_at: at,
            slot: Some(Slot { at, capacity: shop.slot_capacity }),
        })
    }

    /// Refuses an order for as soon as possible that would not be ready before the shop closes.
    ///
    /// # Errors
    /// [`Refusal::ShopNotAccepting`].
    pub fn check_ready_by_closing(
        &self,
        shop: &Shop,
        make_seconds: u32,
        ready_at: Instant,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(span) = shop.serving_at(now).ok().filter(|span| ready_at > span.closes_at) else { return Ok(()) };
        let resume_at = shop.next_open(span.closes_at, Duration::seconds(make_seconds.into()));
        Err(self.not_accepting(shop, make_seconds, (NotAccepting::LastOrder, resume_at), now, now))
    }

    fn not_accepting(
        &self,
        shop: &Shop,
        make_seconds: u32,
        (why, resume_at): (NotAccepting, Option<Instant>),
        from: Instant,
        now: Instant,
    ) -> Refusal {
        let earliest_at = self.earliest_slot(shop, make_seconds, from, now);
        Refusal::ShopNotAccepting { why, resume_at, earliest_at }
    }

    /// The first slot not before `from` at which an order that takes `make_seconds` can be ready, however many others
    /// are in it; `None` if that is further ahead than a slot may be.
    fn earliest_slot(&self, shop: &Shop, make_seconds: u32, from: Instant, now: Instant) -> Option<Instant> {
        let make = Duration::seconds(make_seconds.into());
        let wait = self.promise(shop, make_seconds, now).expected_wait_seconds;
        let last = now + MAX_AHEAD;
        let from = from.max(now + Duration::seconds(wait.into())).max(shop.paused_until(now).unwrap_or(now));
        if from > last {
            return None;
        }
        shop.spans(now).iter().find_map(|span| {
            let ready = if from - span.opens_at < make { span.opens_at + make } else { from };
            let seconds = ready.timestamp() + i64::from(ready.timestamp_subsec_nanos() > 0);
            let slot = DateTime::from_timestamp(seconds + (-seconds).rem_euclid(SLOT_SECONDS), 0)?;
            (slot < shop.last_order_at(span) && slot <= last).then_some(slot)
        })
    }
}

/// What is wrong with a slot before any shop is asked.
pub(super) fn slot_fault(pointer: &str, at: Instant, now: Instant) -> Option<Fault> {
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
    use std::collections::HashMap;

    use rstest::rstest;

    use super::*;
    use crate::catalogue::{Hours, Mode, Opening, Timezone, demo};

    const NOON: &str = "2025-07-15T12:00:00Z";

    fn at(text: &str) -> Instant {
        text.parse().unwrap()
    }

    /// What the demo's first shop, changed, says to an order for a slot.
    fn moved(change: impl FnOnce(&mut Shop), make_seconds: u32, slot: &str) -> Result<Timing, Refusal> {
        let mut demo = demo::demo();
        change(&mut demo.shops[0]);
        let catalogue =
            Catalogue::new(demo.shops, demo.items, demo.shop_items, HashMap::from([(demo::LUNGO_CENTRAL, 1)]));
        let slot = (slot != "now").then(|| at(slot));
        catalogue.moved(demo::PARTNER, demo::LUNGO_CENTRAL, make_seconds, slot, at(NOON))
    }

    fn from_seven_to_six(shop: &mut Shop) {
        let opening = Opening::new("07:00".parse().unwrap(), "18:00".parse().unwrap());
        shop.timezone = Timezone::utc();
        shop.hours = Hours::every_day(opening);
        shop.last_order_minutes = 15;
        shop.slot_capacity = 7;
    }

    #[rstest]
    #[case::past("2025-07-15T11:45:00Z", Some("in_the_past"))]
    #[case::soon("2025-07-15T12:15:00Z", None)]
    #[case::off_by_minutes("2025-07-15T12:20:00Z", Some("not_a_slot"))]
    #[case::off_by_a_second("2025-07-15T12:15:01Z", Some("not_a_slot"))]
    #[case::off_by_a_millisecond("2025-07-15T12:15:00.001Z", Some("not_a_slot"))]
    #[case::in_a_day("2025-07-16T12:00:00Z", None)]
    #[case::beyond_a_day("2025-07-16T12:15:00Z", Some("too_far_ahead"))]
    fn slots_are_quarters_within_a_day(#[case] slot: &str, #[case] code: Option<&str>) {
        let refused = match moved(|_| {}, 100, slot) {
            Ok(_) => None,
            Err(Refusal::Unprocessable(faults)) => {
                assert_eq!((faults.len(), faults[0].pointer.as_str()), (1, "/at"));
                Some(faults[0].code.to_string())
            }
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(refused.as_deref(), code);
    }

    #[rstest]
    #[case::later_today("2025-07-15T16:00:00Z", Ok(Some("2025-07-15T15:41:40Z")))]
    #[case::just_scheduled("2025-07-15T12:30:00Z", Ok(Some("2025-07-15T12:11:40Z")))]
    #[case::too_soon_to_wait("2025-07-15T12:15:00Z", Ok(None))]
    #[case::second_of_the_day("2025-07-16T07:15:00Z", Ok(Some("2025-07-16T07:00:00Z")))]
    #[case::third_of_the_day("2025-07-16T07:30:00Z", Ok(Some("2025-07-16T07:11:40Z")))]
    #[case::before_opening("2025-07-16T06:45:00Z", Err((NotAccepting::Closed, "2025-07-16T07:00:00Z")))]
    #[case::last_slot("2025-07-15T17:30:00Z", Ok(Some("2025-07-15T17:11:40Z")))]
    #[case::past_the_cut_off("2025-07-15T17:45:00Z", Err((NotAccepting::LastOrder, "2025-07-16T07:00:00Z")))]
    #[case::at_closing("2025-07-15T18:00:00Z", Err((NotAccepting::Closed, "2025-07-16T07:00:00Z")))]
    fn a_slot_is_offered_in_time(#[case] slot: &str, #[case] offered: Result<Option<&str>, (NotAccepting, &str)>) {
        let expected = offered.map(|offer_at| offer_at.map(at)).map_err(|(why, resume_at)| {
            // 200 s after it opens, in whole quarters.
            let earliest_at = Some(at("2025-07-16T07:15:00Z"));
            Refusal::ShopNotAccepting { why, resume_at: Some(at(resume_at)), earliest_at }
        });
        let moved = moved(from_seven_to_six, 200, slot);
        assert_eq!(moved.as_ref().map(|timing| timing.offer_at).map_err(Clone::clone), expected);
        if let Ok(timing) = moved {
            assert_eq!(timing.slot, Some(Slot { at: at(slot), capacity: 7 }));
            assert_eq!(timing.expected_ready_at, at(slot));
        }
    }

    /// What a slot that cannot be kept is answered with: the reason (none for one that is merely too soon), and the
    /// earliest slot that can.
    fn refused(
        change: impl FnOnce(&mut Shop),
        make_minutes: u32,
        slot: &str,
    ) -> Option<(Option<NotAccepting>, Option<String>)> {
        let told = |at: Instant| at.format("%d. %H:%M").to_string();
        match moved(change, 60 * make_minutes, slot) {
            Ok(timing) => {
                assert_eq!(timing.expected_ready_at, at(slot));
                None
            }
            Err(Refusal::SlotTooSoon { earliest_at }) => Some((None, Some(told(earliest_at)))),
            Err(Refusal::ShopNotAccepting { why, earliest_at, .. }) => Some((Some(why), earliest_at.map(told))),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn until_a_quarter_to_one(shop: &mut Shop) {
        from_seven_to_six(shop);
        let opening = Opening::new("07:00".parse().unwrap(), "12:45".parse().unwrap());
        shop.hours = Hours::every_day(opening);
        shop.last_order_minutes = 0;
    }

    #[rstest]
    #[case::right_now(0, "15T12:00", Some((None, "15. 12:15")))]
    #[case::just_in_time(14, "15T12:15", None)]
    #[case::a_minute_late(15, "15T12:15", Some((None, "15. 12:30")))]
    #[case::the_last_one(29, "15T12:30", None)]
    #[case::closing_before_it_is_ready(80, "15T12:30", Some((Some(NotAccepting::LastOrder), "16. 08:30")))]
    #[case::ready_at_closing_but_no_slot(44, "15T12:30", Some((Some(NotAccepting::LastOrder), "16. 07:45")))]
    #[case::at_opening(3, "16T07:00", Some((None, "16. 07:15")))]
    #[case::after_opening(15, "16T07:15", None)]
    #[case::sooner_after_opening_than_it_takes(80, "16T07:15", Some((None, "16. 08:30")))]
    #[case::never_open_for_so_long(350, "16T12:00", Some((Some(NotAccepting::LastOrder), "")))]
    #[case::closed(80, "15T13:00", Some((Some(NotAccepting::Closed), "16. 08:30")))]
    fn a_slot_is_kept_or_refused_with_the_earliest_one(
        #[case] make_minutes: u32,
        #[case] slot: &str,
        #[case] expected: Option<(Option<NotAccepting>, &str)>,
    ) {
        let expected = expected.map(|(why, earliest)| (why, Some(earliest.to_owned()).filter(|told| !told.is_empty())));
        let slot = format!("2025-07-{slot}:00Z");
        // One order is in progress: most of a minute more.
        assert_eq!(refused(until_a_quarter_to_one, make_minutes, &slot), expected);
    }

    #[test]
    fn a_slot_is_never_sooner_than_as_soon_as_possible() {
        let busy = |shop: &mut Shop| {
            until_a_quarter_to_one(shop);
            shop.mode = Mode::Busy { minutes: 20, until: None };
        };
        assert_eq!(refused(busy, 5, "2025-07-15T12:15:00Z"), Some((None, Some("15. 12:30".into()))));
        assert_eq!(refused(busy, 5, "2025-07-15T12:30:00Z"), None);
        // Further ahead the present queue has gone.
        assert_eq!(refused(busy, 14, "2025-07-16T07:15:00Z"), None);
    }

    #[test]
    fn forty_filter_coffees_are_not_ready_after_closing() {
        for slot in ["now", "2025-07-15T12:30:00Z"] {
            let Err(refused) = moved(until_a_quarter_to_one, 4_800, slot) else { panic!("{slot}") };
            let (resume_at, earliest_at) = (at("2025-07-16T07:00:00Z"), at("2025-07-16T08:30:00Z"));
            let expected = Refusal::ShopNotAccepting {
                why: NotAccepting::LastOrder,
                resume_at: Some(resume_at),
                earliest_at: Some(earliest_at),
            };
            assert_eq!(refused, expected, "{slot}");
        }
        assert!(moved(until_a_quarter_to_one, 2_600, "now").is_ok());
    }

    #[rstest]
    #[case::open(|_: &mut Shop| {}, None)]
    #[case::paused(|shop: &mut Shop| shop.mode = Mode::Paused { until: at("2025-07-15T14:00:00Z") }, Some(NotAccepting::Paused))]
    #[case::without_a_place_for_others(|shop: &mut Shop| shop.max_in_progress = 1, None)]
    fn what_is_moved_to_now_is_judged_like_any_order(
        #[case] change: fn(&mut Shop),
        #[case] expected: Option<NotAccepting>,
    ) {
        let why = match moved(change, 100, "now") {
            Ok(timing) => {
                assert_eq!((timing.offer_at, timing.slot), (None, None));
                None
            }
            Err(Refusal::ShopNotAccepting { why, .. }) => Some(why),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(why, expected);
    }

    #[rstest]
    #[case::over_before_the_slot(Mode::Paused { until: at("2025-07-15T14:00:00Z") }, None)]
    #[case::over_at_the_slot(Mode::Paused { until: at("2025-07-15T15:00:00Z") }, None)]
    #[case::beyond_the_slot(Mode::Paused { until: at("2025-07-15T16:00:00Z") }, Some(NotAccepting::Paused))]
    #[case::busy(Mode::Busy { minutes: 60, until: None }, None)]
    fn the_present_mode_does_not_matter_to_a_slot(#[case] mode: Mode, #[case] expected: Option<NotAccepting>) {
        let change = |shop: &mut Shop| {
            shop.mode = mode;
            shop.last_heartbeat_at = Some(at(NOON) - Duration::hours(1));
            shop.max_in_progress = 0;
        };
        let why = match moved(change, 100, "2025-07-15T15:00:00Z") {
            Ok(_) => None,
            Err(Refusal::ShopNotAccepting { why, .. }) => Some(why),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(why, expected);
    }
}
