//! A shop as operators set it up and as it reports itself: hours, mode, heartbeat, capacity.

use std::sync::Arc;

use chrono::{Datelike, Duration, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::catalogue::calendar::Exception;
use crate::catalogue::hours::{Hours, Opening, Span};
use crate::catalogue::timezone::Timezone;
use crate::error::Fault;
use crate::order::{Currency, Instant, PartnerId, ShopId, text};

/// A silent shop is looked at by an operator after this time …
const LATE_AFTER: Duration = Duration::seconds(60);
/// … and is offered nothing more after this.
const OFFLINE_AFTER: Duration = Duration::minutes(3);

/// A place where coffee is made and handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shop {
    pub shop_id: ShopId,
    pub partner_id: PartnerId,
    pub name: String,
    /// Stored by its IANA name, such as `Europe/Berlin`.
    pub timezone: Timezone,
    /// All prices at this shop are minor units of it.
    pub currency: Currency,
    pub hours: Hours,
    /// Dates on which other hours hold. Stored apart, and put here by the catalogue.
    #[serde(skip)]
    pub exceptions: Arc<[Exception]>,
    /// Those of all shops of its partner.
    #[serde(skip)]
    pub common_exceptions: Arc<[Exception]>,
    /// Nothing is taken for the last minutes before closing.
    pub last_order_minutes: u32,
    pub mode: Mode,
    /// `None` for a shop that has never sent one: then silence means nothing.
    pub last_heartbeat_at: Option<Instant>,
    /// Heartbeats up to then are no longer expected to go on: the tablet signed out, or the shop or an operator said so.
    /// A later heartbeat begins the watch anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_ended_at: Option<Instant>,
    /// Orders are accepted on the shop's behalf.
    pub auto_accept: bool,
    /// Orders in progress from which on nothing more is taken for now; slots have a limit of their own.
    pub max_in_progress: u32,
    /// Whether the shop says when it starts, finishes and hands over; otherwise the timer does.
    pub tracks_steps: bool,
    /// Places where orders are made side by side.
    pub stations: u32,
    /// Scheduled orders that fit in one 15-minute slot.
    pub slot_capacity: u32,
    /// Played by the built-in simulator.
    pub simulated: bool,
}

/// What the shop says about new orders for now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Mode {
    #[default]
    Open,
    /// Takes orders, and needs so much longer; without an end it holds until it is changed.
    Busy {
        minutes: u32,
        #[serde(default)]
        until: Option<Instant>,
    },
    /// Takes no orders; it opens again by itself.
    Paused { until: Instant },
}

/// What the heartbeats say about a shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// No heartbeat is expected, and the shop is believed to be there.
    Unknown,
    Online,
    /// Silent for a minute: worth a warning.
    Late,
    /// Silent for three minutes: nothing more is offered.
    Offline,
}

/// Why a shop takes no order, the most lasting reason first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotAccepting {
    Closed,
    /// It is open, and closes before the order could be ready.
    LastOrder,
    Paused,
    Offline,
    /// It has as many orders in progress as it may have.
    Full,
}

impl Shop {
    /// A new shop with a new id: always open, UTC, two stations, tracked, neither simulated nor auto-accepting.
    pub fn new(partner_id: PartnerId, name: impl Into<String>, currency: Currency) -> Self {
        Self {
            shop_id: ShopId::new(),
            partner_id,
            name: name.into(),
            timezone: Timezone::utc(),
            currency,
            hours: Hours::Always,
            exceptions: Arc::default(),
            common_exceptions: Arc::default(),
            last_order_minutes: 0,
            mode: Mode::Open,
            last_heartbeat_at: None,
            watch_ended_at: None,
            auto_accept: false,
            max_in_progress: 100,
            tracks_steps: true,
            stations: 2,
            slot_capacity: 20,
            simulated: false,
        }
    }

    /// What the heartbeats say about the shop at `now`.
    ///
    /// Silence is judged only while a tablet is expected to be there. A simulated shop works without one: a person who
    /// opened its board and left must not close it.
    pub fn presence(&self, now: Instant) -> Presence {
        let expected = self.last_heartbeat_at.filter(|last| self.watch_ended_at.is_none_or(|ended| ended < *last));
        match expected.map(|last| now - last) {
            None => Presence::Unknown,
            Some(silence) if silence >= LATE_AFTER && self.simulated => Presence::Unknown,
            Some(silence) if silence >= OFFLINE_AFTER => Presence::Offline,
            Some(silence) if silence >= LATE_AFTER => Presence::Late,
            Some(_) => Presence::Online,
        }
    }

