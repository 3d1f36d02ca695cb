//! Which stages an instance works on.

use std::str::FromStr;

use strum::VariantArray;

use crate::lifecycle::Stage;

/// Stages of an instance: `all`, `none`, or some of them (`payment` and `shop` are names of several) with commas between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stages(Vec<Stage>);

impl Stages {
    pub fn contains(&self, stage: Stage) -> bool {
        self.0.contains(&stage)
    }
}

impl FromStr for Stages {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut stages = Vec::new();
        for name in text.split(',').map(str::trim) {
            match name {
                "all" => stages.extend_from_slice(Stage::VARIANTS),
                "none" => {}
                "payment" => stages.extend([Stage::Authorize, Stage::LookUp, Stage::Capture, Stage::Release]),
                "shop" => stages.push(Stage::Offer),
                _ => stages.push(name.parse().map_err(|_| {
                    let known: Vec<&str> = Stage::VARIANTS.iter().map(|stage| stage.word()).collect();
                    format!("`{name}` is no stage: all, none, payment, shop, {}", known.join(", "))
                })?),
            }
        }
        Ok(Self(stages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_go_by_their_own_names_and_by_those_of_several() {
        let read = |text: &str| text.parse::<Stages>().map(|stages| stages.0);
        assert_eq!(read("all").unwrap(), Stage::VARIANTS);
        assert_eq!(read("none").unwrap(), []);
        assert_eq!(read("shop, capture").unwrap(), [Stage::Offer, Stage::Capture]);
        assert!(!read("payment").unwrap().contains(&Stage::Offer));
        assert!(read("pay").unwrap_err().contains("look_up"));
        assert!(read("").is_err());
    }
}
