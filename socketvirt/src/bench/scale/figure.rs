//! The figure: time to adoption and CPU time of the agent, by size.

use std::path::Path;

use plotters::prelude::{
    ChartBuilder, Circle, IntoDrawingArea as _, IntoLogRange as _, LineSeries, RGBColor,
    SVGBackend, WHITE,
};

use super::Point;
use crate::bench::{error::Error, stats::float};

const SIZE: (u32, u32) = (960, 720);
const FONT: (&str, u32) = ("sans-serif", 14);

/// Where milliseconds and percents begin: what is less counts as this.
const LEAST: f64 = 0.01;

const BLUE: RGBColor = RGBColor(0x1f, 0x5f, 0xa8);
const ORANGE: RGBColor = RGBColor(0xd9, 0x6c, 0x06);
const GREEN: RGBColor = RGBColor(0x2f, 0x7d, 0x32);

/// One number of a point, its name and colour.
type Curve = (&'static str, RGBColor, fn(&Point) -> Option<f64>);

const TIMES: [Curve; 2] = [
    ("p50", BLUE, |point| point.adopted_p50_ms),
    ("p99", ORANGE, |point| point.adopted_p99_ms),
];

const SHARES: [Curve; 3] = [
    ("idle", GREEN, |point| Some(point.idle_cpu_percent)),
    ("steady", BLUE, |point| Some(point.steady_cpu_percent)),
    ("1,000 connections a second", ORANGE, |point| {
        Some(point.churn_cpu_percent)
    }),
];

/// Draws all points into an SVG file.
///
/// # Errors
/// When the file cannot be written.
pub fn draw(points: &[Point], file: &Path) -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Figure {
        file: file.to_owned(),
        answer: error.to_string(),
    };
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    let (upper, lower) = root.split_vertically(SIZE.1 / 2);
    for (area, title, most, curves) in [
        (
            upper,
            "milliseconds until a new connection is adopted",
            100_000.0,
            &TIMES[..],
        ),
        (lower, "agent, percent of one CPU", 100.0, &SHARES[..]),
    ] {
        let least = if most > 100.0 { 1.0 } else { LEAST };
        let mut chart = ChartBuilder::on(&area)
            .caption(title, FONT)
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(64)
            .build_cartesian_2d(
                -0.5..float(points.len() as u64) - 0.5,
                (least..most).log_scale(),
            )
            .map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(points.len())
            .x_label_formatter(&|place| label(points, *place))
            .x_desc("namespaces / idle connections / processes / pairs")
            .label_style(("sans-serif", 10))
            .axis_desc_style(("sans-serif", 12))
            .draw()
            .map_err(|error| failed(&error))?;
        for &(name, colour, number) in curves {
            let places: Vec<_> = points
                .iter()
                .enumerate()
                .filter_map(|(place, point)| Some((float(place as u64), number(point)?.max(least))))
                .collect();
            chart
                .draw_series(LineSeries::new(places.clone(), colour))
                .map_err(|error| failed(&error))?
                .label(name)
                .legend(move |at| Circle::new(at, 4, colour));
            chart
                .draw_series(places.into_iter().map(|at| Circle::new(at, 4, colour)))
                .map_err(|error| failed(&error))?;
        }
        chart
            .configure_series_labels()
            .border_style(RGBColor(0xbb, 0xbb, 0xbb))
            .background_style(WHITE)
            .label_font(("sans-serif", 12))
            .draw()
            .map_err(|error| failed(&error))?;
    }
    root.present().map_err(|error| failed(&error))
}

/// The size at a place of the axis, where there is one.
fn label(points: &[Point], place: f64) -> String {
    let near = points
        .iter()
        .enumerate()
        .find(|(index, _)| (float(*index as u64) - place).abs() < 0.01);
    near.map_or_else(String::new, |(_, point)| {
        let size = point.size;
        let short = |count: usize| match count {
            0..1000 => count.to_string(),
            _ => format!("{}k", count / 1000),
        };
        let [idle, processes, pairs] = [size.idle, size.processes, size.pairs].map(short);
        format!("{}/{idle}/{processes}/{pairs}", size.namespaces)
    })
}
