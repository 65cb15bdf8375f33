//! Rules in plain loops: kinds of mistakes that public reports of wrong gradients tell of, and right
//! rules where differences are treacherous.

use super::{Planted, wave};
use dpq::{Tensor, rng};

pub fn rules() -> Vec<Planted> {
    [mistakes(), kinks_nearby(), flat(), scales(), plain()].into_iter().flatten().collect()
}

/// y = f(x), element by element, with the derivative df.
fn elementwise(
    name: &str,
    right: bool,
    x: Tensor<f64>,
    f: fn(f64) -> f64,
    df: fn(f64) -> f64,
) -> Planted {
    Planted::of_slices(
        name,
        right,
        [x],
        move |[x]| x.iter().map(|&x| f(x)).collect(),
        move |[x], dy| [x.iter().zip(dy).map(|(&x, dy)| df(x) * dy).collect()],
    )
}

fn relu(x: f64) -> f64 {
    x.max(0.0)
}

fn step(x: f64) -> f64 {
    f64::from(u8::from(x > 0.0))
}

fn mistakes() -> Vec<Planted> {
    let add = |[x, b]: [&[f64]; 2]| x.iter().enumerate().map(|(i, x)| x + b[i % 3]).collect();
    // The mean over a window of 3, of which only what lies inside counts.
    let window = |i: usize| i.saturating_sub(1)..(i + 2).min(6);
    let normalized = |x: &[f64]| -> (Vec<f64>, f64) {
        let mean = x.iter().sum::<f64>() / 6.0;
        let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 6.0 + 1e-5;
        (x.iter().map(|x| (x - mean) / var.sqrt()).collect(), var.sqrt())
    };
    vec![
        Planted::of_slices(
            "row added to a matrix: the last row's gradient",
            false,
            [wave(&[4, 3]), wave(&[3])],
            add,
            |_, dy| [dy.to_vec(), dy[9..].to_vec()],
        ),
        Planted::of_slices(
            "sum: a mean's gradient",
            false,
            [wave(&[5])],
            |[x]| vec![x.iter().sum()],
            |_, dy| [vec![dy[0] / 5.0; 5]],
        ),
        Planted::of_slices(
            "exp times x: x overwritten in place by exp",
            false,
            [wave(&[5])],
            |[x]| x.iter().map(|x| x.exp() * x).collect(),
            // What was saved as x holds e^x by the time it is read.
            |[x], dy| {
                let saved: Vec<f64> = x.iter().map(|x| x.exp()).collect();
                [saved.iter().zip(dy).map(|(x, dy)| (x + x * x) * dy).collect()]
            },
        ),
        elementwise(
            "clamp: the gradient passes outside",
            false,
            Tensor::from([-2.0, -0.4, 0.3, 1.7]),
            |x| x.clamp(-1.0, 1.0),
            |_| 1.0,
        ),
        Planted::of_slices(
            "normalisation: without the mean's term",
            false,
            [wave(&[6])],
            move |[x]| normalized(x).0,
            move |[x], dy| {
                let (y, sd) = normalized(x);
                let along = y.iter().zip(dy).map(|(y, dy)| y * dy).sum::<f64>() / 6.0;
                [y.iter().zip(dy).map(|(y, dy)| (dy - y * along) / sd).collect()]
            },
        ),
        Planted::of_slices(
            "mean of a window: padding counted in the gradient",
            false,
            [wave(&[6])],
            move |[x]| {
                (0..6).map(|i| x[window(i)].iter().sum::<f64>() / window(i).len() as f64).collect()
            },
            move |_, dy| {
                let mut dx = vec![0.0; 6];
                (0..6).for_each(|i| dx[window(i)].iter_mut().for_each(|dx| *dx += dy[i] / 3.0));
                [dx]
            },
        ),
        Planted::of_slices(
            "rows of a table: the last occurrence overwrites",
            false,
            [wave(&[4])],
            |[table]| [2, 0, 2, 1].map(|id: usize| table[id]).to_vec(),
            |_, dy| {
                let mut dx = vec![0.0; 4];
                [2, 0, 2, 1].iter().zip(dy).for_each(|(&id, dy)| dx[id] = *dy);
                [dx]
            },
        ),
        elementwise("sine: off by 1e-2", false, wave(&[5]), f64::sin, |x| 1.01 * x.cos()),
        elementwise("sine: off by 1e-3", false, wave(&[5]), f64::sin, |x| 1.001 * x.cos()),
        elementwise("sine: off by 1e-4", false, wave(&[5]), f64::sin, |x| 1.0001 * x.cos()),
        elementwise("sine: off by 1e-5", false, wave(&[5]), f64::sin, |x| 1.00001 * x.cos()),
    ]
}

