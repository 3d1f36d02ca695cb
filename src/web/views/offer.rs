//! What a shop offers, as its partner, its tablet and the operators see it: its state, its promise, its menu.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::catalogue::{
    Catalogue, Exception, Hours, ItemOption, MenuItem, Mode, NotAccepting, OptionGroup, Presence, Shop,
};
use crate::order::{Currency, Instant, Money};
use crate::web::vocabulary::{ModeName, Timestamp, shapes};

/// A shop, and what it would say now to an order for as soon as possible.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ShopView {
    pub shop_id: Uuid,
    pub name: String,
    /// By its IANA name.
    #[schema(example = "Europe/Berlin")]
    pub timezone: String,
    /// Of all prices at this shop.
    pub currency: Currency,
    #[schema(value_type = shapes::Hours)]
    pub hours: Hours,
    /// From today on: dates on which other hours hold, of this shop and of all its partner's.
    #[schema(value_type = Vec<shapes::Exception>)]
    pub exceptions: Vec<Exception>,
    pub mode: ModeView,
    pub presence: Presence,
    /// Whether the shop says when it starts, finishes and hands over; otherwise the clock does.
    pub tracks_steps: bool,
    pub accepting: bool,
    /// Why it takes no order.
    #[schema(required)]
    pub why: Option<NotAccepting>,
    /// When it takes orders again, where that is known.
    #[schema(required)]
    pub resume_at: Option<Timestamp>,
    /// From now until an average order is ready, if it were taken now.
    pub expected_wait_seconds: u32,
}

impl ShopView {
    /// Of a shop as it is stored or known.
    pub fn new(catalogue: &Catalogue, shop: &Shop, now: Instant) -> Self {
        let shop = &catalogue.with_exceptions(shop.clone());
        let promise = catalogue.promise(shop, catalogue.average_make_seconds(shop.partner_id), now);
        Self {
            shop_id: shop.shop_id.0,
            name: shop.name.clone(),
            timezone: shop.timezone.name().to_owned(),
            currency: shop.currency,
            hours: shop.hours.clone(),
            exceptions: shop.coming_exceptions(now).into_iter().cloned().collect(),
            mode: ModeView::new(shop.mode_at(now)),
            presence: shop.presence(now),
            tracks_steps: shop.tracks_steps,
            accepting: promise.accepting,
            why: promise.why,
            resume_at: Timestamp::maybe(promise.resume_at),
            expected_wait_seconds: promise.expected_wait_seconds,
        }
    }
}

/// What the shop says about new orders for now. A mode that has ended is shown as `open`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModeView {
    pub mode: ModeName,
    /// Of a busy shop: what it adds to every wait.
    #[schema(required)]
    pub minutes: Option<u32>,
    /// When the shop is open again by itself; null for until it is changed.
    #[schema(required)]
    pub until: Option<Timestamp>,
}

impl ModeView {
    pub fn new(mode: Mode) -> Self {
        let (mode, minutes, until) = match mode {
            Mode::Open => (ModeName::Open, None, None),
            Mode::Busy { minutes, until } => (ModeName::Busy, Some(minutes), until),
            Mode::Paused { until } => (ModeName::Paused, None, Some(until)),
        };
        Self { mode, minutes, until: Timestamp::maybe(until) }
    }
}

/// An item as one shop sells it now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MenuItemView {
    pub item_id: String,
    pub name: String,
    pub price: Money,
    /// How long one piece takes.
    pub make_seconds: u32,
    pub available: bool,
    /// When it is back, where that is known.
    #[schema(required)]
    pub sold_out_until: Option<Timestamp>,
    pub option_groups: Vec<OptionGroupView>,
}

impl MenuItemView {
    pub fn new(item: &MenuItem) -> Self {
        let currency = item.price.currency;
        Self {
            item_id: item.item_id.to_owned(),
            name: item.name.to_owned(),
            price: item.price,
            make_seconds: item.make_seconds,
            available: item.available,
            sold_out_until: Timestamp::maybe(item.sold_out_until),
            option_groups: item.option_groups.iter().map(|group| OptionGroupView::new(group, item, currency)).collect(),
        }
    }
}

/// Options of which at least `min` and at most `max` are chosen. An order names an option once for each time that it is
/// wanted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OptionGroupView {
    pub group_id: String,
    pub name: String,
    pub min: u32,
    pub max: u32,
    pub options: Vec<MenuOptionView>,
}

impl OptionGroupView {
    fn new(group: &OptionGroup, item: &MenuItem, currency: Currency) -> Self {
        let option = |option: &ItemOption| {
            let sold_out = item.sold_out_options.iter().find(|(option_id, _)| *option_id == option.option_id);
            MenuOptionView {
                option_id: option.option_id.clone(),
                name: option.name.clone(),
                price: Money { amount: option.price, currency },
                available: sold_out.is_none(),
                sold_out_until: Timestamp::maybe(sold_out.and_then(|(_, back_at)| *back_at)),
            }
        };
        Self {
            group_id: group.group_id.clone(),
            name: group.name.clone(),
            min: group.min,
            max: group.max,
            options: group.options.iter().map(option).collect(),
        }
    }
}

/// A way to have an item.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MenuOptionView {
    pub option_id: String,
    pub name: String,
    /// On top of the item's price, or off it if negative. No piece costs less than nothing.
    #[schema(value_type = shapes::SignedMoney)]
    pub price: Money,
    pub available: bool,
    /// When it is back, where that is known.
    #[schema(required)]
    pub sold_out_until: Option<Timestamp>,
}
