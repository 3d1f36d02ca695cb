//! How the catalogue's documents look in JSON. These types are never made: the catalogue's own are read and written
//! by serde, and a test holds these shapes against them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// When a shop is open, on its own clock.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Hours {
    Always(Always),
    Weekly(WeeklyHours),
}

/// Day and night.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Always {
    Always,
}

/// The same hours each week.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WeeklyHours {
    weekly: Week,
}

/// What holds on one date, on the shop's own clock, instead of the weekly hours.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    #[schema(format = Date, example = "2026-12-24")]
    date: String,
    /// Those that begin on this date; empty for a closed day.
    #[schema(max_items = 10)]
    openings: Vec<Opening>,
}

/// The openings of each weekday; a day without any is a closed day.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Week {
    #[schema(max_items = 10)]
    monday: Vec<Opening>,
    #[schema(max_items = 10)]
    tuesday: Vec<Opening>,
    #[schema(max_items = 10)]
    wednesday: Vec<Opening>,
    #[schema(max_items = 10)]
    thursday: Vec<Opening>,
    #[schema(max_items = 10)]
    friday: Vec<Opening>,
    #[schema(max_items = 10)]
    saturday: Vec<Opening>,
    #[schema(max_items = 10)]
    sunday: Vec<Opening>,
}

/// From `open` to `close`; a `close` that is not after `open` is on the next day.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$", example = "07:00")]
    open: String,
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$", example = "18:00")]
    close: String,
}

/// Options of which at least `min` and at most `max` are chosen. An order names an option once for each time that it is
/// wanted.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OptionGroup {
    #[schema(pattern = "^[a-z0-9_-]{1,64}$")]
    group_id: String,
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\s\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\\u2800\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\u0000-\\u001F\\u007F-\\u009F]([^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\\u2800\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\u0000-\\u001F\\u007F-\\u009F])?$"
    )]
    name: String,
    #[schema(maximum = 20)]
    min: u32,
    /// 0 to 20; more than there are options where one is wanted again.
    #[schema(maximum = 20)]
    max: u32,
    #[schema(max_items = 50)]
    options: Vec<ItemOption>,
}

/// A way to have an item; its id is unique within the item.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemOption {
    #[schema(pattern = "^[a-z0-9_-]{1,64}$")]
    option_id: String,
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\s\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\\u2800\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\u0000-\\u001F\\u007F-\\u009F]([^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\\u2800\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\u0000-\\u001F\\u007F-\\u009F])?$"
    )]
    name: String,
    /// Minor units on top of the item's price, or off it if negative. No piece costs less than nothing.
    #[schema(minimum = -1000000, maximum = 1000000)]
    price: i64,
}

/// An amount in minor units (cents) of a currency, which may be negative.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedMoney {
    amount: i64,
    currency: crate::order::Currency,
}
