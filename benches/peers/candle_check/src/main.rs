//! candle's softmax, in single precision.
use candle_core::{Device, Result, Tensor, Var};
use dpq::gradcheck;

fn main() {
    let given = |x: &[f32]| Tensor::from_slice(x, (2, 3), &Device::Cpu);
    let report = gradcheck::rule(
        [dpq::Tensor::from([[0.3_f32, -1.2, 2.0], [0.7, 0.1, -0.4]])],
        |[x]| -> Result<_> {
            let y = candle_nn::ops::softmax(&given(x)?, 1)?;
            Ok([y.flatten_all()?.to_vec1()?])
        },
        |[x], [dy]| -> Result<_> {
            let x = Var::from_tensor(&given(x)?)?;
            let y = candle_nn::ops::softmax(&x, 1)?;
            let gradients = (y * given(dy)?)?.sum_all()?.backward()?;
            Ok([gradients.get(&x).expect("x is used").flatten_all()?.to_vec1()?])
        },
    );
    println!("{}", report.assert_ok());
}
