//! What a partner sells, what a shop changes about it, and what a basket of it costs.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::catalogue::shop::check_name;
use crate::error::Fault;
use crate::order::{Currency, Instant, Line, LineOption, PartnerId, RequestedLine, ShopId};

/// Minor units that an item or an option may cost; an option may also take off so much.
const MAX_PRICE: i64 = 1_000_000;
/// Options that a line of an order can name: no group can have more of them chosen.
const MAX_CHOSEN: u32 = 20;
/// Minor units that an order may cost: payment gateways take eight digits.
const MAX_TOTAL: i64 = 99_999_999;
/// Seconds that one piece of an item may take.
const MAX_MAKE_SECONDS: u32 = 3_600;
/// Pieces in one order.
const MAX_PIECES: u64 = 200;

/// Something on a partner's menu. Its prices are minor units of the currency of the shop that sells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    pub partner_id: PartnerId,
    pub item_id: String,
    pub name: String,
    pub price: i64,
    /// How long one station needs for one piece.
    pub make_seconds: u32,
    #[serde(default)]
    pub option_groups: Vec<OptionGroup>,
    /// An item that is not active is on no menu, and cannot be ordered.
    pub active: bool,
}

/// Options of which at least `min` and at most `max` are chosen. An order names an option once for each time that it is
/// wanted: an extra shot twice counts as two, however many options there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptionGroup {
    pub group_id: String,
    pub name: String,
    pub min: u32,
    pub max: u32,
    pub options: Vec<ItemOption>,
}

/// A way to have an item. An order names only its id, which is therefore unique within the item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemOption {
    pub option_id: String,
    pub name: String,
    /// Minor units on top of the item's price, or off it: a cup of one's own. No piece costs less than nothing.
    pub price: i64,
}

/// Whether a shop has an option, in whichever items it is one: of oat milk there is one carton for all drinks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShopOption {
    pub shop_id: ShopId,
    pub option_id: String,
    #[serde(default)]
    pub availability: Availability,
}

/// What one shop changes about an item of its partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShopItem {
    pub shop_id: ShopId,
    pub item_id: String,
    /// Minor units, instead of the item's price.
    #[serde(default)]
    pub price: Option<i64>,
    #[serde(default)]
    pub availability: Availability,
}

/// Whether a shop has an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case", deny_unknown_fields)]
pub enum Availability {
    #[default]
    Available,
    /// `until: None` means until somebody says otherwise.
    SoldOut {
        #[serde(default)]
        until: Option<Instant>,
    },
}

impl Availability {
    pub fn is_available(&self, at: Instant) -> bool {
        match self {
            Self::Available => true,
            Self::SoldOut { until } => until.is_some_and(|until| until <= at),
        }
    }

    /// When it is back, where that is known and still to come.
    pub fn back_at(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::SoldOut { until } => until.filter(|until| *until > now),
            Self::Available => None,
        }
    }
}

impl Item {
    /// The prices that cannot be paid in this currency (see [`Currency::step`]).
    pub fn unpayable_in(&self, currency: Currency) -> Vec<Fault> {
        let options = self.option_groups.iter().enumerate().flat_map(|(group, known)| {
            let at = move |option| format!("/option_groups/{group}/options/{option}/price");
            known.options.iter().enumerate().map(move |(option, known)| (at(option), known.price))
        });
        let prices = std::iter::once(("/price".to_owned(), self.price)).chain(options);
        prices.filter_map(|(pointer, price)| unpayable(pointer, price, currency)).collect()
    }

