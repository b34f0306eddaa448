//! Draws a bar for each row of a workload, as SVG.

use std::fmt::Write as _;

use crate::row::{Row, short};

const BAR: usize = 22;
const LABEL: usize = 300;
const LENGTH: f64 = 360.0;

/// Draws rows with a bar each, as long as its figure, and a line at its limit where it has one of the same unit.
pub(crate) fn bars(title: &str, rows: &[&Row]) -> String {
    let (width, height) = (LABEL + 560, BAR * (rows.len() + 1) + 16);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"18\" font-weight=\"bold\">{title}</text>\n"
    );
    for (place, row) in rows.iter().enumerate() {
        let same: Vec<_> = rows.iter().filter(|other| other.unit == row.unit).collect();
        let limit = row
            .limit
            .filter(|_| row.ratio == row.limit.map(|limit| row.value / limit));
        let largest = same
            .iter()
            .flat_map(|row| [row.value, row.limit.unwrap_or(0.0)]);
        let largest = largest.fold(f64::MIN_POSITIVE, f64::max);
        let (y, length) = (BAR * (place + 1) + 8, row.value / largest * LENGTH);
        let label = format!(
            "{} {}, {} in flight",
            row.backend, row.durability, row.in_flight
        );
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>\
             <rect x=\"{LABEL}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" fill=\"#2a6f97\"/>",
            LABEL - 8,
            y + 13,
            BAR - 6,
        );
        let mut end = length;
        if let Some(limit) = limit {
            let at = limit / largest * LENGTH;
            end = end.max(at);
            let (x, bottom) = (
                f64::from(u16::try_from(LABEL).unwrap_or(0)) + at,
                y + BAR - 6,
            );
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{y}\" y2=\"{bottom}\" stroke=\"#c1121f\" stroke-width=\"2\"/>"
            );
        }
        let x = f64::from(u16::try_from(LABEL).unwrap_or(0)) + end + 8.0;
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{}\">{} {}</text>",
            y + 13,
            short(row.value),
            row.unit
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_a_bar_and_a_rate_its_limit() {
        let rate = Row::new("W1", 50.0, "workflows/s").below(100.0, "commits/s");
        let time = Row::new("W1", 7.0, "ms").above(2.0, "ms of a commit");
        let svg = bars("W1", &[&rate, &time]);
        assert_eq!(svg.matches("<rect x").count(), 2);
        assert_eq!(svg.matches("<line").count(), 1);
        assert!(svg.contains("width=\"180.0\"") && svg.contains("7.00 ms"));
    }
}
