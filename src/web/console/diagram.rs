//! The lifecycle as a picture, made from its one table, with the way that an order took.

use std::fmt::Write;

use strum::VariantArray;

use super::show;
use crate::lifecycle::{Status, status_pairs};

const WIDTH: i32 = 1000;
const HEIGHT: i32 = 345;
const BOX: (i32, i32) = (122, 34);
/// Where what is under way stands, and where what is over.
const ROWS: (i32, i32) = (130, 280);

/// An SVG of all statuses and steps. `way` are the statuses that the order came through, the present one last.
pub fn svg(way: &[Status]) -> String {
    let told: Vec<String> = way.iter().map(|status| show::plain(status.word())).collect();
    let mut svg = format!(
        "<svg class=\"lifecycle\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" \
         aria-label=\"The lifecycle. This order went: {}.\"><defs>",
        told.join(", then ")
    );
    for name in ["step", "went"] {
        let _ = write!(
            svg,
            "<marker id=\"{name}-end\" class=\"{name}-end\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
             markerHeight=\"7\" orient=\"auto-start-reverse\"><path d=\"M0 0 8 4 0 8z\"/></marker>"
        );
    }
    svg += "</defs>";
    let went = |pair: &(Status, Status)| way.windows(2).any(|step| step == [pair.0, pair.1]);
    let (taken, others): (Vec<_>, Vec<_>) = status_pairs().into_iter().partition(went);
    for (class, pairs) in [("step", others), ("went", taken)] {
        for (from, to) in pairs {
            let _ = write!(
                svg,
                "<path class=\"{class}\" d=\"{}\" marker-end=\"url(#{class}-end)\"><title>{} to {}</title></path>",
                line(from, to),
                show::plain(from.word()),
                show::plain(to.word())
            );
        }
    }
    for status in Status::VARIANTS {
        let (x, y) = place(*status);
        let class = match way.iter().rposition(|been| been == status) {
            Some(at) if at + 1 == way.len() => "status here",
            Some(_) => "status been",
            None => "status",
        };
        let _ = write!(
            svg,
            "<g class=\"{class}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"8\"/>\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{}</text></g>",
            x - BOX.0 / 2,
            y - BOX.1 / 2,
            BOX.0,
            BOX.1,
            y + 5,
            show::plain(status.word())
        );
    }
    svg + "</svg>"
}

/// The middle of a status: in the order of the table, those under way above those that are over.
fn place(status: Status) -> (i32, i32) {
    let row = |over: bool| Status::VARIANTS.iter().filter(move |status| status.is_over() == over);
    let count = i32::try_from(row(status.is_over()).count()).expect("there are few statuses");
    let index = row(status.is_over()).position(|other| *other == status).expect("it is in its row");
    let step = WIDTH / count;
    let x = step / 2 + step * i32::try_from(index).expect("there are few statuses");
    (x, if status.is_over() { ROWS.1 } else { ROWS.0 })
}

fn line(from: Status, to: Status) -> String {
    let ((x1, y1), (x2, y2)) = (place(from), place(to));
    let (half, rise) = (BOX.0 / 2, BOX.1 / 2);
    let step = WIDTH / 7;
    if y1 == y2 && x2 > x1 && x2 - x1 <= step + 2 {
        return format!("M{} {y1}H{}", x1 + half, x2 - half - 2);
    }
    if y1 == y2 {
        // Over the others; back below them.
        let (side, height) = if x2 > x1 { (-1, 22 + (x2 - x1) / 8) } else { (1, 34) };
        let y = y1 + side * rise;
        return format!("M{x1} {y}Q{} {} {x2} {}", (x1 + x2) / 2, y + side * height * 2, y + side * 3);
    }
    let (start, end) = if y2 > y1 { (y1 + rise, y2 - rise - 3) } else { (y1 - rise, y2 + rise + 3) };
    let middle = (start + end) / 2;
    format!("M{x1} {start}C{x1} {middle} {x2} {middle} {x2} {end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_of_the_table_is_drawn_and_the_way_stands_out() {
        let way = [Status::New, Status::AwaitingShop, Status::Rejected];
        let svg = svg(&way);
        assert_eq!(svg.matches("class=\"step\"").count() + svg.matches("class=\"went\"").count(), status_pairs().len());
        assert_eq!(svg.matches("class=\"went\"").count(), 2);
        assert_eq!(svg.matches("status here").count(), 1);
        assert_eq!(svg.matches("<g class=\"status").count(), Status::VARIANTS.len());
        assert!(!svg.contains("style="));
        for status in Status::VARIANTS {
            let (x, y) = place(*status);
            assert!((BOX.0 / 2..=WIDTH - BOX.0 / 2).contains(&x) && (0..HEIGHT).contains(&y), "{status}");
        }
    }
}
