//! The curve as a picture: goodput over what is offered, and below it the times. Written by hand: three lines and their axes.

use std::{fmt::Write as _, time::Duration};

use super::{Curve, Stage};

const WIDTH: f64 = 720.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 700.0;
/// Top and bottom of a panel.
type Panel = (f64, f64);
const GOODPUT: Panel = (50.0, 280.0);
const TIMES: Panel = (330.0, 560.0);
const HEIGHT: f64 = 610.0;
/// Times are shown on a logarithmic scale of these milliseconds.
const DECADES: [f64; 5] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];

/// An SVG document.
pub fn draw(title: &str, curve: &Curve) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    let multiple_max = curve.stages.iter().map(|stage| stage.multiple).fold(1.0, f64::max);
    let x = |multiple: f64| LEFT + (RIGHT - LEFT) * multiple / multiple_max;
    text(&mut svg, LEFT, 24.0, "start", &format!("{title}: best {:.0} orders a second", curve.best));
    let goodput_max = curve.stages.iter().map(|stage| stage.goodput).fold(curve.best, f64::max) * 1.1;
    let linear = |value: f64| GOODPUT.1 - (GOODPUT.1 - GOODPUT.0) * value / goodput_max;
    let logarithmic = |value: f64| {
        let share = value.clamp(DECADES[0], DECADES[4]).log10() / DECADES[4].log10();
        TIMES.1 - (TIMES.1 - TIMES.0) * share
    };
    for (panel, name) in [(GOODPUT, "confirmed in time, a second"), (TIMES, "milliseconds, 99th percentile")] {
        text(&mut svg, LEFT, panel.0 - 8.0, "start", name);
        rule(&mut svg, (LEFT, panel.1), (RIGHT, panel.1), "#333");
        rule(&mut svg, (LEFT, panel.0), (LEFT, panel.1), "#333");
        for stage in &curve.stages {
            text(&mut svg, x(stage.multiple), panel.1 + 16.0, "middle", &format!("{} ×", stage.multiple));
        }
    }
    for percent in [0.0, 40.0, 80.0, 100.0] {
        let value = curve.best * percent / 100.0;
        rule(&mut svg, (LEFT, linear(value)), (RIGHT, linear(value)), "#ddd");
        text(&mut svg, LEFT - 6.0, linear(value) + 4.0, "end", &format!("{value:.0}"));
    }
    for decade in DECADES {
        rule(&mut svg, (LEFT, logarithmic(decade)), (RIGHT, logarithmic(decade)), "#ddd");
        text(&mut svg, LEFT - 6.0, logarithmic(decade) + 4.0, "end", &format!("{decade}"));
    }
    let mut line = |name: &str, colour: &str, row: f64, points: Vec<(f64, f64)>| {
        let joined: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let joined = joined.join(" ");
        let _ = writeln!(svg, "<polyline points=\"{joined}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        for (x, y) in points {
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let _ = writeln!(
            svg,
            "<text x=\"{RIGHT}\" y=\"{row}\" text-anchor=\"end\" fill=\"{colour}\">{}</text>",
            escaped(name)
        );
    };
    let of = |value: &dyn Fn(&Stage) -> Option<f64>| -> Vec<(f64, f64)> {
        curve.stages.iter().filter_map(|stage| Some((x(stage.multiple), value(stage)?))).collect()
    };
    line("offered and confirmed", "#1f77b4", 42.0, of(&|stage| Some(linear(stage.goodput))));
    let confirmed = of(&|stage| (stage.goodput > 0.0).then(|| logarithmic(milliseconds(stage.accepted_p99))));
    line("confirmed", "#1f77b4", 308.0, confirmed);
    let refused = of(&|stage| (stage.refused > 0).then(|| logarithmic(milliseconds(stage.refused_p99))));
    line("refused with 503", "#d62728", 322.0, refused);
    text(&mut svg, f64::midpoint(LEFT, RIGHT), HEIGHT - 12.0, "middle", "offered, as multiples of the best throughput");
    svg.push_str("</svg>\n");
    svg
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = escaped(text);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(svg, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::stage::tests::curve;

    #[test]
    fn every_stage_is_a_point_within_the_picture() {
        let svg = draw("a < b", &curve());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("a &lt; b"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3);
        for part in svg.split("cy=\"").skip(1) {
            let y: f64 = part.split('"').next().unwrap().parse().unwrap();
            assert!((0.0..HEIGHT).contains(&y), "{svg}");
        }
    }
}