    /// All that is wrong with an item that somebody typed in.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        faults.extend(check_id("/item_id", &self.item_id));
        faults.extend(check_name("/name", &self.name));
        faults.extend(check_price("/price", self.price));
        if self.make_seconds > MAX_MAKE_SECONDS {
            faults.push(Fault::new("/make_seconds", "out_of_range", format!("must be from 0 to {MAX_MAKE_SECONDS}")));
        }
        let (mut group_ids, mut option_ids) = (HashSet::new(), HashSet::new());
        for (index, group) in self.option_groups.iter().enumerate() {
            let at = format!("/option_groups/{index}");
            faults.extend(check_id(&format!("{at}/group_id"), &group.group_id));
            faults.extend(check_name(&format!("{at}/name"), &group.name));
            if !group_ids.insert(&group.group_id) {
                faults.push(Fault::new(format!("{at}/group_id"), "duplicate", "another group has this id"));
            }
            if group.min > group.max {
                faults.push(Fault::new(format!("{at}/min"), "out_of_range", "must not be more than `max`"));
            }
            if group.max > MAX_CHOSEN {
                faults.push(Fault::new(format!("{at}/max"), "out_of_range", format!("must be from 0 to {MAX_CHOSEN}")));
            }
            if group.min > 0 && group.options.is_empty() {
                faults.push(Fault::new(format!("{at}/options"), "out_of_range", "there must be an option to choose"));
            }
            for (index, option) in group.options.iter().enumerate() {
                let at = format!("{at}/options/{index}");
                faults.extend(check_id(&format!("{at}/option_id"), &option.option_id));
                faults.extend(check_name(&format!("{at}/name"), &option.name));
                if !(-MAX_PRICE..=MAX_PRICE).contains(&option.price) {
                    let detail = format!("must be from -{MAX_PRICE} to {MAX_PRICE} minor units");
                    faults.push(Fault::new(format!("{at}/price"), "out_of_range", detail));
                }
                if !option_ids.insert(&option.option_id) {
                    let detail = "another option of this item has this id, maybe in another group";
                    faults.push(Fault::new(format!("{at}/option_id"), "duplicate", detail));
                }
            }
        }
        faults
    }

    fn option(&self, option_id: &str) -> Option<(usize, &ItemOption)> {
        self.option_groups.iter().enumerate().find_map(|(group, in_group)| {
            let found = in_group.options.iter().find(|option| option.option_id == option_id)?;
            Some((group, found))
        })
    }

    /// Snapshots of the options chosen on line `index`, while the rules of the groups that they break are noted.
    fn choose(&self, index: usize, chosen: &[String], faults: &mut Vec<Fault>) -> Vec<LineOption> {
        let mut counts = vec![0_u32; self.option_groups.len()];
        let mut snapshots = Vec::with_capacity(chosen.len());
        for (position, option_id) in chosen.iter().enumerate() {
            let at = format!("/lines/{index}/options/{position}");
            let Some((group, option)) = self.option(option_id) else {
                faults.push(Fault::new(at, "unknown_option", format!("`{}` has no such option", self.item_id)));
                continue;
            };
            counts[group] += 1;
            let OptionGroup { group_id, max, .. } = &self.option_groups[group];
            if counts[group] > *max {
                faults.push(Fault::new(at, "too_many_options", format!("at most {max} of `{group_id}`")));
            }
            snapshots.push(LineOption {
                option_id: option.option_id.clone(),
                name: option.name.clone(),
                price: option.price,
            });
        }
        for (group, count) in self.option_groups.iter().zip(counts) {
            if count < group.min {
                let detail = format!("at least {} of `{}`", group.min, group.group_id);
                faults.push(Fault::new(format!("/lines/{index}/options"), "too_few_options", detail));
            }
        }
        snapshots
    }
}

impl ShopItem {
    /// All that is wrong with a change that somebody typed in.
    pub fn check(&self) -> Vec<Fault> {
        let price = self.price.and_then(|price| check_price("/price", price));
        check_id("/item_id", &self.item_id).into_iter().chain(price).collect()
    }
}

/// A partner's items in their given order, found by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Menu {
    items: Vec<Item>,
    by_id: HashMap<String, usize>,
}

impl Menu {
    /// A later item replaces an earlier one of the same id.
    pub fn add(&mut self, item: Item) {
        match self.by_id.get(&item.item_id) {
            Some(index) => self.items[*index] = item,
            None => {
                self.by_id.insert(item.item_id.clone(), self.items.len());
                self.items.push(item);
            }
        }
    }

    pub fn active(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.active)
    }

    pub fn all(&self) -> &[Item] {
        &self.items
    }

    pub fn find(&self, item_id: &str) -> Option<&Item> {
        self.by_id.get(item_id).map(|index| &self.items[*index]).filter(|item| item.active)
    }
}

/// What a shop changes about its partner's menu.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    pub items: HashMap<String, ShopItem>,
    pub options: HashMap<String, Availability>,
}

impl Changes {
    pub fn of_option(&self, option_id: &str) -> Availability {
        self.options.get(option_id).copied().unwrap_or_default()
    }

