//! How the catalogue's documents look in JSON. These types are never made: the catalogue's own are read and written
//! by serde, and a test holds these shapes against them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// When a shop is open, on its own clock.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hours {
    Always,
    Weekly(Week),
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

/// Options of which at least `min` and at most `max` are chosen; the same one again counts again.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OptionGroup {
    group_id: String,
    name: String,
    #[schema(maximum = 100)]
    min: u32,
    #[schema(maximum = 100)]
    max: u32,
    #[schema(max_items = 50)]
    options: Vec<ItemOption>,
}

/// A way to have an item; its id is unique within the item.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemOption {
    option_id: String,
    name: String,
    /// Minor units on top of the item's price.
    #[schema(minimum = 0, maximum = 1000000000)]
    price: i64,
}
