//! Colours, and the style sheet.

use std::fmt::Write;

pub type Hex = &'static str;

/// Colours that the colour-blind tell apart (Okabe and Ito), for light and dark, with dashes.
pub const SERIES: [(Hex, Hex, &str); 6] = [
    ("#0072B2", "#56B4E9", "none"),
    ("#D55E00", "#F0803C", "24 10"),
    ("#009E73", "#2CC295", "8 8"),
    ("#AA4499", "#E08FC4", "28 8 6 8"),
    ("#A6761D", "#E6B422", "16 6"),
    ("#555555", "#BBBBBB", "4 6"),
];

/// Of codewords that no word uses, then of the classes of use.
pub const HEAT: [(Hex, Hex); 7] = [
    ("#E69F00", "#E69F00"),
    ("#F1F6FB", "#18242F"),
    ("#CFE1F2", "#213F5C"),
    ("#9DC8E3", "#2F6191"),
    ("#5CA4D0", "#4F91C8"),
    ("#2373B4", "#8FC3EA"),
    ("#08407F", "#DCEEFC"),
];

/// The part of the style sheet that knows colours.
pub fn colours() -> String {
    let mut light = String::new();
    let mut dark = String::new();
    let mut rules = String::new();
    let mut add = |name: String, colours: (Hex, Hex)| {
        let _ = write!(light, "--{name}:{};", colours.0);
        let _ = write!(dark, "--{name}:{};", colours.1);
        let _ = writeln!(rules, "svg [fill=\"{}\"]{{fill:var(--{name})}}", colours.0);
        let _ = writeln!(rules, "svg [stroke=\"{}\"]{{stroke:var(--{name})}}", colours.0);
    };
    add("bg".into(), ("#FFFFFF", "#14171C"));
    add("fg".into(), ("#000000", "#E6E9EE"));
    add("muted".into(), ("#59636E", "#A0A8B4"));
    add("grid".into(), ("#D0D7DE", "#39414C"));
    for (i, &(light, dark, _)) in SERIES.iter().enumerate() {
        add(format!("s{i}"), (light, dark));
    }
    for (i, &colours) in HEAT.iter().enumerate() {
        add(format!("h{i}"), colours);
    }
    for (light, _, dashes) in SERIES {
        let _ = writeln!(
            rules,
            "svg polyline[stroke=\"{light}\"][stroke-width=\"5\"]{{stroke-dasharray:{dashes}}}"
        );
    }
    format!(
        ":root{{color-scheme:light dark;{light}}}\n\
         @media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{rules}"
    )
}

pub const STYLE: &str = "\
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif}
main{max-width:1120px;margin:0 auto;padding:1rem}
h1{font-size:1.6rem;line-height:1.25;margin:.5rem 0;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:0 0 .5rem}
section{margin:2.2rem 0}
p{margin:.4rem 0;max-width:75ch}
figure{margin:0;min-width:0}
figcaption{overflow-wrap:anywhere}
figcaption p+p,figcaption p+p~p{color:var(--muted);font-size:.9rem}
.confusion td{background:color-mix(in srgb,var(--s0) var(--shade,0%),transparent)}
.pair{display:grid;gap:1.5rem 2rem}
@media(min-width:720px){.pair{grid-template-columns:1fr 1fr}}
.pair>figure{max-width:600px;display:flex;flex-direction:column}
.pair>figure>figcaption{flex:1 0 auto}
.wide{max-width:600px}
.picture{display:block;width:100%;height:auto;margin:.5rem 0}
.picture text,.key text{font-family:inherit}
.picture rect{shape-rendering:crispEdges}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;max-width:none}
.legend span{display:inline-flex;align-items:center;gap:.4rem;overflow-wrap:anywhere}
.key{width:60px;height:20px;flex:none}
.heat{width:1.1em;height:1.1em;border:1px solid var(--muted);print-color-adjust:exact;-webkit-print-color-adjust:exact}
.scroll{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .8rem .25rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--grid)}
thead th{color:var(--muted);font-weight:600;vertical-align:bottom}
tbody th{font-weight:600}
.n{text-align:right;padding:.25rem 0 .25rem .8rem;white-space:nowrap}
thead .n{white-space:normal}
.n+:not(.n){padding-left:1.2rem}
.words th:first-child{white-space:nowrap}
.words td{min-width:11rem}
bdi{background:var(--grid);padding:0 .3em;border-radius:.25em}
details{margin:.5rem 0}
summary{cursor:pointer;color:var(--muted)}
.warnings{border-left:4px solid var(--h0);padding:.2rem 0 .2rem 1rem;margin:1.5rem 0;overflow-wrap:anywhere}
.warnings ul{margin:0;padding-left:1.2rem}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:0 2rem}
.facts section{min-width:0;margin:1rem 0}
.facts td{overflow-wrap:anywhere}
@page{margin:15mm}
@media print{
body{font-size:10pt}
main{max-width:none;padding:0}
.picture,figcaption,tr,.warnings{break-inside:avoid}
h2,.legend,figcaption,summary{break-after:avoid}
bdi{border:1px solid var(--grid)}
.scroll{overflow:visible}
details::details-content{content-visibility:visible;block-size:auto}
}
";