    /// When the shop has enough options again to make an item; `None` if it has now. The inner one is `None` where the
    /// end is not known.
    pub fn cannot_make(&self, item: &Item, now: Instant) -> Option<Option<Instant>> {
        let has = |option: &ItemOption| self.of_option(&option.option_id).is_available(now);
        let is_short = |group: &&OptionGroup| group.min > 0 && !group.options.iter().any(has);
        // It is back when the last of these groups has one option again.
        let back_at = |group: &OptionGroup| {
            group.options.iter().filter_map(|option| self.of_option(&option.option_id).back_at(now)).min()
        };
        let mut short = item.option_groups.iter().filter(is_short).map(back_at);
        let first = short.next()?;
        Some(short.fold(first, |last, next| last.zip(next).map(|(one, other)| one.max(other))))
    }

    /// All that is sold out of an item as it was chosen.
    fn sold_out(&self, index: usize, item: &Item, chosen: &[LineOption], at: Instant) -> Vec<Fault> {
        let change = self.items.get(&item.item_id);
        let of_item = change.is_some_and(|change| !change.availability.is_available(at));
        let fault =
            |pointer: String, name: &str| Fault::new(pointer, "item_unavailable", format!("`{name}` is sold out"));
        let of_options =
            chosen.iter().enumerate().filter(|(_, option)| !self.of_option(&option.option_id).is_available(at));
        let of_options =
            of_options.map(|(position, option)| fault(format!("/lines/{index}/options/{position}"), &option.name));
        of_item.then(|| fault(format!("/lines/{index}/item_id"), &item.name)).into_iter().chain(of_options).collect()
    }
}

/// A basket with present names and prices, and all that stands against it.
#[derive(Debug, Default)]
pub(super) struct Bill {
    pub lines: Vec<Line>,
    /// Minor units.
    pub total: i64,
    pub make_seconds: u32,
    /// The basket makes no sense; the other fields then mean nothing.
    pub faults: Vec<Fault>,
    pub sold_out: Vec<Fault>,
}

impl Bill {
    /// Prices a basket that is to be picked up at `at`.
    pub fn new(menu: &Menu, changes: &Changes, basket: &[RequestedLine], currency: Currency, at: Instant) -> Self {
        let mut bill = Self::default();
        for (index, line) in basket.iter().enumerate() {
            bill.add(menu, changes, index, line, at);
        }
        // Line by line: each may be dropped, and what is left has to be payable.
        let prices = bill.lines.iter().enumerate().map(|(index, line)| (format!("/lines/{index}"), line.unit_price));
        let faults: Vec<_> = prices.filter_map(|(pointer, price)| unpayable(pointer, price, currency)).collect();
        if bill.faults.is_empty() {
            bill.faults = faults;
        }
        let pieces: u64 = basket.iter().map(|line| u64::from(line.quantity)).sum();
        if pieces == 0 || pieces > MAX_PIECES {
            let detail = format!("an order has 1 to {MAX_PIECES} pieces, this one has {pieces}");
            bill.faults.push(Fault::new("/lines", "out_of_range", detail));
        }
        // No gateway holds an amount of nothing.
        if bill.faults.is_empty() && bill.total == 0 {
            bill.faults.push(Fault::new("/lines", "nothing_to_pay", "an order costs something"));
        }
        bill
    }

    fn add(&mut self, menu: &Menu, changes: &Changes, index: usize, line: &RequestedLine, at: Instant) {
        let pointer = format!("/lines/{index}/item_id");
        let Some(item) = menu.find(&line.item_id) else {
            self.faults.push(Fault::new(pointer, "unknown_item", "the menu has no such item"));
            return;
        };
        let known_faults = self.faults.len();
        let options = item.choose(index, &line.options, &mut self.faults);
        // With a fault among the options, the positions of the others are not those of the request.
        if self.faults.len() == known_faults {
            self.sold_out.extend(changes.sold_out(index, item, &options, at));
        }

        let price = changes.items.get(&line.item_id).and_then(|change| change.price).unwrap_or(item.price);
        let priced = options
            .iter()
            .try_fold(price, |sum, option| sum.checked_add(option.price))
            .map(|unit| unit.max(0))
            .and_then(|unit| Some((unit, unit.checked_mul(line.quantity.into())?)))
            .and_then(|(unit, all)| Some((unit, self.total.checked_add(all)?)))
            .filter(|(_, total)| (0..=MAX_TOTAL).contains(total));
        let Some((unit_price, total)) = priced else {
            let detail = format!("an order costs at most {MAX_TOTAL} minor units");
            self.faults.push(Fault::new(format!("/lines/{index}"), "amount_out_of_range", detail));
            return;
        };
        self.total = total;
        self.make_seconds = self.make_seconds.saturating_add(item.make_seconds.saturating_mul(line.quantity));
        self.lines.push(Line {
            item_id: item.item_id.clone(),
            name: item.name.clone(),
            quantity: line.quantity,
            options,
            unit_price,
            make_seconds: item.make_seconds,
        });
    }
}

