//! A surface to draw on, for pictures that stand in a page or by themselves, in light and in dark.

use std::fmt::Write;

/// A place: from the left, from above.
pub type Point = (f64, f64);

/// Width of every picture, in its own units. Letters are 16 high, and still legible on a telephone.
pub const WIDTH: f64 = 520.0;

/// Colours by their task; what a class looks like. Dark where the page or the system says so.
const STYLE: &str = "\
.dpq-picture{LIGHT;--fill:#8080801f;display:block;width:100%;height:auto}
.docblock .dpq-picture{max-width:580px;margin:1em auto}
@media (prefers-color-scheme:dark){.dpq-picture{DARK}}
[data-theme=\"light\"] .dpq-picture{LIGHT}
[data-theme=\"dark\"] .dpq-picture,[data-theme=\"ayu\"] .dpq-picture{DARK}
.dpq-picture text{font:16px system-ui,'DejaVu Sans',sans-serif;fill:var(--ink);stroke:none}
.dpq-picture .small{font-size:14px}
.dpq-picture .bold{font-weight:600}
.dpq-picture .mid{text-anchor:middle}
.dpq-picture .end{text-anchor:end}
.dpq-picture text.dim{fill:var(--dim)}
.dpq-picture text.fwd{fill:var(--fwd)}
.dpq-picture text.bwd{fill:var(--bwd)}
.dpq-picture .stroke{fill:none;stroke:var(--ink);stroke-width:2;stroke-linejoin:round}
.dpq-picture .stroke.fwd{stroke:var(--fwd)}
.dpq-picture .stroke.bwd{stroke:var(--bwd)}
.dpq-picture .stroke.dim{stroke:var(--dim)}
.dpq-picture .stroke.line{stroke:var(--line);stroke-width:1;stroke-opacity:.6}
.dpq-picture .stroke.thin{stroke-width:1.2}
.dpq-picture .stroke.thick{stroke-width:3.5}
.dpq-picture .stroke.dash{stroke-dasharray:7 4}
.dpq-picture .stroke.dots{stroke-dasharray:2 4}
.dpq-picture .solid{fill:var(--ink);stroke:none}
.dpq-picture .solid.fwd{fill:var(--fwd)}
.dpq-picture .solid.bwd{fill:var(--bwd)}
.dpq-picture .solid.dim{fill:var(--dim)}
.dpq-picture .solid.line{fill:var(--line)}
.dpq-picture .plain{fill:var(--fill);stroke:var(--line)}
.dpq-picture .plain.fwd{fill:var(--fwdfill);stroke:var(--fwd)}
.dpq-picture .plain.bwd{fill:var(--bwdfill);stroke:var(--bwd)}
";
const LIGHT: &str = "--ink:#1f2328;--dim:#5c636b;--line:#b4bac2;\
--fwd:#0a62b0;--bwd:#c2410c;--fwdfill:#0a62b02b;--bwdfill:#c2410c26";
const DARK: &str = "--ink:#e6e9ed;--dim:#aeb5bd;--line:#70777f;\
--fwd:#74b9ff;--bwd:#ff9d66;--fwdfill:#74b9ff40;--bwdfill:#ff9d6640";

pub struct Picture {
    name: &'static str,
    height: f64,
    title: &'static str,
    description: String,
    drawn: String,
}

impl Picture {
    /// An empty one. The description says in words what is seen.
    pub fn new(
        name: &'static str,
        height: f64,
        title: &'static str,
        description: impl Into<String>,
    ) -> Self {
        Picture { name, height, title, description: description.into(), drawn: String::new() }
    }

    /// Words that begin at a place; with the class `mid` or `end` they are around it, or end there.
    pub fn text(&mut self, class: &str, (x, y): Point, words: &str) {
        let (x, y, words) = (number(x), number(y), escaped(words));
        self.element(&format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{words}</text>"));
    }

    /// Lines of words, one below the other.
    pub fn paragraph(&mut self, class: &str, (x, y): Point, lines: &[&str]) {
        for (i, words) in lines.iter().enumerate() {
            self.text(class, (x, y + 21.0 * i as f64), words);
        }
    }

    /// Straight lines from point to point.
    pub fn line(&mut self, class: &str, points: &[Point]) {
        let d = path(points);
        self.element(&format!("<path class=\"stroke {class}\" d=\"{d}\"/>"));
    }

    /// A surface with this outline.
    pub fn polygon(&mut self, class: &str, points: &[Point]) {
        let d = path(points);
        self.element(&format!("<path class=\"{class}\" d=\"{d}Z\"/>"));
    }

    /// A bow from one point to another that swings out to `side`, with a dot at its end.
    pub fn bow(&mut self, class: &str, from: Point, to: Point, side: f64) {
        let [x, y, u, v, side] = [from.0, from.1, to.0, to.1, side].map(number);
        self.element(&format!(
            "<path class=\"stroke {class}\" d=\"M{x} {y}C{side} {y} {side} {v} {u} {v}\"/>"
        ));
        self.circle(&format!("solid {class}"), to, 2.5);
    }

    /// Lines whose last has a head.
    pub fn arrow(&mut self, class: &str, points: &[Point]) {
        let [.., from, to] = *points else { return };
        let length = (to.0 - from.0).hypot(to.1 - from.1).max(1e-9);
        let (x, y) = ((to.0 - from.0) / length, (to.1 - from.1) / length);
        let at =
            |along: f64, aside: f64| (to.0 - along * x - aside * y, to.1 - along * y + aside * x);
        // The line ends within the head, whose tip is sharp.
        let mut shaft = points.to_vec();
        shaft[points.len() - 1] = at(7.0, 0.0);
        self.line(class, &shaft);
        self.polygon(&format!("solid {class}"), &[to, at(10.0, 5.0), at(10.0, -5.0)]);
    }

    /// A bar across a line: what comes against it goes no further.
    pub fn stop(&mut self, (x, y): Point, towards: Point) {
        let length = (towards.0 - x).hypot(towards.1 - y).max(1e-9);
        let (u, v) = ((towards.0 - x) / length * 10.0, (towards.1 - y) / length * 10.0);
        self.line("thick bwd", &[(x - v, y + u), (x + v, y - u)]);
    }

    pub fn circle(&mut self, class: &str, (x, y): Point, radius: f64) {
        let [x, y, r] = [x, y, radius].map(number);
        self.element(&format!("<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{r}\"/>"));
    }

    pub fn rectangle(&mut self, class: &str, (x, y): Point, width: f64, height: f64) {
        let [x, y, w, h] = [x, y, width, height].map(number);
        self.element(&format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"3\"/>"
        ));
    }

    /// A box around a place, with words in it.
    pub fn node(&mut self, class: &str, (x, y): Point, width: f64, words: &str) {
        self.rectangle(&format!("plain {class}"), (x - width / 2.0, y - 15.0), width, 30.0);
        self.text("mid", (x, y + 5.5), words);
    }

    /// The file. No line of it is empty or indented, so that Markdown takes it for HTML as it is.
    pub fn file(&self) -> String {
        let Picture { name, height, title, description, drawn } = self;
        let style = STYLE.replace("LIGHT", LIGHT).replace("DARK", DARK);
        let (title, description) = (escaped(title), escaped(description));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"dpq-picture\" \
             viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
             aria-labelledby=\"{name}-title {name}-desc\">\n\
             <title id=\"{name}-title\">{title}</title>\n\
             <desc id=\"{name}-desc\">{description}</desc>\n\
             <style>\n{style}</style>\n{drawn}</svg>\n"
        )
    }

    fn element(&mut self, element: &str) {
        writeln!(self.drawn, "{element}").expect("a string takes everything");
    }
}

/// A rectangle that numbers are drawn in.
pub struct Axes {
    /// Its corner at the left, above.
    pub corner: Point,
    pub width: f64,
    pub height: f64,
    /// The numbers at its ends.
    pub x: (f64, f64),
    pub y: (f64, f64),
}

impl Axes {
    /// Where numbers stand.
    pub fn at(&self, x: f64, y: f64) -> Point {
        let part = |(low, high): (f64, f64), x: f64| (x - low) / (high - low);
        let right = self.corner.0 + self.width * part(self.x, x);
        (right, self.corner.1 + self.height * (1.0 - part(self.y, y)))
    }

    /// Frame, lines at the marks, and the marks' words below and at the left.
    pub fn draw(&self, picture: &mut Picture, x: &[(f64, &str)], y: &[(f64, &str)]) {
        let (left, bottom) = (self.corner.0, self.corner.1 + self.height);
        for &(x, words) in x {
            let [below, above] = [self.at(x, self.y.0), self.at(x, self.y.1)];
            picture.line("line", &[below, above]);
            picture.text("small dim mid", (below.0, bottom + 18.0), words);
        }
        for &(y, words) in y {
            let [from, to] = [self.at(self.x.0, y), self.at(self.x.1, y)];
            picture.line("line", &[from, to]);
            picture.text("small dim end", (left - 6.0, from.1 + 5.0), words);
        }
        picture.line("thin dim", &[self.corner, (left, bottom), (left + self.width, bottom)]);
    }
}

fn path(points: &[Point]) -> String {
    let step = |(i, &(x, y)): (usize, &Point)| {
        format!("{}{} {}", if i == 0 { "M" } else { "L" }, number(x), number(y))
    };
    points.iter().enumerate().map(step).collect()
}

/// Two decimals at most, so that the last bits of a machine do not show.
fn number(x: f64) -> String {
    let text = format!("{x:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