    /// Expects no heartbeat until the next one comes: silence means nothing any more.
    pub fn end_watch(&mut self, now: Instant) {
        self.watch_ended_at = self.watch_ended_at.max(self.last_heartbeat_at).max(Some(now));
    }

    /// Changes the mode at the shop's own word. A shop that opens itself while its tablet is silent is there: it does not
    /// wait for that tablet any more.
    pub fn set_own_mode(&mut self, mode: Mode, now: Instant) {
        self.mode = mode;
        if mode == Mode::Open && self.presence(now) == Presence::Offline {
            self.end_watch(now);
        }
    }

    /// How long the shop is paused, if it still is.
    pub fn paused_until(&self, now: Instant) -> Option<Instant> {
        match self.mode {
            Mode::Paused { until } if until > now => Some(until),
            _ => None,
        }
    }

    /// The mode that holds at `now`: one that has ended is an open shop.
    pub fn mode_at(&self, now: Instant) -> Mode {
        match self.mode {
            Mode::Busy { until: Some(until), .. } | Mode::Paused { until } if until <= now => Mode::Open,
            mode => mode,
        }
    }

    /// Minutes that a busy shop adds to every wait; 0 for one that is not.
    pub fn busy_minutes(&self, now: Instant) -> u32 {
        match self.mode {
            Mode::Busy { minutes, until } if until.is_none_or(|until| until > now) => minutes,
            _ => 0,
        }
    }

    /// When it is open, as [`Hours::spans`] has it.
    pub fn spans(&self, from: Instant) -> Vec<Span> {
        self.hours.spans(&self.timezone, |date| self.openings_of(date), from)
    }

    /// What holds on a date instead of the weekly hours.
    fn openings_of(&self, date: NaiveDate) -> Option<&[Opening]> {
        let mut exceptions = self.exceptions.iter().chain(&*self.common_exceptions);
        exceptions.find(|exception| exception.date == date).map(|exception| exception.openings.as_slice())
    }

    /// The dates from today on at which other hours hold, its own word before its partner's.
    pub fn coming_exceptions(&self, now: Instant) -> Vec<&Exception> {
        let today = self.timezone.date(now);
        let own = |date| self.exceptions.iter().any(|exception| exception.date == date);
        let common = self.common_exceptions.iter().filter(|exception| !own(exception.date));
        let mut coming: Vec<_> =
            self.exceptions.iter().chain(common).filter(|exception| exception.date >= today).collect();
        coming.sort_by_key(|exception| exception.date);
        coming
    }

    /// By its hours alone, whether the shop serves orders at `at`: the present span of hours, or why not.
    pub fn serving_at(&self, at: Instant) -> Result<Span, NotAccepting> {
        match self.spans(at).first() {
            Some(span) if span.opens_at > at => Err(NotAccepting::Closed),
            Some(span) if at >= self.last_order_at(span) => Err(NotAccepting::LastOrder),
            Some(span) => Ok(*span),
            None => Err(NotAccepting::Closed),
        }
    }

    /// By its hours alone, the first moment not before `from` at which the shop serves an order that takes so long, and
    /// has it ready before it closes; `None` if that is more than eight days away.
    pub fn next_open(&self, from: Instant, make: Duration) -> Option<Instant> {
        let spans = self.spans(from);
        spans.iter().map(|span| (span.opens_at.max(from), span)).find_map(|(at, span)| {
            let is_long_enough = at < self.last_order_at(span) && make <= span.closes_at - at;
            is_long_enough.then_some(at)
        })
    }

    /// From then on nothing is taken until the end of the span.
    pub(super) fn last_order_at(&self, span: &Span) -> Instant {
        span.closes_at - Duration::minutes(self.last_order_minutes.into())
    }

    /// All that is wrong with a shop that somebody typed in.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut within = |pointer: &str, value: u32, least: u32, most: u32| {
            if !(least..=most).contains(&value) {
                faults.push(Fault::new(pointer, "out_of_range", format!("must be from {least} to {most}")));
            }
        };
        within("/last_order_minutes", self.last_order_minutes, 0, 240);
        within("/max_in_progress", self.max_in_progress, 1, 10_000);
        within("/stations", self.stations, 1, 100);
        within("/slot_capacity", self.slot_capacity, 0, 10_000);
        let ends = match self.mode {
            Mode::Open => None,
            Mode::Busy { minutes, until } => {
                within("/mode/minutes", minutes, 1, 240);
                until
            }
            Mode::Paused { until } => Some(until),
        };
        if ends.is_some_and(|until| !(2000..9999).contains(&until.year())) {
            faults.push(Fault::new("/mode/until", "out_of_range", "must be in the years 2000 to 9998"));
        }
        if !self.currency.is_in_use() {
            let detail = format!("customers cannot pay in {}: name the currency of the shop's country", self.currency);
            faults.push(Fault::new("/currency", "not_allowed", detail));
        }
        faults.extend(check_name("/name", &self.name));
        faults.extend(self.hours.check("/hours"));
        faults
    }
}