/// What has been sold out or taken off the menu since these lines were priced.
pub(super) fn gone(menu: &Menu, changes: &Changes, lines: &[Line], at: Instant) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let pointer = format!("/lines/{index}/item_id");
        let Some(item) = menu.find(&line.item_id) else {
            faults.push(Fault::new(pointer, "item_unavailable", format!("`{}` is no longer sold", line.name)));
            continue;
        };
        faults.extend(changes.sold_out(index, item, &line.options, at));
        for (position, option) in line.options.iter().enumerate() {
            if item.option(&option.option_id).is_none() {
                let detail = format!("`{}` is no longer offered", option.name);
                faults.push(Fault::new(format!("/lines/{index}/options/{position}"), "item_unavailable", detail));
            }
        }
    }
    faults
}

fn check_id(pointer: &str, id: &str) -> Option<Fault> {
    let is_good =
        (1..=64).contains(&id.len()) && id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    (!is_good).then(|| Fault::new(pointer, "invalid", "must be 1 to 64 of a-z, 0-9, `_` and `-`"))
}

/// Why a price cannot be asked for in this currency.
pub fn unpayable(pointer: impl Into<String>, price: i64, currency: Currency) -> Option<Fault> {
    currency.unpayable(price).map(|why| Fault::new(pointer, "not_payable", why))
}

