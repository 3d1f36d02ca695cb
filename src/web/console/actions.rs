//! What can be done in the console, and by whom: ONE table. A handler is reached only through it.

use serde::Serialize;
use strum::{Display, IntoStaticStr, VariantArray};

use crate::access::{Role, User};

/// One line of the table.
#[derive(Debug)]
pub struct Rule {
    pub action: Action,
    /// Whoever has one of these roles. Administrators may do everything.
    pub roles: &'static [Role],
    /// Whether whoever does it has to say why.
    pub needs_reason: bool,
    /// In words, for the audit log and for whoever may not.
    pub meaning: &'static str,
}

macro_rules! actions {
    ($($action:ident [$($role:ident),*] $reason:ident $meaning:literal;)*) => {
        /// What can be done in the console, or seen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Display, IntoStaticStr, VariantArray)]
        #[serde(rename_all = "snake_case")]
        #[strum(serialize_all = "snake_case")]
        pub enum Action { $(#[doc = $meaning] $action),* }

        /// Who may do what.
        pub const TABLE: &[Rule] = &[$(Rule {
            action: Action::$action,
            roles: &[$(Role::$role),*],
            needs_reason: actions!(@ $reason),
            meaning: $meaning,
        }),*];
    };
    (@ why) => { true };
    (@ plain) => { false };
}

actions! {
    LogOut          [Support, Finance, ShopOps] plain "log out";
    SeeOwnSessions  [Support, Finance, ShopOps] plain "see one's own sessions";
    EndOwnSession   [Support, Finance, ShopOps] plain "end one of one's own sessions";
    ChangePassword  [Support, Finance, ShopOps] plain "change one's own password";
    SeeOrders       [Support, Finance, ShopOps] plain "see what happens, without personal data";
    SeePersonalData [Support]                   plain "see who ordered, and what that person wrote";
    RetryOrder      [Support, Finance, ShopOps] why   "have an order's pending work tried again";
    CancelOrder     [Support]                   why   "cancel an order";
    ForceComplete   [Support, ShopOps]          why   "end an order as handed over";
    RefundOrder     [Support, Finance]          why   "give money back";
    ReduceRefund    [Finance]                   why   "give up a refund that the gateway refuses";
    ExtendDeadline  [Support, ShopOps]          why   "give an order more time";
    RepeatOffer     [Support, ShopOps]          why   "have the shop told of an order once more";
    NoteOrder       [Support, Finance, ShopOps] why   "write a note on an order";
    KeepView        [Support, Finance, ShopOps] plain "keep a list of orders under a name";
    SeeMoney        [Support, Finance, ShopOps] plain "see money that is not where it should be";
    LookUpPayment   [Support, Finance]          why   "ask the gateway what has become of a payment";
    VoidPayment     [Finance]                   why   "give up a hold that could not be taken";
    SettlePayment   [Finance]                   why   "settle a payment by evidence";
    AgreeSettlement [Finance]                   why   "agree to what somebody else settled by evidence";
    WithdrawSettlement [Finance]                why   "withdraw what was to be settled by evidence";
    SeeShops        [Support, Finance, ShopOps] plain "see shops and menus";
    SetShopMode     [Support, ShopOps]          why   "open a shop, pause it, or say that it is busy";
    EndShopWatch    [Support, ShopOps]          why   "expect no more heartbeats of a shop";
    SetShopItem     [ShopOps]                   why   "change what a shop has, and what that costs there";
    EditItem        [ShopOps]                   why   "change a partner's menu";
    SeePartners     [Support, Finance, ShopOps] plain "see partners, without their secrets";
    MakeKey         []                          why   "make a key";
    RevokeKey       []                          why   "revoke a key";
    SwitchWebhook   [Support]                   why   "switch a webhook on or off";
    ResendDelivery  [Support]                   why   "have a webhook's delivery sent again";
    SeeRequests     [Support]                   plain "see what was asked for, and what was decided";
    SeeStages       [Support, Finance, ShopOps] plain "see what waits at each stage, and who works on it";
    HoldWork        [Support]                   why   "hold a stage, or somebody outside, for a while";
    LiftHold        [Support]                   why   "end a hold before its time";
    CloseBreaker    [Support]                   why   "have somebody asked again that did not answer";
    SeeDrills       [Support, Finance, ShopOps] plain "see the drills";
    RunDrill        []                          why   "bring the simulators into trouble";
    EndDrill        [Support, Finance, ShopOps] plain "end a drill";
    SeeBulk         [Support, Finance, ShopOps] plain "see what is done to many orders at once";
    CountBulk       [Support, Finance, ShopOps] plain "count what would be done to many orders at once";
    RunBulk         [Support, Finance, ShopOps] why   "do to many orders at once what one may do to one";
    StopBulk        [Support, Finance, ShopOps] plain "stop what is being done to many orders";
    SeeAudit        [Support, Finance, ShopOps] plain "read the audit log";
    SeeUsers        []                          plain "see users and their sessions";
    InviteUser      []                          why   "invite a user, or let one choose a new password";
    ChangeUser      []                          why   "change a user's roles, or shut a user out";
    EndSession      []                          why   "end somebody's session";
}

impl Action {
    /// The word that stands for this value everywhere outside Rust.
    pub fn word(self) -> &'static str {
        self.into()
    }

    pub fn rule(self) -> &'static Rule {
        &TABLE[self as usize]
    }

    pub fn is_allowed_to(self, user: &User) -> bool {
        user.roles.iter().any(|role| *role == Role::Admin || self.rule().roles.contains(role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_its_line() {
        for (action, rule) in Action::VARIANTS.iter().zip(TABLE) {
            assert_eq!(*action, rule.action);
            assert_eq!(action.rule().action, *action);
        }
        assert_eq!(Action::VARIANTS.len(), TABLE.len());
    }

    #[test]
    fn whoever_changes_users_is_an_administrator_and_says_why() {
        for action in [Action::InviteUser, Action::ChangeUser, Action::EndSession] {
            assert!(action.rule().roles.is_empty() && action.rule().needs_reason, "{action}");
        }
    }
}
