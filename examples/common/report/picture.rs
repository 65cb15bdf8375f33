//! What pictures are drawn with.

use super::axis::Axis;
use super::style::{Hex, SERIES};
use super::text::{escape, printable};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::fmt::Write;

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// Units of a picture; a page shows it at half of that, more or less.
pub const WIDTH: u32 = 960;
pub const HEIGHT: u32 = 600;
pub const MARGIN: i32 = 56;
pub const FONT: i32 = 32;
/// Room for the figures of an axis.
pub const LEFT: i32 = 110;

pub const TEXT: RGBColor = RGBColor(0, 0, 0);
pub const MUTED: RGBColor = RGBColor(89, 99, 110);
pub const GRID: RGBColor = RGBColor(208, 215, 222);

pub fn rgb(hex: Hex) -> RGBColor {
    let part = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap_or(0);
    RGBColor(part(1), part(3), part(5))
}

pub fn font(colour: &RGBColor) -> TextStyle<'static> {
    // The backend writes a font of size 1.24 as one of size 1.
    ("sans-serif", 1.24 * f64::from(FONT)).into_font().color(colour)
}

/// A line that is no curve.
pub fn rule(colour: &RGBColor) -> ShapeStyle {
    colour.stroke_width(2)
}

/// Draws a picture that has a title for those who do not see it.
pub fn picture(size: (u32, u32), title: &str, draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area).and_then(|()| area.present())
    };
    if let Err(error) = drawn {
        return format!("<p>The picture could not be drawn: {}</p>\n", escape(&error.to_string()));
    }
    // These are what an element has anyway.
    let svg = svg.replace(" opacity=\"1\"", "").replace(" stroke=\"none\"", "");
    let title = format!("<svg role=\"img\" class=\"picture\" aria-label=\"{}\"", escape(title));
    svg.replacen("<svg", &title, 1)
}

/// How a model looks in all pictures.
pub struct Series {
    colour: RGBColor,
    shape: usize,
}

impl Series {
    pub fn of(name: &str, names: &[&str]) -> Series {
        let index = names.iter().position(|&other| other == name).unwrap_or(0);
        Series { colour: rgb(SERIES[index % SERIES.len()].0), shape: index % 5 }
    }

    /// Of curves alone: the style sheet knows them by this width, and dashes them.
    pub fn line(&self) -> ShapeStyle {
        self.colour.stroke_width(5)
    }

    pub fn mark(&self, area: &Area<'_>, (x, y): (i32, i32), r: i32, filled: bool) -> Drawn {
        let corners: &[(i32, i32)] = match self.shape {
            0 => {
                let circle = |style: ShapeStyle| Circle::new((x, y), r, style);
                if filled {
                    return area.draw(&circle(self.colour.filled()));
                }
                area.draw(&circle(WHITE.filled()))?;
                return area.draw(&circle(self.colour.stroke_width(4)));
            }
            1 => &[(-9, -9), (9, -9), (9, 9), (-9, 9)],
            2 => &[(0, -12), (11, 8), (-11, 8)],
            3 => &[(0, -13), (13, 0), (0, 13), (-13, 0)],
            _ => &[(0, 12), (11, -8), (-11, -8)],
        };
        let mut corners: Vec<_> =
            corners.iter().map(|(dx, dy)| (x + dx * r / 10, y + dy * r / 10)).collect();
        if filled {
            return area.draw(&Polygon::new(corners, self.colour.filled()));
        }
        area.draw(&Polygon::new(corners.clone(), WHITE.filled()))?;
        // The second side again, so that the last corner is as sharp as the others.
        corners.extend([corners[0], corners[1]]);
        area.draw(&PathElement::new(corners, self.colour.stroke_width(4)))
    }
}

pub fn legend<'a>(shown: impl Iterator<Item = &'a str>, names: &[&str]) -> String {
    let mut html = String::from("<p class=\"legend\">");
    let mut seen: Vec<&str> = Vec::new();
    for name in shown {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let series = Series::of(name, names);
        let svg = picture((120, 40), name, |area| {
            area.draw(&PathElement::new(vec![(4, 20), (116, 20)], series.line()))?;
            series.mark(area, (60, 20), 12, true)
        });
        // The name stands beside it.
        let svg = svg.replacen("role=\"img\" class=\"picture\"", "class=\"key\"", 1);
        let _ = write!(html, "<span>{}{}</span> ", svg.trim_end(), escape(name));
    }
    html + "</p>\n"
}

/// Draws axes, and returns where a pair of values belongs.
pub fn chart<'a>(
    area: &Area<'a>,
    x: &Axis,
    y: &Axis,
    x_title: &str,
    y_title: &str,
) -> Drawn<impl Fn(f64, f64) -> (i32, i32) + use<'a>> {
    let mut chart = ChartBuilder::on(area)
        .margin_top(2 * FONT)
        .margin_right(MARGIN)
        .x_label_area_size(3 * FONT)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .bold_line_style(rule(&GRID))
        .light_line_style(TRANSPARENT)
        .axis_style(rule(&MUTED))
        .label_style(font(&TEXT))
        .draw()?;
    let right = Pos::new(HPos::Right, VPos::Bottom);
    let at = (WIDTH as i32 - MARGIN, HEIGHT as i32 - 4);
    area.draw(&Text::new(x_title.to_string(), at, font(&TEXT).pos(right)))?;
    area.draw(&Text::new(y_title.to_string(), (4, 4), font(&TEXT)))?;
    Ok(move |a, b| chart.backend_coord(&(a, b)))
}

/// A text at one of some places around a point, or nowhere if none of them is free.
pub struct Label<'a> {
    pub text: String,
    pub at: (i32, i32),
    pub offsets: &'a [(i32, i32)],
    /// Whether the text ends at the point.
    pub end: bool,
}

/// Left, top, right, bottom.
pub type Frame = [i32; 4];

pub fn around((x, y): (i32, i32), width: i32, height: i32) -> Frame {
    [x - width, y - height, x + width, y + height]
}

impl Label<'_> {
    /// Returns whether there was a place.
    pub fn draw(&self, area: &Area<'_>, taken: &mut Vec<Frame>, colour: &RGBColor) -> Drawn<bool> {
        // Fonts differ; this is rather too wide.
        let width = self.text.chars().count() as i32 * FONT * 11 / 20;
        for &(dx, dy) in self.offsets {
            let (x, y) = (self.at.0 + dx, self.at.1 + dy);
            let (anchor, left) = match dx {
                _ if self.end => (HPos::Right, x - width),
                0 => (HPos::Center, x - width / 2),
                1.. => (HPos::Left, x),
                _ => (HPos::Right, x - width),
            };
            let frame = [left, y - FONT / 2, left + width, y + FONT / 2];
            let meets = |other: &Frame| {
                frame[0] < other[2]
                    && other[0] < frame[2]
                    && frame[1] < other[3]
                    && other[1] < frame[3]
            };
            let outside = frame[0] < LEFT || frame[2] > WIDTH as i32 || frame[1] < 2 * FONT;
            if outside || taken.iter().any(meets) {
                continue;
            }
            taken.push(frame);
            let style = font(colour).pos(Pos::new(anchor, VPos::Center));
            area.draw(&Text::new(self.text.clone(), (x, y), style))?;
            return Ok(true);
        }
        Ok(false)
    }
}

/// What a picture has room for, without what XML cannot hold.
pub fn shorten(text: &str) -> String {
    const MOST: usize = 20;
    let mut short: String = text.chars().take(MOST).map(printable).collect();
    if text.chars().count() > MOST {
        short.push('…');
    }
    short
}
