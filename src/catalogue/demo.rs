//! The demo partner's shops and menu: what an empty database is filled with, so that the service can be tried.

use uuid::Uuid;

use crate::catalogue::{Item, ItemOption, OptionGroup, Shop, ShopItem};
use crate::order::{PartnerId, ShopId};

// Fixed, so that a command copied from the documentation works on every machine, and filling twice changes nothing.
pub const PARTNER: PartnerId = PartnerId(Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0001));
pub const LUNGO_CENTRAL: ShopId = ShopId(Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0011));
pub const LUNGO_STATION: ShopId = ShopId(Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0012));
pub const CORNER_BY_HAND: ShopId = ShopId(Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0013));

/// The rows of the demo.
#[derive(Clone, Debug)]
pub struct Demo {
    pub partner_id: PartnerId,
    pub partner_name: &'static str,
    pub shops: Vec<Shop>,
    pub items: Vec<Item>,
    pub shop_items: Vec<ShopItem>,
}

/// Three shops that are always open, and a small menu in euro cents.
pub fn demo() -> Demo {
    Demo {
        partner_id: PARTNER,
        partner_name: "Demo Coffee",
        shops: vec![
            Shop { simulated: true, ..shop(LUNGO_CENTRAL, "Lungo Central") },
            Shop { simulated: true, auto_accept: true, ..shop(LUNGO_STATION, "Lungo Station") },
            shop(CORNER_BY_HAND, "Corner by hand"),
        ],
        items: menu(),
        shop_items: Vec::new(),
    }
}

fn shop(shop_id: ShopId, name: &str) -> Shop {
    let euro = "EUR".parse().expect("the euro is a known currency");
    Shop {
        shop_id,
        timezone: "Europe/Berlin".parse().expect("a zone that is built in"),
        ..Shop::new(PARTNER, name, euro)
    }
}

fn menu() -> Vec<Item> {
    vec![
        item("lungo", "Lungo", 350, 60, vec![milk(0), shots()]),
        item("espresso", "Espresso", 250, 45, vec![shots()]),
        item("cappuccino", "Cappuccino", 390, 90, vec![milk(1), shots(), syrups()]),
        item("flat_white", "Flat white", 420, 100, vec![milk(1), shots()]),
        item("filter", "Filter coffee", 320, 120, vec![milk(0)]),
        item("tea", "Tea", 300, 75, Vec::new()),
        item("croissant", "Croissant", 280, 15, Vec::new()),
        item("cookie", "Cookie", 220, 15, Vec::new()),
    ]
}

/// `min` is 1 for what is not made without milk.
fn milk(min: u32) -> OptionGroup {
    group("milk", "Milk", min, 1, &[("milk_whole", "Whole milk", 0), ("milk_oat", "Oat milk", 60)])
}

fn shots() -> OptionGroup {
    group("shots", "Shots", 0, 1, &[("extra_shot", "Extra shot", 80)])
}

fn syrups() -> OptionGroup {
    group("syrup", "Syrup", 0, 2, &[("syrup_vanilla", "Vanilla syrup", 50), ("syrup_caramel", "Caramel syrup", 50)])
}

fn item(item_id: &str, name: &str, price: i64, make_seconds: u32, option_groups: Vec<OptionGroup>) -> Item {
    let (item_id, name) = (item_id.into(), name.into());
    Item { partner_id: PARTNER, item_id, name, price, make_seconds, option_groups, active: true }
}

fn group(group_id: &str, name: &str, min: u32, max: u32, options: &[(&str, &str, i64)]) -> OptionGroup {
    let options = options.iter().map(|(option_id, name, price)| ItemOption {
        option_id: (*option_id).into(),
        name: (*name).into(),
        price: *price,
    });
    OptionGroup { group_id: group_id.into(), name: name.into(), min, max, options: options.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_passes_the_checks_of_operators() {
        let demo = demo();
        assert_eq!(demo.shops.iter().flat_map(Shop::check).collect::<Vec<_>>(), []);
        assert_eq!(demo.items.iter().flat_map(Item::check).collect::<Vec<_>>(), []);
        assert!(demo.shops.iter().all(|shop| shop.partner_id == PARTNER && shop.tracks_steps));
        assert_eq!(demo.shops.iter().filter(|shop| shop.simulated).count(), 2);
    }
}
