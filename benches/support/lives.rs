//! Orders for a store that has no service around it.

use chrono::Utc;
use eyre::{Result, eyre};
use lungo::catalogue::Catalogue;
use lungo::catalogue::demo::{LUNGO_CENTRAL, PARTNER, demo};
use lungo::lifecycle::{Event, Stage};
use lungo::order::{CustomerId, Instant as At, Money, NewOrder, OnUnavailable, OrderId, Pickup, RequestedLine};
use lungo::store::{Accept, Claim, Claims};

/// The demo's.
pub fn catalogue() -> Catalogue {
    let demo = demo();
    Catalogue::new(demo.shops, demo.items, demo.shop_items, Default::default())
}

/// The present.
pub fn now() -> At {
    Utc::now()
}

/// An order of two lungos, which the customer gives a key of the same name and time.
pub fn accept(catalogue: &Catalogue, customer: String, now: At) -> Accept {
    let euro = "EUR".parse().expect("the euro is a known currency");
    let request = NewOrder {
        customer_id: CustomerId(customer.clone()),
        shop_id: LUNGO_CENTRAL,
        lines: vec![RequestedLine { item_id: "lungo".into(), options: vec!["milk_oat".into()], quantity: 2 }],
        total: Some(Money { amount: 820, currency: euro }),
        payment_method: "pm_card_visa".into(),
        pickup: Pickup::default(),
        on_unavailable: OnUnavailable::Cancel,
        metadata: Default::default(),
        replaces_order_id: None,
    };
    Accept {
        order_id: OrderId::new(),
        partner_id: PARTNER,
        catalogue: catalogue.verdict(PARTNER, &request, now, None),
        request,
        idempotency_key: Some(format!("{customer}-{}", now.timestamp())),
        seen: None,
        draft: None,
        now,
    }
}

/// The claims that the store handed over: those of the batch that was just committed.
pub async fn take(claims: &mut Claims, stage: Stage, count: usize) -> Result<Vec<Claim>> {
    let (_, queue) = claims.0.iter_mut().find(|(known, _)| *known == stage).expect("every stage has a queue");
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        taken.push(queue.recv().await.ok_or_else(|| eyre!("the store has ended"))?);
    }
    Ok(taken)
}

/// What a stage that goes well finds out.
pub fn event(stage: Stage, claim: &Claim) -> Event {
    match stage {
        Stage::Authorize => Event::PaymentAuthorized {
            amount: claim.order().placed.total.amount,
            reference: format!("sim_{:032x}", claim.order().id.0.as_u128()),
            capture_before: Some(now() + chrono::Duration::days(7)),
        },
        Stage::Capture => Event::PaymentCaptured { amount: claim.order().placed.total.amount },
        _ => Event::ShopAccepted { minutes: None, dropped_lines: Vec::new() },
    }
}
