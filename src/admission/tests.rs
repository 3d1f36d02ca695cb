//! The rules of admission, one by one and against each other.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::fixtures::{at, customer, order_in, placed, request, requested};
use crate::lifecycle::Status;
use crate::order::{Placed, ShopId};

const PRESENT: Revision = Revision { number: 3, nonce: 33 };
const LATER: i64 = 120;

/// A customer with some orders, who asks for the plain order at `shop`.
struct Case {
    shop: ShopId,
    present: Present,
    seen: Option<Revision>,
    catalogue: CatalogueVerdict<&'static str>,
}

impl Case {
    fn new() -> Self {
        let present = Present { revision: PRESENT, ..Present::default() };
        Self { shop: ShopId::new(), present, seen: None, catalogue: Ok(None) }
    }

    fn request(&self) -> Request {
        let request = request(self.shop);
        Request { basket: request.basket(), fingerprint: request.fingerprint(), seen: self.seen }
    }

    fn similar(mut self, status: Status) -> Self {
        self.present.orders.push(Order { shop_id: self.shop, ..order_in(status) });
        self
    }

    /// One that was made at `at(0)` and ended at `seconds`.
    fn ended(mut self, status: Status, seconds: i64) -> Self {
        let order = Order { shop_id: self.shop, closed_at: Some(at(seconds)), ..order_in(status) };
        self.present.orders.push(order);
        self
    }

    fn others(mut self, count: usize) -> Self {
        self.present.orders.extend((0..count).map(|_| order_in(Status::Accepted)));
        self
    }

    fn keyed(mut self, is_same: bool, is_deleted: bool) -> Self {
        let fingerprint = if is_same { self.request().fingerprint } else { Hash([0; 32]) };
        self.present.keyed = Some(Keyed { order_id: OrderId::new(), fingerprint, is_deleted });
        self
    }

    fn seen(mut self, seen: Revision, nonce_there: Option<i64>) -> Self {
        self.seen = Some(seen);
        self.present.nonce_at_seen = nonce_there;
        self
    }

    fn catalogue(mut self, catalogue: CatalogueVerdict<&'static str>) -> Self {
        self.catalogue = catalogue;
        self
    }

    fn decide_at(&self, seconds: i64) -> Verdict<&'static str> {
        decide(&self.present, &self.request(), self.catalogue, &Rules::default(), at(seconds))
    }

    fn decide(&self) -> Verdict<&'static str> {
        self.decide_at(LATER)
    }
}

#[test]
fn without_any_header_a_new_basket_is_accepted() {
    assert_eq!(Case::new().decide(), Verdict::Accept);
}

#[test]
fn a_known_key_with_the_same_request_answers_the_same_order_whatever_else_is_so() {
    let case = Case::new()
        .keyed(true, false)
        .similar(Status::Accepted)
        .others(9)
        .seen(Revision { number: 9, nonce: 9 }, None)
        .catalogue(Err("sold out"));
    assert_eq!(case.decide(), Verdict::Replay(case.present.keyed.as_ref().unwrap().order_id));
}

#[test]
fn a_known_key_with_another_request_is_refused() {
    assert_eq!(Case::new().keyed(false, false).decide(), Verdict::KeyReused);
}

#[test]
fn the_key_of_a_deleted_order_says_so_whatever_the_request() {
    for is_same in [true, false] {
        let case = Case::new().keyed(is_same, true);
        assert_eq!(case.decide(), Verdict::Deleted(case.present.keyed.as_ref().unwrap().order_id));
    }
}

#[rstest]
#[case::the_present_one(PRESENT, Some(33), Verdict::Accept)]
#[case::an_older_one(Revision { number: 2, nonce: 22 }, Some(22), Verdict::StaleRevision)]
#[case::no_orders_yet(Revision::default(), None, Verdict::StaleRevision)]
#[case::a_number_that_was_never_given(Revision { number: 4, nonce: 44 }, None, Verdict::HistoryDiverged)]
#[case::another_nonce_at_the_present_number(Revision { number: 3, nonce: 34 }, Some(33), Verdict::HistoryDiverged)]
#[case::another_nonce_at_an_older_number(Revision { number: 2, nonce: 23 }, Some(22), Verdict::HistoryDiverged)]
fn the_revision_that_was_seen_must_be_the_present_one(
    #[case] seen: Revision,
    #[case] nonce_there: Option<i64>,
    #[case] verdict: Verdict<&'static str>,
) {
    assert_eq!(Case::new().seen(seen, nonce_there).decide(), verdict);
    assert_eq!(Case::new().seen(seen, nonce_there).keyed(false, false).decide(), Verdict::KeyReused, "the key first");
}