/// A name that people read: 1 to 100 characters, none of them a control character, no blank ends.
pub fn check_name(pointer: &str, name: &str) -> Option<Fault> {
    let is_good = (1..=100).contains(&name.chars().count())
        && text::trimmed(name) == name
        && !text::is_blank(name)
        && !name.chars().any(char::is_control);
    (!is_good).then(|| {
        Fault::new(pointer, "invalid", "must have 1 to 100 characters, without control characters or blank ends")
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::catalogue::hours::Opening;

    fn at(text: &str) -> Instant {
        text.parse().unwrap()
    }

    fn shop() -> Shop {
        Shop::new(PartnerId::new(), "Lungo Central", "EUR".parse().unwrap())
    }

    fn daily(open: &str, close: &str) -> Hours {
        Hours::every_day(Opening::new(open.parse().unwrap(), close.parse().unwrap()))
    }

    #[test]
    fn a_shop_asks_for_money_that_its_customers_have_and_one_that_does_not_still_loads() {
        for code in ["XXX", "XAU", "XTS", "CHE", "HRK"] {
            let shop = Shop { currency: code.parse().unwrap(), ..shop() };
            let pointers: Vec<_> = shop.check().into_iter().map(|fault| fault.pointer).collect();
            assert_eq!(pointers, ["/currency"], "{code}");
            let stored = serde_json::to_string(&shop).unwrap();
            assert_eq!(serde_json::from_str::<Shop>(&stored).unwrap(), shop);
        }
    }

    #[rstest]
    #[case(None, Presence::Unknown)]
    #[case(Some(-5), Presence::Online)]
    #[case(Some(0), Presence::Online)]
    #[case(Some(59), Presence::Online)]
    #[case(Some(60), Presence::Late)]
    #[case(Some(179), Presence::Late)]
    #[case(Some(180), Presence::Offline)]
    fn presence_is_judged_by_silence(#[case] silence: Option<i64>, #[case] expected: Presence) {
        let now = at("2025-07-15T12:00:00Z");
        let shop = Shop { last_heartbeat_at: silence.map(|seconds| now - Duration::seconds(seconds)), ..shop() };
        assert_eq!(shop.presence(now), expected);
    }

    #[test]
    fn silence_is_judged_only_while_a_tablet_is_expected() {
        let now = at("2025-07-15T12:00:00Z");
        let silent = Shop { last_heartbeat_at: Some(now - Duration::hours(1)), ..shop() };
        assert_eq!(silent.presence(now), Presence::Offline);
        assert_eq!(Shop { simulated: true, ..silent.clone() }.presence(now), Presence::Unknown);
        let mut ended = silent.clone();
        ended.end_watch(now);
        assert_eq!(ended.presence(now + Duration::days(1)), Presence::Unknown);
        ended.last_heartbeat_at = Some(now + Duration::seconds(1));
        assert_eq!(ended.presence(now + Duration::seconds(2)), Presence::Online);
        assert_eq!(ended.presence(now + Duration::minutes(4)), Presence::Offline, "the watch began anew");

        let mut opened = silent.clone();
        opened.set_own_mode(Mode::Open, now);
        assert_eq!(opened.presence(now), Presence::Unknown);
        let mut busy = silent;
        busy.set_own_mode(Mode::Busy { minutes: 5, until: None }, now);
        assert_eq!(busy.presence(now), Presence::Offline);
    }

    #[test]
    fn a_shop_without_an_end_of_its_watch_is_stored_as_before() {
        let stored = serde_json::to_value(shop()).unwrap();
        assert_eq!(stored.get("watch_ended_at"), None);
        assert_eq!(serde_json::from_value::<Shop>(stored).unwrap().watch_ended_at, None);
    }

    #[rstest]
    #[case::open("2025-07-15T07:00:00Z", Ok("2025-07-15T07:00:00Z"), "2025-07-15T07:00:00Z")]
    #[case::last_moment("2025-07-15T17:44:59Z", Ok("2025-07-15T07:00:00Z"), "2025-07-15T17:44:59Z")]
    #[case::cut_off("2025-07-15T17:45:00Z", Err(NotAccepting::LastOrder), "2025-07-16T07:00:00Z")]
    #[case::closed("2025-07-15T18:00:00Z", Err(NotAccepting::Closed), "2025-07-16T07:00:00Z")]
    #[case::early("2025-07-15T06:59:59Z", Err(NotAccepting::Closed), "2025-07-15T07:00:00Z")]
    fn hours_and_cut_off(#[case] now: &str, #[case] opened: Result<&str, NotAccepting>, #[case] next: &str) {
        let shop = Shop { hours: daily("07:00", "18:00"), last_order_minutes: 15, ..shop() };
        assert_eq!(shop.serving_at(at(now)).map(|span| span.opens_at), opened.map(at));
        assert_eq!(shop.next_open(at(now), Duration::zero()), Some(at(next)));
    }

    #[test]
    fn an_opening_shorter_than_the_cut_off_serves_nobody() {
        let shop = Shop { hours: daily("07:00", "07:10"), last_order_minutes: 15, ..shop() };
        assert_eq!(shop.serving_at(at("2025-07-15T07:05:00Z")), Err(NotAccepting::LastOrder));
        assert_eq!(shop.next_open(at("2025-07-15T07:05:00Z"), Duration::zero()), None);
    }

    #[test]
    fn an_order_is_served_only_where_it_can_be_ready_before_closing() {
        let shop = Shop { hours: daily("07:00", "08:00"), ..shop() };
        let next = |minutes| shop.next_open(at("2025-07-15T07:30:00Z"), Duration::minutes(minutes));
        assert_eq!(next(30), Some(at("2025-07-15T07:30:00Z")));
        assert_eq!(next(31), Some(at("2025-07-16T07:00:00Z")));
        assert_eq!(next(60), Some(at("2025-07-16T07:00:00Z")));
        assert_eq!(next(61), None, "it is never open for so long");
        assert_eq!(
            Shop { hours: Hours::Always, ..shop.clone() }.next_open(at("2025-07-15T07:30:00Z"), Duration::MAX / 4),
            None
        );
    }

    #[test]
    fn modes_end_by_themselves() {
        let end = at("2025-07-15T12:00:00Z");
        let before = end - Duration::milliseconds(1);
        let paused = Shop { mode: Mode::Paused { until: end }, ..shop() };
        assert_eq!((paused.paused_until(before), paused.paused_until(end)), (Some(end), None));
        assert_eq!((paused.mode_at(before), paused.mode_at(end)), (paused.mode, Mode::Open));
        let busy = Shop { mode: Mode::Busy { minutes: 7, until: Some(end) }, ..shop() };
        assert_eq!((busy.busy_minutes(before), busy.busy_minutes(end)), (7, 0));
        let busy = Shop { mode: Mode::Busy { minutes: 7, until: None }, ..shop() };
        assert_eq!(busy.busy_minutes(end), 7);
    }

    #[test]
    fn a_shop_survives_json_and_names_its_zone() {
        let shop = Shop {
            timezone: "Asia/Kathmandu".parse().unwrap(),
            mode: Mode::Busy { minutes: 5, until: None },
            hours: daily("18:00", "02:00"),
            ..shop()
        };
        let json = serde_json::to_value(&shop).unwrap();
        assert_eq!(json["timezone"], "Asia/Kathmandu");
        assert_eq!(json["mode"], serde_json::json!({"mode": "busy", "minutes": 5, "until": null}));
        assert_eq!(serde_json::from_value::<Shop>(json.clone()).unwrap(), shop);

        let mut elsewhere = json;
        elsewhere["timezone"] = "Moon/Tycho".into();
        assert!(serde_json::from_value::<Shop>(elsewhere).unwrap_err().to_string().contains("Moon/Tycho"));
    }

    #[test]
    fn faults_of_a_shop_are_all_told() {
        assert_eq!(shop().check(), []);
        let wrong = Shop {
            name: " x".into(),
            last_order_minutes: 241,
            max_in_progress: 0,
            stations: 0,
            slot_capacity: 10_001,
            mode: Mode::Busy { minutes: 0, until: Some(Instant::MAX_UTC) },
            hours: daily("08:00", "08:00"),
            ..shop()
        };
        let pointers: Vec<_> = wrong.check().into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(
            pointers[..7],
            [
                "/last_order_minutes",
                "/max_in_progress",
                "/stations",
                "/slot_capacity",
                "/mode/minutes",
                "/mode/until",
                "/name"
            ]
        );
        assert_eq!(pointers[7..].len(), 7, "each day has the same wrong opening");
    }
}
