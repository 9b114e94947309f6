//! Draws what a bench measured, as SVG under `docs/plots/`. Without a background and in tones that
//! read on a light page and on a dark one.

use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

/// For what is not data: axes, letters, the grid.
const INK: RGBColor = RGBColor(128, 128, 128);

/// The room to the left of the lines.
const LEFT: i32 = 72;

/// Of the lines, in their order; there are never more.
const TONES: [RGBColor; 4] = [
    RGBColor(59, 130, 246),
    RGBColor(226, 112, 32),
    RGBColor(34, 160, 94),
    RGBColor(178, 92, 206),
];

/// One line of a picture.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Line {
    pub(crate) fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        let name = name.into();
        Self { name, points }
    }
}

/// What is drawn beside the lines.
pub(crate) struct Picture<'a> {
    /// The file, without its ending.
    pub(crate) name: &'a str,
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    /// Whether each measured point gets a dot.
    pub(crate) dots: bool,
}

impl Picture<'_> {
    /// Draws on the axes given, which are `f64` ranges, logarithmic or not. Run as a test, a bench
    /// draws nothing.
    pub(crate) fn draw<X, Y>(&self, x: X, y: Y, lines: &[Line])
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        if !std::env::args().any(|argument| argument == "--bench") {
            return;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/plots");
        let file = folder.join(format!("{}.svg", self.name));
        let area = SVGBackend::new(&file, (760, 400)).into_drawing_area();
        self.fill(&area, x, y, lines).expect("a picture");
        area.present().expect("a file");
        println!("docs/plots/{}.svg", self.name);
    }

    fn fill<'b, X, Y>(
        &self,
        area: &DrawingArea<SVGBackend<'b>, Shift>,
        x: X,
        y: Y,
        lines: &[Line],
    ) -> Result<(), Box<dyn std::error::Error + 'b>>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let letters = |size: i32| ("sans-serif", size).into_font().color(&INK);
        let (head, body) = area.split_vertically(58);
        head.draw(&Text::new(self.title, (LEFT, 12), letters(17)))?;
        let mut chart = ChartBuilder::on(&body)
            .margin_left(8)
            .margin_right(24)
            .margin_top(8)
            .x_label_area_size(48)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .label_style(letters(13))
            .axis_style(INK)
            .bold_line_style(INK.mix(0.3))
            .light_line_style(TRANSPARENT)
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .draw()?;
        // The first on top of the others. The legend has a row of its own above, since a box over
        // the lines would need a background.
        for (line, tone) in lines.iter().zip(TONES).rev() {
            let stroke = tone.stroke_width(2);
            chart.draw_series(LineSeries::new(line.points.iter().copied(), stroke))?;
            if self.dots {
                let dot = |&at: &(f64, f64)| Circle::new(at, 4, tone.filled());
                chart.draw_series(line.points.iter().map(dot))?;
            }
        }
        if lines.len() == 1 {
            return Ok(());
        }
        let mut left = LEFT;
        for (line, tone) in lines.iter().zip(TONES) {
            let mark = [(left, 44), (left + 18, 44)];
            head.draw(&PathElement::new(mark, tone.stroke_width(3)))?;
            head.draw(&Text::new(&*line.name, (left + 24, 38), letters(13)))?;
            left += 48 + 7 * i32::try_from(line.name.len()).unwrap_or(0);
        }
        Ok(())
    }
}

/// `100000` as `100,000`; what is less than ten with a digit behind the point if it needs one.
fn number(value: f64) -> String {
    if value < 10.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