#[test]
fn a_customer_without_orders_has_revision_zero() {
    let mut case = Case::new().seen(Revision::default(), None);
    case.present.revision = Revision::default();
    assert_eq!(case.decide(), Verdict::Accept);
}

#[test]
fn the_same_basket_twice_needs_the_present_revision() {
    let case = Case::new().similar(Status::AwaitingShop);
    assert_eq!(case.decide(), Verdict::Similar(case.present.orders[0].id));
    assert_eq!(case.seen(PRESENT, Some(33)).decide(), Verdict::Accept);
}

#[rstest]
#[case(Status::Completed, true)]
#[case(Status::NotCollected, true)]
#[case(Status::Rejected, false)]
#[case(Status::Failed, false)]
#[case(Status::Cancelled, false)]
fn only_a_recent_success_counts_as_the_same_coffee(#[case] status: Status, #[case] counts: bool) {
    let window = Rules::default().similar_within.num_seconds();
    for lifetime in [5, window, 86_400] {
        let case = Case::new().ended(status, lifetime);
        let is_similar = |after: i64| matches!(case.decide_at(lifetime + after), Verdict::Similar(_));
        assert_eq!(is_similar(4), counts, "four seconds after an order that took {lifetime} s");
        assert_eq!(is_similar(window - 1), counts, "just within the time");
        assert_eq!(case.decide_at(lifetime + window), Verdict::Accept, "ten minutes later");
    }
}

#[test]
fn an_ongoing_order_counts_as_the_same_coffee_however_old_it_is() {
    for status in [Status::New, Status::ActionRequired, Status::Scheduled, Status::Accepted, Status::Ready] {
        assert!(matches!(Case::new().similar(status).decide_at(86_400), Verdict::Similar(_)), "{status}");
    }
}

#[test]
fn the_same_basket_at_another_shop_is_another_order() {
    assert_eq!(Case::new().others(1).decide(), Verdict::Accept);
}

#[test]
fn baskets_ignore_the_order_of_lines_and_options_and_merge_equal_lines() {
    let shop = ShopId::new();
    let basket = |lines: Vec<_>| Basket::new(shop, lines);
    let plain = basket(vec![requested("lungo", &["oat", "large"], 2), requested("roll", &[], 1)]);
    let shuffled = basket(vec![
        requested("roll", &[], 1),
        requested("lungo", &["large", "oat"], 1),
        requested("lungo", &["oat", "large"], 1),
    ]);
    assert_eq!(plain, shuffled);
    let more = basket(vec![requested("lungo", &["oat", "large"], 3), requested("roll", &[], 1)]);
    let other_option = basket(vec![requested("lungo", &["oat"], 2), requested("roll", &[], 1)]);
    let twice_oat = basket(vec![requested("lungo", &["oat", "oat", "large"], 2), requested("roll", &[], 1)]);
    for other in [more, other_option, twice_oat] {
        assert_ne!(plain, other);
    }
}

#[test]
fn slot_note_payment_and_metadata_do_not_make_it_another_coffee() {
    let mut case = Case::new().similar(Status::Accepted);
    let mut other = Placed { payment_method: "pm_other".into(), ..placed() };
    other.metadata.insert("a".into(), "b".into());
    case.present.orders[0].placed = other;
    case.present.orders[0].pickup.note = Some("quick".into());
    case.present.orders[0].pickup.at = Some(at(9000));
    assert!(matches!(case.decide(), Verdict::Similar(_)));
}

#[test]
fn five_ongoing_orders_are_the_limit_and_finished_ones_do_not_count() {
    let mut case = Case::new().others(4);
    case.present.orders.push(order_in(Status::Completed));
    assert_eq!(case.decide(), Verdict::Accept);
    let case = case.others(1);
    assert_eq!(case.decide(), Verdict::LimitExceeded);
    assert_eq!(case.seen(PRESENT, Some(33)).decide(), Verdict::LimitExceeded, "with a revision as well");
}