fn kinks_nearby() -> Vec<Planted> {
    let mut rules = Vec::new();
    for distance in [1e-2, 1e-3, 1e-4, 1e-5, 1e-6] {
        let x = Tensor::from([0.7, distance, -1.3, -distance]);
        rules.push(elementwise(&format!("relu {distance:e} beside 0"), true, x, relu, step));
    }
    for distance in [1e-3, 1e-5] {
        let x = Tensor::from([0.7, distance, -1.3, -distance]);
        rules.push(elementwise(
            &format!("abs {distance:e} beside 0"),
            true,
            x,
            f64::abs,
            f64::signum,
        ));
        let x = Tensor::from([1.0 - distance, 1.0 + distance, 0.2]);
        let inside = |x: f64| f64::from(u8::from(x.abs() < 1.0));
        let clamp = |x: f64| x.clamp(-1.0, 1.0);
        rules.push(elementwise(&format!("clamp {distance:e} beside 1"), true, x, clamp, inside));
        let (a, b) = (wave(&[4]), wave(&[4]));
        let b =
            Tensor::from_fn([4], |i| b.data()[i] + if i % 2 == 0 { distance } else { -distance });
        rules.push(Planted::of_slices(
            format!("larger of two {distance:e} apart"),
            true,
            [a, b],
            |[a, b]| a.iter().zip(b).map(|(a, b)| a.max(*b)).collect(),
            |[a, b], dy| {
                let of = |first: bool| {
                    (0..4).map(|i| if (a[i] > b[i]) == first { dy[i] } else { 0.0 }).collect()
                };
                [of(true), of(false)]
            },
        ));
    }
    let many = Tensor::uniform([200], 2.0, &mut rng::stream(0, "many", 0));
    rules.push(elementwise("relu of 200 numbers", true, many, relu, step));
    rules
}

fn flat() -> Vec<Planted> {
    vec![
        elementwise("relu, dead but for one", true, Tensor::from([-1.0, -2.0, 0.5]), relu, step),
        elementwise("relu, some dead", true, wave(&[12]), relu, step),
        elementwise(
            "clamp, most outside",
            true,
            Tensor::from([-3.0, 2.0, 5.0, 0.1]),
            |x| x.clamp(-1.0, 1.0),
            |x| f64::from(u8::from(x.abs() < 1.0)),
        ),
        elementwise(
            "x floor(4 x)",
            true,
            wave(&[5]),
            |x| x * (4.0 * x).floor(),
            |x| (4.0 * x).floor(),
        ),
        elementwise(
            "hinge, most satisfied",
            true,
            wave(&[8]),
            |x| relu(0.2 - x),
            |x| -step(0.2 - x),
        ),
        elementwise(
            "sigmoid, saturated beside not",
            true,
            Tensor::from([-40.0, 0.3, 40.0]),
            |x| 1.0 / (1.0 + (-x).exp()),
            |x| (-x).exp() / (1.0 + (-x).exp()).powi(2),
        ),
        Planted::of_slices(
            "dropout with a given mask",
            true,
            [wave(&[6])],
            |[x]| x.iter().zip([0.0, 2.0, 0.0, 2.0, 2.0, 0.0]).map(|(x, m)| x * m).collect(),
            |_, dy| [dy.iter().zip([0.0, 2.0, 0.0, 2.0, 2.0, 0.0]).map(|(dy, m)| dy * m).collect()],
        ),
    ]
}

