//! Puts the parts of the page together.

/// In reading order. These compute and need no page; Node runs them as they are.
pub const COMPUTING: [&str; 6] = [
    include_str!("shapes.js"),
    include_str!("trace.js"),
    include_str!("forward.js"),
    include_str!("backward.js"),
    include_str!("check.js"),
    include_str!("descent.js"),
];
/// These show.
pub const SHOWING: [&str; 4] = [
    include_str!("numbers.js"),
    include_str!("planes.js"),
    include_str!("staircase.js"),
    include_str!("page.js"),
];

/// The page, one file that needs no other.
pub fn page() -> String {
    include_str!("page.html")
        .replace("{{style}}", include_str!("style.css").trim_end())
        .replace("{{presets}}", include_str!("presets.json").trim_end())
        .replace("{{computing}}", COMPUTING.join("\n").trim_end())
        .replace("{{showing}}", SHOWING.join("\n").trim_end())
}