fn check_price(pointer: &str, price: i64) -> Option<Fault> {
    (!(0..=MAX_PRICE).contains(&price))
        .then(|| Fault::new(pointer, "out_of_range", format!("must be from 0 to {MAX_PRICE} minor units")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(option_id: &str, price: i64) -> ItemOption {
        ItemOption { option_id: option_id.into(), name: "An option".into(), price }
    }

    fn group(group_id: &str, min: u32, max: u32, options: Vec<ItemOption>) -> OptionGroup {
        OptionGroup { group_id: group_id.into(), name: "A group".into(), min, max, options }
    }

    fn item(option_groups: Vec<OptionGroup>) -> Item {
        Item {
            partner_id: PartnerId::new(),
            item_id: "flat_white-2".into(),
            name: "Flat white".into(),
            price: 420,
            make_seconds: 75,
            option_groups,
            active: true,
        }
    }

    fn pointers(faults: Vec<Fault>) -> Vec<String> {
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn faults_of_an_item_are_all_told() {
        let good = item(vec![
            group("milk", 1, 1, vec![option("oat", 60)]),
            group("shots", 0, 3, vec![option("extra_shot", 80)]),
            group("cup", 0, 1, vec![option("own_cup", -10)]),
            group("extra", 0, 0, vec![]),
        ]);
        assert_eq!(good.check(), []);
        let wrong = Item {
            item_id: "Flat White".into(),
            name: String::new(),
            price: MAX_PRICE + 1,
            make_seconds: 3_601,
            ..item(vec![
                group("milk", 2, 1, vec![option("oat", -MAX_PRICE - 1)]),
                group("milk", 0, 21, vec![option("oat", 0)]),
                group("cup", 1, 1, vec![]),
            ])
        };
        assert_eq!(
            pointers(wrong.check()),
            [
                "/item_id",
                "/name",
                "/price",
                "/make_seconds",
                "/option_groups/0/min",
                "/option_groups/0/options/0/price",
                "/option_groups/1/group_id",
                "/option_groups/1/max",
                "/option_groups/1/options/0/option_id",
                "/option_groups/2/options",
            ]
        );
    }

    #[test]
    fn ids_are_short_and_plain() {
        for (id, is_good) in
            [("a", true), ("milk_oat-2", true), ("", false), ("é", false), ("A", false), ("a b", false), ("a/b", false)]
        {
            assert_eq!(check_id("/id", id).is_none(), is_good, "{id}");
        }
        assert!(check_id("/id", &"a".repeat(64)).is_none() && check_id("/id", &"a".repeat(65)).is_some());
    }

    #[test]
    fn the_same_option_may_be_chosen_again_up_to_the_groups_max() {
        let shots = item(vec![group("shots", 0, 2, vec![option("extra_shot", 80)])]);
        let mut faults = Vec::new();
        let chosen = shots.choose(0, &["extra_shot", "extra_shot"].map(String::from), &mut faults);
        assert_eq!((chosen.len(), faults.len()), (2, 0), "one option twice");
        let item = item(vec![group("syrup", 0, 2, vec![option("vanilla", 50), option("caramel", 50)])]);
        let chosen = item.choose(3, &["vanilla", "vanilla", "caramel"].map(String::from), &mut faults);
        assert_eq!(chosen.len(), 3);
        assert_eq!(pointers(faults), ["/lines/3/options/2"]);
    }

    #[test]
    fn no_piece_costs_less_than_nothing() {
        let mut menu = Menu::default();
        let cup = group("cup", 0, 1, vec![option("own_cup", -500)]);
        menu.add(item(vec![cup, group("shots", 0, 3, vec![option("extra_shot", 80)])]));
        let line = |options: &[&str]| RequestedLine {
            item_id: "flat_white-2".into(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            quantity: 2,
        };
        let unit_prices = |basket: &[RequestedLine]| {
            let bill = Bill::new(&menu, &Changes::default(), basket, "EUR".parse().unwrap(), Instant::MIN_UTC);
            (bill.lines.iter().map(|line| line.unit_price).collect::<Vec<_>>(), bill.total)
        };
        assert_eq!(unit_prices(&[line(&["extra_shot", "extra_shot", "own_cup"])]), (vec![80], 160));
        assert_eq!(unit_prices(&[line(&["own_cup"]), line(&[])]), (vec![0, 420], 840));
    }

    #[test]
    fn what_needs_an_option_that_is_sold_out_cannot_be_made() {
        let milk = group("milk", 1, 2, vec![option("oat", 60), option("whole", 0)]);
        let item = item(vec![milk, group("beans", 1, 1, vec![option("decaf", 0)])]);
        let (now, later) = (Instant::UNIX_EPOCH, |seconds| Instant::from_timestamp(seconds, 0));
        let cannot = |sold_out: &[(&str, Option<Instant>)]| {
            let sold_out =
                sold_out.iter().map(|(id, until)| ((*id).to_owned(), Availability::SoldOut { until: *until }));
            Changes { options: sold_out.collect(), ..Changes::default() }.cannot_make(&item, now)
        };
        assert_eq!(cannot(&[]), None);
        assert_eq!(cannot(&[("oat", None)]), None, "there is other milk");
        assert_eq!(cannot(&[("oat", None), ("whole", later(9))]), Some(later(9)));
        assert_eq!(cannot(&[("oat", None), ("whole", None)]), Some(None));
        assert_eq!(cannot(&[("oat", later(5)), ("whole", later(9)), ("decaf", later(7))]), Some(later(7)));
        assert_eq!(cannot(&[("decaf", later(0))]), None, "it is back");
        assert_eq!(cannot(&[("decaf", None), ("oat", later(5)), ("whole", None)]), Some(None));
    }

    #[test]
    fn rows_survive_json() {
        let item = item(vec![group("milk", 1, 1, vec![option("oat", 60)])]);
        let json = serde_json::to_string(&item).unwrap();
        assert_eq!(serde_json::from_str::<Item>(&json).unwrap(), item);

        let json =
            serde_json::json!({"shop_id": ShopId::new(), "item_id": "lungo", "availability": {"status": "sold_out"}});
        let change: ShopItem = serde_json::from_value(json).unwrap();
        assert_eq!((change.price, change.availability), (None, Availability::SoldOut { until: None }));
        assert_eq!(pointers(ShopItem { price: Some(-1), ..change }.check()), ["/price"]);
    }

    #[test]
    fn of_two_rows_of_an_item_the_later_counts() {
        let mut menu = Menu::default();
        menu.add(item(vec![]));
        menu.add(Item { price: 430, ..item(vec![]) });
        assert_eq!(menu.active().map(|item| item.price).collect::<Vec<_>>(), [430]);
        assert_eq!(menu.find("flat_white-2").unwrap().price, 430);
    }
}
