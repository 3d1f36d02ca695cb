//! Draws the figures of experiments as SVG: lines and points over one or two panels, on a ground of their own, so that
//! they read the same wherever they are shown.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const WIDTH: u32 = 960;
const HEIGHT: u32 = 470;
/// For the title above the panels, and for the caption below them.
const HEAD: u32 = 78;
const FOOT: u32 = 30;
const GROUND: RGBColor = RGBColor(253, 253, 252);
const INK: RGBColor = RGBColor(36, 41, 46);
const FAINT: RGBColor = RGBColor(110, 118, 126);
const GRID: RGBColor = RGBColor(226, 228, 232);
/// Told apart by everybody, also in grey (Okabe and Ito).
const COLOURS: [RGBColor; 4] =
    [RGBColor(213, 94, 0), RGBColor(230, 159, 0), RGBColor(0, 114, 178), RGBColor(0, 158, 115)];

/// A figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was found, in a sentence.
    pub title: String,
    /// Where and how it was measured.
    pub caption: String,
    /// One or two, side by side. Their series are the same, in the same order.
    pub panels: Vec<Panel>,
}

/// A pair of axes and what is drawn on it.
#[derive(Clone, Debug)]
pub struct Panel {
    pub x: Axis,
    pub y: Axis,
    /// At most four.
    pub series: Vec<Series>,
}

#[derive(Clone, Debug)]
pub struct Axis {
    /// With its unit.
    pub label: String,
    pub from: f64,
    pub to: f64,
    pub is_logarithmic: bool,
}

/// Points of one kind, joined by a line.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub points: Vec<Point>,
}

#[derive(Clone, Debug, Default)]
pub struct Point {
    pub x: f64,
    pub y: f64,
    /// Written beside it.
    pub label: String,
}

/// What keeps a figure from being drawn.
#[derive(Debug, thiserror::Error)]
#[error("the figure cannot be drawn: {0}")]
pub struct Error(String);

impl Figure {
    /// # Errors
    /// When an axis has no extent.
    pub fn svg(&self) -> Result<String, Error> {
        let mut svg = String::new();
        self.draw(&SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area())
            .map_err(|fault| Error(fault.to_string()))?;
        Ok(svg)
    }

    fn draw(&self, area: &Area) -> Drawn {
        area.fill(&GROUND)?;
        let (head, rest) = area.split_vertically(HEAD);
        let (middle, foot) = rest.split_vertically(HEIGHT - HEAD - FOOT);
        let bold = ("sans-serif", 19).into_font().style(FontStyle::Bold).color(&INK);
        head.draw(&Text::new(self.title.clone(), (24, 14), bold))?;
        self.draw_legend(&head)?;
        foot.draw(&Text::new(self.caption.clone(), (24, 6), text(12, FAINT)))?;
        for (panel, area) in self.panels.iter().zip(middle.split_evenly((1, self.panels.len()))) {
            match (panel.x.is_logarithmic, panel.y.is_logarithmic) {
                (false, false) => panel.draw(&area, panel.x.from..panel.x.to, panel.y.from..panel.y.to)?,
                (true, false) => panel.draw(&area, (panel.x.from..panel.x.to).log_scale(), panel.y.from..panel.y.to)?,
                (false, true) => panel.draw(&area, panel.x.from..panel.x.to, (panel.y.from..panel.y.to).log_scale())?,
                (true, true) => {
                    let y = (panel.y.from..panel.y.to).log_scale();
                    panel.draw(&area, (panel.x.from..panel.x.to).log_scale(), y)?;
                }
            }
        }
        Ok(())
    }

    fn draw_legend(&self, head: &Area) -> Drawn {
        let mut x = 24;
        for (series, colour) in self.panels.iter().take(1).flat_map(|panel| &panel.series).zip(COLOURS) {
            head.draw(&PathElement::new([(x, 58), (x + 20, 58)], colour.stroke_width(3)))?;
            head.draw(&Circle::new((x + 10, 58), 4, colour.filled()))?;
            head.draw(&Text::new(series.name.clone(), (x + 27, 51), text(14, INK)))?;
            // The width of the text is not known without its font: about this much a letter.
            x += 27 + 22 + (series.name.chars().count() as f64 * 7.1) as i32;
        }
        Ok(())
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

impl Panel {
    fn draw<X, Y>(&self, area: &Area, x: X, y: Y) -> Drawn
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        if self.x.from >= self.x.to || self.y.from >= self.y.to {
            return Err("an axis has no extent".into());
        }
        let mut chart = ChartBuilder::on(area)
            .margin_left(12)
            .margin_right(30)
            .x_label_area_size(46)
            .y_label_area_size(58)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(FAINT)
            .label_style(text(13, INK))
            .axis_desc_style(text(14, INK))
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .x_label_formatter(&number)
            .y_label_formatter(&number)
            .y_labels(if self.y.is_logarithmic { 24 } else { 10 })
            .draw()?;
        for (series, colour) in self.series.iter().zip(COLOURS) {
            let points = || series.points.iter().map(|point| (point.x, point.y));
            chart.draw_series(LineSeries::new(points(), colour.stroke_width(3)))?;
            chart.draw_series(points().map(|at| Circle::new(at, 4, colour.filled())))?;
            chart.draw_series(series.points.iter().map(|point| {
                let beside = text(13, INK).pos(Pos::new(HPos::Left, VPos::Bottom));
                EmptyElement::at((point.x, point.y)) + Text::new(point.label.clone(), (8, -5), beside)
            }))?;
        }
        Ok(())
    }
}

fn text<'a>(size: u32, colour: RGBColor) -> TextStyle<'a> {
    ("sans-serif", size).into_font().color(&colour)
}

/// Without digits that say nothing.
fn number(value: &f64) -> String {
    format!("{:.2}", value).trim_end_matches('0').trim_end_matches('.').to_owned()
}