fn scales() -> Vec<Planted> {
    let mut rules = Vec::new();
    for size in [1e-9, 1e-6, 1e-3, 1e3, 1e6, 1e9] {
        let x = Tensor::from_fn([5], |i| size * (i as f64 + 0.5).sin());
        rules.push(elementwise(&format!("square of {size:e}"), true, x, |x| x * x, |x| 2.0 * x));
    }
    rules.push(elementwise("1e-9 sine", true, wave(&[5]), |x| 1e-9 * x.sin(), |x| 1e-9 * x.cos()));
    rules.push(elementwise("1e9 sine", true, wave(&[5]), |x| 1e9 * x.sin(), |x| 1e9 * x.cos()));
    rules.push(elementwise("sine + 1000", true, wave(&[5]), |x| x.sin() + 1e3, f64::cos));
    let near = |x: f64| Tensor::from([x, 2.0 * x, 3.5 * x]);
    rules.push(elementwise("ln near 0", true, near(1e-4), f64::ln, |x| 1.0 / x));
    rules.push(elementwise("1 / x near 0", true, near(1e-3), |x| 1.0 / x, |x| -1.0 / (x * x)));
    rules.push(elementwise("square root near 0", true, near(1e-4), f64::sqrt, |x| 0.5 / x.sqrt()));
    rules.push(elementwise(
        "sine of 40 x",
        true,
        wave(&[5]),
        |x| (40.0 * x).sin(),
        |x| 40.0 * (40.0 * x).cos(),
    ));
    rules.push(Planted::of_slices(
        "product of 1e6 and 1e-6",
        true,
        [Tensor::from([1.1e6, -0.7e6]), Tensor::from([0.9e-6, 1.3e-6])],
        |[a, b]| vec![a[0] * b[0], a[1] * b[1]],
        |[a, b], dy| [vec![dy[0] * b[0], dy[1] * b[1]], vec![dy[0] * a[0], dy[1] * a[1]]],
    ));
    rules.push(Planted::of_slices(
        "log of a sum of exponentials near 1000",
        true,
        [Tensor::from([1000.3, 999.1, 1001.7])],
        |[x]| vec![1000.0 + x.iter().map(|x| (x - 1000.0).exp()).sum::<f64>().ln()],
        |[x], dy| {
            let total: f64 = x.iter().map(|x| (x - 1000.0).exp()).sum();
            [x.iter().map(|x| dy[0] * (x - 1000.0).exp() / total).collect()]
        },
    ));
    rules
}

fn plain() -> Vec<Planted> {
    vec![
        Planted::of_slices(
            "running sum",
            true,
            [wave(&[6])],
            |[x]| {
                x.iter()
                    .scan(0.0, |sum, x| {
                        *sum += x;
                        Some(*sum)
                    })
                    .collect()
            },
            |_, dy| [(0..6).map(|i| dy[i..].iter().sum()).collect()],
        ),
        Planted::of_slices(
            "outer product",
            true,
            [wave(&[3]), wave(&[4])],
            |[a, b]| (0..12).map(|i| a[i / 4] * b[i % 4]).collect(),
            |[a, b], dy| {
                let da = (0..3).map(|r| (0..4).map(|c| dy[r * 4 + c] * b[c]).sum()).collect();
                let db = (0..4).map(|c| (0..3).map(|r| dy[r * 4 + c] * a[r]).sum()).collect();
                [da, db]
            },
        ),
        Planted::of_slices(
            "convolution with padding",
            true,
            [wave(&[6]), Tensor::from([0.3, -1.1, 0.7])],
            |[x, w]| {
                let at = |i: i64| if (0..6).contains(&i) { x[i as usize] } else { 0.0 };
                (0..6).map(|i| (0..3).map(|k| w[k as usize] * at(i + k - 1)).sum()).collect()
            },
            |[x, w], dy| {
                let (mut dx, mut dw) = (vec![0.0; 6], vec![0.0; 3]);
                for (i, k) in (0..6).flat_map(|i| (0..3).map(move |k| (i, k))) {
                    let at: i64 = i + k - 1;
                    if (0..6).contains(&at) {
                        dx[at as usize] += w[k as usize] * dy[i as usize];
                        dw[k as usize] += x[at as usize] * dy[i as usize];
                    }
                }
                [dx, dw]
            },
        ),
        elementwise(
            "softplus",
            true,
            wave(&[6]),
            |x| x.exp().ln_1p(),
            |x| 1.0 / (1.0 + (-x).exp()),
        ),
        elementwise("x to the fourth", true, wave(&[6]), |x| x.powi(4), |x| 4.0 * x.powi(3)),
    ]
}
