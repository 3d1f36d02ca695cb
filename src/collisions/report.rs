//! What was counted, for people, for machines, and as a figure.

use std::fmt;
use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};
use strum::VariantArray;

use super::{Count, Design, Found};
use crate::load::report::Machine;
use crate::plot::{Axis, Figure, Panel, Point, Series};

/// The result of a run.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    pub machine: Machine,
    /// Customers in each design and under each condition.
    pub clients: u64,
    pub seed: u64,
    /// At one time of creation.
    pub over_lag: Vec<Found>,
    /// At one lag.
    pub over_creation: Vec<Found>,
}

impl Count {
    /// Of a hundred customers.
    pub fn percent(&self) -> f64 {
        self.second_coffees as f64 * 100.0 / self.customers.max(1) as f64
    }
}

impl Design {
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "creation waits",
            Self::AtOnce => "in `new` at once",
            Self::Position => "and the position kept",
            Self::Admission => "with admission",
        }
    }
}

impl Report {
    /// Whether the service as it is gave nobody a second coffee, and every design everybody the first.
    pub fn is_sound(&self) -> bool {
        let mut counts = Design::VARIANTS.iter().map(|design| (*design, self.all_of(*design)));
        counts.all(|(design, count)| count.without == 0 && (design != Design::Admission || count.second_coffees == 0))
    }

    /// Whether payment and shop took about as long as they were meant to: otherwise the machine was too busy, and what
    /// was measured is that.
    pub fn is_as_meant(&self) -> bool {
        self.found().all(|found| found.took <= found.condition.creation.mul_f64(1.3) + Duration::from_millis(150))
    }

    fn found(&self) -> impl Iterator<Item = &Found> {
        let is_new = |found: &&Found| self.over_lag.iter().all(|other| other.condition != found.condition);
        self.over_lag.iter().chain(self.over_creation.iter().filter(is_new))
    }

    /// Under all conditions together.
    fn all_of(&self, design: Design) -> Count {
        self.found().map(|found| found.of(design)).fold(Count::default(), |all, one| Count {
            customers: all.customers + one.customers,
            second_coffees: all.second_coffees + one.second_coffees,
            without: all.without + one.without,
        })
    }

    pub fn figure(&self) -> Figure {
        let [waiting, admission] = [Design::Waiting, Design::Admission].map(|design| self.all_of(design));
        let most = self.found().flat_map(|found| &found.counts).map(Count::percent).fold(0.0, f64::max);
        let panel = |label: &str, swept: &[Found], x: fn(&Found) -> f64| {
            let series = |design: &Design| {
                let points = swept.iter().map(|found| {
                    let y = found.of(*design).percent();
                    Point { x: x(found), y, label: String::new() }
                });
                Series { name: design.name().replace('`', ""), points: points.collect() }
            };
            let farthest = swept.iter().map(x).fold(0.0, f64::max);
            let axis = |label: &str, to| Axis { label: label.into(), from: 0.0, to, is_logarithmic: false };
            Panel {
                x: axis(label, farthest.max(0.1) * 1.04),
                y: axis("second coffees, % of customers", most.max(5.0) * 1.1),
                series: Design::VARIANTS.iter().map(series).collect(),
            }
        };
        let at = |seconds: Option<f64>| seconds.unwrap_or_default();
        let took = at(self.over_lag.first().map(creation));
        let lagged = at(self.over_creation.first().map(lag));
        Figure {
            title: format!(
                "Second coffees after a crash: {:.0} % if creation waits, {} of {} with admission",
                waiting.percent(),
                admission.second_coffees,
                admission.customers
            ),
            caption: format!(
                "{} customers a point, each design the same ones; seed {}; {}; lungo collisions",
                self.clients, self.seed, self.machine
            ),
            panels: vec![
                panel(&format!("replica lag, s (payment and shop take {took} s)"), &self.over_lag, lag),
                panel(&format!("payment and shop take, s (replica lag {lagged} s)"), &self.over_creation, creation),
            ],
        }
    }
}

fn lag(found: &Found) -> f64 {
    found.condition.lag.as_secs_f64()
}

/// As measured, to the hundredth.
fn creation(found: &Found) -> f64 {
    (found.took.as_secs_f64() * 100.0).round() / 100.0
}

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Found", 3 + Design::VARIANTS.len())?;
        fields.serialize_field("lag_s", &lag(self))?;
        fields.serialize_field("creation_meant_s", &self.condition.creation.as_secs_f64())?;
        fields.serialize_field("creation_s", &creation(self))?;
        for design in Design::VARIANTS {
            fields.serialize_field((*design).into(), &self.of(*design))?;
        }
        fields.end()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "machine  {}", self.machine)?;
        writeln!(f, "clients  {} in each design and under each condition, seed {}\n", self.clients, self.seed)?;
        let row = |cells: [String; Design::VARIANTS.len()]| cells.join(" | ");
        let names = std::array::from_fn(|i| Design::VARIANTS[i].name().to_owned());
        writeln!(f, "| replica lag | payment and shop | {} |", row(names))?;
        writeln!(f, "|---:|---:|{}", "---:|".repeat(Design::VARIANTS.len()))?;
        for found in self.found() {
            let shares = std::array::from_fn(|i| format!("{:.1} %", found.counts[i].percent()));
            writeln!(f, "| {} s | {} s | {} |", lag(found), creation(found), row(shares))?;
        }
        let totals: [Count; Design::VARIANTS.len()] = std::array::from_fn(|i| self.all_of(Design::VARIANTS[i]));
        let in_all = std::array::from_fn(|i| format!("{} of {}", totals[i].second_coffees, totals[i].customers));
        writeln!(f, "| in all | | {} |", row(in_all))?;
        let without: usize = totals.iter().map(|count| count.without).sum();
        if !self.is_as_meant() {
            writeln!(f, "\nThe machine was too busy: payment and shop took longer than they were meant to.")?;
        }
        if without > 0 {
            writeln!(f, "\nWRONG: {without} customers got no coffee at all")?;
        }
        Ok(())
    }
}