#[test]
fn similar_comes_before_the_limit_and_the_limit_before_the_catalogue() {
    let refused = || Case::new().catalogue(Err("sold out"));
    assert_eq!(refused().decide(), Verdict::Catalogue("sold out"));
    assert_eq!(refused().others(5).decide(), Verdict::LimitExceeded);
    assert!(matches!(refused().others(5).similar(Status::New).decide(), Verdict::Similar(_)));
    let stale = Revision { number: 1, nonce: 11 };
    let case = refused().others(5).similar(Status::New).seen(stale, Some(11));
    assert_eq!(case.decide(), Verdict::StaleRevision);
}

#[test]
fn a_slot_takes_as_many_orders_as_it_holds() {
    for (taken, verdict) in [(1, Verdict::Accept), (2, Verdict::SlotFull), (3, Verdict::SlotFull)] {
        let mut case = Case::new().catalogue(Ok(Some(2)));
        case.present.slot_taken = taken;
        assert_eq!(case.decide(), verdict, "{taken} taken");
    }
}

fn any_status() -> impl Strategy<Value = Status> {
    proptest::sample::select(<Status as strum::VariantArray>::VARIANTS)
}

fn any_case() -> impl Strategy<Value = Case> {
    let key = proptest::option::of((any::<bool>(), any::<bool>()));
    let seen = proptest::option::of((0..5_i64, any::<bool>()));
    let orders = proptest::collection::vec((any_status(), any::<bool>()), 0..8);
    let catalogue = prop_oneof![Just(Err("sold out")), Just(Ok(None)), Just(Ok(Some(2)))];
    (key, seen, orders, catalogue, 0..4_u32).prop_map(|(key, seen, orders, catalogue, slot_taken)| {
        let mut case = Case::new().catalogue(catalogue);
        case.present.slot_taken = slot_taken;
        for (status, is_similar) in orders {
            case = if is_similar { case.similar(status) } else { case.others(1) };
        }
        if let Some((is_same, is_deleted)) = key {
            case = case.keyed(is_same, is_deleted);
        }
        if let Some((number, is_ours)) = seen {
            let nonce_there = (number > 0 && number <= PRESENT.number).then_some(number * 11);
            case = case.seen(Revision { number, nonce: number * 11 + i64::from(!is_ours) }, nonce_there);
        }
        case
    })
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let orders: Vec<_> =
            self.present.orders.iter().map(|order| (order.status, order.shop_id == self.shop)).collect();
        write!(f, "{orders:?}, key {:?}, seen {:?}, {:?}", self.present.keyed, self.seen, self.catalogue)
    }
}

proptest! {
    #[test]
    fn what_is_accepted_is_never_a_second_coffee_by_mistake(case in any_case(), seconds in 0..2000_i64) {
        if case.decide_at(seconds) == Verdict::Accept {
            prop_assert!(case.present.keyed.is_none(), "a known key never creates");
            prop_assert!(case.catalogue.is_ok());
            let ongoing = case.present.orders.iter().filter(|order| order.is_ongoing());
            prop_assert!(ongoing.count() < Rules::default().max_ongoing);
            match case.seen {
                Some(seen) => prop_assert_eq!(seen, PRESENT, "only who has seen all there is may order it again"),
                None => {
                    let twin = |order: &Order| order.is_ongoing() && order.shop_id == case.shop;
                    prop_assert!(!case.present.orders.iter().any(twin));
                }
            }
        }
    }

    #[test]
    fn a_key_decides_alone(case in any_case(), seconds in 0..2000_i64) {
        let verdict = case.decide_at(seconds);
        let by_key = matches!(verdict, Verdict::Replay(_) | Verdict::Deleted(_) | Verdict::KeyReused);
        prop_assert_eq!(by_key, case.present.keyed.is_some());
    }

    #[test]
    fn a_revision_reads_back_for_its_customer_and_for_nobody_else(
        number in 0..i64::MAX,
        nonce in any::<i64>(),
        other in "[a-z0-9]{1,20}",
    ) {
        let (partner, stranger) = (PartnerId::new(), CustomerId(format!("not {other}")));
        let revision = Revision { number, nonce };
        let token = revision.token(partner, &customer());
        prop_assert_eq!(Revision::parse(&token, partner, &customer()), Some(revision));
        prop_assert_eq!(Revision::parse(&token, partner, &stranger), None);
        prop_assert_eq!(Revision::parse(&token, PartnerId::new(), &customer()), None);
    }

    #[test]
    fn garbage_is_no_revision(garbage in ".{0,40}") {
        prop_assert_eq!(Revision::parse(&garbage, PartnerId::new(), &customer()), None);
    }
}
