//! The simulated gateway, as it is during a drill.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use crate::drills::{Actor, Drills};
use crate::gateway::{Charge, Gateway, Held, HeldStatus, Page, Trouble};
use crate::order;

/// A gateway that plays a part while a drill is on.
pub struct Drilled {
    pub gateway: Arc<dyn Gateway>,
    pub drills: Arc<Drills>,
}

impl Drilled {
    /// Whether it is to refuse.
    async fn play(&self) -> bool {
        self.drills.play(Actor::Gateway, Instant::now()).await
    }
}

#[async_trait]
impl Gateway for Drilled {
    async fn authorize(&self, charge: &Charge) -> Result<Held, Trouble> {
        if !self.play().await || self.gateway.look_up(charge).await?.is_some() {
            return self.gateway.authorize(charge).await;
        }
        // Binds the key: whatever is still on its way holds nothing either.
        let bound = self.gateway.void(charge).await?;
        let refusal = Some("drill".to_owned());
        Ok(Held { status: HeldStatus::Declined, total: charge.total, refusal, ..bound })
    }

    async fn look_up(&self, charge: &Charge) -> Result<Option<Held>, Trouble> {
        self.play().await;
        self.gateway.look_up(charge).await
    }

    async fn capture(&self, charge: &Charge, amount: i64) -> Result<Held, Trouble> {
        if self.play().await {
            return Err(Trouble::Refused("drill".into()));
        }
        self.gateway.capture(charge, amount).await
    }

    async fn void(&self, charge: &Charge) -> Result<Held, Trouble> {
        self.give_back(self.play().await)?;
        self.gateway.void(charge).await
    }

    async fn refund(&self, charge: &Charge, total_refunded: i64) -> Result<Held, Trouble> {
        self.give_back(self.play().await)?;
        self.gateway.refund(charge, total_refunded).await
    }

    async fn list(&self, made: &Range<order::Instant>, after: Option<&str>) -> Result<Page, Trouble> {
        self.gateway.list(made, after).await
    }
}

impl Drilled {
    /// Money that goes back is refused for now only: a drill owes nobody anything in the end.
    fn give_back(&self, refuses: bool) -> Result<(), Trouble> {
        if refuses { Err(Trouble::Unavailable("drill".into())) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drills::Manner;
    use crate::gateway::simulator::GatewaySimulator;
    use crate::order::OrderId;
    use crate::simulator::Speed;

    #[tokio::test]
    async fn whoever_is_declined_in_a_drill_is_held_to_nothing_afterwards() {
        let simulator = Arc::new(GatewaySimulator::open(None, Speed::Zero, String::new()).unwrap());
        let drills = Arc::new(Drills::default());
        let gateway = Drilled { gateway: simulator.clone(), drills: drills.clone() };
        let order_id = OrderId::new();
        let total = crate::order::Money { amount: 820, currency: "EUR".parse().unwrap() };
        let charge = |key: &str| Charge {
            key: key.into(),
            order_id,
            total,
            method: "pm_card_visa".into(),
            traceparent: None,
            reference: None,
        };
        let before = gateway.authorize(&charge("before")).await.unwrap();
        assert_eq!(before.status, HeldStatus::Authorized);
        let until = Instant::now() + std::time::Duration::from_secs(60);
        drills.begin(Actor::Gateway, Manner::Rejecting, until);
        let during = gateway.authorize(&charge("during")).await.unwrap();
        assert_eq!((during.status, during.total, during.order_id), (HeldStatus::Declined, total, order_id));
        assert_eq!(gateway.authorize(&charge("before")).await.unwrap().status, HeldStatus::Authorized);
        assert!(matches!(gateway.capture(&charge("before"), 820).await, Err(Trouble::Refused(_))));
        assert!(matches!(gateway.void(&charge("before")).await, Err(Trouble::Unavailable(_))));
        drills.end(Actor::Gateway);
        let late = simulator.authorize(&charge("during")).await;
        assert!(late.is_err() || late.unwrap().status == HeldStatus::Voided, "nothing is held under that key");
        assert_eq!(gateway.capture(&charge("before"), 820).await.unwrap().captured, 820);
    }
}
